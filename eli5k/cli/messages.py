"""Print messages in one line each, without control characters."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TextIO

from eli5k.base import ExplanationWarning
from eli5k.cli.errors import UserError
from eli5k.cli.words import in_shell_words
from eli5k.printable import printable


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


@contextmanager
def warnings_as_lines(file: Path) -> Iterator[None]:
    """Print each new warning about a file as one line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ExplanationWarning)
        yield
    for message in dict.fromkeys(str(warning.message) for warning in caught):
        complain(f"{file}: warning: {message.removeprefix(f'{file}: ')}")


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
