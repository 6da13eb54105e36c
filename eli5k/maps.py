"""Enlarge maps to the size of a document, by NumPy alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# A map's ends along each axis of the document, in shares of it.
Bounds = tuple[tuple[float, ...], tuple[float, ...]]


def bounds_of(frame: Sequence[float], axes: int) -> Bounds | None:
    """Return a frame's ends along each axis, first axis first.

    Parameters
    ----------
    frame : sequence of float
        As in :class:`~eli5k.Explanation`.
    axes : int
        Number of axes of the map.

    Returns
    -------
    tuple or None
        ``(lows, highs)`` in shares of the document; None for all of it.

    Raises
    ------
    ValueError
        If the frame is of a map with another number of axes.

    Examples
    --------
    >>> bounds_of((0.25, 0.0, 0.75, 1.0), 2)
    ((0.0, 0.25), (1.0, 0.75))
    """
    half = len(frame) // 2
    lows, highs = tuple(frame[:half])[::-1], tuple(frame[half:])[::-1]
    if not any(lows) and all(share == 1 for share in highs):
        return None
    if half != axes or len(frame) != 2 * half:
        raise ValueError(
            f"The frame of a map with {axes} axes must have {2 * axes} numbers. "
            f"Received: {tuple(frame)}"
        )
    return lows, highs


def frame_of(bounds: Bounds | None, axes: int) -> tuple[float, ...]:
    """Return the frame of bounds: the inverse of :func:`bounds_of`.

    Examples
    --------
    >>> frame_of(((0.0, 0.25), (1.0, 0.75)), 2), frame_of(None, 1)
    ((0.25, 0.0, 0.75, 1.0), (0.0, 1.0))
    """
    lows, highs = bounds or ((0.0,) * axes, (1.0,) * axes)
    return (*lows[::-1], *highs[::-1])


def on_axes(
    maps: np.ndarray, frame: Bounds | None, leading: int, axes: int
) -> tuple[np.ndarray, Bounds | None]:
    """Sum up axes that a document lacks, such as a sound's frequencies.

    Parameters
    ----------
    maps : numpy.ndarray
        ``(*leading, *grid)``
    frame : tuple or None
        Where the maps begin and end along each axis of their grid.
    leading, axes : int
        How many axes come before the grid, and how many the document has.

    Returns
    -------
    tuple
        Maps and frame with that number of axes.

    Examples
    --------
    >>> on_axes(np.ones((5, 31, 16)), None, leading=1, axes=1)[0].shape
    (5, 31)
    """
    if maps.ndim <= leading + axes:
        return maps, frame
    summed = maps.sum(axis=tuple(range(leading + axes, maps.ndim)))
    return summed, frame and (frame[0][:axes], frame[1][:axes])


def over_picture(maps: np.ndarray, grid: Sequence[int], frame: Bounds | None) -> np.ndarray:
    """Enlarge maps to the whole picture; outside their frame they are zero.

    Parameters
    ----------
    maps : numpy.ndarray
        ``(..., *old_grid)``
    grid : sequence of int
        The new lengths of the last axes.
    frame : tuple or None
        Where the maps begin and end along each axis, in shares of the picture; None if they cover
        it.

    Returns
    -------
    numpy.ndarray
        ``(..., *grid)``, of the same float type.

    Examples
    --------
    >>> over_picture(np.array([[1.0, 2.0]]), (1, 8), ((0.0, 0.5), (1.0, 1.0))).tolist()
    [[0.0, 0.0, 0.0, 0.0, 1.0, 1.25, 1.75, 2.0]]
    """
    if frame is None:
        return resize(maps, grid)
    return resize(maps, grid, frame) * inside(grid, frame).astype(maps.dtype)


def inside(grid: Sequence[int], frame: Bounds | None) -> np.ndarray:
    """Tell which pixels lie in a frame: ``(*grid)``, bool."""
    shown = np.ones(tuple(grid), bool)
    for axis, (length, low, high) in enumerate(zip(grid, *frame) if frame else ()):
        places = (np.arange(length) + 0.5) / length
        within = (places >= low) & (places <= high)
        shown &= within.reshape([-1 if other == axis else 1 for other in range(len(grid))])
    return shown


def resize(maps: np.ndarray, grid: Sequence[int], frame: Bounds | None = None) -> np.ndarray:
    """Interpolate maps linearly along each axis of their grid.

    Pixels are areas, as in pictures: the corners of both grids coincide, and beyond the centre of
    the outermost pixel its value continues.

    Parameters
    ----------
    maps : numpy.ndarray
        ``(..., *old_grid)``
    grid : sequence of int
        The new lengths of the last axes.
    frame : tuple or None
        Where the maps lie, as in :func:`over_picture`. Beyond it, their border continues.

    Returns
    -------
    numpy.ndarray
        ``(..., *grid)``, of the same float type.

    Examples
    --------
    >>> resize(np.array([[0.0, 1.0]]), (1, 4)).tolist()
    [[0.0, 0.25, 0.75, 1.0]]
    """
    lows, highs = frame or ((0.0,) * len(grid), (1.0,) * len(grid))
    for axis, length, low, high in zip(range(-len(grid), 0), grid, lows, highs):
        if maps.shape[axis] != length or (low, high) != (0, 1):
            maps = _interpolated(maps, axis, length, low, high)
    return maps


def _interpolated(maps: np.ndarray, axis: int, new: int, low: float, high: float) -> np.ndarray:
    """Interpolate between old pixels along one axis, counted from the last."""
    old = maps.shape[axis]
    shares = (np.arange(new) + 0.5) * old / new
    positions = np.clip((shares - low * old) / (high - low) - 0.5, 0, old - 1)
    before = np.minimum(positions.astype(int), max(old - 2, 0))
    after = np.minimum(before + 1, old - 1)
    along = (-1, *(1,) * (-1 - axis))
    part = (positions - before).astype(maps.dtype).reshape(along)
    return maps.take(before, axis) * (1 - part) + maps.take(after, axis) * part
