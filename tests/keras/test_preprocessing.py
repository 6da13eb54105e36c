"""A model's own preprocessor is applied as ``predict`` applies it, and the map drawn on the photo.

The model is a stand-in for a task of KerasHub, whose own are in ``tests/differential``.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import eli5k
from eli5k.base import WHOLE
from eli5k.keras.inputs import read_document
from eli5k.keras.preprocessing import measured_frame
from tests.zoo import noise

SIDE = 16


class Preprocessor(keras.layers.Layer):
    """Fits pictures of any size, and scales them, as KerasHub's does."""

    def __init__(self, factor=1 / 127.5, offset=-1.0, **resizing):
        super().__init__()
        self.resize = layers.Resizing(SIDE, SIDE, **resizing)
        self.factor, self.offset = factor, offset

    def call(self, x, y=None, sample_weight=None):
        x = self.resize(keras.ops.cast(x, "float32")) * self.factor + self.offset
        return keras.utils.pack_x_y_sample_weight(x, y, sample_weight)


class Task(keras.Model):
    """A classifier that preprocesses in ``predict`` only."""

    def __init__(self, preprocessor):
        inputs = keras.Input((SIDE, SIDE, 3))
        x = layers.Conv2D(4, 3, activation="relu", name="top")(inputs)
        x = layers.GlobalAveragePooling2D()(x)
        super().__init__(inputs, layers.Dense(3, activation="softmax", bias_initializer="ones")(x))
        self.preprocessor = preprocessor

    def predict(self, x, **options):
        return super().predict(self.preprocessor(x), **options)


RESIZINGS = {
    "squeezed": ({}, (40, 20), WHOLE),
    "cropped": ({"crop_to_aspect_ratio": True}, (40, 20), (0.25, 0, 0.75, 1)),
    "cropped upright": ({"crop_to_aspect_ratio": True}, (20, 40), (0, 0.25, 1, 0.75)),
    "padded": ({"pad_to_aspect_ratio": True}, (40, 20), (0, -0.5, 1, 1.5)),
    "as it is": ({}, (SIDE, SIDE), WHOLE),
}


def picture(width, height):
    return Image.fromarray(noise(height, width, 3, low=0, high=255).astype("uint8"))


@pytest.mark.parametrize("name", RESIZINGS)
class TestEachResizing:
    def test_score_is_that_of_predict(self, name, tmp_path):
        options, size, _ = RESIZINGS[name]
        task, photo = Task(Preprocessor(**options)), picture(*size)
        photo.save(tmp_path / "photo.png")
        array = np.asarray(photo)
        expected = task.predict(array[np.newaxis].astype("float32"), verbose=0)[0]
        for doc in (photo, tmp_path / "photo.png", array, array[np.newaxis].astype("float32")):
            explanation = eli5k.explain_prediction(task, doc, targets=[0, 1, 2], method="gradient")
            scores = [target.score for target in explanation.targets]
            np.testing.assert_allclose(scores, expected, atol=1e-5)
            assert explanation.image.size == size
        for explanation in eli5k.explain_predictions(task, [photo, array], targets=[1]):
            np.testing.assert_allclose(explanation.targets[0].score, expected[1], atol=1e-5)

    def test_frame(self, name):
        options, size, frame = RESIZINGS[name]
        document = read_document(Task(Preprocessor(**options)), picture(*size))
        np.testing.assert_allclose(document.frame, frame, atol=0.02)
        if frame == WHOLE:
            assert document.frame == WHOLE


def test_false_takes_the_document_as_it_is():
    task, doc = Task(Preprocessor()), noise(1, SIDE, SIDE, 3)
    explanation = eli5k.explain_prediction(task, doc, targets=[1], preprocess=False)
    expected = keras.ops.convert_to_numpy(task(doc))[0, 1]
    np.testing.assert_allclose(explanation.targets[0].score, expected, atol=1e-6)
    with pytest.raises(ValueError, match="must be of shape"):
        eli5k.explain_prediction(task, noise(1, 40, 20, 3), preprocess=False)


def test_a_function_of_the_user_goes_instead():
    task, photo = Task(Preprocessor()), picture(SIDE, SIDE)
    explanation = eli5k.explain_prediction(
        task, photo, targets=[1], preprocess=lambda pixels: pixels / 255
    )
    expected = keras.ops.convert_to_numpy(task(np.asarray(photo)[np.newaxis] / 255))[0, 1]
    np.testing.assert_allclose(explanation.targets[0].score, expected, atol=1e-6)


def test_a_changed_preprocessor_counts_at_once():
    task, photo = Task(Preprocessor()), picture(40, 20)
    assert read_document(task, photo).frame == WHOLE
    task.preprocessor = Preprocessor(crop_to_aspect_ratio=True)
    np.testing.assert_allclose(read_document(task, photo).frame, (0.25, 0, 0.75, 1), atol=0.02)


def test_channels_first():
    def turned(pixels):
        return np.moveaxis(pixels, 1, -1)[:, ::2, 10:30]

    model = keras.Sequential()
    frame = measured_frame(
        model, lambda x: np.moveaxis(turned(x), -1, 1), (1, 3, 20, 40), channels_first=True
    )
    np.testing.assert_allclose(frame, (0.25, 0, 0.75, 1), atol=0.03)


@pytest.mark.parametrize("value", [True, 1, "caffe"])
def test_what_preprocess_takes(value):
    with pytest.raises(TypeError, match="a callable, False or None"):
        eli5k.explain_prediction(Task(None), noise(1, SIDE, SIDE, 3), preprocess=value)
