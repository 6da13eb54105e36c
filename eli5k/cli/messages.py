"""Print messages in one line each, without control characters."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from typing import TextIO

from eli5k.base import ExplanationWarning
from eli5k.cli.errors import UserError
from eli5k.cli.words import in_shell_words
from eli5k.printable import printable

# Lines about single pictures, by their common part: the first line, and its pictures.
_Gathered = dict[str, tuple[str, list[Path]]]
_gathered: ContextVar[_Gathered | None] = ContextVar("gathered", default=None)
# A name in quotes or a number: they differ from picture to picture.
_OWN = re.compile(r"'[^']*'|\d[\d.]*(?:e[+-]?\d+)?")


def say(*lines: str) -> None:
    """Print lines on standard output.

    Raises
    ------
    UserError
        If it takes no more, as on a full disk.
    """
    try:
        for line in lines:
            _write(line, sys.stdout)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(f"standard output: {error.strerror}") from error


def complain(line: str) -> None:
    """Print a line on standard error, with the shell's option names."""
    _write(f"eli5k: {in_shell_words(line)}", sys.stderr)


def _write(line: str, stream: TextIO) -> None:
    encoding = stream.encoding or "utf-8"
    shown = printable(line).encode(encoding, "backslashreplace").decode(encoding)
    with _bars_hidden(stream):
        print(shown, file=stream)


def _bars_hidden(stream: TextIO) -> AbstractContextManager[None]:
    """Take a progress bar off the screen meanwhile, if there is one."""
    tqdm = sys.modules.get("tqdm")
    if tqdm is None or not getattr(tqdm.tqdm, "_instances", None):
        return nullcontext()
    hidden: AbstractContextManager[None] = tqdm.tqdm.external_write_mode(file=stream)
    return hidden


def complain_about(file: Path, line: str) -> None:
    """Print a line about a picture.

    Among many pictures, equal lines are printed once, when all are done.
    """
    gathered = _gathered.get()
    if gathered is None:
        complain(f"{file}: {line}")
    else:
        _, files = gathered.setdefault(_OWN.sub("", line), (line, []))
        files += [] if file in files[-1:] else [file]


def complain_once(line: str) -> None:
    """Print a line about the model, only once for many pictures."""
    gathered = _gathered.get()
    if gathered is None or line not in gathered:
        complain(line)
    if gathered is not None:
        gathered[line] = (line, [])


@contextmanager
def summed_up(count: int) -> Iterator[None]:
    """Print complaints about several pictures as one line, with their number.

    Parameters
    ----------
    count : int
        How many pictures there are.
    """
    gathered: _Gathered = {}
    token = _gathered.set(gathered)
    try:
        yield
    finally:
        # A user who stops a long run also wants to know.
        _gathered.reset(token)
        for line, files in gathered.values():
            if len(files) == 1:
                complain(f"{files[0]}: {line}")
            elif files:
                complain(f"{line} (on {len(files)} of {count} pictures, such as {files[0]})")


@contextmanager
def warnings_as_lines(file: Path) -> Iterator[None]:
    """Print each new warning about a file as one line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ExplanationWarning)
        yield
    for message in dict.fromkeys(str(warning.message) for warning in caught):
        complain_about(file, f"warning: {message.removeprefix(f'{file}: ')}")


@contextmanager
def silence() -> Iterator[None]:
    """Keep off standard error what libraries write there past Python."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
