"""``eli5k audit``: find what the maps of a folder have in common."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import eli5k
from eli5k.cli.backend import import_library
from eli5k.cli.errors import FAILURE, PictureError, UserError, raised_by_others, reason_of
from eli5k.cli.messages import complain, say
from eli5k.cli.model import LOADING, add_model_arguments, check_model_arguments, load_model
from eli5k.cli.options import (
    add_how,
    number_or_name,
    read_methods,
    read_options,
    with_function,
)
from eli5k.cli.picture import open_image

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    import keras

    from eli5k.options import Options


def add_to(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command and its arguments."""
    parser = commands.add_parser(
        "audit",
        help="tell what the maps of many pictures have in common, such as a tag in a corner",
        epilog=LOADING,
    )
    add_model_arguments(parser)
    parser.add_argument(
        "folder", metavar="FOLDER", help="folder of ten pictures or more, as the model sees in use"
    )
    add_how(parser)
    parser.set_defaults(
        command=audit,
        targets=None,
        top_targets=None,
        threshold=None,
        logits=True,
        input=None,
        region=None,
        check=False,
    )


def audit(arguments: argparse.Namespace) -> int:
    """Audit the pictures of a folder; skip broken ones.

    The exit code tells whether there were any.
    """
    check_model_arguments(arguments)
    [method, *more] = read_methods(arguments.method, arguments.modules)
    [layer, *further] = list(map(number_or_name, arguments.layer or [None]))
    if more or further:
        raise UserError("an audit takes one --method and one --layer")
    options = read_options(arguments, None)
    folder = Path(arguments.folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder")
    files = sorted(file for file in folder.iterdir() if file.is_file())
    if not files:
        raise UserError(f"{folder} has no picture that can be read")
    import_library()
    model = load_model(arguments)
    options = with_function(options, arguments.preprocess)
    inputs, broken = _read_all(model, files, options)
    try:
        found = eli5k.audit(
            model, _stack(inputs), method=method, layer=layer, output=options.output, progress=None
        )
    except raised_by_others() as error:
        raise UserError(reason_of(error)) from error
    say(f"{found.pictures} pictures: {found}")
    for group in found.groups:
        say(
            f"  {100 * group.share:3.0f} %  peak {group.place}, alike to {group.likeness:.2f} "
            "(correlation)"
        )
    return FAILURE if broken else 0


def _read_all(model: keras.Model, files: list[Path], options: Options) -> tuple[list[Any], int]:
    """Read pictures; return them, and how many can't be read."""
    inputs, broken = [], 0
    for file in files:
        try:
            inputs.append(_read(model, file, options))
        except PictureError as error:
            complain(f"{file}: {error}")
            broken += 1
    return inputs, broken


def _read(model: keras.Model, file: Path, options: Options) -> Any:
    from eli5k.keras.inputs import read_document

    picture = open_image(file)
    try:
        return read_document(model, picture, preprocess=options.preprocess).inputs
    except raised_by_others() as error:
        raise UserError(reason_of(error)) from error


def _stack(inputs: list[Any]) -> Any:
    import keras
    import numpy as np

    if not inputs:
        raise UserError("the folder has no picture that can be read")
    return keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *inputs)
