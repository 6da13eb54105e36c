"""Make pictures of arrays."""

from __future__ import annotations

import keras
import numpy as np
from PIL import Image


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
