"""Resize the map of a layer to the input."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def resize(maps: np.ndarray, grid: Sequence[int]) -> np.ndarray:
    """Interpolate maps linearly along each axis of their grid.

    Pixels are areas, as in pictures: the corners of both grids coincide, and beyond the centre of
    the outermost pixel its value continues.

    Parameters
    ----------
    maps : numpy.ndarray
        ``(..., *old_grid)``
    grid : sequence of int
        The new lengths of the last axes.

    Returns
    -------
    numpy.ndarray
        ``(..., *grid)``, of the same float type.

    Examples
    --------
    >>> resize(np.array([[0.0, 1.0]]), (1, 4)).tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    """
    for axis, length in zip(range(-len(grid), 0), grid):
        if maps.shape[axis] != length:
            matrix = _interpolation(maps.shape[axis], length).astype(maps.dtype)
            maps = np.moveaxis(np.moveaxis(maps, axis, -1) @ matrix, -1, axis)
    return maps


def _interpolation(old: int, new: int) -> np.ndarray:
    """Matrix ``(old, new)`` that interpolates between the centres of old pixels."""
    positions = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    distances = np.abs(np.arange(old)[:, np.newaxis] - positions)
    return np.maximum(1 - distances, 0)
