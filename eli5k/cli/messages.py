"""What goes to standard error: one line a message."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eli5k.base import ExplanationWarning


def complain(line: str) -> None:
    """Print a line on standard error, after the program's name."""
    print(f"eli5k: {line}", file=sys.stderr)


@contextmanager
def warnings_as_lines(file: Path) -> Iterator[None]:
    """Print each warning about a file that is raised meanwhile as one line, once."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ExplanationWarning)
        yield
    for message in dict.fromkeys(str(warning.message) for warning in caught):
        complain(f"{file}: warning: {message}")


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
