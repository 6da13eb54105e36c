"""Draw a heatmap over a picture, with eli5's pixels."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from eli5k.base import Explanation
from eli5k.formatters.heatmap import (
    colourise,
    drawable_heatmap,
    expand_heatmap,
    heatmap_to_image,
    overlay,
)
from eli5k.formatters.sheet import draw_sheet

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
        In mode RGBA. For one target, the picture at its own size with the heatmap over it. For
        several, a sheet with a panel for each, captioned with name, score and probability. Without
        targets, the picture.

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
    if not isinstance(expl.image, Image.Image):
        raise TypeError(f"The explanation's image must be a Pillow image. Received: {expl.image!r}")
    if not expl.targets:
        return expl.image.convert("RGBA")
    heatmaps = [
        colourise(drawable_heatmap(target), colormap, alpha_limit) for target in expl.targets
    ]
    if len(heatmaps) == 1:
        return overlay(heatmaps[0], expl.image, resampling_filter)
    return draw_sheet(expl.image, expl.targets, heatmaps, resampling_filter)


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
