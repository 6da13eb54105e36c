"""Open pictures, and make pictures of arrays."""

from __future__ import annotations

import io
import os
from typing import Any

import keras
import numpy as np
from PIL import Image, ImageOps

from eli5k.base import ExplanationWarning, warn

SIXTEEN_BITS = "I;16"


def open_picture(source: Any) -> Image.Image:
    """Open a picture upright, with 8 bits per channel.

    Parameters
    ----------
    source : PIL.Image.Image, path, bytes of a file, or file opened in binary mode
        A file is left where it was.

    Returns
    -------
    PIL.Image.Image
        A copy in mode L, RGB or RGBA. The mode decides how a picture of more bits is scaled, never
        its largest value: 16 bits by 65535, 32-bit integers likewise, floats by 1.

    Warns
    -----
    ExplanationWarning
        If the mode has no fixed range, such as "F" and "I".

    Raises
    ------
    OSError
        If the file is missing, truncated or not a picture.
    TypeError
        If ``source`` is none of these.

    Examples
    --------
    >>> open_picture(Image.new("I;16", (2, 2), 65535)).getpixel((0, 0))
    255
    """
    if isinstance(source, bytes | bytearray):
        source = io.BytesIO(source)
    if hasattr(source, "seek") and hasattr(source, "read"):
        start = source.tell()
        try:
            return _opened(source)
        finally:
            source.seek(start)
    return _opened(source)


def _opened(source: Any) -> Image.Image:
    if isinstance(source, str | os.PathLike) or hasattr(source, "read"):
        with Image.open(source) as file:
            try:
                return _upright(file)
            except (SyntaxError, EOFError, IndexError) as error:
                # Pillow's decoders raise these too for a truncated file.
                raise OSError(f"{source}: broken image file ({error})") from error
    if not isinstance(source, Image.Image):
        raise TypeError(
            "image must be a Pillow image, a path to an image file, its bytes or an open one. "
            f"Received: {type(source).__name__}"
        )
    return _upright(source)


def _upright(source: Image.Image) -> Image.Image:
    picture = ImageOps.exif_transpose(source)
    if picture.mode.startswith(("I", "F")):
        return _to_eight_bits(picture)
    if picture.mode in ("L", "RGB", "RGBA"):
        return picture.copy()
    if picture.mode == "1":
        return picture.convert("L")
    has_alpha = picture.mode in ("LA", "La", "PA", "RGBa") or "transparency" in picture.info
    return picture.convert("RGBA" if has_alpha else "RGB")


def _to_eight_bits(picture: Image.Image) -> Image.Image:
    """Scale a picture of more bits to 0..255, by what its mode means."""
    values = np.asarray(picture).astype("float64")
    if picture.mode.startswith(SIXTEEN_BITS):
        white = 65535.0
    else:
        white = 1.0 if picture.mode == "F" else 65535.0
        finite = values[np.isfinite(values)]
        found = f", here from {finite.min():.4g} to {finite.max():.4g}" if finite.size else ""
        warn(
            f"A picture of mode {picture.mode!r} has no fixed range: its values{found}, were read "
            f"as going from 0 to {white:.0f}. If they go further, pass an array instead.",
            ExplanationWarning,
        )
    scaled = 255 * np.clip(np.nan_to_num(values / white), 0, 1)
    return Image.fromarray(scaled.round().astype("uint8"))


def picture_of(array: np.ndarray, channels_first: bool = False) -> Image.Image:
    """Draw an input array, stretched from black to white.

    Parameters
    ----------
    array : numpy.ndarray
        ``(height, width, channels)``, or ``(channels, height, width)`` if ``channels_first``. One
        or three channels make a grey or RGB picture. Four make an RGB picture of the first three:
        the fourth may be depth, or another frame, and is no transparency. Any other number is shown
        as the grey mean of the channels.
    channels_first : bool

    Returns
    -------
    PIL.Image.Image

    Examples
    --------
    >>> picture_of(np.arange(8.0).reshape(2, 2, 2)).getpixel((1, 1))
    255
    """
    if channels_first:
        array = np.moveaxis(array, 0, -1)
    if array.shape[-1] == 4:
        array = array[..., :3]
    elif array.shape[-1] not in (1, 3):
        array = array.mean(axis=-1, keepdims=True)
    # The sum is a cheap test that there is nothing to replace.
    finite = array if np.isfinite(array.sum()) else np.nan_to_num(array)
    return keras.utils.array_to_img(finite, data_format="channels_last")
