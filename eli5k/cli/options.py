"""The options that say what is explained, and :class:`eli5k.options.Options` made of them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from eli5k.cli.class_names import read_class_names
from eli5k.cli.errors import UserError
from eli5k.cli.functions import find_function
from eli5k.options import Options


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that :func:`read_options` reads to a command."""
    add = parser.add_argument
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--targets",
        nargs="+",
        metavar="CLASS",
        help="classes to explain, by number or name (default: the one with the highest score)",
    )
    which.add_argument(
        "--top-targets",
        type=int,
        metavar="N",
        help="explain the N best classes, or the N worst if negative",
    )
    which.add_argument(
        "--threshold",
        type=float,
        metavar="P",
        help="explain all classes with at least this probability",
    )
    add(
        "--names",
        metavar="FILE",
        help="names of the classes: one per line, or a JSON list or dict such as ImageNet's "
        "class index",
    )
    add_how(parser)
    add(
        "--logits",
        action="store_true",
        default=None,
        help="explain the score before the softmax or sigmoid",
    )
    add(
        "--check",
        action="store_true",
        help="check whether each map is faithful to the model, with 80 further runs of it",
    )


def add_how(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how a model is explained, whatever is explained."""
    add = parser.add_argument
    add(
        "--layer",
        action="append",
        help="name, path or index, see 'eli5k layers' (default: the last suitable layer); "
        "repeat for --method fuse",
    )
    add(
        "--preprocess",
        metavar="MODULE:FUNCTION",
        help="function to apply to each image array before the model, e.g. "
        "keras.applications.mobilenet_v2:preprocess_input",
    )
    add(
        "--method",
        default="grad-cam",
        metavar="NAME",
        help="how to explain (default: %(default)s)",
    )
    add(
        "--output",
        metavar="NAME",
        help="output to explain if the model has several, by name or index (default: the first)",
    )


def read_options(arguments: argparse.Namespace) -> Options:
    """Translate the shell's options to the library's.

    Parameters
    ----------
    arguments : argparse.Namespace
        With those of :func:`add_options`.

    Raises
    ------
    UserError
        If a value cannot be used, as far as no model is needed to know.
    """
    names = None if arguments.names is None else read_class_names(Path(arguments.names))
    layers = [_number_or_name(layer) for layer in arguments.layer or [None]]
    try:
        return Options(
            targets=_targets(arguments.targets, names),
            top_targets=arguments.top_targets,
            threshold=arguments.threshold,
            layer=layers[0] if len(layers) == 1 else layers,
            target_names=names,
            preprocess=find_function(arguments.preprocess),
            method=arguments.method,
            logits=arguments.logits,
            check=arguments.check,
            output=_number_or_name(arguments.output),
        )
    except ValueError as error:
        raise UserError(str(error)) from error


def _targets(words: list[str] | None, names: list[str] | dict[int, str] | None) -> Any:
    if words is None:
        return None
    known = names.values() if isinstance(names, dict) else names or ()
    # A name may look like a number.
    targets = [word if word in known else _number_or_name(word) for word in words]
    unnamed = [target for target in targets if isinstance(target, str)]
    if unnamed and names is None:
        raise UserError(f"To use the class name {unnamed[0]!r}, pass --names.")
    return targets


def _number_or_name(text: str | None) -> int | str | None:
    try:
        return text if text is None else int(text)
    except ValueError:
        return text
