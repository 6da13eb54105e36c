"""Draw the hottest slices of a volume or clip side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw

from eli5k.formatters.fonts import font_for
from eli5k.formatters.sheet import INK, PAPER
from eli5k.formatters.styles import Heat, Style
from eli5k.maps import Bounds, bounds_of, frame_of, inside, resize

# How many slices are drawn, how many stand side by side, and the size in pixels of each.
SLICES, COLUMNS, SIDE = 6, 3, 208
GAP, LINE, LETTERS = 6, 26, 16
# Percentiles of the values that are shown as black and as white.
SHOWN = (0.1, 99.9)
# A slice with less than this share of the hottest one's heat is left out.
COLD = 0.05
COLOURS = 3


def draw_strip(array: np.ndarray, word: str, style: Style, heat: Heat) -> Image.Image:
    """Draw the hottest slices with their numbers.

    Parameters
    ----------
    array : numpy.ndarray
        ``(depth, height, width)`` or ``(depth, height, width, channels)``.
    word : str
        What a slice is called.
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
    >>> draw_strip(volume, "slice", find_style("overlay"), Heat(np.ones((4, 4, 4)))).size
    (648, 486)
    """
    bounds = bounds_of(heat.frame, 3)
    axis = slicing_axis(heat.heatmap.shape)
    numbers = hottest_slices(heat.heatmap, bounds, array.shape[:3])
    shown = np.moveaxis(stretched(array), axis, 0)
    slices = slices_of(heat, bounds, axis, shown.shape[0])
    pictures = [style(_large(Image.fromarray(shown[each])), slices(each)) for each in numbers]
    return _side_by_side(pictures, [f"{word} {number}" for number in numbers])


def slicing_axis(grid: tuple[int, ...]) -> int:
    """Return the axis to slice along.

    It is the one that a map doesn't have, or the first.

    Examples
    --------
    >>> slicing_axis((4, 7, 7)), slicing_axis((7, 7, 1))
    (0, 2)
    """
    single = [axis for axis, cells in enumerate(grid) if cells == 1]
    return single[0] if len(single) == 1 else 0


def hottest_slices(
    heatmap: np.ndarray, bounds: Bounds | None, size: tuple[int, ...], most: int = SLICES
) -> list[int]:
    """Choose the hottest slices, one for each cell if possible.

    Parameters
    ----------
    heatmap : numpy.ndarray
        ``(depth, height, width)``, not negative.
    bounds : tuple or None
        As :func:`~eli5k.maps.bounds_of` returns them.
    size : tuple of int
        Size of the volume along each axis.
    most : int
        How many, at most.

    Returns
    -------
    list of int
        In order.

    Examples
    --------
    >>> cube = np.zeros((8, 2, 2))
    >>> cube[5] = 1
    >>> hottest_slices(cube, None, (8, 4, 4), most=1)
    [5]
    """
    axis = slicing_axis(heatmap.shape)
    depth, cells = size[axis], heatmap.shape[axis]
    low, high = (0.0, 1.0) if bounds is None else (bounds[0][axis], bounds[1][axis])
    others = tuple(other for other in range(3) if other != axis)
    along = np.asarray(heatmap, np.float64).sum(axis=others)
    centres = (low + (high - low) * (np.arange(cells) + 0.5) / cells) * depth
    candidates = np.unique(np.clip(centres.astype(int), 0, depth - 1))
    if len(candidates) < most:
        candidates = np.arange(depth)
    if np.ptp(along) == 0:  # All are equally hot, so show the whole volume.
        spread = np.linspace(0, len(candidates) - 1, min(most, len(candidates))).round()
        return [int(each) for each in candidates[spread.astype(int)]]
    heat = resize(along, (depth,), ((low,), (high,)))[candidates]
    heat[~inside((depth,), ((low,), (high,)))[candidates]] = 0
    order = np.argsort(-heat, kind="stable")[:most]
    order = order[heat[order] >= COLD * heat.max()]
    return sorted(int(each) for each in candidates[order])


def slices_of(heat: Heat, bounds: Bounds | None, axis: int, depth: int) -> Callable[[int], Heat]:
    """Return a function from a slice's number to its own heat.

    Examples
    --------
    >>> slices_of(Heat(np.ones((4, 7, 5))), None, axis=0, depth=8)(3).heatmap.shape
    (7, 5)
    """
    lows, highs = bounds or ((0.0,) * 3, (1.0,) * 3)
    kept = [other for other in range(3) if other != axis]
    frame = frame_of((tuple(lows[k] for k in kept), tuple(highs[k] for k in kept)), 2)

    def along(values: np.ndarray | None) -> np.ndarray | None:
        if values is None:
            return None
        last = np.moveaxis(np.asarray(values, np.float64), axis, -1)
        return resize(np.nan_to_num(last), (depth,), ((lows[axis],), (highs[axis],)))

    heatmap, attribution = along(heat.heatmap), along(heat.attribution)
    assert heatmap is not None
    highest = heat.highest
    if highest is None and attribution is not None:
        highest = float(np.abs(attribution).max())

    def of_slice(number: int) -> Heat:
        own = None if attribution is None else attribution[..., number]
        return replace(
            heat,
            heatmap=heatmap[..., number],
            attribution=own,
            frame=frame,
            highest=highest,
        )

    return of_slice


def stretched(array: np.ndarray) -> np.ndarray:
    """Scale a whole volume to 0..255.

    It is ``(depth, height, width)``, or has three colours.

    Examples
    --------
    >>> stretched(np.array([[[0.0, 2.0]]])).tolist()
    [[[0, 255]]]
    """
    if array.ndim == 4 and array.shape[-1] != COLOURS:
        array = array.mean(axis=-1)
    values = np.nan_to_num(np.asarray(array, np.float32))
    low, high = np.percentile(values, SHOWN)
    if low == high:
        low, high = values.min(), values.max()
    shares = np.clip((values - low) / ((high - low) or 1.0), 0, 1)
    return np.asarray(255 * shares, np.uint8)


def _large(picture: Image.Image) -> Image.Image:
    """Enlarge a small slice in distinct pixels, or reduce a large one."""
    factor = SIDE / max(picture.size)
    width, height = (max(1, round(side * factor)) for side in picture.size)
    kind = Image.Resampling.NEAREST if factor >= 2 else Image.Resampling.BICUBIC
    return picture.resize((width, height), kind)


def _side_by_side(pictures: list[Image.Image], captions: list[str]) -> Image.Image:
    columns = 2 if len(pictures) == 4 else min(COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    width, height = (size + GAP for size in (pictures[0].width, pictures[0].height + LINE))
    sheet = Image.new("RGBA", (columns * width + GAP, rows * height + GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, (picture, caption) in enumerate(zip(pictures, captions)):
        row, column = divmod(number, columns)
        left, top = GAP + column * width, GAP + row * height
        sheet.paste(picture.convert("RGBA"), (left, top))
        middle = (left + picture.width // 2, top + picture.height + LINE // 2)
        pen.text(middle, caption, fill=INK, font=font_for(caption, LETTERS), anchor="mm")
    return sheet
