"""One saved model gives the same scores and maps on every backend, by every method.

``agreement/`` holds the model, what TensorFlow made of it, and what eli5 made of the demo's.
``python -m tests.keras.backends.test_agreement`` prints how far the active backend is from them.
Where a method is added or means to give other numbers, write them anew on TensorFlow, with eli5
installed: the same with ``--write``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from eli5k import explain_prediction
from eli5k.demo.samples import load_model, load_samples
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


@pytest.mark.parametrize("index", range(len(load_samples())))
def test_default_is_that_of_eli5(index):
    with np.load(FOLDER / "eli5.npz") as arrays:
        of_eli5 = arrays[f"{index}: scores"], arrays[f"{index}: heatmaps"]
    scores, heatmaps = answer(load_model(), sample(index), {})
    np.testing.assert_allclose(scores, of_eli5[0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(heatmaps, of_eli5[1], rtol=0, atol=1e-4)


def sample(index: int) -> np.ndarray:
    """A picture of the demo, as its model takes it."""
    with Image.open(load_samples()[index].path) as picture:
        size = load_model().input_shape[2:0:-1]
        return np.asarray(picture.convert("RGB").resize(size), "float32")[np.newaxis]


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
    """Save the model, what the active backend makes of it, and what eli5 makes of the demo's."""
    import eli5

    FOLDER.mkdir(exist_ok=True)
    model = make_model()
    model.save(FOLDER / "model.keras")
    arrays = {"doc": np.random.default_rng(1).uniform(0, 1, (1, *SHAPE)).astype("float32")}
    for name, question in QUESTIONS.items():
        arrays[f"{name}: scores"], arrays[f"{name}: heatmaps"] = answer(
            model, arrays["doc"], question
        )
    np.savez_compressed(FOLDER / "tensorflow.npz", **arrays)
    of_eli5 = {}
    for index in range(len(load_samples())):
        [target] = eli5.explain_prediction(load_model(), sample(index)).targets
        of_eli5[f"{index}: scores"] = np.array([target.score], "float32")
        of_eli5[f"{index}: heatmaps"] = target.heatmap[np.newaxis].astype("float32")
    np.savez_compressed(FOLDER / "eli5.npz", **of_eli5)


def compare() -> None:
    """Print the largest differences of the active backend from what is written."""
    model = keras.saving.load_model(FOLDER / "model.keras")
    with np.load(FOLDER / "tensorflow.npz") as arrays:
        written = dict(arrays)
    with np.load(FOLDER / "eli5.npz") as arrays:
        of_eli5 = dict(arrays)
    found = {name: answer(model, written["doc"], QUESTIONS[name]) for name in QUESTIONS}
    by_default = {str(i): answer(load_model(), sample(i), {}) for i in range(len(load_samples()))}
    print(f"{keras.config.backend():32} score    heatmap")
    for name, (scores, heatmaps) in found.items():
        print_furthest(name, written, name, scores, heatmaps)
    for index, (scores, heatmaps) in by_default.items():
        print_furthest(f"eli5, sample {index}", of_eli5, index, scores, heatmaps)


def print_furthest(
    title: str, written: dict, name: str, scores: np.ndarray, heatmaps: np.ndarray
) -> None:
    differences = scores - written[f"{name}: scores"], heatmaps - written[f"{name}: heatmaps"]
    print(f"{title:32}", *(f"{np.abs(part).max():.1e}" for part in differences))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true")
    (write if parser.parse_args().write else compare)()
