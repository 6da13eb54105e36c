"""One saved model gives the same scores and maps on every backend, by every method.

``agreement/`` holds the model and what TensorFlow made of it. Write it anew, where a method is
added or means to give other numbers, with ``KERAS_BACKEND=tensorflow python -m
tests.keras.backends.test_agreement``.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from eli5k import explain_prediction
from eli5k.keras.methods import METHODS

FOLDER = Path(__file__).parent / "agreement"
SHAPE = (20, 20, 3)
TARGETS = [1, 3]


def second_less_first(outputs):
    return outputs[:, 1] - outputs[:, 0]


QUESTIONS = {
    **{method: {"targets": TARGETS, "method": method} for method in METHODS},
    "best class": {},
    "five classes": {"targets": [0, 1, 2, 3, 4]},
    "logits": {"targets": TARGETS, "logits": True},
    "callable": {"targets": second_less_first},
    "layer in the backbone": {"targets": TARGETS, "layer": "backbone/first"},
    "integrated gradients of logits": {
        "targets": TARGETS,
        "logits": True,
        "method": "integrated-gradients",
    },
}

pytestmark = pytest.mark.filterwarnings("ignore::eli5k.BlankMapWarning")


@pytest.fixture(scope="module")
def model():
    return keras.saving.load_model(FOLDER / "model.keras")


@pytest.fixture(scope="module")
def written():
    with np.load(FOLDER / "tensorflow.npz") as arrays:
        return dict(arrays)


def answer(model: keras.Model, doc: np.ndarray, question: dict) -> tuple[np.ndarray, np.ndarray]:
    """Scores ``(targets,)`` and heatmaps ``(targets, *grid)``, float32."""
    targets = explain_prediction(model, doc, **question).targets
    scores = np.array([target.score for target in targets], "float32")
    return scores, np.array([target.heatmap for target in targets], "float32")


@pytest.mark.parametrize("name", QUESTIONS)
def test_scores_and_heatmaps_are_those_of_tensorflow(model, written, name):
    assert f"{name}: scores" in written, __doc__
    scores, heatmaps = answer(model, written["doc"], QUESTIONS[name])
    np.testing.assert_allclose(scores, written[f"{name}: scores"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(heatmaps, written[f"{name}: heatmaps"], rtol=0, atol=1e-4)


def test_maps_show_something(written):
    """Blank maps would agree too."""
    blank = [name for name in QUESTIONS if not written[f"{name}: heatmaps"].max() > 0.9]
    assert blank == []


def make_model() -> keras.Model:
    """A classifier on a nested backbone, with layers that differ between training and inference."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    x = layers.RandomFlip()(inputs)
    x = layers.Conv2D(8, 3, activation="relu", name="first")(x)
    x = layers.BatchNormalization()(x)
    x = layers.MaxPooling2D()(x)
    x = layers.SeparableConv2D(8, 3, padding="same", activation="gelu")(x)
    x = layers.Dropout(0.3)(x)
    x = layers.Conv2D(12, 3, activation="relu", name="last")(x)
    backbone = keras.Model(inputs, x, name="backbone")
    inputs = keras.Input(SHAPE)
    x = layers.GlobalAveragePooling2D()(backbone(inputs))
    model = keras.Model(inputs, layers.Dense(5, activation="softmax")(x))
    rng = np.random.default_rng(0)
    for weight in model.weights:
        fan = max(1, int(np.prod(weight.shape[:-1])))
        scale = 2 / np.sqrt(fan) if len(weight.shape) > 1 else 0.3
        values = rng.normal(0, scale, weight.shape)
        is_norm = any(name in weight.path for name in ("gamma", "variance"))
        weight.assign(1 + np.abs(values) if is_norm else values)
    return model


def write() -> None:
    """Save the model, and what the active backend makes of it."""
    FOLDER.mkdir(exist_ok=True)
    model = make_model()
    model.save(FOLDER / "model.keras")
    arrays = {"doc": np.random.default_rng(1).uniform(0, 1, (1, *SHAPE)).astype("float32")}
    for name, question in QUESTIONS.items():
        arrays[f"{name}: scores"], arrays[f"{name}: heatmaps"] = answer(
            model, arrays["doc"], question
        )
    np.savez_compressed(FOLDER / "tensorflow.npz", **arrays)


if __name__ == "__main__":
    write()
