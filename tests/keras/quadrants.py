"""Nets that look at one quadrant of the picture for each number: what is right is plain to see."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

SIDE = 8
# Rows and columns of top left, top right, bottom left, bottom right.
QUADRANTS = [
    (slice(SIDE // 2 * row, SIDE // 2 * (row + 1)), slice(SIDE // 2 * col, SIDE // 2 * (col + 1)))
    for row in (0, 1)
    for col in (0, 1)
]


def picture(*brightness: float) -> np.ndarray:
    """One picture with the brightness of its four quadrants: ``(1, 8, 8, 1)``."""
    pixels = np.zeros((1, SIDE, SIDE, 1), "float32")
    for value, (rows, columns) in zip(brightness, QUADRANTS):
        pixels[0, rows, columns] = value
    return pixels


def apart(inputs: keras.KerasTensor) -> keras.KerasTensor:
    """The picture four times, each with one quadrant left: four channels."""
    masks = np.concatenate([picture(*row) for row in np.eye(4)], axis=-1)
    as_they_are = layers.Conv2D(4, 1, kernel_initializer="zeros")
    channels = as_they_are(keras.ops.multiply(inputs, masks))
    as_they_are.set_weights([np.eye(4)[np.newaxis, np.newaxis], np.zeros(4)])
    return channels


def head(
    pixels: keras.KerasTensor, kernel: np.ndarray, bias=0.0, activation=None, name=None
) -> keras.KerasTensor:
    """Numbers made of the mean brightness of the quadrants, from 0 to 1: ``kernel`` is (4, units).

    A quadrant is a quarter of the picture.
    """
    kernel = np.asarray(kernel, "float32")
    pooled = layers.GlobalAveragePooling2D()(pixels)
    dense = layers.Dense(kernel.shape[1], activation=activation, name=name)
    scores = dense(pooled)
    dense.set_weights([4 * kernel, np.broadcast_to(bias, kernel.shape[1:])])
    return scores


def net(kernel: np.ndarray, bias=0.0, activation=None) -> keras.Model:
    """A net with one output."""
    inputs = keras.Input((SIDE, SIDE, 1))
    return keras.Model(inputs, head(apart(inputs), kernel, bias, activation))


def peak(map_: np.ndarray) -> int:
    """Number of the quadrant in which a map has its maximum."""
    row, column = np.unravel_index(map_.argmax(), map_.shape)
    return 2 * int(row >= SIDE // 2) + int(column >= SIDE // 2)
