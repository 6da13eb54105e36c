"""Outline what is explained: a detector's box, a segmenter's region."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from eli5k.base import TargetExplanation

# The line is this share of the picture's shorter side, and has a dark seam on both sides.
SHARE = 1 / 160
LINE, SEAM = (255, 255, 255), (0, 0, 0)


def outlined(picture: Image.Image, target: TargetExplanation) -> Image.Image:
    """Outline the box or region of a target, if it has one.

    Parameters
    ----------
    picture : PIL.Image.Image
    target : TargetExplanation

    Returns
    -------
    PIL.Image.Image
        The same picture if the target has neither; else a copy.

    Examples
    --------
    >>> target = TargetExplanation("cat", box=(0.25, 0.25, 0.75, 0.75))
    >>> outlined(Image.new("L", (64, 64)), target).getpixel((16, 32))
    255
    """
    if target.box is None and (target.region is None or np.ndim(target.region) != 2):
        return picture
    mask = _mask(picture.size, target)
    width = max(1, round(min(picture.size) * SHARE))
    line = _edge(mask, width)
    seam = ImageChops.subtract(_edge(mask, width + 1 + width // 2), line)
    drawn = picture.copy()
    for colour, where in ((SEAM, seam), (LINE, line)):
        drawn.paste(Image.new("RGB", picture.size, colour).convert(picture.mode), mask=where)
    return drawn


def _mask(size: tuple[int, int], target: TargetExplanation) -> Image.Image:
    """Return the inside as a picture in mode L."""
    if target.box is None:
        inside = Image.fromarray(np.asarray(target.region, np.uint8) * 255)
        return inside.resize(size, Image.Resampling.NEAREST)
    mask = Image.new("L", size)
    width, height = size
    left, top, right, bottom = target.box
    # A box that reaches beyond the picture is closed at its border.
    x = [min(max(round(share * width), 0), width - 1) for share in (left, right)]
    y = [min(max(round(share * height), 0), height - 1) for share in (top, bottom)]
    ImageDraw.Draw(mask).rectangle((x[0], y[0], x[1], y[1]), fill=255)
    return mask


def _edge(mask: Image.Image, width: int) -> Image.Image:
    """Return the edge of a mask, a line inside it."""
    size = 2 * width + 1
    # Beyond the picture there is nothing: its border closes what reaches it.
    framed = Image.new("L", (mask.width + 2 * size, mask.height + 2 * size))
    framed.paste(mask, (size, size))
    smaller = framed.filter(ImageFilter.MinFilter(size))
    inner = ImageChops.subtract(framed, smaller)
    return inner.crop((size, size, size + mask.width, size + mask.height))
