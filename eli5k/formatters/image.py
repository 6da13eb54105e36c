"""Draw a heatmap over a picture, with eli5's pixels."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from PIL import Image

from eli5k.base import Explanation
from eli5k.formatters.heatmap import expand_heatmap, heatmap_to_image
from eli5k.formatters.panels import Look, panels_of, picture_of
from eli5k.formatters.sheet import draw_sheet
from eli5k.formatters.styles import find_style

# eli5 has the last two in this module.
__all__ = ["expand_heatmap", "format_as_image", "heatmap_to_image", "image_to_data_uri"]

PNG_MODES = ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA")


def format_as_image(
    expl: Explanation,
    resampling_filter: int | None = Image.Resampling.LANCZOS,
    colormap: str | Callable[[np.ndarray], np.ndarray] = "viridis",
    alpha_limit: float | None = 0.65,
    *,
    style: str | None = None,
    caption: bool = False,
    colorbar: bool = False,
    same_scale: bool = False,
    lines: bool = False,
    cuts: bool = False,
    origin: Literal["upper", "lower"] = "upper",
    transpose: bool = False,
) -> Image.Image:
    """Lay the heatmaps of an explanation over its picture.

    A signal is drawn as lines with the heat as a band behind them, a volume or a clip by its
    hottest slices or frames with their numbers, counted from 0, and a text by its words.

    Parameters
    ----------
    expl : Explanation
        With an ``image`` and, in each target, a ``heatmap`` of shape ``(height, width)`` in
        [0, 1]; or of a ``kind`` that is no picture, with its ``document`` and maps of its axes.
    resampling_filter : int or None
        Filter that enlarges the heatmap: ``PIL.Image.NEAREST``, ``BOX``, ``BILINEAR``,
        ``HAMMING``, ``BICUBIC`` or ``LANCZOS``.
    colormap : str or callable
        Name of one of matplotlib's colormaps, or a function from ``(height, width)`` in [0, 1] to
        ``(height, width, 4)``, red, green, blue and alpha in [0, 1].
    alpha_limit : float or None
        Maximum opacity of the heatmap, in [0, 1]; None for no limit.
    style : str or None
        "overlay", as in eli5; "dim", over a grey and dark photograph, for maps of single pixels;
        "contour", lines around the hottest 10, 25 and 50 %; "side", with the original beside it;
        "signed", red for and blue against; "boxes", around the regions of
        :func:`~eli5k.hot_regions`. None is "dim" for a captioned map of the input, else "overlay".
    caption : bool
        Tell name, score, probability, method and layer below the picture, and enlarge a small one.
        Maps that would hardly be seen are scaled, and the caption says how.
    colorbar : bool
        Show which colour stands for which value of the raw map.
    same_scale : bool
        Scale all maps by one maximum, that of the raw maps, instead of each by its own.
    lines : bool
        Draw the rows of an array ``(rows, steps, 1)`` as lines: electrodes by time, for example.
    cuts : bool
        Draw a volume by three cuts at right angles through its hottest place, instead of by its
        hottest slices.
    origin : str
        Where the first row of a picture is drawn: "upper" or, for a spectrogram with low
        frequencies at the bottom, "lower".
    transpose : bool
        Exchange rows and columns of a picture before that, if the model takes time by frequency.

    Returns
    -------
    PIL.Image.Image
        In mode RGBA. For one target, the picture at its own size with the heatmap over it, in the
        explanation's frame. For several, or several images, a sheet with a panel for each,
        captioned with name, score and probability. Without targets, the picture.

    Raises
    ------
    TypeError
        If the image is not a Pillow image, a heatmap is not an array, ``colormap`` is neither a
        name nor callable, or ``alpha_limit`` is not a number.
    ValueError
        If a heatmap is missing, doesn't have two axes or is not in [0, 1], if ``alpha_limit`` is
        not in [0, 1], or if the colormap, the style or the filter is unknown; also if a raw map is
        missing that ``style="signed"`` or ``same_scale`` needs.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> from eli5k.base import TargetExplanation
    >>> target = TargetExplanation("cat", score=0.9, heatmap=np.array([[0.0, 1.0]]))
    >>> expl = Explanation("net", targets=[target], image=Image.new("L", (64, 48)))
    >>> format_as_image(expl, colormap="magma", alpha_limit=1.0).size
    (64, 48)
    >>> format_as_image(expl, style="contour", caption=True).size
    (268, 267)
    """
    look = Look(
        resampling_filter=resampling_filter,
        colormap=colormap,
        alpha_limit=alpha_limit,
        style=style,
        caption=caption,
        colorbar=colorbar,
        same_scale=same_scale,
        lines=lines,
        cuts=cuts,
        origin=origin,
        transpose=transpose,
    )
    return draw_picture([expl], look)


def draw_picture(explanations: Sequence[Explanation], look: Look, left_out: int = 0) -> Image.Image:
    """Draw the panels of explanations in one picture.

    Parameters
    ----------
    explanations : sequence of Explanation
    look : Look
    left_out : int
        How many more there are, which a sheet then says.

    Returns
    -------
    PIL.Image.Image
        In mode RGBA: a sheet, or the bare picture of the only target.

    Raises
    ------
    TypeError, ValueError
        As :func:`format_as_image`.

    Examples
    --------
    >>> draw_picture([Explanation("net", image=Image.new("L", (64, 48)))], Look()).size
    (64, 48)
    """
    if look.style is not None:
        find_style(look.style)
    panels, footer, columns = panels_of(explanations, look)
    if not panels:
        return picture_of(explanations[0]).convert("RGBA")
    if len(panels) == 1 and not look.caption and not look.colorbar:
        return panels[0].draw(panels[0].image)
    if left_out > 0:
        footer = [*footer, f"{left_out} more: eli5k.save(..., 'why.html') shows all"]
    return draw_sheet(panels, footer, columns, look.on_paper)


def image_to_data_uri(image: Image.Image) -> str:
    """Encode a picture as a data URI.

    Parameters
    ----------
    image : PIL.Image.Image
        A picture in any mode; modes that PNG does not have become RGB.

    Returns
    -------
    str

    Examples
    --------
    >>> image_to_data_uri(Image.new("L", (1, 1)))
    'data:image/png;base64,iVBOR...'
    """
    if image.mode not in PNG_MODES:
        image = image.convert("RGB")
    file = io.BytesIO()
    image.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
