"""Keys of documents as hashes: a million in 16 MB."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

# 16 bytes: two of a billion keys share one with a chance of 1 to 10**21.
HASH = "S16"


class Keys:
    """Growing set of hashes in sorted arrays.

    Each array is at least twice as long as the next.

    Examples
    --------
    >>> keys = Keys()
    >>> keys.add(np.array([b"b", b"a"]))
    >>> keys.have(np.array([b"a", b"c"]))
    array([ True, False])
    """

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []

    def add(self, hashes: np.ndarray) -> None:
        """Add hashes, some of which may be there."""
        run = np.unique(hashes)
        while self._runs and len(self._runs[-1]) < 2 * len(run):
            longer = self._runs.pop()
            run = np.concatenate([longer, run[~is_in(run, longer)]])
            # Two sorted runs are merged, in less memory than np.union1d takes.
            run.sort(kind="stable")
        self._runs.append(run)

    def have(self, hashes: np.ndarray) -> np.ndarray:
        """Tell which of the hashes are there: ``(hashes,)``, bool."""
        found = np.zeros(len(hashes), bool)
        for run in self._runs:
            found |= is_in(hashes, run)
        return found


def hashes_of(keys: Any) -> np.ndarray:
    """Return a hash of 128 bits of each key.

    Parameters
    ----------
    keys : sequence, or column of pyarrow

    Returns
    -------
    numpy.ndarray
        ``(keys,)``, of 16 bytes each.

    Examples
    --------
    >>> hashes_of(["a", "b", "a"]).shape
    (3,)
    """
    values = keys.to_pylist() if hasattr(keys, "to_pylist") else keys
    made = (
        hashlib.blake2b(str(key).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        for key in values
    )
    return np.fromiter(made, HASH, count=len(values))


def is_first(hashes: np.ndarray) -> np.ndarray:
    """Tell which hashes have no equal before them.

    Examples
    --------
    >>> is_first(np.array([b"b", b"a", b"b"]))
    array([ True,  True, False])
    """
    _, places = np.unique(hashes, return_index=True)
    found = np.zeros(len(hashes), bool)
    found[places] = True
    return found


def is_in(keys: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Tell which hashes are among others, which are sorted.

    Examples
    --------
    >>> is_in(np.array([b"a", b"c"]), np.array([b"a", b"b"]))
    array([ True, False])
    """
    if not len(known):
        return np.zeros(len(keys), bool)
    places = np.searchsorted(known, keys).clip(max=len(known) - 1)
    found: np.ndarray = known[places] == keys
    return found
