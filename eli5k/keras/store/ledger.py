"""Ledgers of a store: attempts, in files that survive their process."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

ATTEMPTS = "_attempts"
PART, DOCUMENT = ".part", ".document"
# Lines between the keys, which are in quotation marks.
BEGUN, ALONE, EXPLAINED = "begun", "alone", "explained"


def attempted(folder: Path, key: Any) -> int:
    """Note that a document has ended the process that decoded it.

    Parameters
    ----------
    folder : pathlib.Path
        Of the store.
    key : object

    Returns
    -------
    int
        How often that was noted, with those of earlier runs.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> attempted(folder, "bomb.png"), attempted(folder, "bomb.png"), attempted(folder, 3)
    (1, 2, 1)
    """
    ledger = Ledger(folder, key, DOCUMENT)
    ledger.note(key)
    return len(ledger.keys())


class Ledger:
    """Notes on what is tried, so that it isn't tried for ever.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of the store.
    what : object
        The key of a part's first document, a worker's whole share, or the key of one document.
    ending : str
        Of the file: what is noted of a part is forgotten when it is written.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> first = Ledger(folder, "a")
    >>> first.was_begun
    False
    >>> first.note("a", "b")
    >>> second = Ledger(folder, "a")
    >>> second.was_begun, second.culprits()
    (True, set())
    >>> second.write(ALONE), second.note("a"), second.note("b"), Ledger(folder, "a").culprits()
    (None, None, None, {'b'})
    """

    def __init__(self, folder: Path, what: Any, ending: str = PART) -> None:
        name = hashlib.blake2b(str(what).encode("utf-8", "surrogatepass"), digest_size=16)
        self._file = folder / ATTEMPTS / f"{name.hexdigest()}{ending}"
        self.was_begun = self._file.exists()

    def note(self, *keys: Any) -> None:
        """Note keys before their documents are tried."""
        self.write(*(json.dumps(str(key)) for key in keys))

    def write(self, *lines: str) -> None:
        """Add lines."""
        self._file.parent.mkdir(exist_ok=True)
        with self._file.open("a", encoding="utf-8") as file:
            # The line before may have been cut off by the end of its process.
            file.write("".join(f"\n{line}" for line in lines))

    def keys(self) -> list[str]:
        """Return the noted keys, in order."""
        lines = self._file.read_text("utf-8").splitlines() if self._file.exists() else []
        return [key for key in map(_key, lines) if key is not None]

    def culprits(self) -> set[str]:
        """Return the documents that workers died of, each on its own."""
        if not self.was_begun:
            return set()
        found, is_alone, last = set(), False, None
        for line in [*self._file.read_text("utf-8").splitlines(), ALONE]:
            if line == ALONE:
                if is_alone and last is not None:
                    found.add(last)
                is_alone, last = True, None
            elif line == EXPLAINED:
                last = None
            else:
                last = _key(line) or last
        return found

    def close(self) -> None:
        """Forget a part that is written."""
        self._file.unlink(missing_ok=True)


def suspects(folder: Path) -> set[str]:
    """Return and forget the keys that a killed run was at.

    It may have been killed by its user: they are tried again, each alone.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> Ledger(folder, "a").note("a", "b")
    >>> sorted(suspects(folder)), suspects(folder)
    (['a', 'b'], set())
    """
    found: set[str] = set()
    for file in (folder / ATTEMPTS).glob(f"*{PART}"):
        lines = file.read_text("utf-8").splitlines()
        found.update(key for key in map(_key, lines) if key is not None)
        file.unlink()
    return found


def _key(line: str) -> str | None:
    """Return the key in a line; None if incomplete or missing."""
    try:
        return str(json.loads(line)) if line.startswith('"') else None
    except ValueError:
        return None
