"""Baselines: inputs that show nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Baseline = float | tuple[float, ...] | str | Callable[[np.ndarray], Any]
# For "blur": the standard deviation as a share of each axis.
BLUR = 1 / 16


def baseline_of(image: np.ndarray, baseline: Baseline) -> np.ndarray:
    """Make the baseline of each image.

    Parameters
    ----------
    image : numpy.ndarray
        ``(batch, *grid, channels)``, in the units of the model's input.
    baseline : float, tuple of float, "mean", "blur" or callable
        A number; one number for each channel; the mean of each channel; the image blurred by a
        Gaussian of a sixteenth of each axis; or a function from images to baselines, both
        ``(batch, *grid, channels)``.

    Returns
    -------
    numpy.ndarray
        ``(batch, *grid, channels)``, float32; read-only.

    Raises
    ------
    ValueError
        If it is none of these, doesn't fit the image, or is not finite.

    Examples
    --------
    >>> image = np.array([[[1.0], [3.0]]])  # One sample, two pixels, one channel.
    >>> baseline_of(image, "mean").tolist()
    [[[2.0], [2.0]]]
    """
    value: Any = baseline
    if callable(baseline):
        value = baseline(image.copy())  # The user's document, which it may change.
    elif isinstance(baseline, str):
        makers = {"mean": _mean, "blur": _blur}
        value = makers[baseline](image) if baseline in makers else None
    try:
        array = np.broadcast_to(np.asarray(value, "float32"), image.shape)
    except (TypeError, ValueError) as error:
        raise ValueError(_wrong(image, baseline, value)) from error
    # The mean of a document with NaN is NaN; from a callable, NaN is a mistake.
    is_own = baseline in ("mean", "blur") if isinstance(baseline, str) else False
    if value is None or not (is_own or np.isfinite(array).all()):
        raise ValueError(_wrong(image, baseline, value))
    return array


def _wrong(image: np.ndarray, baseline: Baseline, value: Any) -> str:
    came = f", which returned {np.shape(value)}" if callable(baseline) else ""
    return (
        "baseline must be a finite number, one for each channel, 'mean', 'blur', or a callable "
        f"that returns an array of the images' shape {image.shape}. Received: {baseline!r}{came}"
    )


def _mean(image: np.ndarray) -> np.ndarray:
    axes = tuple(range(1, image.ndim - 1))
    return image.mean(axis=axes, keepdims=True, dtype="float32")


def _blur(image: np.ndarray) -> np.ndarray:
    """Blur along each axis of the grid, continuing beyond the border."""
    blurred = image.astype("float32")
    for axis in range(1, image.ndim - 1):
        size = image.shape[axis]
        distance = np.arange(size)[:, np.newaxis] - np.arange(size)
        kernel = np.exp(-((distance / max(size * BLUR, 1e-6)) ** 2) / 2)
        kernel /= kernel.sum(axis=0)
        blurred = np.moveaxis(np.moveaxis(blurred, axis, -1) @ kernel.astype("float32"), -1, axis)
    return blurred
