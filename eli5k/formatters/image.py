"""Draw a heatmap over a picture, with eli5's pixels."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from eli5k.base import Explanation, TargetExplanation
from eli5k.formatters.heatmap import (
    colourise,
    drawable_heatmap,
    expand_heatmap,
    heatmap_to_image,
    overlay,
)
from eli5k.formatters.sheet import Panel, draw_sheet
from eli5k.formatters.text import label, numbers

# eli5 has the last two here.
__all__ = ["expand_heatmap", "format_as_image", "heatmap_to_image", "image_to_data_uri"]

PNG_MODES = ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA")


def format_as_image(
    expl: Explanation,
    resampling_filter: int | None = Image.Resampling.LANCZOS,
    colormap: str | Callable[[np.ndarray], np.ndarray] = "viridis",
    alpha_limit: float | None = 0.65,
) -> Image.Image:
    """Lay the heatmaps of an explanation over its picture.

    Parameters
    ----------
    expl : Explanation
        With an ``image`` and, in each target, a ``heatmap`` of shape ``(height, width)`` in
        [0, 1].
    resampling_filter : int or None
        Filter that enlarges the heatmap: ``PIL.Image.NEAREST``, ``BOX``, ``BILINEAR``,
        ``HAMMING``, ``BICUBIC`` or ``LANCZOS``.
    colormap : str or callable
        Name of one of matplotlib's colormaps, or a function from ``(height, width)`` in [0, 1] to
        ``(height, width, 4)``, red, green, blue and alpha in [0, 1].
    alpha_limit : float or None
        Maximum opacity of the heatmap, in [0, 1]; None for no limit.

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
        not in [0, 1], or if the colormap or the filter is unknown.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> from eli5k.base import TargetExplanation
    >>> target = TargetExplanation("cat", score=0.9, heatmap=np.array([[0.0, 1.0]]))
    >>> expl = Explanation("net", targets=[target], image=Image.new("L", (64, 48)))
    >>> format_as_image(expl, colormap="magma", alpha_limit=1.0).size
    (64, 48)
    """
    panels = [
        _panel(part, target, resampling_filter, colormap, alpha_limit)
        for part in (expl, *expl.others)
        for target in part.targets or ()
    ]
    if not panels:
        return picture_of(expl).convert("RGBA")
    if len(panels) == 1:
        return panels[0].draw(panels[0].image)
    return draw_sheet(panels)


def picture_of(expl: Explanation) -> Image.Image:
    """Return the picture of an explanation.

    Parameters
    ----------
    expl : Explanation

    Returns
    -------
    PIL.Image.Image

    Raises
    ------
    TypeError
        If it has none.

    Examples
    --------
    >>> picture_of(Explanation("net", image=Image.new("L", (64, 48)))).size
    (64, 48)
    """
    if not isinstance(expl.image, Image.Image):
        raise TypeError(f"The explanation's image must be a Pillow image. Received: {expl.image!r}")
    return expl.image


def _panel(
    expl: Explanation,
    target: TargetExplanation,
    resampling_filter: int | None,
    colormap: str | Callable[[np.ndarray], np.ndarray],
    alpha_limit: float | None,
) -> Panel:
    coloured = colourise(drawable_heatmap(target), colormap, alpha_limit)
    caption = [[label(target)], numbers(target)[::-1]]
    if expl.input:
        caption.append([f"input {expl.input}"])
    return Panel(
        picture_of(expl),
        lambda picture: overlay(coloured, picture, resampling_filter, expl.frame),
        caption,
    )


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
