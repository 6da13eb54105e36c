"""Place a map where its cells look: inside or beyond the picture."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from PIL import Image

from eli5k.base import WHOLE

Frame = tuple[float, ...]

# Shares of a pixel below this are rounding errors.
DIGITS = 6


def spread(
    image: Image.Image,
    size: tuple[int, int],
    frame: Frame = WHOLE,
    resampling_filter: int | None = Image.Resampling.LANCZOS,
) -> Image.Image:
    """Enlarge a map to its frame in a picture.

    Parameters
    ----------
    image : PIL.Image.Image
        The map, one pixel for each cell, in mode RGBA, L or F.
    size : tuple of int
        Width and height of the picture.
    frame : tuple of float
        As in :class:`~eli5k.Explanation`. What lies outside the picture is cut off.
    resampling_filter : int or None
        As in :func:`~eli5k.format_as_image`.

    Returns
    -------
    PIL.Image.Image
        As large as the picture: 0 outside the frame, and transparent in mode RGBA. A pixel that the
        frame covers in part has that part of the opacity, or of the value in other modes.

    Raises
    ------
    ValueError
        If the frame has no area, or the filter is unknown.

    Examples
    --------
    >>> cells = Image.fromarray(np.array([[10, 20]], np.uint8))
    >>> half = spread(cells, (8, 1), (0.25, 0.0, 0.75, 1.0), Image.Resampling.NEAREST)
    >>> np.asarray(half).tolist()
    [[0, 0, 10, 10, 20, 20, 0, 0]]
    """
    left, top, right, bottom = check_frame(frame)
    if (left, top, right, bottom) == WHOLE:
        return image.resize(size, resample=resampling_filter)
    layer = Image.new(image.mode, size)
    across = _span(left, right, size[0], image.width)
    down = _span(top, bottom, size[1], image.height)
    if across is None or down is None:
        return layer
    # Pillow's filters also take cells outside the box, so this is a part of the whole enlarged map.
    box = (across.cells[0], down.cells[0], across.cells[1], down.cells[1])
    inner = image.resize((across.inner, down.inner), resampling_filter, box=box)
    pixels = np.asarray(inner)
    rest = [(0, 0)] * (pixels.ndim - 2)
    pixels = np.pad(pixels, [down.rim, across.rim, *rest], mode="edge")
    covered = np.outer(down.coverage, across.coverage)
    if image.mode == "RGBA":
        pixels[..., 3] = np.rint(pixels[..., 3] * covered)
    else:
        pixels = np.asarray(pixels * covered, pixels.dtype)
    layer.paste(Image.fromarray(pixels), (across.first, down.first))
    return layer


def check_frame(frame: Frame) -> Frame:
    """Check that a frame has an area.

    Parameters
    ----------
    frame : tuple of float

    Returns
    -------
    tuple of float
        ``(left, top, right, bottom)``.

    Raises
    ------
    ValueError
        If it has none, or its numbers are not finite.

    Examples
    --------
    >>> check_frame((0, 0, 1, 0.5))
    (0.0, 0.0, 1.0, 0.5)
    """
    left, top, right, bottom = (float(share) for share in frame)
    if not (all(map(math.isfinite, frame)) and left < right and top < bottom):
        raise ValueError(
            "The explanation's frame must be (left, top, right, bottom) with left < right and "
            f"top < bottom. Received: {tuple(frame)}"
        )
    return left, top, right, bottom


def place_of_cell(
    cell: tuple[float, float], grid: tuple[int, int], frame: Frame = WHOLE
) -> tuple[float, float]:
    """Say where a cell of a map lies in the picture.

    Parameters
    ----------
    cell : tuple of float
        Row and column, from 0; halves are centres of cells: ``(0.5, 0.5)`` is that of the first.
    grid : tuple of int
        Rows and columns of the map.
    frame : tuple of float

    Returns
    -------
    tuple of float
        Shares of the picture's width and height: across, down. Outside [0, 1] in a padding.

    Examples
    --------
    >>> place_of_cell((0.5, 0.5), (2, 2), (0.5, 0.0, 1.0, 1.0))
    (0.625, 0.25)
    """
    left, top, right, bottom = frame
    across = left + (right - left) * cell[1] / grid[1]
    down = top + (bottom - top) * cell[0] / grid[0]
    return across, down


class _Span(NamedTuple):
    """What a frame covers along one axis of a picture.

    Attributes
    ----------
    first : int
        The first pixel that it touches.
    inner : int
        How many pixels get a colour of their own: those inside the frame, at least one.
    rim : tuple of int
        How many pixels before and after these are covered in part, with their neighbour's colour.
    cells : tuple of float
        Where in the map the inner pixels begin and end.
    coverage : numpy.ndarray
        The part of each touched pixel that is covered.
    """

    first: int
    inner: int
    rim: tuple[int, int]
    cells: tuple[float, float]
    coverage: np.ndarray


def _span(low: float, high: float, pixels: int, cells: int) -> _Span | None:
    """Return a frame's span along one axis; None outside the picture."""
    start, stop = round(low * pixels, DIGITS), round(high * pixels, DIGITS)
    if start >= pixels or stop <= 0 or start == stop:
        return None
    first, last = max(0, math.floor(start)), min(pixels, math.ceil(stop))
    begin = min(max(0, math.ceil(start)), last - 1)
    end = max(min(pixels, math.floor(stop)), begin + 1)
    ends = [cells * (edge - start) / (stop - start) for edge in (begin, end)]
    edges = np.arange(first, last)
    return _Span(
        first,
        inner=end - begin,
        rim=(begin - first, last - end),
        cells=(max(0.0, ends[0]), min(float(cells), ends[1])),
        coverage=np.minimum(edges + 1, stop) - np.maximum(edges, start),
    )
