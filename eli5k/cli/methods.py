"""``eli5k methods``: list the methods, what they do and what they cost."""

from __future__ import annotations

import argparse
import textwrap
from typing import TYPE_CHECKING

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
    """Print each method: its name, purpose, use and cost."""
    import_library()
    from eli5k.keras.methods import METHODS
    from eli5k.keras.methods.table import FAMILIES

    for family, title in FAMILIES.items():
        say(title)
        for name, method in METHODS.items():
            if method.family == family:
                say(f"  {name}: {method.title}")
                _say_wrapped(f"{method.what} {in_shell_words(method.when)}")
                _say_wrapped(f"Cost: {method.cost}.")
        say("")
    return 0


def _say_wrapped(text: str) -> None:
    from eli5k.keras.methods.table import INDENT, WIDTH

    say(*textwrap.wrap(text, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT))
