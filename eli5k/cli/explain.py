"""``eli5k explain``: explain pictures with a saved model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from eli5k.cli.backend import import_library
from eli5k.cli.errors import FAILURE, UserError, raised_by_others, reason_of
from eli5k.cli.messages import complain
from eli5k.cli.model import LOADING, add_model_arguments, load_model
from eli5k.cli.options import add_options, read_options
from eli5k.cli.output_folder import make_output_folder
from eli5k.cli.picture import explain_picture, report

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_to(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command and its arguments."""
    parser = commands.add_parser(
        "explain",
        # --targets takes all that follows it, images too.
        usage="%(prog)s MODEL IMAGE [IMAGE ...] [options]",
        help="explain what a model sees in images",
        epilog=LOADING,
    )
    add_model_arguments(parser)
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="image files, in any format that Pillow can read",
    )
    add_options(parser)
    parser.add_argument(
        "--out",
        default=".",
        metavar="DIR",
        help="folder for the heatmaps (default: the current one)",
    )
    parser.set_defaults(command=explain)


def explain(arguments: argparse.Namespace) -> int:
    """Explain each picture; a broken one does not keep the others from being explained."""
    import_library()
    options = read_options(arguments)
    model = load_model(arguments.model, arguments.unsafe)
    files = list(map(Path, arguments.images))
    out = make_output_folder(arguments.out, keep=files)
    done = 0
    for file in files:
        try:
            answer = explain_picture(model, file, options)
        except raised_by_others() as error:
            if not done and isinstance(error, TypeError | ValueError):
                # What is wrong with the first picture that can be read is wrong with each.
                raise UserError(reason_of(error)) from error
            complain(f"{file}: {reason_of(error)}")
        else:
            report(file, answer, out)
            done += 1
    return 0 if done == len(files) else FAILURE
