"""The command line: ``eli5k``, or ``python -m eli5k``; one file a command.

Imports that take long wait until a command needs them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import eli5k
from eli5k.cli import audit, demo, explain, layers, report
from eli5k.cli.backend import choose_backend
from eli5k.cli.errors import FAILURE, UserError
from eli5k.cli.messages import complain

DESCRIPTION = "Show where a Keras image model looked."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; None takes those of the process.

    Returns
    -------
    int
        0, or 2 if anything failed; a line on standard error has said what.

    Examples
    --------
    >>> main(["explain", "missing.keras", "cat.png"])
    2
    """
    arguments = build_parser().parse_args(argv)
    choose_backend()
    try:
        status: int = arguments.command(arguments)
        sys.stdout.flush()
    except UserError as error:
        complain(str(error))
        return FAILURE
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    return status


def build_parser() -> argparse.ArgumentParser:
    """Describe the commands and their arguments.

    Returns
    -------
    argparse.ArgumentParser

    Examples
    --------
    >>> build_parser().parse_args(["layers", "model.keras"]).model
    'model.keras'
    """
    parser = argparse.ArgumentParser("eli5k", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=eli5k.__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (demo, explain, layers, audit, report):
        command.add_to(commands)
    return parser
