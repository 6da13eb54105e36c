"""Apply a model's own preprocessing, as its ``predict`` does.

A task of KerasHub holds a ``preprocessor`` that only ``predict``, ``fit`` and ``evaluate`` apply.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from eli5k.base import WHOLE
from eli5k.keras.model.memory import NoKeyError, key_of, remember, structure_of

Frame = tuple[float, float, float, float]


def preprocessor_of(model: keras.Model) -> Callable[..., Any] | None:
    """Return the preprocessor that a model's ``predict`` applies, or None.

    Examples
    --------
    >>> preprocessor_of(keras.Sequential()) is None
    True
    """
    preprocessor = getattr(model, "preprocessor", None)
    return preprocessor if callable(preprocessor) else None


def apply_preprocessor(preprocessor: Callable[..., Any], array: np.ndarray) -> np.ndarray:
    """Apply a preprocessor to images ``(batch, ...)`` of any size.

    Raises
    ------
    ValueError
        If it returns something else than one array.

    Examples
    --------
    >>> apply_preprocessor(lambda pixels: (pixels / 2, None), np.ones((1, 2, 2, 1))).max()
    np.float64(0.5)
    """
    result = preprocessor(array)
    # With labels it returns inputs, labels and weights.
    result = result[0] if isinstance(result, tuple) else result
    if keras.ops.is_tensor(result):
        result = keras.ops.convert_to_numpy(result)
    if not hasattr(result, "__array__"):
        raise ValueError(
            "The model's preprocessor must return one image array. Pass arrays as the model takes "
            f"them, with preprocess=False. Received: {type(result).__name__}"
        )
    # KerasHub preprocesses with TensorFlow, whatever the backend is.
    return np.asarray(result)


def preprocessed(
    preprocess: Callable[[np.ndarray], Any], array: np.ndarray, spec: keras.KerasTensor
) -> np.ndarray:
    """Apply the user's function and check its result.

    Parameters
    ----------
    preprocess : callable
    array : numpy.ndarray
        ``(batch, ...)``
    spec : keras.KerasTensor
        What the model takes.

    Raises
    ------
    TypeError, ValueError
        If the result is no such array, or not finite.

    Examples
    --------
    >>> preprocessed(lambda pixels: pixels / 2, np.ones((1, 3)), keras.KerasTensor((None, 3)))
    array([[0.5, 0.5, 0.5]], dtype=float32)
    """
    result = preprocess(np.array(array, "float32"))
    if keras.ops.is_tensor(result):
        result = keras.ops.convert_to_numpy(result)
    expected = (len(array), *spec.shape[1:])
    shape = getattr(result, "shape", None)
    fits = (
        isinstance(result, np.ndarray)
        and len(result.shape) == len(expected)
        and all(want is None or want == have for want, have in zip(expected, result.shape))
    )
    if not fits:
        received = type(result).__name__ if shape is None else f"shape {tuple(shape)}"
        raise ValueError(
            f"preprocess must return an array of shape {expected}, as the model takes it. "
            f"Received: {received}"
        )
    if result.dtype.kind not in "biuf":
        raise TypeError(f"preprocess must return numbers. Received: dtype {result.dtype}")
    if np.isfinite(array).all() and not np.isfinite(result).all():
        raise ValueError(
            "preprocess must return finite numbers. Received NaN or infinite values for a finite "
            "document."
        )
    return result


def measured_frame(
    model: keras.Model,
    preprocessor: Callable[..., Any],
    shape: tuple[int, ...],
    channels_first: bool,
) -> Frame:
    """Measure which part of a picture a preprocessor shows to the model.

    Parameters
    ----------
    model : keras.Model
    preprocessor : callable
    shape : tuple of int
        ``(1, height, width, channels)``, or with the channels first: of the picture.
    channels_first : bool

    Returns
    -------
    tuple of float
        Left, top, right and bottom of what the model gets, in shares of the picture: within it for
        a crop, beyond it for a padding.
    """

    def measure() -> Frame:
        return _measure(preprocessor, shape, channels_first)

    get_config = getattr(preprocessor, "get_config", None)
    try:
        key = ("frame", shape, key_of(preprocessor), get_config and str(get_config()))
    except NoKeyError:
        return measure()
    return remember(model, key, structure_of(model), measure)


def _measure(
    preprocessor: Callable[..., Any], shape: tuple[int, ...], channels_first: bool
) -> Frame:
    """Send pictures through whose pixels hold their own place."""
    axes = (2, 3) if channels_first else (1, 2)

    def send(picture: Any) -> np.ndarray:
        picture = np.broadcast_to(picture, shape).astype("float32")
        found = apply_preprocessor(preprocessor, picture).astype("float64")
        return np.moveaxis(found, 1, -1)[0] if channels_first else found[0]

    black, white = send(0), send(255)
    spans = []
    for axis in (axes[1], axes[0]):
        places = (np.arange(shape[axis]) + 0.5) / shape[axis]
        ramp = send(255 * places.reshape([-1 if i == axis else 1 for i in range(len(shape))]))
        spans.append(_span(ramp, black, white, along=1 if axis == axes[1] else 0))
    (left, right), (top, bottom) = spans
    height, width = black.shape[:2]
    is_whole = np.allclose((left, right), (0, 1), atol=0.5 / width) and np.allclose(
        (top, bottom), (0, 1), atol=0.5 / height
    )
    return WHOLE if is_whole else (left, top, right, bottom)


def _span(
    ramp: np.ndarray, black: np.ndarray, white: np.ndarray, along: int
) -> tuple[float, float]:
    """Fit a line to the pixels' origins, ``(height, width, channels)``."""
    # Padding is the same in all pictures.
    is_seen = np.abs(white - black) > 1e-3 * np.abs(white - black).max()
    where = np.broadcast_to(
        np.expand_dims((np.arange(ramp.shape[along]) + 0.5) / ramp.shape[along], (1 - along, 2)),
        ramp.shape,
    )[is_seen]
    places = ((ramp - black)[is_seen]) / (white - black)[is_seen]
    slope, start = np.polyfit(where, places, 1)
    return float(start), float(start + slope)


def within(outer: Frame, inner: tuple[float, ...]) -> tuple[float, ...]:
    """Return a frame inside another frame in shares of the picture.

    Examples
    --------
    >>> within((0.2, 0.0, 0.8, 1.0), (0.5, 0.0, 1.0, 1.0))
    (0.5, 0.0, 0.8, 1.0)
    """
    if outer == WHOLE:
        return inner
    left, top, right, bottom = outer
    width, height = right - left, bottom - top
    return (
        left + width * inner[0],
        top + height * inner[1],
        left + width * inner[2],
        top + height * inner[3],
    )
