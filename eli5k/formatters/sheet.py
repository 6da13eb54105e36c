"""Draw several targets in one picture: a sheet of captioned panels."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from eli5k.formatters.fonts import font_for, warn_of_letters
from eli5k.formatters.heatmap import overlay
from eli5k.printable import printable

# Pixels. The longer side of a panel lies between SHORTEST and LONGEST, or below if a sheet of many
# panels would otherwise be wider than SHEET.
SHORTEST, LONGEST, SHEET = 224, 1024, 8192

# Width of a sheet to its height, and how much holes cost: three photographs stand in one row.
ASPECT, HOLE = 1.8, 4.5

PAPER, INK = "white", "black"
# Without paper, letters are read on white and on black: a contrast of 4.3 or more on both.
NO_PAPER, GREY = (117, 117, 117, 0), (117, 117, 117)

Ink = str | tuple[int, int, int]


@dataclass(frozen=True)
class Bar:
    """The colours of a panel, from the lowest value to the highest.

    Attributes
    ----------
    colours : numpy.ndarray
        ``(1, steps, 4)``, in [0, 1].
    low, high : str
        What is written at its ends.

    Examples
    --------
    >>> Bar(np.ones((1, 2, 4)), "0", "1").high
    '1'
    """

    colours: np.ndarray
    low: str
    high: str


@dataclass(frozen=True)
class Panel:
    """One picture of a sheet.

    Attributes
    ----------
    image : PIL.Image.Image
        A picture of any size. If it is too small for a legible caption it is enlarged; a very large
        one is reduced.
    draw : callable
        Lays the heat over the picture when it has its size: from a picture to one in mode RGBA.
    caption : sequence of sequence of str
        Its lines; the words of a line take a line each if they don't fit.
    bar : Bar or None
        What the colours mean.

    Examples
    --------
    >>> Panel(Image.new("L", (9, 9)), draw=lambda picture: picture, caption=[["cat"]]).caption
    [['cat']]
    """

    image: Image.Image
    draw: Callable[[Image.Image], Image.Image]
    caption: Sequence[Sequence[str]]
    bar: Bar | None = None


def draw_sheet(
    panels: Sequence[Panel],
    footer: Sequence[str] = (),
    columns: int | None = None,
    on_paper: bool = True,
) -> Image.Image:
    """Draw panels with their captions below.

    Parameters
    ----------
    panels : sequence of Panel
    footer : sequence of str
        What holds for all of them.
    columns : int or None
        How many panels stand side by side; None chooses what suits their shape.
    on_paper : bool
        Write in black on white; otherwise in grey on nothing, for a window that may be dark.

    Returns
    -------
    PIL.Image.Image
        In mode RGBA; by default about as wide as a screen is for its height.

    Examples
    --------
    >>> picture = Image.new("RGBA", (300, 200))
    >>> panels = [Panel(picture, lambda image: image, [[name]]) for name in ("cat", "dog")]
    >>> draw_sheet(panels).size
    (618, 237)
    """
    warn_of_letters([*footer, *(word for each in panels for line in each.caption for word in line)])
    columns = columns or _columns(panels)
    pictures = [fit(panel.image, longest=min(LONGEST, SHEET // columns)) for panel in panels]
    width = max(SHORTEST, *(picture.width for picture in pictures))
    size = max(13, width // 24)
    gap, line = size // 2, 3 * size // 2
    captions = _captions([panel.caption for panel in panels], width - gap, size)
    rows = [
        range(start, min(start + columns, len(panels))) for start in range(0, len(panels), columns)
    ]
    highest = [max(pictures[number].height for number in row) for row in rows]
    bars = [line + gap if any(panels[number].bar for number in row) else 0 for row in rows]
    most = [max(len(captions[number]) for number in row) for row in rows]
    heights = [high + gap + bar + line * lines for high, bar, lines in zip(highest, bars, most)]
    sheet_width = gap + columns * (width + gap)
    last = _packed(list(map(printable, footer)), sheet_width - 2 * gap, size)
    bottom = gap + sum(heights) + gap * len(heights)
    paper, ink = (PAPER, INK) if on_paper else (NO_PAPER, GREY)
    sheet = Image.new("RGBA", (sheet_width, bottom + line * len(last)), paper)
    for number, (panel, picture, caption) in enumerate(zip(panels, pictures, captions)):
        row, column = divmod(number, columns)
        left = gap + column * (width + gap)
        top = gap + sum(heights[:row]) + gap * row + highest[row]
        # Pictures of one row stand on one line, above their captions.
        place = (left + (width - picture.width) // 2, top - picture.height)
        sheet.alpha_composite(panel.draw(picture), place)
        top += gap
        if panel.bar:
            _draw_bar(sheet, panel.bar, (left, top, left + width, top + line), size, ink)
        _write(sheet, caption, left + width // 2, top + bars[row], size, ink)
    _write(sheet, last, sheet_width // 2, bottom - gap // 2, size, ink)
    return sheet


def _write(
    sheet: Image.Image, lines: Sequence[str], middle: int, top: int, size: int, ink: Ink
) -> None:
    pen = ImageDraw.Draw(sheet)
    line = 3 * size // 2
    for number, text in enumerate(lines):
        place = (middle, top + number * line + line // 2)
        pen.text(place, text, fill=ink, font=font_for(text, size), anchor="mm")


def _draw_bar(
    sheet: Image.Image, bar: Bar, box: tuple[int, int, int, int], size: int, ink: Ink
) -> None:
    left, top, right, bottom = box
    middle, gap = (top + bottom) // 2, size // 2
    pen = ImageDraw.Draw(sheet)
    for text, edge, anchor in ((bar.low, left, "lm"), (bar.high, right, "rm")):
        pen.text((edge, middle), text, fill=ink, font=font_for(text, size), anchor=anchor)
    start = left + round(font_for(bar.low, size).getlength(bar.low)) + gap
    stop = right - round(font_for(bar.high, size).getlength(bar.high)) - gap
    # On a medium grey one sees how opaque the colours are.
    ground = Image.new("RGB", (max(1, stop - start), size), (128, 128, 128))
    sheet.paste(
        overlay(bar.colours, ground, Image.Resampling.BILINEAR), (start, middle - size // 2)
    )


def _columns(panels: Sequence[Panel]) -> int:
    """Return the number of columns that leaves few holes."""
    width = max(panel.image.width for panel in panels)
    height = max(panel.image.height for panel in panels)

    def cost(columns: int) -> float:
        rows = math.ceil(len(panels) / columns)
        holes = 1 - len(panels) / (rows * columns)
        return abs(math.log(columns * width / (rows * height) / ASPECT)) + HOLE * holes

    return min(range(len(panels), 0, -1), key=cost)


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


def _captions(
    captions: Sequence[Sequence[Sequence[str]]], width: int, size: int
) -> list[list[str]]:
    """Return the lines of each caption.

    The words of a line stand together if they do so in each caption.
    """
    # A name may hold characters that no font has.
    captions = [[list(map(printable, words)) for words in caption] for caption in captions]

    def fits(caption: Sequence[Sequence[str]]) -> bool:
        lines = [", ".join(words) for words in caption if len(words) > 1]
        return all(font_for(line, size).getlength(line) <= width for line in lines)

    if all(map(fits, captions)):
        captions = [[[", ".join(words)] for words in caption if words] for caption in captions]
    return [
        [line for words in caption for word in words for line in _wrapped(word, width, size)]
        for caption in captions
    ]


def _packed(words: Sequence[str], width: int, size: int) -> list[str]:
    """Put as many words on each line as fit."""
    lines: list[str] = []
    for word in words:
        longer = f"{lines[-1]}, {word}" if lines else word
        if lines and font_for(longer, size).getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(_shorten(word, width, size))
    return lines


def _wrapped(text: str, width: int, size: int) -> list[str]:
    """Put a text on two lines if it doesn't fit on one; what is longer still is shortened."""
    font = font_for(text, size)
    gaps = [place for place, letter in enumerate(text[:width]) if letter == " "]
    fitting = [place for place in gaps if font.getlength(text[:place]) <= width]
    if not fitting or font.getlength(text[: width + 1]) <= width:
        return [_shorten(text, width, size)]
    return [text[: fitting[-1]], _shorten(text[fitting[-1] + 1 :], width, size)]


def _shorten(text: str, width: int, size: int) -> str:
    """Shorten a text to the width of the panel, with an ellipsis."""
    text = text[:width]  # every letter is at least a pixel wide
    font = font_for(text, size)
    if font.getlength(text) <= width:
        return text
    first_too_long = bisect.bisect_left(
        range(len(text)), True, key=lambda end: font.getlength(text[:end] + "…") > width
    )
    return text[: first_too_long - 1].rstrip() + "…"
