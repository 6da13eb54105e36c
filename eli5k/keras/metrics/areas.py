"""Areas that many maps may have in common."""

from __future__ import annotations

import numpy as np

from eli5k.keras.metrics.agreement import copies_of
from eli5k.keras.metrics.check import largest
from eli5k.keras.metrics.places import name_of

SHARES = {"tenth": 0.1, "quarter": 0.25}
PEAK = 0.999  # Share of a map's peak that counts as peaking.


def areas_of(heat: np.ndarray, cells: tuple[int, ...]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the areas to cover, each with another of its size.

    Parameters
    ----------
    heat : numpy.ndarray
        ``(maps, cells)``, each with a maximum of 1.
    cells : tuple of int
        The grid.

    Returns
    -------
    dict
        For ``"tenth"``, ``"quarter"`` and ``"border"`` the area and the other one: 1 in it, 0
        elsewhere. The other one is the coldest of the same shape; for the border, it is the middle.

    Examples
    --------
    >>> heat = np.eye(36)[[28, 29, 35, 0]]
    >>> tenth, _ = areas_of(heat, (6, 6))["tenth"]
    >>> np.argwhere(tenth).tolist()
    [[4, 4], [4, 5], [5, 4], [5, 5]]
    """
    mean_map = heat.mean(axis=0).reshape(cells)
    peaks = at_peak(heat).mean(axis=0).reshape(cells)
    found = {}
    for size, share in SHARES.items():
        area = box_of_most(peaks, share, mean_map)
        found[size] = area, _coldest_copy(area, mean_map)
    border = np.ones(cells, "float32")
    border[(slice(1, -1),) * border.ndim] = 0
    inward = np.indices(cells) + 0.5
    middle = np.reshape(cells, (-1, *[1] * border.ndim)) / 2
    farthest = np.abs((inward - middle) / middle).max(axis=0)
    [core] = largest(-farthest[np.newaxis], float(border.mean()))
    return found | {"border": (border, core)}


def at_peak(heat: np.ndarray) -> np.ndarray:
    """Share each map's peak among the cells that are as hot."""
    peak = (heat >= PEAK).astype(float)
    shares: np.ndarray = peak / peak.sum(axis=1, keepdims=True)
    return shares


def box_of_most(field: np.ndarray, share: float, hint: np.ndarray | None = None) -> np.ndarray:
    """Mark the box or strip that holds most of a field.

    Its shape is fixed: an area of any shape would follow the peaks of any maps.

    Parameters
    ----------
    field : numpy.ndarray
        ``(*cells)``
    share : float
        Of the cells, about.
    hint : numpy.ndarray, optional
        ``(*cells)``: of boxes that hold as much, the one in whose middle most of this lies is
        taken; by default, most of the field.

    Examples
    --------
    >>> box_of_most(np.array([9, 1, 3, 2, 9, 9]), 0.5).tolist()
    [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    """
    hint = field if hint is None else hint
    best, most = np.zeros(field.shape, "float32"), (-np.inf, -np.inf)
    for sides in _shapes(field.shape, share):
        held = _windows(field, sides).sum(axis=-1)
        # A shape that is a little larger has no advantage.
        held = np.round(held * min(1, share * field.size / np.prod(sides)), 9)
        middle = _windows(hint, sides) @ _hat(sides)
        first = np.flatnonzero(held.ravel() == held.max())
        at = first[middle.ravel()[first].argmax()]
        if (held.max(), middle.ravel()[at]) > most:
            most = held.max(), middle.ravel()[at]
            corner = np.unravel_index(at, held.shape)
            best = np.zeros(field.shape, "float32")
            best[tuple(slice(start, start + side) for start, side in zip(corner, sides))] = 1
    return best


def _windows(field: np.ndarray, sides: tuple[int, ...]) -> np.ndarray:
    """Return all windows, with their cells along the last axis."""
    found = np.lib.stride_tricks.sliding_window_view(field, sides)
    return found.reshape(*found.shape[: field.ndim], -1)


def _hat(sides: tuple[int, ...]) -> np.ndarray:
    """Return weights of the cells of a window, largest in its middle."""
    weights = np.ones(())
    for side in sides:
        middle = (side - 1) / 2
        weights = np.multiply.outer(weights, 1 - np.abs(np.arange(side) - middle) / (middle + 1))
    return weights.ravel() / weights.sum()


def _shapes(cells: tuple[int, ...], share: float) -> list[tuple[int, ...]]:
    """Return the sides of a box of this share, and of strips along the axes."""
    axes = len(cells)
    parts = [[share ** (1 / axes)] * axes]
    parts += [[share if axis == own else 1.0 for axis in range(axes)] for own in range(axes)]
    return [tuple(max(1, round(p * n)) for p, n in zip(part, cells)) for part in parts]


def place_of_area(area: np.ndarray) -> str:
    """Name the place of an area by its centre.

    Examples
    --------
    >>> place_of_area(np.diag([1, 1, 0, 0])), place_of_area(np.eye(4))
    ('at the top left', 'in the middle')
    """
    centre = np.argwhere(area).mean(axis=0)
    return name_of(tuple((each + 0.5) / size for each, size in zip(centre, area.shape)))


def _coldest_copy(area: np.ndarray, mean_map: np.ndarray) -> np.ndarray:
    copies = copies_of(area)
    heat = (copies * mean_map).reshape(len(copies), -1).sum(axis=1)
    coldest: np.ndarray = copies[heat.argmin()]
    return coldest
