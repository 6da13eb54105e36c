"""A saved model gives the same scores and maps on every backend, by every method.

``agreement/`` holds the models, what TensorFlow made of them, and what eli5 made of digits.
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
from eli5k.keras.methods import METHODS
from tests.digits.samples import load_model, load_samples

FOLDER = Path(__file__).parent / "agreement"
SHAPE = (20, 20, 3)
TARGETS = [1, 3]


def second_less_first(outputs):
    return outputs[:, 1] - outputs[:, 0]


# What is asked of one model by every method, and of the other by one of each kind.
PLAIN = {
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
KINDS = """
    grad-cam layer-cam eigen-grad-cam gradient-x-input full-grad guided-backprop ablation-cam
    occlusion tta
"""
STRIDED = {f"strided, {method}": {"targets": TARGETS, "method": method} for method in KINDS.split()}
QUESTIONS = PLAIN | STRIDED

# The nets have statistics of their own, which the documents do not fit.
pytestmark = [
    pytest.mark.filterwarnings("ignore::eli5k.BlankMapWarning"),
    pytest.mark.filterwarnings("ignore::eli5k.UnscaledInputWarning"),
]


@pytest.fixture(scope="module")
def models():
    return load_models()


def load_models() -> dict[str, keras.Model]:
    """The model that each question is about."""
    plain, strided = (keras.saving.load_model(FOLDER / f"{name}.keras") for name in MODELS)
    return dict.fromkeys(PLAIN, plain) | dict.fromkeys(STRIDED, strided)


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
def test_scores_and_heatmaps_are_those_of_tensorflow(models, written, name):
    assert f"{name}: scores" in written, __doc__
    scores, heatmaps = answer(models[name], written["doc"], QUESTIONS[name])
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
    """A picture of digits, as its model takes it."""
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
    return settled(keras.Model(inputs, layers.Dense(5, activation="softmax")(x)))


def make_strided_model() -> keras.Model:
    """What each backend pads in its own way, and what looks at all pixels at once."""
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(inputs)
    x = layers.DepthwiseConv2D(5, strides=2, padding="same")(x)
    x = y = layers.LayerNormalization()(x)
    y = layers.MultiHeadAttention(2, 4)(y, y)
    x = layers.Add()([x, y])
    y = layers.Conv2D(8, 4, dilation_rate=2, padding="same", activation="silu")(x)
    y = layers.AveragePooling2D(2, padding="same")(y)
    y = layers.UpSampling2D(2, interpolation="bilinear")(y)
    x = layers.Add()([x, layers.Cropping2D(((1, 0), (0, 1)))(y)])
    gate = layers.Dense(8, activation="sigmoid")(layers.GlobalAveragePooling2D()(x))
    x = layers.MaxPooling2D(3, strides=1, padding="same")(layers.Multiply()([x, gate]))
    x = layers.GlobalAveragePooling2D()(x)
    return settled(keras.Model(inputs, layers.Dense(5, activation="softmax")(x)))


MODELS = {"model": make_model, "strided": make_strided_model}


def settled(model: keras.Model) -> keras.Model:
    """Give a model weights that are the same wherever it is made."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        fan = max(1, int(np.prod(weight.shape[:-1])))
        scale = 2 / np.sqrt(fan) if len(weight.shape) > 1 else 0.3
        values = rng.normal(0, scale, weight.shape)
        is_norm = any(name in weight.path for name in ("gamma", "variance"))
        weight.assign(1 + np.abs(values) if is_norm else values)
    return model


def write() -> None:
    """Save the models, what the active backend makes of them, and what eli5 makes of digits."""
    import eli5

    FOLDER.mkdir(exist_ok=True)
    for name, make in MODELS.items():
        make().save(FOLDER / f"{name}.keras")
    models = load_models()
    arrays = {"doc": np.random.default_rng(1).uniform(0, 1, (1, *SHAPE)).astype("float32")}
    for name, question in QUESTIONS.items():
        arrays[f"{name}: scores"], arrays[f"{name}: heatmaps"] = answer(
            models[name], arrays["doc"], question
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
    models = load_models()
    with np.load(FOLDER / "tensorflow.npz") as arrays:
        written = dict(arrays)
    with np.load(FOLDER / "eli5.npz") as arrays:
        of_eli5 = dict(arrays)
    found = {name: answer(models[name], written["doc"], QUESTIONS[name]) for name in QUESTIONS}
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
