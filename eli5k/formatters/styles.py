"""Styles: ways to lay the heat over a photograph."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from eli5k.base import WHOLE
from eli5k.formatters.frame import Frame, spread
from eli5k.formatters.heatmap import colourise, find_colormap, overlay
from eli5k.formatters.hot_regions import hot_boxes


@dataclass(frozen=True)
class Heat:
    """What a style lays over a photograph.

    Attributes
    ----------
    heatmap : numpy.ndarray
        ``(height, width)``, in [0, 1]; other axes for other documents.
    attribution : numpy.ndarray or None
        The raw signed map, of the same shape.
    frame : tuple of float
        As in :class:`~eli5k.Explanation`.
    colormap, alpha_limit, resampling_filter
        As in :func:`~eli5k.format_as_image`.
    highest : float or None
        What the raw map is scaled by; None for its own largest magnitude.
    of_rows : bool
        Whether each row of an array that is drawn as lines has its own heat.
    cuts : bool
        Whether a volume is drawn by three cuts.

    Examples
    --------
    >>> Heat(np.ones((7, 7))).colormap
    'viridis'
    """

    heatmap: np.ndarray
    attribution: np.ndarray | None = None
    frame: Frame = WHOLE
    colormap: str | Callable[[np.ndarray], np.ndarray] = "viridis"
    alpha_limit: float | None = 0.65
    resampling_filter: int | None = Image.Resampling.LANCZOS
    highest: float | None = None
    of_rows: bool = False
    cuts: bool = False

    def pixels(self, values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Enlarge cell values to the picture's pixels; 0 outside the frame."""
        image = Image.fromarray(np.asarray(values, np.float32))
        return np.asarray(spread(image, size, self.frame, self.resampling_filter))


Style = Callable[[Image.Image, Heat], Image.Image]

#: Styles by name: functions from a photograph and the heat to a picture in mode RGBA.
STYLES: dict[str, Style] = {}

# Parts of the picture that the lines of "contour" enclose, and what "dim" leaves of the light.
HOTTEST = (0.5, 0.25, 0.1)
DIMMED = 0.4
# For and against, of matplotlib's RdBu: also told apart by people who don't see red or green.
FOR, AGAINST = (214, 57, 45), (49, 120, 196)


def register(name: str) -> Callable[[Style], Style]:
    """Register a style under a name for ``style=``.

    Parameters
    ----------
    name : str

    Returns
    -------
    callable
        A decorator.

    Examples
    --------
    >>> @register("grey")
    ... def grey(picture, heat):
    ...     return picture.convert("L").convert("RGBA")
    >>> STYLES.pop("grey") is grey
    True
    """

    def add(style: Style) -> Style:
        STYLES[name] = style
        return style

    return add


def find_style(name: str) -> Style:
    """Return the style of a name.

    Parameters
    ----------
    name : str

    Returns
    -------
    callable

    Raises
    ------
    ValueError
        If no style has the name; the error suggests the nearest one.

    Examples
    --------
    >>> find_style("dim").__name__
    'dim'
    """
    if isinstance(name, str) and name in STYLES:
        return STYLES[name]
    near = difflib.get_close_matches(str(name), STYLES, n=1)
    raise ValueError(
        f"style must be one of {', '.join(map(repr, STYLES))}. Received: {name!r}"
        + (f". Did you mean {near[0]!r}?" if near else "")
    )


@register("overlay")
def lay_over(picture: Image.Image, heat: Heat) -> Image.Image:
    """Lay the colours over the photograph, as eli5 does.

    Examples
    --------
    >>> lay_over(Image.new("L", (9, 9)), Heat(np.ones((1, 1)), alpha_limit=1)).getpixel((0, 0))
    (253, 231, 36, 255)
    """
    coloured = colourise(heat.heatmap, heat.colormap, heat.alpha_limit)
    return overlay(coloured, picture, heat.resampling_filter, heat.frame)


@register("dim")
def dim(picture: Image.Image, heat: Heat) -> Image.Image:
    """Lay the colours over a dark grey photograph, to show single pixels.

    Examples
    --------
    >>> dim(Image.new("RGB", (9, 9), (200, 200, 200)), Heat(np.zeros((1, 1)))).getpixel((0, 0))
    (80, 80, 80, 255)
    """
    coloured = colourise(heat.heatmap, heat.colormap, alpha_limit=None)
    return overlay(coloured, _grey(picture, DIMMED), heat.resampling_filter, heat.frame)


@register("contour")
def contour(picture: Image.Image, heat: Heat) -> Image.Image:
    """Outline the hottest 10, 25 and 50 % of the picture.

    Examples
    --------
    >>> picture = Image.new("RGB", (90, 90))
    >>> contour(picture, Heat(np.array([[0.0, 1.0]]))) == picture.convert("RGBA")
    False
    """
    picture = picture.convert("RGBA")
    values = heat.pixels(heat.heatmap, picture.size)
    inside = heat.pixels(np.ones_like(heat.heatmap), picture.size) > 0
    colours = find_colormap(heat.colormap)
    width = 1 + 2 * round(max(picture.size) / 500)
    for number, share in enumerate(HOTTEST):
        if not inside.any():
            break
        level = np.quantile(values[inside], 1 - share)
        mask = Image.fromarray(np.uint8(255 * (inside & (values > 0) & (values >= level))))
        # A pixel is on the line if the 3 x 3 pixels around it lie on both sides.
        largest, smallest = ImageFilter.MaxFilter(3), ImageFilter.MinFilter(3)
        line = ImageChops.difference(mask.filter(largest), mask.filter(smallest))
        colour = np.array(colours(np.array([[(number + 1) / len(HOTTEST)]])))[0, 0, :3]
        ink = tuple(int(255 * value) for value in colour)
        # A dark rim keeps a light line apart from a light photograph.
        picture.paste((0, 0, 0, 255), mask=line.filter(ImageFilter.MaxFilter(width + 2)))
        picture.paste((*ink, 255), mask=line.filter(ImageFilter.MaxFilter(width)))
    return picture


@register("signed")
def signed(picture: Image.Image, heat: Heat) -> Image.Image:
    """Lay red (for) and blue (against) over the grey photograph.

    Both have one scale, which is symmetric.

    Raises
    ------
    ValueError
        If there is no raw map.

    Examples
    --------
    >>> heat = Heat(np.ones((1, 1)), attribution=np.array([[-2.0]]), alpha_limit=None)
    >>> signed(Image.new("L", (9, 9)), heat).getpixel((4, 4))
    (49, 120, 196, 255)
    """
    if heat.attribution is None or np.shape(heat.attribution) != heat.heatmap.shape:
        raise ValueError(
            "style 'signed' needs the raw map of each target, (height, width), as its attribution. "
            f"Received: {heat.attribution!r}"
        )
    coloured = signed_colours(heat)
    return overlay(coloured, _grey(picture, 1.0), heat.resampling_filter, heat.frame)


def signed_colours(heat: Heat) -> np.ndarray:
    """Colour the raw map red (for) and blue (against), symmetrically.

    Returns
    -------
    numpy.ndarray
        ``(*grid, 4)``, in [0, 1].

    Examples
    --------
    >>> signed_colours(Heat(np.ones(1), attribution=np.array([2.0]))).round(2)
    array([[0.84, 0.22, 0.18, 0.65]])
    """
    values = np.nan_to_num(np.asarray(heat.attribution, np.float64), posinf=0.0, neginf=0.0)
    highest = np.abs(values).max() if heat.highest is None else heat.highest
    strength = np.minimum(np.abs(values) / (highest or 1.0), 1)
    limit = 1.0 if heat.alpha_limit is None else heat.alpha_limit
    coloured = np.empty((*values.shape, 4))
    coloured[..., :3] = np.where(values[..., np.newaxis] > 0, FOR, AGAINST) / np.array(255)
    coloured[..., 3] = limit * strength
    return coloured


@register("boxes")
def boxes(picture: Image.Image, heat: Heat) -> Image.Image:
    """Draw a box around each hot region.

    Examples
    --------
    >>> picture = boxes(Image.new("RGB", (90, 90)), Heat(np.array([[0.0, 1.0]])))
    >>> picture.getpixel((45, 45)), picture.getpixel((60, 45))
    ((253, 231, 36, 255), (0, 0, 0, 255))
    """
    picture = picture.convert("RGBA")
    width = 1 + round(max(picture.size) / 200)
    colour = np.array(find_colormap(heat.colormap)(np.array([[1.0]])))[0, 0, :3]
    ink = tuple(int(255 * value) for value in colour)
    pen = ImageDraw.Draw(picture)
    for (left, top, right, bottom), _ in hot_boxes(heat.heatmap, picture.size, heat.frame):
        corners = (left, top, max(left, right - 1), max(top, bottom - 1))
        pen.rectangle(corners, outline="black", width=width + 1)
        pen.rectangle(corners, outline=ink, width=width)
    return picture


@register("side")
def side(picture: Image.Image, heat: Heat) -> Image.Image:
    """Lay the colours over the photograph; sheets show the original too.

    Examples
    --------
    >>> side(Image.new("L", (9, 9)), Heat(np.zeros((1, 1)))).size
    (9, 9)
    """
    return lay_over(picture, heat)


def _grey(picture: Image.Image, light: float) -> Image.Image:
    grey = picture.convert("LA")
    return Image.merge(
        "LA", [grey.getchannel("L").point(lambda v: v * light), grey.getchannel("A")]
    )
