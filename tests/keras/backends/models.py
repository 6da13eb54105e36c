"""Models with everything in them that keeps a state, and what there is to compare of a model."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops

SHAPE = (8, 8, 2)
DOCS = np.random.default_rng(1).uniform(0, 1, (12, *SHAPE)).astype("float32")


class MonteCarlo(layers.Layer):
    """Dropout that is on at inference too, and counts its calls in a variable."""

    def __init__(self):
        super().__init__()
        self.seed = keras.random.SeedGenerator(5)
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

    def call(self, x):
        self.calls.assign_add(1.0)
        return keras.random.dropout(x, 0.25, seed=self.seed)


def stateful(*more: layers.Layer, classes: int = 3) -> keras.Model:
    """A small net with seeds and moving statistics, and ``more`` layers behind its convolutions."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.RandomFlip(seed=1),
            layers.Conv2D(4, 3, padding="same", name="first"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.5, seed=2),
            layers.Conv2D(4, 3, name="last"),
            *more,
            layers.GlobalAveragePooling2D(),
            layers.Dense(classes, activation="softmax"),
        ]
    )
    rng = np.random.default_rng(3)
    for variable in model.weights:
        variable.assign(rng.uniform(0.1, 0.6, variable.shape))
    return model


def state(model: keras.Model) -> dict[str, bytes]:
    """Every variable of a model, bit by bit."""
    return {
        f"{index} {variable.path}": ops.convert_to_numpy(variable).tobytes()
        for index, variable in enumerate(model.variables)
    }
