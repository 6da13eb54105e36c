"""Show a text with heat behind its words: a picture or HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape

import numpy as np
from PIL import Image, ImageDraw

from eli5k.formatters.fonts import font_for, warn_of_letters
from eli5k.formatters.heatmap import colourise
from eli5k.formatters.sheet import INK, PAPER
from eli5k.formatters.styles import Heat, signed_colours
from eli5k.maps import bounds_of, resize

# In pixels: width of the picture, margin, padding around a word, size of the letters.
WIDTH, MARGIN, GAP, LETTERS, LINE = 640, 16, 4, 18, 32
# More words would not fit into a picture.
MOST_WORDS = 1000
# Heat above which a word of the padding is shown nevertheless.
WARM = 0.25


def words_shown(words: Sequence[str], tokens: np.ndarray | None, heat: np.ndarray) -> int:
    """Return how many words are shown.

    The padding at the end, token 0, is left out if it is cold.

    Parameters
    ----------
    words : sequence of str
    tokens : numpy.ndarray or None
        ``(length,)``
    heat : numpy.ndarray
        ``(length,)``, in [0, 1].

    Examples
    --------
    >>> words_shown(["a", "dog", ""], np.array([3, 7, 0]), np.zeros(3))
    2
    """
    is_word = np.array([bool(word.strip()) for word in words])
    if tokens is not None:
        is_word &= np.ravel(tokens) != 0
    kept = np.flatnonzero(is_word | (heat >= WARM))
    return int(kept[-1]) + 1 if kept.size else len(words)


def heat_of_words(heat: Heat, count: int) -> Heat:
    """Enlarge a map to the words of a text.

    Examples
    --------
    >>> heat_of_words(Heat(np.array([0.0, 1.0])), 4).heatmap
    array([0.  , 0.25, 0.75, 1.  ])
    """
    bounds = bounds_of(heat.frame, 1)

    def enlarged(values: np.ndarray | None) -> np.ndarray | None:
        if values is None:
            return None
        return resize(np.nan_to_num(np.asarray(values, np.float64)), (count,), bounds)

    heatmap = enlarged(heat.heatmap)
    assert heatmap is not None
    return replace(heat, heatmap=heatmap, attribution=enlarged(heat.attribution), frame=(0.0, 1.0))


def colours_of_words(heat: Heat, style: str) -> np.ndarray:
    """Return the colour behind each word, on white paper.

    Parameters
    ----------
    heat : Heat
        From :func:`heat_of_words`.
    style : str
        "signed" is red for and blue against; others have the colours of the heatmap.

    Returns
    -------
    numpy.ndarray
        ``(words, 3)``, uint8.

    Examples
    --------
    >>> colours_of_words(Heat(np.array([0.0, 1.0]), alpha_limit=None), "overlay").tolist()
    [[255, 255, 255], [253, 231, 36]]
    """
    if style == "signed" and heat.attribution is not None:
        coloured = signed_colours(heat)
    else:
        coloured = colourise(heat.heatmap[np.newaxis], heat.colormap, heat.alpha_limit)[0]
    alpha = coloured[:, 3:]
    paper = 1 - alpha + alpha * coloured[:, :3]
    colours: np.ndarray = np.clip(255 * paper, 0, 255).astype(np.uint8)
    return colours


def draw_words(words: Sequence[str], colours: np.ndarray) -> Image.Image:
    """Draw the words of a text in lines, each on its colour.

    Parameters
    ----------
    words : sequence of str
    colours : numpy.ndarray
        ``(words, 3)``, uint8.

    Returns
    -------
    PIL.Image.Image
        In mode RGBA, 640 pixels wide.

    Examples
    --------
    >>> draw_words(["a", "dog"], np.full((2, 3), 255, np.uint8)).size
    (640, 64)
    """
    left_out = len(words) - MOST_WORDS
    shown = [" ".join(word.split()) for word in words[:MOST_WORDS]]
    shown += [f"… {left_out} more"] if left_out > 0 else []
    warn_of_letters(shown)
    places, lines = _laid_out(shown)
    sheet = Image.new("RGBA", (WIDTH, 2 * MARGIN + LINE * lines), PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, (word, (left, line, width)) in enumerate(zip(shown, places)):
        top = MARGIN + LINE * line
        middle = top + LINE // 2
        ink = INK
        if number < len(colours) and number < MOST_WORDS:
            box = (left, top + 3, left + width + 2 * GAP, top + LINE - 3)
            pen.rounded_rectangle(box, radius=4, fill=tuple(map(int, colours[number])))
            ink = ink_on(colours[number])
        pen.text((left + GAP, middle), word, fill=ink, font=font_for(word, LETTERS), anchor="lm")
    return sheet


def ink_on(colour: np.ndarray) -> str:
    """Return the ink that is read on a colour.

    Examples
    --------
    >>> ink_on(np.array([253, 231, 36])), ink_on(np.array([68, 1, 84]))
    ('black', 'white')
    """
    return "black" if float(np.dot(colour, (0.299, 0.587, 0.114))) > 110 else "white"


def _laid_out(words: Sequence[str]) -> tuple[list[tuple[int, int, int]], int]:
    """Return each word's left edge, line and width, and the line count."""
    places = []
    left, line = MARGIN, 0
    for word in words:
        width = round(font_for(word, LETTERS).getlength(word))
        if left > MARGIN and left + width + 2 * GAP > WIDTH - MARGIN:
            left, line = MARGIN, line + 1
        places.append((left, line, width))
        left += width + 2 * GAP
    return places, line + 1


def html_of_words(words: Sequence[str], heat: np.ndarray, colours: np.ndarray) -> str:
    """Write the words of a text as HTML, each on its colour.

    Parameters
    ----------
    words : sequence of str
    heat : numpy.ndarray
        ``(words,)``, in [0, 1]: told when the pointer rests on a word.
    colours : numpy.ndarray
        ``(words, 3)``, uint8.

    Returns
    -------
    str

    Examples
    --------
    >>> html_of_words(["a<b"], np.ones(1), np.array([[253, 231, 36]]))
    '<p class="eli5k-text"><span style="..." title="1">a&lt;b</span></p>'
    """
    spans = []
    for word, value, colour in zip(words, heat, colours):
        paper = "#" + bytes(map(int, colour)).hex()
        style = f"background: {paper}; color: {ink_on(colour)}; padding: 0 0.2em;"
        spans.append(f'<span style="{style}" title="{value:.2g}">{escape(word)}</span>')
    return f'<p class="eli5k-text">{" ".join(spans)}</p>'
