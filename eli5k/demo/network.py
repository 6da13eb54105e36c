"""The demo's classifier: EfficientNet-Lite0, trained on ImageNet, as an ordinary Keras model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from string import ascii_lowercase
from typing import NamedTuple

import keras
import numpy as np
from keras import layers

WEIGHTS = Path(__file__).parent / "efficientnet-lite0.npz"
CLASSES = 1000
STEM, HEAD = 32, 1280  # channels


class Stage(NamedTuple):
    """Blocks of one width; only the first of them strides."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
# The user's Keras settings must not change what the net computes.
COMMON = {"dtype": "float32"}
SPATIAL = {"padding": "same", "use_bias": False, "data_format": "channels_last", **COMMON}


def load_model(
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    classifier_activation: str | None = "softmax",
) -> keras.Model:
    """Load EfficientNet-Lite0 with the weights that ship with eli5k.

    Parameters
    ----------
    input_shape : (int or None, int or None, int)
        Height, width and channels; None for any size. The last grid has a cell for every 32
        pixels.
    classifier_activation : str or None
        None leaves the logits.

    Returns
    -------
    keras.Model
        From pictures ``(batch, height, width, 3)``, red, green and blue scaled by
        :func:`~eli5k.demo.preprocess`, to 1,000 probabilities. The classes are those of ImageNet;
        :data:`~eli5k.demo.NAMES` names them.

    References
    ----------
    Tan and Le 2019, https://arxiv.org/abs/1905.11946. Origin and licence are in ``NOTICE``.

    Examples
    --------
    >>> load_model().output_shape
    (None, 1000)
    """
    model = build_network(input_shape, classifier_activation)
    with np.load(WEIGHTS, allow_pickle=False) as file:
        set_weights(model, dict(file))
    return model


def set_weights(model: keras.Model, data: dict[str, np.ndarray]) -> None:
    """Give each layer of a network its weights from a file's arrays.

    Parameters
    ----------
    model : keras.Model
        From :func:`build_network`.
    data : dict of str to numpy.ndarray
        Under a layer's name with ``.kernel``, its kernel, and with ``.scale``, by what to multiply
        each output channel of it if it was rounded to integers; with ``.bias``, that of a dense
        layer. Under the name alone, for batch normalisation, ``(4, channels)``: gamma, beta, mean
        and variance.
    """
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights(list(data[layer.name]))
        elif layer.weights:
            scale = data.get(f"{layer.name}.scale", np.float32(1))
            kernel = data[f"{layer.name}.kernel"] * scale
            bias = [data[f"{layer.name}.bias"]] if layer.use_bias else []
            layer.set_weights([kernel, *bias])


def build_network(
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    classifier_activation: str | None = "softmax",
    stages: Sequence[Stage] = STAGES,
) -> keras.Model:
    """Build the network with random weights.

    Parameters
    ----------
    input_shape : (int or None, int or None, int)
    classifier_activation : str or None
    stages : sequence of Stage

    Returns
    -------
    keras.Model
        The last layer with a grid is ``head``; the last one of each block is named after it, such
        as ``block4c``.

    Examples
    --------
    >>> build_network((64, 96, 3)).get_layer("head").output.shape
    (None, 2, 3, 1280)
    """
    pixels = keras.Input(input_shape, name="pixels", dtype="float32")
    x = _activate(_convolve(pixels, STEM, 3, 2, "stem"), "stem")
    for number, stage in zip(count(1), stages):
        for letter, repeat in zip(ascii_lowercase, range(stage.repeats)):
            stride = stage.stride if repeat == 0 else 1
            x = _block(x, stage, stride, f"block{number}{letter}")
    x = _activate(_convolve(x, HEAD, 1, 1, "head"), "head")
    x = layers.GlobalAveragePooling2D(data_format="channels_last", name="pool", **COMMON)(x)
    classify = layers.Dense(CLASSES, activation=classifier_activation, name="classes", **COMMON)
    return keras.Model(pixels, classify(x), name="efficientnet-lite0")


def _block(x: keras.KerasTensor, stage: Stage, stride: int, name: str) -> keras.KerasTensor:
    """Block: widen, convolve each channel, narrow; with a shortcut if it fits."""
    width = x.shape[-1]
    y = x
    if stage.expansion > 1:
        y = _convolve(y, width * stage.expansion, 1, 1, f"{name}_expand")
        y = _activate(y, f"{name}_expand")
    y = layers.DepthwiseConv2D(stage.kernel, stride, name=f"{name}_depthwise_conv", **SPATIAL)(y)
    y = _activate(_normalize(y, f"{name}_depthwise_norm"), f"{name}_depthwise")
    if stride > 1 or width != stage.channels:
        return _convolve(y, stage.channels, 1, 1, f"{name}_project", norm=name)
    y = _convolve(y, stage.channels, 1, 1, f"{name}_project")
    return layers.Add(name=name, **COMMON)([x, y])


def _convolve(
    x: keras.KerasTensor, channels: int, kernel: int, stride: int, name: str, norm: str = ""
) -> keras.KerasTensor:
    x = layers.Conv2D(channels, kernel, stride, name=f"{name}_conv", **SPATIAL)(x)
    return _normalize(x, norm or f"{name}_norm")


def _normalize(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.BatchNormalization(epsilon=1e-3, name=name, **COMMON)(x)


def _activate(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.ReLU(6.0, name=name, **COMMON)(x)
