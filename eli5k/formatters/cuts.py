"""Draw a volume by three orthogonal cuts through its hottest place."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from eli5k.formatters.fonts import font_for
from eli5k.formatters.sheet import INK, PAPER
from eli5k.formatters.strip import GAP, LETTERS, LINE, SIDE, slices_of, stretched
from eli5k.formatters.styles import Heat, Style
from eli5k.maps import Bounds, bounds_of

# Lines where the other two cuts pass.
CROSS = (255, 255, 255, 150)


def draw_cuts(array: np.ndarray, word: str, style: Style, heat: Heat) -> Image.Image:
    """Draw the cuts along each axis, with lines at the other two.

    Parameters
    ----------
    array : numpy.ndarray
        ``(depth, height, width)`` or ``(depth, height, width, channels)``.
    word : str
        What a slice along the first axis is called.
    style : callable
        Lays the heat over each of them, as over a photograph.
    heat : Heat
        Its map has three axes.

    Returns
    -------
    PIL.Image.Image
        In mode RGBA.

    Examples
    --------
    >>> from eli5k.formatters.styles import find_style
    >>> volume = np.zeros((8, 16, 16))
    >>> draw_cuts(volume, "slice", find_style("overlay"), Heat(np.ones((4, 4, 4)))).size
    (648, 246)
    """
    bounds = bounds_of(heat.frame, 3)
    shown = stretched(array)
    size = shown.shape[:3]
    place = hottest_place(heat.heatmap, bounds, size)
    factor = SIDE / max(size)
    pictures = []
    for axis in range(3):
        cut = Image.fromarray(np.ascontiguousarray(np.take(shown, place[axis], axis=axis)))
        large = (max(1, round(cut.width * factor)), max(1, round(cut.height * factor)))
        kind = Image.Resampling.NEAREST if factor >= 2 else Image.Resampling.BICUBIC
        own = slices_of(heat, bounds, axis, size[axis])(place[axis])
        down, across = ((place[other] + 0.5) / size[other] for other in range(3) if other != axis)
        pictures.append(_crossed(style(cut.resize(large, kind), own), across, down))
    names = (word, "row", "column")
    return _in_a_row(pictures, [f"{name} {number}" for name, number in zip(names, place)])


def hottest_place(
    heatmap: np.ndarray, bounds: Bounds | None, size: tuple[int, ...]
) -> tuple[int, ...]:
    """Return the voxel in the middle of the hottest cell.

    Parameters
    ----------
    heatmap : numpy.ndarray
        ``(depth, height, width)``
    bounds : tuple or None
        As :func:`~eli5k.maps.bounds_of` returns them.
    size : tuple of int
        Size of the volume along each axis.

    Examples
    --------
    >>> heatmap = np.zeros((2, 2, 2))
    >>> heatmap[1, 0, 1] = 1
    >>> hottest_place(heatmap, None, (8, 16, 16))
    (6, 4, 12)
    """
    cell = np.unravel_index(int(np.argmax(heatmap)), heatmap.shape)
    lows, highs = bounds or ((0.0,) * 3, (1.0,) * 3)
    place = []
    for index, cells, low, high, length in zip(cell, heatmap.shape, lows, highs, size):
        voxel = int((low + (high - low) * (float(index) + 0.5) / cells) * length)
        place.append(min(max(voxel, 0), length - 1))
    return tuple(place)


def _crossed(picture: Image.Image, across: float, down: float) -> Image.Image:
    lines = Image.new("RGBA", picture.size)
    pen = ImageDraw.Draw(lines)
    x, y = int(across * picture.width), int(down * picture.height)
    pen.line((x, 0, x, picture.height), fill=CROSS)
    pen.line((0, y, picture.width, y), fill=CROSS)
    return Image.alpha_composite(picture.convert("RGBA"), lines)


def _in_a_row(pictures: list[Image.Image], captions: list[str]) -> Image.Image:
    highest = max(picture.height for picture in pictures)
    width = GAP + sum(picture.width + GAP for picture in pictures)
    sheet = Image.new("RGBA", (width, highest + LINE + 2 * GAP), PAPER)
    pen, left = ImageDraw.Draw(sheet), GAP
    for picture, caption in zip(pictures, captions):
        sheet.paste(picture, (left, GAP))
        middle = (left + picture.width // 2, GAP + highest + LINE // 2)
        pen.text(middle, caption, fill=INK, font=font_for(caption, LETTERS), anchor="mm")
        left += picture.width + GAP
    return sheet
