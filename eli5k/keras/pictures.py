"""Open pictures, and make pictures of arrays."""

from __future__ import annotations

import os

import keras
import numpy as np
from PIL import Image, ImageOps


def open_picture(source: Image.Image | str | os.PathLike[str]) -> Image.Image:
    """Open a picture upright, with 8 bits per channel.

    Parameters
    ----------
    source : PIL.Image.Image or path

    Returns
    -------
    PIL.Image.Image
        A copy in mode L, RGB or RGBA.

    Raises
    ------
    OSError
        If the file is missing, truncated or not a picture.
    TypeError
        If ``source`` is neither a picture nor a path.

    Examples
    --------
    >>> open_picture(Image.new("I;16", (2, 2), 65535)).getpixel((0, 0))
    255
    """
    if isinstance(source, str | os.PathLike):
        with Image.open(source) as file:
            try:
                return open_picture(file)
            except (SyntaxError, EOFError, IndexError) as error:
                # Pillow's decoders raise these too for a truncated file.
                raise OSError(f"{source}: broken image file ({error})") from error
    if not isinstance(source, Image.Image):
        raise TypeError(
            "image must be a Pillow image or a path to an image file. "
            f"Received: {type(source).__name__}"
        )
    picture = ImageOps.exif_transpose(source)
    if picture.mode.startswith(("I", "F")):
        return Image.fromarray(_to_eight_bits(np.asarray(picture)))
    if picture.mode in ("L", "RGB", "RGBA"):
        return picture.copy()
    if picture.mode == "1":
        return picture.convert("L")
    has_alpha = picture.mode in ("LA", "La", "PA", "RGBa") or "transparency" in picture.info
    return picture.convert("RGBA" if has_alpha else "RGB")


def _to_eight_bits(values: np.ndarray) -> np.ndarray:
    """Scale 16-bit integers, or floats of any range, to 0..255."""
    if values.dtype.kind == "f":
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        if low >= 0 and high <= 1:
            low, high = 0.0, 1.0
    else:
        low, high = 0.0, 65535.0 if values.max() > 255 else 255.0
    scaled = (np.nan_to_num(values.astype("float64")) - low) / ((high - low) or 1.0)
    return np.clip(scaled * 255, 0, 255).round().astype("uint8")


def picture_of(array: np.ndarray, channels_first: bool = False) -> Image.Image:
    """Draw an input array, stretched from black to white.

    Parameters
    ----------
    array : numpy.ndarray
        ``(height, width, channels)``, or ``(channels, height, width)`` if ``channels_first``. One,
        three or four channels make a grey, RGB or RGBA picture; any other number is shown as the
        grey mean of the channels.
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
    if array.shape[-1] not in (1, 3, 4):
        array = array.mean(axis=-1, keepdims=True)
    # The sum is a cheap test that there is nothing to replace.
    finite = array if np.isfinite(array.sum()) else np.nan_to_num(array)
    return keras.utils.array_to_img(finite, data_format="channels_last")
