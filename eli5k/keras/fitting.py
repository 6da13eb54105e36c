"""Fit an array or picture to an input, as ``predict`` does."""

from __future__ import annotations

import numbers
from collections.abc import Iterator, Sequence
from itertools import chain, combinations
from typing import Any

import keras
import numpy as np
from PIL import Image

from eli5k.keras.files import is_picture
from eli5k.keras.model.interface import IMAGE_RANK
from eli5k.pixels import MODES, fitted_picture


class RankError(ValueError):
    """Error: an array has too few axes for the model's input."""


def as_array(part: Any, name: str = "doc", *, with_numbers: bool = False) -> np.ndarray:
    """Return an array or a tensor as an array of real numbers.

    Parameters
    ----------
    part : numpy.ndarray or tensor
    name : str
        What an error calls it.
    with_numbers : bool
        Take numbers, and lists of them, as well.

    Raises
    ------
    TypeError
        If it is none.

    Examples
    --------
    >>> as_array([0.5, 1], with_numbers=True)
    array([0.5, 1. ])
    """
    if keras.ops.is_tensor(part):
        if keras.backend.standardize_dtype(part.dtype) in ("bfloat16", "float16"):
            part = keras.ops.cast(part, "float32")
        part = keras.ops.convert_to_numpy(part)
    elif with_numbers and _is_of_numbers(part):
        part = np.asarray(part)
    elif not hasattr(part, "__array__"):
        raise TypeError(
            f"{name} must be a numpy.ndarray, a tensor, a Pillow image, a path, the bytes of an "
            "image file or an open one; or a list or dict of these for several inputs. "
            f"Received: {type(part).__name__}"
        )
    array = np.asarray(part)
    if array.dtype.kind not in "biuf":
        several = array.dtype.kind in "UO" and array.size > 1 and is_picture(array.flat[0])
        hint = " To explain several files, use explain_predictions." if several else ""
        raise TypeError(
            f"{name} must hold real numbers.{hint} Received an array of dtype {array.dtype}"
        )
    return array


def _is_of_numbers(part: Any) -> bool:
    if isinstance(part, list | tuple):
        return bool(part) and all(map(_is_of_numbers, part))
    return isinstance(part, numbers.Real)


def fit_array(
    array: np.ndarray,
    spec: keras.KerasTensor,
    batch: int | None,
    channels_first: bool = False,
    name: str = "doc",
) -> np.ndarray:
    """Check an array's shape, add missing axes, and cast to float.

    Parameters
    ----------
    array : numpy.ndarray
    spec : keras.KerasTensor
        What the model takes: ``(batch, ...)``.
    batch : int or None
        1 for a single sample, which needs no batch axis; None for any number.
    channels_first : bool
    name : str
        What an error calls it.

    Raises
    ------
    RankError
        If it has too few axes.
    ValueError
        If it has another shape.

    Examples
    --------
    >>> fit_array(np.ones((28, 28)), keras.KerasTensor((None, 28, 28, 1)), 1).shape
    (1, 28, 28, 1)
    """
    expected = (batch, *spec.shape[1:])
    forms = _forms(array, expected, 1 if channels_first else len(expected) - 1)
    form = next((form for form in forms if _fits(form.shape, expected)), None)
    if form is None:
        has_less = array.ndim < len(expected) - 1
        raise (RankError if has_less else ValueError)(_wrong_shape(array, expected, name))
    if keras.backend.is_float_dtype(spec.dtype):
        return form.astype("float32", copy=False)
    # As the model would, since a survey loses track of converted numbers.
    return form.astype(spec.dtype, copy=False) if keras.backend.is_int_dtype(spec.dtype) else form


def _forms(
    array: np.ndarray, expected: Sequence[int | None], channel_axis: int
) -> Iterator[np.ndarray]:
    """Yield an array with each choice of missing axes."""
    optional = [0] * (expected[0] == 1)
    if channel_axis > 0 and expected[channel_axis] == 1:
        optional.append(channel_axis)
    choices = chain.from_iterable(combinations(optional, n) for n in range(len(optional) + 1))
    for axes in choices:
        missing = len(expected) - len(axes) - array.ndim
        if missing == 0:
            yield np.expand_dims(array, axes)
        elif missing == -1 and array.shape[-1] == 1:
            yield np.expand_dims(array[..., 0], axes)


def _fits(shape: Sequence[int], expected: Sequence[int | None]) -> bool:
    return all(want is None or want == have for want, have in zip(expected, shape))


def _wrong_shape(array: np.ndarray, expected: Sequence[int | None], name: str) -> str:
    message = f"{name} must be of shape {tuple(expected)}"
    if expected[0] == 1:
        message += " (one sample; you may leave out the batch axis)"
    is_pixels = array.dtype == np.uint8 and (array.ndim == 2 or array.shape[-1] in MODES)
    is_image = len(expected) == IMAGE_RANK and array.ndim in (2, 3) and is_pixels
    turned = np.moveaxis(array, -3, -1).shape if array.ndim >= 3 else ()
    if array.ndim == len(expected) and array.shape[0] > 1 and _fits(array.shape[1:], expected[1:]):
        message += ". To explain several samples, use explain_predictions"
    elif len(expected) == IMAGE_RANK and _fits(turned, expected[IMAGE_RANK - array.ndim :]):
        message += ". Its channels come last: pass np.moveaxis(doc, -3, -1)"
    elif expected[0] == 1 and is_image:
        message += ". To have it resized, pass Image.fromarray(doc)"
    return f"{message}. Received: {array.shape}"


def fit_picture(
    picture: Image.Image, spec: keras.KerasTensor, channels_first: bool, name: str = "doc"
) -> np.ndarray:
    """Resize a picture to an array ``(1, ...)``, float32, 0 to 255.

    Raises
    ------
    ValueError
        If the model's input holds no picture.

    Examples
    --------
    >>> fit_picture(Image.new("L", (9, 9)), keras.KerasTensor((None, 4, 6, 3)), False).shape
    (1, 4, 6, 3)
    """
    shape = spec.shape
    if len(shape) not in (IMAGE_RANK - 1, IMAGE_RANK):
        raise ValueError(
            f"{name} is a picture, but the model's input has shape {tuple(shape)}. Pass an array."
        )
    height: int | None
    width: int | None
    channels: int | None
    if len(shape) == IMAGE_RANK - 1:
        (height, width), channels = shape[1:], 1
    elif channels_first:
        channels, height, width = shape[1:]
    else:
        height, width, channels = shape[1:]
    if channels is not None and channels not in MODES:
        raise ValueError(
            f"{name} is a picture, but the model takes {channels} channels. Pass an array as doc, "
            "and the picture to show as image=."
        )
    pixels = fitted_picture(picture, channels, height, width)
    array = np.asarray(pixels, "float32")
    if len(shape) == IMAGE_RANK:
        array = array[..., np.newaxis] if array.ndim == 2 else array
        array = np.moveaxis(array, -1, 0) if channels_first else array
    return array[np.newaxis]
