"""Parse a command's words; report mistakes in one line."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from eli5k.cli.errors import UserError


class Parser(argparse.ArgumentParser):
    """Parser with one-line errors that suggest the nearest word.

    Examples
    --------
    >>> parser = Parser("eli5k")
    >>> parser.add_argument("--method", choices=["cam"]).dest
    'method'
    >>> parser.parse_args(["--method", "can"])
    Traceback (most recent call last):
    eli5k.cli.errors.UserError: argument --method: invalid choice: 'can' ... Did you mean 'cam'? ...
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        """Raise the error, instead of printing it after the usage."""
        hint = ""
        wrong = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        if wrong:
            hint = did_you_mean(wrong[1], re.findall(r"[\w.-]+", wrong[2]))
        raise UserError(f"{message.rstrip('.')}.{hint} See '{self.prog} --help'.")

    def with_rest(self, words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """Parse words, including positional ones that stand apart from the others.

        Raises
        ------
        UserError
            If there is an unknown option.
        """
        arguments, rest = self.parse_known_args(words)
        for word in rest:
            if word.startswith("-") and word != "-":
                known = arguments.parser.option_strings()
                raise UserError(
                    f"unknown option {word.partition('=')[0]}."
                    f"{did_you_mean(word.partition('=')[0], known)} "
                    f"See '{arguments.parser.prog} --help'."
                )
        return arguments, rest

    def option_strings(self) -> list[str]:
        """List the options of this parser."""
        return [name for action in self._actions for name in action.option_strings]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Suggest the nearest of the known words, if one is near.

    Examples
    --------
    >>> did_you_mean("--targts", ["--targets", "--out"]), did_you_mean("x", ["--out"])
    (" Did you mean '--targets'?", '')
    """
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
