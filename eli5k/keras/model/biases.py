"""Biases of a model: constants that its layers and normalisations add."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from eli5k.keras.backends import Tensor
from eli5k.keras.model.hooks import preactivation_hook
from eli5k.keras.model.structure import walk


@contextmanager
def bias_hooks(model: keras.Model, fn: Callable[[Tensor, Tensor, int], Tensor]) -> Iterator[None]:
    """Pass each tensor through ``fn`` right after a bias was added.

    Parameters
    ----------
    model : keras.Model
    fn : callable
        ``fn(tensor, bias, axis) -> tensor``: the bias is ``(channels,)`` or a number, and the axis
        is the tensor's channel axis.
    """
    with ExitStack() as hooks:
        for _, layer in walk(model):
            hooks.enter_context(preactivation_hook(layer, _adder(layer, fn)))
        yield


def _adder(layer: keras.Layer, fn: Callable[..., Any]) -> Callable[[Any], Any]:
    def add(tensor: Tensor) -> Tensor:
        bias = bias_of(layer)
        return tensor if bias is None else fn(tensor, bias, channel_axis(layer))

    return add


def bias_of(layer: keras.Layer) -> Any | None:
    """Return the constant that a layer adds at inference.

    Parameters
    ----------
    layer : keras.Layer
        A built layer.

    Returns
    -------
    tensor or None
        ``(channels,)``, or a shape that broadcasts along the last axes, float32; None if it adds
        no constant.

    Examples
    --------
    >>> norm = keras.layers.BatchNormalization(epsilon=0.0)
    >>> norm.build((None, 1))
    >>> norm.set_weights(np.array([[6.0], [5.0], [1.0], [4.0]]))  # gamma, beta, mean, variance
    >>> ops.convert_to_numpy(bias_of(norm)).tolist()
    [2.0]
    """
    if isinstance(layer, keras.layers.BatchNormalization):
        mean, variance = _single(layer.moving_mean), _single(layer.moving_variance)
        scale = ops.rsqrt(variance + layer.epsilon)
        scale = scale if layer.gamma is None else scale * _single(layer.gamma)
        return -mean * scale if layer.beta is None else _single(layer.beta) - mean * scale
    if isinstance(layer, keras.layers.Normalization):
        if layer.invert:
            return _single(layer.mean)
        deviation = ops.maximum(ops.sqrt(_single(layer.variance)), keras.config.epsilon())
        return -_single(layer.mean) / deviation
    if isinstance(layer, keras.layers.Rescaling):
        return _single(layer.offset) if np.any(layer.offset) else None
    for name in ("bias", "beta"):
        weight = getattr(layer, name, None)
        if isinstance(weight, keras.Variable) and len(weight.shape) == 1:
            return _single(weight)
    return None


def channel_axis(layer: keras.Layer) -> int:
    """Return the axis of a layer's output that its bias lies along."""
    if isinstance(layer, keras.layers.BatchNormalization):
        return layer.axis if isinstance(layer.axis, int) else layer.axis[0]
    return 1 if getattr(layer, "data_format", None) == "channels_first" else -1


def _single(value: Any) -> Any:
    return ops.cast(ops.convert_to_tensor(value), "float32")
