"""Pointing at a region: the peak of a map, and its heat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eli5k.keras.metrics.agreement import on_cells
from eli5k.maps import resize


def region_mask(region: Any, grid: Sequence[int]) -> np.ndarray:
    """Return where a region of a picture is.

    Parameters
    ----------
    region : tuple of int or array-like
        Box ``(left, top, right, bottom)`` in pixels, right and bottom exclusive, or ``(*grid)`` of
        bool. A box of another number of axes names the last axis first.
    grid : sequence of int

    Returns
    -------
    numpy.ndarray
        ``(*grid)``, float32: 1 or 0.

    Raises
    ------
    ValueError
        If it is neither, or is empty.

    Examples
    --------
    >>> region_mask((1, 0, 3, 1), (2, 3)).tolist()
    [[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
    """
    array = np.asarray(region)
    if array.shape == tuple(grid) and array.dtype.kind == "b" and array.any():
        return array.astype("float32")
    if array.shape == (2 * len(grid),) and array.dtype.kind in "iu":
        starts, stops = array[: len(grid)][::-1], array[len(grid) :][::-1]
        if (starts >= 0).all() and (starts < stops).all() and (stops <= grid).all():
            mask = np.zeros(grid, "float32")
            mask[tuple(map(slice, starts, stops))] = 1
            return mask
    raise ValueError(
        "region must be a box (left, top, right, bottom) of whole numbers within the input, or an "
        f"array of bool with the input's grid {tuple(grid)} that marks some of it. "
        f"Received: {region if array.size < 10 else f'{array.dtype} of shape {array.shape}'}"
    )


def points_at(found: np.ndarray, region: Any, grid: Sequence[int]) -> bool:
    """Tell whether a map peaks in a region: the pointing game.

    Parameters
    ----------
    found : numpy.ndarray
        ``(*map_grid)``; enlarged to the picture.
    region : tuple of int or array-like
        As in :func:`region_mask`.
    grid : sequence of int
        The picture's size along each axis.

    Returns
    -------
    bool
        False for a map that is constant or not finite.

    References
    ----------
    Zhang et al. 2016, https://arxiv.org/abs/1608.00507

    Examples
    --------
    >>> points_at(np.eye(2)[:1], (0, 0, 50, 10), (10, 100))
    True
    """
    mask = region_mask(region, grid)
    enlarged = resize(np.asarray(found, "float64"), grid)
    if not np.isfinite(enlarged).all() or np.ptp(enlarged) == 0:
        return False
    return bool(mask.ravel()[enlarged.argmax()])


def heat_in(found: np.ndarray, region: Any, grid: Sequence[int]) -> float:
    """Return the share of a map's positive values in a region.

    Parameters
    ----------
    found : numpy.ndarray
        ``(*map_grid)``
    region, grid
        As in :func:`points_at`.

    Returns
    -------
    float
        In [0, 1]; 0 for a map without positive values.

    References
    ----------
    Wang et al. 2020, https://arxiv.org/abs/1910.01279

    Examples
    --------
    >>> round(heat_in(np.array([[3.0, 1.0], [-5.0, 0.0]]), (0, 0, 50, 100), (100, 100)), 6)
    0.75
    """
    finite = np.nan_to_num(np.asarray(found, "float64"), posinf=0, neginf=0)
    heat = np.clip(finite, 0, None)
    total = heat.sum()
    inside = (heat * on_cells(region_mask(region, grid), heat.shape)).sum()
    return float(inside / total) if total else 0.0
