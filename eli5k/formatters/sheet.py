"""Draw several targets in one picture: a sheet of captioned panels."""

from __future__ import annotations

import bisect
import functools
import math
import os
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from eli5k.base import TargetExplanation
from eli5k.formatters.heatmap import overlay
from eli5k.formatters.text import label, numbers

# Pixels. The longer side of a panel lies between SHORTEST and LONGEST, or below if a sheet of many
# panels would otherwise be wider than SHEET.
SHORTEST, LONGEST, SHEET = 224, 1024, 8192

PAPER, INK = "white", "black"


def draw_sheet(
    image: Image.Image,
    targets: Sequence[TargetExplanation],
    heatmaps: Sequence[np.ndarray],
    resampling_filter: int | None = Image.Resampling.LANCZOS,
) -> Image.Image:
    """Draw a panel for each heatmap, with a caption below.

    Parameters
    ----------
    image : PIL.Image.Image
        A picture of any size. If it is too small for a legible caption it is enlarged; a very large
        one is reduced.
    targets : sequence of TargetExplanation
        Their captions give name, score and, if known, probability.
    heatmaps : sequence of numpy.ndarray
        ``(height, width, 4)`` for each target, in [0, 1].
    resampling_filter : int or None
        As in :func:`~eli5k.format_as_image`.

    Returns
    -------
    PIL.Image.Image
        In mode RGBA: a grid of about as many rows as columns.

    Examples
    --------
    >>> targets = [TargetExplanation("cat"), TargetExplanation("dog")]
    >>> heatmaps = [np.zeros((1, 1, 4)), np.ones((1, 1, 4))]
    >>> sheet = draw_sheet(Image.new("RGB", (300, 200)), targets, heatmaps)
    >>> sheet.width > 2 * 300, 200 < sheet.height < 300
    (True, True)
    """
    columns = math.ceil(math.sqrt(len(targets)))
    picture = fit(image, longest=min(LONGEST, SHEET // columns))
    width = max(picture.width, SHORTEST)
    size = max(13, width // 24)
    gap = size // 2
    captions = _captions(targets, width - gap, size)
    line = 3 * size // 2
    height = picture.height + gap + line * max(len(caption) for caption in captions)
    rows = math.ceil(len(targets) / columns)
    sheet_size = (gap + columns * (width + gap), gap + rows * (height + gap))
    sheet = Image.new("RGBA", sheet_size, PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, (heatmap, caption) in enumerate(zip(heatmaps, captions)):
        row, column = divmod(number, columns)
        left, top = gap + column * (width + gap), gap + row * (height + gap)
        panel = overlay(heatmap, picture, resampling_filter)
        sheet.alpha_composite(panel, (left + (width - picture.width) // 2, top))
        top += picture.height + gap
        for text in caption:
            place = (left + width // 2, top + line // 2)
            pen.text(place, text, fill=INK, font=_font(text, size), anchor="mm")
            top += line
    return sheet


def fit(image: Image.Image, longest: int = LONGEST) -> Image.Image:
    """Resize a picture so that it can be compared with others.

    Parameters
    ----------
    image : PIL.Image.Image
        A picture of any size and mode.
    longest : int
        Maximum of the longer side; ``SHORTEST`` if that is more.

    Returns
    -------
    PIL.Image.Image
        In mode RGBA. A small picture is enlarged by a whole factor, so that its pixels stay
        distinct, and a large one is reduced.

    Examples
    --------
    >>> fit(Image.new("L", (28, 28))).size, fit(Image.new("L", (4000, 3000))).size
    ((224, 224), (1024, 768))
    >>> fit(Image.new("L", (640, 480))).size
    (640, 480)
    """
    image = image.convert("RGBA")
    side = max(image.size)
    longest = max(longest, SHORTEST)
    if side < SHORTEST:
        factor = math.ceil(SHORTEST / side)
        size = (factor * image.width, factor * image.height)
        return image.resize(size, Image.Resampling.NEAREST)
    if side > longest:
        image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return image


def _captions(targets: Sequence[TargetExplanation], width: int, size: int) -> list[list[str]]:
    """Return the lines of each caption.

    The numbers share a line if they all fit.
    """
    values = [numbers(target)[::-1] for target in targets]
    together = [[", ".join(value)] if value else [] for value in values]
    if all(_font(line, size).getlength(line) <= width for [line] in filter(None, together)):
        values = together
    return [
        [_shorten(line, width, size) for line in (label(target), *value)]
        for target, value in zip(targets, values)
    ]


def _shorten(text: str, width: int, size: int) -> str:
    """Shorten a text to the width of the panel, with an ellipsis."""
    text = text[:width]  # every letter is at least a pixel wide
    font = _font(text, size)
    if font.getlength(text) <= width:
        return text
    first_too_long = bisect.bisect_left(
        range(len(text)), True, key=lambda end: font.getlength(text[:end] + "…") > width
    )
    return text[: first_too_long - 1].rstrip() + "…"


def _font(text: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_font_file("".join(sorted(set(text)))), size)


@functools.lru_cache(maxsize=1024)
def _font_file(letters: str) -> str:
    """Find a font that has all letters: matplotlib's, or the system's."""
    import matplotlib

    own = os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    if _has_letters(own, letters):
        return own
    from matplotlib import font_manager

    for entry in font_manager.fontManager.ttflist:
        # The last resort has a glyph for each letter, the same one for most.
        if "Last Resort" not in entry.name and _has_letters(entry.fname, letters):
            return entry.fname
    return own


def _has_letters(file: str, letters: str) -> bool:
    try:
        known = _known_letters(file)
    except (OSError, RuntimeError):  # an unreadable font
        return False
    return all(ord(letter) in known for letter in letters)


@functools.lru_cache(maxsize=1024)
def _known_letters(file: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(file).get_charmap())
