"""Areas that many maps may have in common."""

from __future__ import annotations

import numpy as np

from eli5k.keras.metrics.agreement import copies_of
from eli5k.keras.metrics.check import largest

SHARES = {"tenth": 0.1, "quarter": 0.25}
# Share of the peak that counts as hot; number of smoothings; ties that the mean map breaks.
PEAK, SMOOTHINGS, TIE = 0.999, 2, 1e-3


def areas_of(peaks: np.ndarray, mean_map: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the areas to cover, each with another of its size.

    Parameters
    ----------
    peaks, mean_map : numpy.ndarray
        ``(*cells)``: how many maps peak around each cell, and what they show on average.

    Returns
    -------
    dict
        For ``"tenth"``, ``"quarter"`` and ``"border"`` the area and the other one: 1 in it, 0
        elsewhere. The other one is the coldest of the same shape; for the border, it is the middle.

    Examples
    --------
    >>> mean_map = np.add.outer(np.arange(6), np.arange(6))
    >>> tenth, other = areas_of(mean_map, mean_map)["tenth"]
    >>> np.argwhere(tenth).tolist(), np.argwhere(other).min(axis=0).tolist()
    ([[3, 5], [4, 5], [5, 4], [5, 5]], [0, 0])
    """
    found = {}
    for size, share in SHARES.items():
        area = grown(peaks, share)
        found[size] = area, _coldest_copy(area, mean_map)
    border = np.ones_like(mean_map, "float32")
    border[(slice(1, -1),) * border.ndim] = 0
    inward = np.indices(border.shape) + 0.5
    middle = np.reshape(border.shape, (-1, *[1] * border.ndim)) / 2
    farthest = np.abs((inward - middle) / middle).max(axis=0)
    [core] = largest(-farthest[np.newaxis], float(border.mean()))
    return found | {"border": (border, core)}


def peaks_of(heat: np.ndarray, cells: tuple[int, ...]) -> np.ndarray:
    """Return how many maps peak around each cell.

    The mean map tells cells apart around which none does.

    Parameters
    ----------
    heat : numpy.ndarray
        ``(maps, cells)``, each with a maximum of 1.
    cells : tuple of int

    Examples
    --------
    >>> heat = np.eye(5)[[0, 0, 4]]
    >>> int(peaks_of(heat, (5,)).argmax()), int(peaks_of(heat, (5,)).argmin())
    (0, 2)
    """
    near = at_peak(heat).mean(axis=0).reshape(cells)
    for axis in range(near.ndim):
        for _ in range(SMOOTHINGS):
            wide = np.pad(near, [(int(each == axis),) * 2 for each in range(near.ndim)], "edge")
            low, high = (np.delete(wide, ends, axis) for ends in ((-1, -2), (0, 1)))
            near = (low + 2 * near + high) / 4
    found: np.ndarray = near + TIE * heat.mean(axis=0).reshape(cells)
    return found


def at_peak(heat: np.ndarray) -> np.ndarray:
    """Share each map's peak among the cells that are as hot."""
    peak = (heat >= PEAK).astype(float)
    shares: np.ndarray = peak / peak.sum(axis=1, keepdims=True)
    return shares


def grown(field: np.ndarray, share: float) -> np.ndarray:
    """Grow an area from the largest cell.

    The largest neighbour joins until there are enough. So it is one place, which has a name, and
    not the largest cells of several.

    Parameters
    ----------
    field : numpy.ndarray
        ``(*cells)``
    share : float
        Of the cells.

    Examples
    --------
    >>> grown(np.array([9, 1, 3, 2, 8]), 0.6).tolist()
    [1.0, 1.0, 1.0, 0.0, 0.0]
    """
    heat = field.astype(float)
    area = np.zeros(heat.shape, bool)
    edge = {np.unravel_index(heat.argmax(), heat.shape)}
    for _ in range(max(1, round(share * heat.size))):
        cell = max(sorted(edge), key=lambda each: heat[each])
        area[cell] = True
        edge.remove(cell)
        for axis, place in enumerate(cell):
            for step in (place - 1, place + 1):
                near = (*cell[:axis], step, *cell[axis + 1 :])
                if 0 <= step < heat.shape[axis] and not area[near]:
                    edge.add(near)
    return area.astype("float32")


def surrounds(area: np.ndarray) -> bool:
    """Tell whether an area reaches all sides, as a border does.

    Examples
    --------
    >>> surrounds(np.eye(4)), surrounds(np.diag([1, 1, 1, 0]))
    (True, False)
    """
    return area.ndim > 1 and all(
        np.moveaxis(area, axis, 0)[end].any() for axis in range(area.ndim) for end in (0, -1)
    )


def _coldest_copy(area: np.ndarray, mean_map: np.ndarray) -> np.ndarray:
    copies = copies_of(area)
    heat = (copies * mean_map).reshape(len(copies), -1).sum(axis=1)
    coldest: np.ndarray = copies[heat.argmin()]
    return coldest
