"""As many rows go through a model together as have room on the graphics card."""

from __future__ import annotations

import importlib

import keras
import numpy as np
import pytest
from keras import layers

from eli5k.keras import attribute, explain_predictions
from eli5k.keras.backends import active_backend
from eli5k.keras.model.room import MOST, USUAL, rows_at_once
from tests.zoo import SHAPE, functional, net_layers, noise

pytestmark = pytest.mark.filterwarnings(
    "ignore::eli5k.BlankMapWarning", "ignore::eli5k.UnscaledInputWarning"
)


@pytest.fixture
def card(monkeypatch):
    """A function that gives the backend a card with so many free bytes."""
    backend = importlib.import_module(active_backend().__name__)
    return lambda free: monkeypatch.setattr(backend, "free_memory", lambda: free)


def two_outputs():
    """Two layers, of 100 and 25 numbers a row."""
    return keras.Sequential(
        [keras.Input((10, 10, 1)), layers.ReLU(), layers.AveragePooling2D(2), layers.Flatten()]
    )


def test_counts_the_outputs_of_all_layers(card):
    # 100 + 25 + 25 numbers, of 4 bytes, thrice, in half of the memory: 3600 bytes a row.
    for rows, expected in ((1, 1), (64, 64), (65, 64), (127, 64), (128, 128), (10**6, MOST)):
        card(3600 * rows)
        assert rows_at_once(two_outputs()) == expected
    card(0)
    assert rows_at_once(two_outputs()) == 1


def test_is_found_once(card):
    """What the model itself takes of the card later is no reason to compile for another size."""
    model = two_outputs()
    card(3600 * 64)
    assert rows_at_once(model) == 64
    card(3600 * 8)
    assert rows_at_once(model) == 64


def test_usual_number_if_it_cannot_be_known(card):
    assert rows_at_once(two_outputs()) == USUAL
    card(1)
    anywhere = keras.Sequential([keras.Input((None, None, 1)), layers.GlobalMaxPooling2D()])
    assert rows_at_once(anywhere) == USUAL


def test_several_inputs(card):
    inputs = [keras.Input((10, 10, 1)), keras.Input((3,), dtype="int32")]
    model = keras.Model(inputs, [layers.Flatten()(inputs[0]), layers.Flatten()(inputs[1])])
    card(2 * 12 * 103 * 16)
    assert rows_at_once(model) == 16


def test_rows_go_through_together(card):
    model, sizes = functional(net_layers()), []

    def sees(outputs):
        sizes.append(outputs.shape[0])
        return outputs[:, 1]

    card(0)
    found = attribute(model, noise(3, *SHAPE, seed=1), sees, batch_size=None)
    assert set(sizes) == {1}
    expected = attribute(model, noise(3, *SHAPE, seed=1), 1)
    np.testing.assert_allclose(found.maps, expected.maps, atol=1e-6)
    sizes.clear()
    list(explain_predictions(model, noise(3, *SHAPE), batch_size=None, targets=[sees]))
    assert set(sizes) == {1}
