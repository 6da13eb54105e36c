"""Agreement between a map and what parts of the picture are worth."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product
from typing import NamedTuple

import numpy as np

from eli5k.keras.metrics.worth import attainable
from eli5k.maps import resize

# A copy of a map that resembles it more says nothing about chance.
RESEMBLANCE = 0.5


class Agreement(NamedTuple):
    """How well a map predicts the halves' worth, beside its copies elsewhere.

    Attributes
    ----------
    value : float
        Pearson's correlation over the halves, in [-1, 1].
    p_value, p_against : float
        Share of the copies that agree at least as well, or at least as badly.
    copies : int
        How many copies were compared.
    attainable : float
        The value that a map has which is solved from the other halves.
    """

    value: float
    p_value: float
    p_against: float
    copies: int
    attainable: float = 0.0


def on_cells(maps: np.ndarray, cells: Sequence[int]) -> np.ndarray:
    """Resample maps to a coarse grid.

    It takes means of finer cells, and interpolates between coarser ones.

    Parameters
    ----------
    maps : numpy.ndarray
        ``(..., *grid)``
    cells : sequence of int

    Examples
    --------
    >>> on_cells(np.array([[1.0, 3.0, 5.0, 7.0]]), (1, 2)).tolist()
    [[2.0, 6.0]]
    """
    maps = np.asarray(maps, "float64")
    # Infinity times zero is NaN, which is right here.
    maps = np.where(np.isfinite(maps), maps, np.nan)
    for axis, length in zip(range(-len(cells), 0), cells):
        if maps.shape[axis] > length:
            matrix = _overlap(maps.shape[axis], length)
            maps = np.moveaxis(np.moveaxis(maps, axis, -1) @ matrix, -1, axis)
    return resize(maps, cells)


def _overlap(old: int, new: int) -> np.ndarray:
    """Return a matrix ``(old, new)`` that averages old cells in new ones."""
    edges = np.arange(new + 1) * old / new
    starts = np.arange(old)[:, np.newaxis]
    shared = np.minimum(edges[1:], starts + 1) - np.maximum(edges[:-1], starts)
    matrix: np.ndarray = np.maximum(shared, 0) * new / old
    return matrix


def agreement(on_grid: np.ndarray, signs: np.ndarray, worth: np.ndarray) -> Agreement:
    """Correlate the halves' worth as predicted by a map and as measured.

    A map says that a half is worth the heat inside it minus the heat outside. Chance is the same
    map turned, flipped and moved cyclically, without copies that resemble it.

    Parameters
    ----------
    on_grid : numpy.ndarray
        ``(*cells)``: a signed map.
    signs : numpy.ndarray
        ``(pairs, *cells)``: 1 in the first half of each pair, -1 in the second.
    worth : numpy.ndarray
        ``(pairs,)``

    Returns
    -------
    Agreement
        All NaN if the map or the worth is constant or not finite.

    Examples
    --------
    >>> from eli5k.keras.metrics.halves import draw_halves
    >>> signs = draw_halves((14, 14), 32)
    >>> spot = np.zeros((14, 14))
    >>> spot[3:6, 3:6] = 1
    >>> found = agreement(spot, signs, worth=(signs * spot).sum(axis=(1, 2)))
    >>> round(found.value, 3), found.p_value < 0.05
    (1.0, True)
    """
    standard = _standardised(on_grid.reshape(1, -1))
    measured = _standardised(worth.reshape(1, -1))
    if standard is None or measured is None:
        return Agreement(np.nan, np.nan, np.nan, 0)
    copies = copies_of(on_grid).reshape(-1, on_grid.size)
    copies = copies - copies.mean(axis=1, keepdims=True)
    # A copy has the same values, and so the same norm.
    likeness = copies @ standard[0] / np.linalg.norm(copies[0])
    flat = signs.reshape(len(signs), -1)
    values = _correlate(copies[likeness <= RESEMBLANCE] @ flat.T, measured[0])
    [own] = _correlate(standard @ flat.T, measured[0])
    above, below = (values >= own).sum(), (values <= own).sum()
    total = len(values) + 1
    return Agreement(
        float(own),
        p_value=float((above + 1) / total),
        p_against=float((below + 1) / total),
        copies=total - 1,
        attainable=attainable(signs, worth),
    )


def is_flat(on_grid: np.ndarray) -> bool:
    """Tell whether a map is constant, up to rounding, or not finite."""
    return _standardised(on_grid.reshape(1, -1)) is None


def _standardised(rows: np.ndarray) -> np.ndarray | None:
    """Centre a row and give it the norm one, if it varies."""
    centred = rows - rows.mean()
    norm = np.linalg.norm(centred)
    # A constant with rounding errors is no map.
    if not np.isfinite(norm) or norm <= 1e-9 * np.linalg.norm(rows) or norm == 0:
        return None
    standard: np.ndarray = centred / norm
    return standard


def _correlate(claims: np.ndarray, measured: np.ndarray) -> np.ndarray:
    claims = claims - claims.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(claims, axis=1)
    correlation: np.ndarray = claims @ measured / np.where(norms > 0, norms, np.inf)
    return correlation


def copies_of(on_grid: np.ndarray) -> np.ndarray:
    """Turn, flip and shift a map in all ways on its grid.

    Parameters
    ----------
    on_grid : numpy.ndarray
        ``(*cells)``

    Returns
    -------
    numpy.ndarray
        ``(copies, *cells)``; the map itself is the first.

    Examples
    --------
    >>> copies_of(np.array([1, 2, 3])).tolist()
    [[1, 2, 3], [3, 1, 2], [2, 3, 1], [3, 2, 1], [1, 3, 2], [2, 1, 3]]
    """
    axes = range(on_grid.ndim)
    cells = on_grid.shape
    # In three dimensions and more, flips are enough.
    orders = permutations(axes) if on_grid.ndim <= 2 else [tuple(axes)]
    turned = [
        np.flip(on_grid.transpose(order), flips)
        for order in orders
        if tuple(cells[axis] for axis in order) == cells
        for flips in _subsets(axes)
    ]
    shifts = np.stack(np.meshgrid(*map(np.arange, cells), indexing="ij"), -1).reshape(
        -1, len(cells)
    )
    places = np.indices(cells).reshape(len(cells), 1, -1)
    moved = (places - shifts.T[..., np.newaxis]) % np.reshape(cells, (-1, 1, 1))
    copies = np.stack(turned)[:, *moved]
    return copies.reshape(-1, *cells)


def _subsets(axes: Sequence[int]) -> list[tuple[int, ...]]:
    chosen = product([False, True], repeat=len(axes))
    return [tuple(axis for axis, is_in in zip(axes, each) if is_in) for each in chosen]
