"""The region of a picture that a user asks about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

# Ends of something along each axis, in shares of the picture: (lows, highs).
Span = tuple[Sequence[float], Sequence[float]]


class Canvas(NamedTuple):
    """What the user sees, and which part of it the model gets.

    Attributes
    ----------
    size : tuple of int
        Pixels of the picture along each axis, such as height and width.
    span : tuple
        Where the model's input begins and ends along each axis, in shares of the picture.

    Examples
    --------
    >>> Canvas((480, 640), ((0.0, 0.0), (1.0, 1.0))).size
    (480, 640)
    """

    size: tuple[int, ...]
    span: Span


def centres_of(grid: Sequence[int]) -> np.ndarray:
    """Return the centres of cells, ``(cells, axes)``, in shares of each axis.

    Examples
    --------
    >>> centres_of((1, 2)).tolist()
    [[0.5, 0.25], [0.5, 0.75]]
    """
    lines = [(np.arange(size) + 0.5) / size for size in grid]
    return np.stack([each.ravel() for each in np.meshgrid(*lines, indexing="ij")], axis=-1)


def in_region(
    region: Any, points: np.ndarray, canvas: Canvas, grids: Sequence[Sequence[int]]
) -> np.ndarray:
    """Tell which points lie in a region.

    Parameters
    ----------
    region : sequence of float or array-like
        Box ``(left, top, right, bottom)`` in pixels of the picture, right and bottom exclusive, or
        a mask ``(*grid)`` of bool of the picture, of the model's input or of its output. A box of
        another number of axes names the last axis first.
    points : numpy.ndarray
        ``(points, axes)``, in shares of the model's input.
    canvas : Canvas
    grids : sequence of tuple of int
        The sizes of the model's input and output.

    Returns
    -------
    numpy.ndarray
        ``(points,)``, bool. If no point lies in the region, the nearest one is taken.

    Raises
    ------
    ValueError
        If the region is neither, or is empty.

    Examples
    --------
    >>> canvas = Canvas((20, 40), ((0.0, 0.0), (1.0, 1.0)))
    >>> in_region((20, 0, 40, 10), centres_of((2, 2)), canvas, [(2, 2)]).tolist()
    [False, True, False, False]
    """
    array = np.asarray(region)
    axes = points.shape[1]
    lows, highs = (np.asarray(each, float) for each in canvas.span)
    seen = lows + points * (highs - lows)
    if array.shape == (2 * axes,) and array.dtype.kind in "iuf":
        starts, stops = array[:axes][::-1], array[axes:][::-1]
        if (starts < stops).all() and (stops > 0).all() and (starts < canvas.size).all():
            pixels = seen * canvas.size
            inside = ((pixels >= starts) & (pixels < stops)).all(axis=1)
            return inside if inside.any() else _nearest(pixels, (starts + stops) / 2)
    elif array.dtype.kind == "b" and array.any():
        size = array.shape
        if size == tuple(canvas.size) or size in map(tuple, grids):
            places = seen if size == tuple(canvas.size) else points
            cells = np.floor(places * size).astype(int)
            within = ((cells >= 0) & (cells < size)).all(axis=1)
            inside = within & array[tuple(np.clip(cells, 0, np.array(size) - 1).T)]
            centre = (np.argwhere(array).mean(axis=0) + 0.5) / size
            return inside if inside.any() else _nearest(places, centre)
    sizes = " or ".join(map(str, dict.fromkeys([tuple(canvas.size), *map(tuple, grids)])))
    raise ValueError(
        "region must be a box (left, top, right, bottom) in pixels of the picture, which is "
        f"{tuple(canvas.size)}, or an array of bool of shape {sizes} that marks some of it. "
        f"Received: {region if array.size < 10 else f'{array.dtype} of shape {array.shape}'}"
    )


def _nearest(points: np.ndarray, centre: np.ndarray) -> np.ndarray:
    distances = ((points - centre) ** 2).sum(axis=1)
    return np.arange(len(points)) == distances.argmin()
