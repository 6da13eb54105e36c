"""Usual scales of pixels, and artificial photographs in each."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

# Mean and standard deviation of the photographs of ImageNet, red, green and blue in [0, 1].
MEAN = np.array((0.485, 0.456, 0.406), "float32")
DEVIATION = np.array((0.229, 0.224, 0.225), "float32")
# The same for all channels together, in [0, 1].
BRIGHTNESS, CONTRAST = 0.45, 0.26


class Scale(NamedTuple):
    """Usual scale of pixels, as a linear function of 0 to 1.

    Attributes
    ----------
    factor, offset : float or numpy.ndarray ``(channels,)``
    words : str
        How a message names the values.
    code : str
        How to get them from pixels between 0 and 255.
    """

    factor: Any
    offset: Any
    words: str
    code: str


SCALES = {
    "0..255": Scale(255.0, 0.0, "from 0 to 255", "pixels as they are"),
    "0..1": Scale(1.0, 0.0, "from 0 to 1", "preprocess=lambda pixels: pixels / 255"),
    "-1..1": Scale(2.0, -1.0, "from -1 to 1", "preprocess=lambda pixels: pixels / 127.5 - 1"),
    "imagenet": Scale(
        1 / DEVIATION,
        -MEAN / DEVIATION,
        "around 0 with standard deviation 1",
        "preprocess=keras.applications.densenet.preprocess_input",
    ),
    "caffe": Scale(
        255.0,
        -255 * MEAN,
        "from -124 to 151",
        "preprocess=keras.applications.resnet.preprocess_input",
    ),
}


def convert(image: np.ndarray, have: str, want: str) -> np.ndarray:
    """Convert pixels from one usual scale to another, channels last.

    Examples
    --------
    >>> convert(np.float32([0.0, 255.0]), "0..255", "-1..1").tolist()
    [-1.0, 1.0]
    """
    unit = (image - SCALES[have].offset) / SCALES[have].factor
    return (unit * SCALES[want].factor + SCALES[want].offset).astype("float32")


@functools.lru_cache(maxsize=4)
def artificial_pictures(shape: tuple[int, ...], count: int = 2) -> np.ndarray:
    """Make noise with the statistics of photographs, the same at each call.

    As in photographs, its spectrum falls with the frequency, and its channels agree.

    Parameters
    ----------
    shape : tuple of int
        ``(*grid, channels)``
    count : int

    Returns
    -------
    numpy.ndarray
        ``(count, *grid, channels)``, float32, in [0, 1].

    Examples
    --------
    >>> pictures = artificial_pictures((32, 48, 3))
    >>> pictures.shape, bool(abs(pictures.mean() - BRIGHTNESS) < 0.1)
    ((2, 32, 48, 3), True)
    """
    random = np.random.default_rng(0)
    *steps, height, width, channels = shape
    rows, columns = np.fft.fftfreq(height)[:, np.newaxis], np.fft.rfftfreq(width)
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = 1 / max(height, width)

    noise = np.fft.rfft2(random.standard_normal((count, 1, height, width)))
    field = np.fft.irfft2(noise / frequency, s=(height, width))
    field -= field.mean(axis=(2, 3), keepdims=True)
    field /= np.maximum(field.std(axis=(2, 3), keepdims=True), 1e-6)
    # Colours: the same random field at other places.
    moved = [np.roll(field, (k * height // 3, k * width // 5), (2, 3)) for k in range(channels)]
    fields = 0.95 * field + 0.3 * np.concatenate(moved, axis=1)
    brightness = random.uniform(BRIGHTNESS - 0.1, BRIGHTNESS + 0.1, (count, 1, 1, 1))
    pictures = np.moveaxis(np.clip(brightness + CONTRAST * fields, 0, 1), 1, -1).astype("float32")
    pictures = pictures.reshape(count, *(1,) * len(steps), height, width, channels)
    return np.broadcast_to(pictures, (count, *shape))
