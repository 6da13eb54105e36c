"""Find the pictures that files, folders and patterns stand for."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from eli5k.cli.destination import is_ours
from eli5k.cli.errors import UserError
from eli5k.cli.messages import complain
from eli5k.picture_files import find_pictures

WILD = "*?["


def find_files(words: Sequence[str]) -> tuple[list[Path], int]:
    """List the pictures, each once; say what is missing.

    Parameters
    ----------
    words : sequence of str
        Files, folders (with all folders in them), and patterns that the shell left alone. In a
        folder, what eli5k has drawn is passed over.

    Returns
    -------
    files : list of pathlib.Path
    missing : int
        How many words mean nothing.

    Raises
    ------
    UserError
        If there is no picture at all.
    """
    found: list[Path] = []
    reasons = []
    for word in words:
        try:
            found += _files_of(word)
        except OSError as error:
            reasons.append(f"{word}: {error.strerror or str(error).removeprefix('docs: ')}")
    if not found:
        # The error gives the last reason; the others are printed before.
        for reason in reasons[:-1]:
            complain(reason)
        raise UserError(reasons[-1])
    for reason in reasons:
        complain(reason)
    return list(dict.fromkeys(found)), len(reasons)


def _files_of(word: str) -> list[Path]:
    if not os.path.isdir(word) and not is_pattern(word):
        # A missing file gets the system's own error message.
        os.stat(word)
        return [Path(word)]
    files = list(map(Path, find_pictures(word)))
    return [file for file in files if not is_ours(file)] or files


def is_pattern(word: str) -> bool:
    """Tell whether a word is a pattern and not an existing file."""
    return any(sign in word for sign in WILD) and not os.path.lexists(word)


def split_targets(words: Sequence[str], names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell classes from the pictures that come after them.

    Parameters
    ----------
    words : sequence of str
        What follows ``--targets``.
    names : sequence of str
        The names of the classes, if they are known: a class may be called like a file.

    Returns
    -------
    targets, files : list of str

    Examples
    --------
    >>> split_targets(["282", "tabby", os.devnull], ["tabby"])
    (['282', 'tabby'], ['/dev/null'])
    """
    targets: list[str] = []
    files: list[str] = []
    for word in words:
        is_class = word in names or word.lstrip("-").isdecimal()
        is_file = not is_class and (os.path.lexists(word) or is_pattern(word) or files)
        (files if is_file else targets).append(word)
    return targets, files
