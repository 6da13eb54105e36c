"""The callback shows what a model has learnt, and leaves its training as it is."""

from __future__ import annotations

import random
import sys

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from eli5k.keras import ExplainCallback
from tests.close import assert_close
from tests.zoo import SHAPE, closed_form, net_layers, noise

X = noise(24, *SHAPE)
Y = np.arange(24) % 3


class AlwaysDropped(layers.Layer):
    """Draws from its seed at inference too."""

    def __init__(self):
        super().__init__()
        self.seed = keras.random.SeedGenerator(3)

    def call(self, x):
        return keras.random.dropout(x, 0.2, seed=self.seed)


def make():
    model = keras.Sequential([keras.Input(SHAPE), *net_layers()])
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    return model


def train(model, *callbacks, epochs=2):
    keras.utils.set_random_seed(5)
    data = {"batch_size": 8, "validation_data": (X[:8], Y[:8])}
    model.fit(X, Y, epochs=epochs, callbacks=list(callbacks), verbose=0, **data)
    drawn = keras.ops.convert_to_numpy(keras.random.normal((3,)))
    _, of_numpy, position, *_ = np.random.get_state()  # noqa: NPY002  # The user's.
    state = [of_numpy, np.array(position), np.array(random.getstate()[1])]
    return [*model.get_weights(), drawn, *state]


def test_training_is_the_same_bit_for_bit(tmp_path):
    def trained(*callbacks):
        keras.utils.set_random_seed(2)
        more = layers.BatchNormalization(), layers.Dropout(0.3), AlwaysDropped()
        conv, pool = layers.Conv2D(3, 3), layers.GlobalAveragePooling2D()
        head = layers.Dense(3, activation="softmax")
        model = keras.Sequential([keras.Input(SHAPE), conv, *more, pool, head])
        model.compile("adam", "sparse_categorical_crossentropy")
        return train(model, *callbacks)

    alone = trained()
    watched = trained(ExplainCallback(X[:2], tmp_path / "sheet.png"))
    # Weights, statistics, states of seeds; then a number of Keras, and states of NumPy and Python.
    for one, other in zip(alone, watched, strict=True):
        np.testing.assert_array_equal(one, other)


def test_maps_are_those_of_the_weights_at_the_end_of_the_epoch():
    model, found = make(), []
    watch = ExplainCallback(X[:1], targets=[2], batch_size=1)

    def remember(epoch, logs):
        [target] = watch.explanations[0].targets
        expected = closed_form(model.layers, X[:1], 2)
        found.append((target.attribution, expected))

    train(model, watch, keras.callbacks.LambdaCallback(on_epoch_end=remember), epochs=2)
    for values, expected in found:
        assert_close(values, expected)
    first, second = (values for values, _ in found)
    assert np.abs(first - second).max() > 0.01 * np.abs(first).max()


def test_sheet_grows_by_a_row_for_each_explained_epoch(tmp_path):
    heights = []
    watch = ExplainCallback(iter(X[:3]), tmp_path / "sheet.png", every=2, targets=[0])

    def remember(epoch, logs):
        with Image.open(tmp_path / "sheet.png") as sheet:
            heights.append(sheet.height)

    model = make()
    train(model, watch, keras.callbacks.LambdaCallback(on_epoch_end=remember), epochs=4)
    first, second, third, fourth = heights
    assert first < second == third < fourth == watch.sheet.height
    assert watch.labels == ["before training", "epoch 2", "epoch 4"]
    assert watch.sheet.width > 3 * 224
    # Nothing else is left there.
    assert [each.name for each in tmp_path.iterdir()] == ["sheet.png"]
    # A second training goes on below the first. A full sheet keeps its first and its last row.
    watch.rows = 3
    train(model, watch, epochs=2)
    assert watch.labels == ["before training", "epoch 4", "epoch 2"]


def test_document_that_is_none_ends_the_training_before_it_begins(tmp_path):
    model = make()
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"Document 1 of docs .*none\.jpg"):
        train(model, ExplainCallback([X[0], "none.jpg"]))
    with pytest.raises(ValueError, match="at least one document"):
        train(model, ExplainCallback(X[:0]))
    for one, other in zip(before, model.get_weights()):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"every": 0}, ValueError, "every must be at least 1. Received: 0"),
        ({"every": 1.5}, TypeError, "every must be a whole number. Received: 1.5"),
        ({"rows": 1}, ValueError, "rows must be at least 2. Received: 1"),
        ({"path": "sheet.jpg"}, ValueError, "path must end with .png. Received: 'sheet.jpg'"),
    ],
)
def test_wrong_argument_is_named(keywords, error, message):
    with pytest.raises(error, match=message):
        ExplainCallback(X[:1], **keywords)


def test_missing_tensorboard_is_told_before_the_training(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ImportError, match=r"log_dir= needs .* pip install .*tensorboard"):
        ExplainCallback(X[:1], log_dir="logs")
