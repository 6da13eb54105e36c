"""Draw documents that aren't photographs: signals, texts, volumes, clips."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image

from eli5k.base import WHOLE, Explanation, TargetExplanation
from eli5k.formatters.cuts import draw_cuts
from eli5k.formatters.lines import draw_lines, row_behind
from eli5k.formatters.strip import draw_strip
from eli5k.formatters.styles import Heat, find_style
from eli5k.formatters.words import colours_of_words, draw_words, heat_of_words, words_shown

# A signal of more channels than this is drawn as a picture: channels by time.
MOST_LINES = 16
SIGNAL, TEXT = "signal", "text"
# Name of a slice, by kind of document.
SLICES = {"volume": "slice", "clip": "frame"}
WIDTH, LOWEST = 640, 200


def is_drawable(expl: Explanation) -> bool:
    """Tell whether there is something to draw maps on.

    Examples
    --------
    >>> is_drawable(Explanation("net"))
    False
    >>> is_drawable(Explanation("net", image=Image.new("L", (9, 9))))
    True
    """
    if expl.image is not None:
        return True
    if expl.kind == TEXT:
        return expl.tokens is not None
    return expl.kind in (SIGNAL, *SLICES) and expl.document is not None


def draw_document(expl: Explanation, style: str | None, heat: Heat) -> Image.Image:
    """Draw a document that is no photograph, and the heat over it.

    Parameters
    ----------
    expl : Explanation
        For which :func:`is_drawable` is true.
    style : str or None
        Name of a style; None draws the document alone.
    heat : Heat
        Its map has the axes of the explanation's.

    Returns
    -------
    PIL.Image.Image
        In mode RGBA.

    Examples
    --------
    >>> beat = Explanation("net", kind="signal", document=np.sin(np.arange(90.0)))
    >>> draw_document(beat, "overlay", Heat(np.ones(9))).size
    (640, 272)
    """
    lay = _alone if style is None else find_style(style)
    if expl.kind == TEXT:
        return _draw_text(expl, style, heat)
    assert expl.document is not None
    if expl.kind in SLICES:
        draw = draw_cuts if heat.cuts else draw_strip
        return draw(expl.document, SLICES[expl.kind], lay, heat)
    if style == "dim":  # White paper would only turn grey.
        lay, heat = find_style("overlay"), replace(heat, alpha_limit=None)
    if heat.of_rows:
        return draw_lines(expl.document.mean(axis=-1).T, lay, heat)
    if expl.document.ndim == 2 and expl.document.shape[1] > MOST_LINES:
        return lay(_channels_by_time(expl.document), row_behind(heat))
    return draw_lines(expl.document, lay, heat)


def can_be_lines(expl: Explanation) -> bool:
    """Tell whether a picture's rows can be lines, such as electrodes.

    Examples
    --------
    >>> can_be_lines(Explanation("net", document=np.zeros((8, 500, 1))))
    True
    """
    return expl.kind is None and expl.document is not None and expl.document.ndim == 3


def draw_alone(expl: Explanation) -> Image.Image:
    """Draw the document of an explanation without any heat.

    Examples
    --------
    >>> draw_alone(Explanation("net", kind="text", tokens=["a", "dog"])).size
    (640, 64)
    """
    axes = {SIGNAL: 1, TEXT: 1}.get(expl.kind or "", 3)
    target = next(iter(expl.targets or ()), TargetExplanation(""))
    heatmap = np.zeros((1,) * axes) if target.heatmap is None else target.heatmap
    frame = WHOLE if target.heatmap is None else expl.frame
    return draw_document(expl, None, Heat(heatmap, frame=frame))


def _alone(picture: Image.Image, heat: Heat) -> Image.Image:
    del heat
    return picture.convert("RGBA")


def _draw_text(expl: Explanation, style: str | None, heat: Heat) -> Image.Image:
    words = expl.tokens or []
    of_words = heat_of_words(heat, len(words))
    count = words_shown(words, expl.document, of_words.heatmap)
    if style is None:
        of_words = replace(of_words, heatmap=np.zeros(len(words)))
    return draw_words(words[:count], colours_of_words(of_words, style or "overlay")[:count])


def _channels_by_time(values: np.ndarray) -> Image.Image:
    """Draw a signal of many channels as a picture, the first lowest."""
    rows = np.nan_to_num(np.asarray(values, np.float64)).T[::-1]
    low, high = rows.min(), rows.max()
    picture = Image.fromarray(np.uint8(255 * (rows - low) / ((high - low) or 1.0)))
    width, height = max(WIDTH, picture.width), picture.height
    height *= max(1, -(-LOWEST // height))
    return picture.resize((width, height), Image.Resampling.NEAREST).convert("RGB")


def in_size(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return a drawing at the size that a sheet has for it.

    Examples
    --------
    >>> in_size(Image.new("RGBA", (800, 200)), (400, 100)).size
    (400, 100)
    """
    if picture.size == size:
        return picture
    return picture.resize(size, Image.Resampling.LANCZOS)
