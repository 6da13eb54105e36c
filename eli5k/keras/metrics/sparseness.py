"""Sparseness: how concentrated a map is."""

from __future__ import annotations

import numpy as np


def sparseness(maps: np.ndarray, axes: int = 2) -> np.ndarray:
    """Compute the Gini index of the absolute values of maps.

    It says nothing about faithfulness: a single random pixel is perfectly sparse.

    Parameters
    ----------
    maps : numpy.ndarray
        ``(..., *grid)``
    axes : int
        Number of axes of the grid.

    Returns
    -------
    numpy.ndarray
        ``(...)``: 0 if all values are equal, towards 1 if a single one is not zero; NaN if all are
        zero.

    References
    ----------
    Chalasani et al. 2020, https://arxiv.org/abs/1810.06583

    Examples
    --------
    >>> sparseness(np.array([[0.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]]), axes=1).tolist()
    [0.75, 0.0]
    """
    shape = maps.shape[: maps.ndim - axes]
    values = np.sort(np.abs(maps, dtype="float64").reshape(*shape, -1), axis=-1)
    count = values.shape[-1]
    ranks = 2 * np.arange(1, count + 1) - count - 1
    total = values.sum(axis=-1)
    weighted = (values * ranks).sum(axis=-1)
    gini: np.ndarray = np.divide(
        weighted, count * total, out=np.full_like(total, np.nan), where=total > 0
    )
    return gini
