"""Groups of maps that resemble each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from eli5k.keras.metrics.places import place_of

GROUPS, ROUNDS, EXAMPLES = 3, 20, 5
ALIKE = 0.8  # A map that correlates so with a group belongs to it.


@dataclass(frozen=True, slots=True)
class Group:
    """Maps of different pictures that resemble each other.

    Attributes
    ----------
    place : str
        Where their mean peaks.
    share : float
        Share of the pictures.
    likeness : float
        Mean correlation of a map with the mean of the group.
    mean_map : numpy.ndarray
        ``(*cells)``
    examples : tuple of str or int
        The documents whose maps resemble the mean most: their paths if known, else their numbers.
    """

    place: str
    share: float
    likeness: float
    mean_map: np.ndarray = field(repr=False, compare=False)
    examples: tuple[str | int, ...] = ()


def likeness_of(heat: np.ndarray) -> float:
    """Return the mean correlation of different rows.

    Examples
    --------
    >>> round(float(likeness_of(np.eye(2))), 6)
    -1.0
    """
    standard = _standardised(heat)
    count = len(standard)
    if count < 2:
        return float("nan")
    return float((np.square(standard.sum(axis=0)).sum() - count) / (count * (count - 1)))


def _standardised(heat: np.ndarray) -> np.ndarray:
    centred = heat - heat.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    standard: np.ndarray = centred / np.where(norms > 0, norms, 1)
    return standard


def groups_of(
    heat: np.ndarray, cells: tuple[int, ...], names: Sequence[str | int]
) -> tuple[Group, ...]:
    """Group maps by k-means of what makes correlation a distance.

    Parameters
    ----------
    heat : numpy.ndarray
        ``(maps, cells)``, not negative.
    cells : tuple of int
        The grid.
    names : sequence of str or int
        Of the documents.

    Returns
    -------
    tuple of Group
        The largest first.

    Examples
    --------
    >>> heat = np.eye(9)[[0, 0, 0, 8, 8]]
    >>> [(group.place, group.share) for group in groups_of(heat, (3, 3), range(5))]
    [('at the top left', 0.6), ('at the bottom right', 0.4)]
    """
    rows = _standardised(heat)
    centres = [_standardised(rows.mean(axis=0, keepdims=True))[0]]
    while len(centres) < min(GROUPS, len(rows)):
        nearest = np.max(rows @ np.transpose(centres), axis=1)
        if nearest.min() >= ALIKE:
            break
        centres.append(rows[nearest.argmin()])
    for _ in range(ROUNDS):
        labels = (rows @ np.transpose(centres)).argmax(axis=1)
        means = [rows[labels == number].mean(axis=0) for number in np.unique(labels)]
        centres = list(_standardised(np.array(means)))
    labels = (rows @ np.transpose(centres)).argmax(axis=1)
    found = []
    for number, centre in enumerate(centres):
        own = np.flatnonzero(labels == number)
        if len(own):
            mean_map = heat[own].mean(axis=0).reshape(cells).astype("float32")
            alike = rows[own] @ centre
            found.append(
                Group(
                    place_of(mean_map),
                    len(own) / len(rows),
                    float(alike.mean()),
                    mean_map,
                    tuple(names[row] for row in own[np.argsort(-alike, kind="stable")[:EXAMPLES]]),
                )
            )
    return tuple(sorted(found, key=lambda group: -group.share))
