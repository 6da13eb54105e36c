"""``eli5k methods``: list the methods, what they do and what they cost."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import eli5k
from eli5k.cli.backend import import_library
from eli5k.cli.messages import say
from eli5k.cli.words import in_shell_words

if TYPE_CHECKING:
    from argparse import _SubParsersAction


def add_to(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command and its arguments."""
    parser = commands.add_parser(
        "methods", help="list the methods for --method, what they do and what they cost"
    )
    parser.set_defaults(command=print_methods)


def print_methods(arguments: argparse.Namespace) -> int:  # noqa: ARG001
    """Print the table of :func:`eli5k.methods`, in the words of the shell."""
    import_library()
    say(*map(in_shell_words, str(eli5k.methods()).splitlines()))
    return 0
