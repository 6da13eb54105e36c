"""The command line: ``eli5k``, or ``python -m eli5k``; one file a command.

Imports that take long wait until a command needs them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import eli5k
from eli5k.cli import audit, demo, explain, layers, methods, report
from eli5k.cli.arguments import Parser
from eli5k.cli.backend import choose_backend
from eli5k.cli.errors import FAILURE, UserError
from eli5k.cli.messages import complain

# The exit code that a shell expects after an interrupt.
INTERRUPTED = 130
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
        0, or 2 if anything failed; a line on standard error has said what. 130 if it was
        interrupted.

    Examples
    --------
    >>> main(["explain", "missing.keras", "cat.png"])
    2
    """
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except UserError as error:
        complain(str(error))
        _leave_output()
        return FAILURE
    except BrokenPipeError:
        # The reader of our output has left, as head does.
        _leave_output()
        return FAILURE
    except KeyboardInterrupt:
        complain("stopped")
        return INTERRUPTED


def build_parser() -> Parser:
    """Describe the commands and their arguments.

    Returns
    -------
    Parser

    Examples
    --------
    >>> build_parser().parse_args(["layers", "model.keras"]).model
    'model.keras'
    """
    parser = Parser("eli5k", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=eli5k.__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (demo, explain, layers, methods, audit, report):
        command.add_to(commands)
    for each in commands.choices.values():
        each.set_defaults(parser=each)
    return parser


def _run(words: Sequence[str]) -> int:
    arguments, rest = build_parser().with_rest(words)
    if rest and not hasattr(arguments, "images"):
        raise UserError(f"{rest[0]}: one argument too many. See '{arguments.parser.prog} --help'.")
    if rest:
        # Pictures that come after options.
        arguments.images += rest
    choose_backend()
    status: int = arguments.command(arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f"standard output: {error.strerror}") from error
    return status


def _leave_output() -> None:
    """Silence standard output if nobody reads it.

    Python flushes it at exit.
    """
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
