"""Two nets with dense outputs: one gives each pixel a class, one gives each place a box.

Both stand on the trained classifier in ``digits.keras``, which they do not change. Only what is
added is stored, in ``segmenter.npz`` and ``detector.npz``; ``python -m tests.digits.train_dense``
trains it.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

from tests.digits.samples import FOLDER, load_model

DIGITS = 10
# Side in pixels of a cell of the classifier's last grid.
STRIDE = 8
NAMES = ["background", *map(str, range(DIGITS))]


def build_segmenter() -> keras.Model:
    """Build a U-Net: pixels in, eleven probabilities for each pixel out.

    Its way down is the classifier, up to ``block3``. Class 0 is the photograph, class ``1 + d`` the
    ink of the digit ``d``.

    Examples
    --------
    >>> build_segmenter().output_shape
    (None, 96, 96, 11)
    """
    encoder = _frozen()
    x = encoder.get_layer("block3").output
    x = layers.UpSampling2D(interpolation="bilinear", name="up1")(x)
    x = layers.Conv2D(32, 3, padding="same", activation="relu", name="decode1")(x)
    x = layers.UpSampling2D(interpolation="bilinear", name="up2")(x)
    x = layers.Concatenate(name="skip")([x, encoder.get_layer("stem").output])
    x = layers.Conv2D(24, 3, padding="same", activation="relu", name="decode2")(x)
    x = layers.Conv2D(1 + DIGITS, 1, name="classes")(x)
    x = layers.UpSampling2D(interpolation="bilinear", name="up3")(x)
    return keras.Model(encoder.input, layers.Softmax(name="mask")(x), name="segmenter")


def build_detector() -> keras.Model:
    """Build a detector with one scale: pixels in, a box and ten probabilities for each cell out.

    Boxes are left, top, right and bottom in pixels.

    Examples
    --------
    >>> build_detector().output_shape
    [(None, 144, 4), (None, 144, 10)]
    """
    encoder = _frozen()
    features = encoder.get_layer("block3").output
    x = layers.Conv2D(48, 3, padding="same", activation="relu", name="class_conv")(features)
    x = layers.Conv2D(DIGITS, 1, name="class_logits")(x)
    x = layers.Reshape((-1, DIGITS), name="by_cell")(x)
    scores = layers.Activation("sigmoid", name="scores")(x)
    x = layers.Concatenate(name="near")(
        [features, layers.AveragePooling2D(2, name="halved")(encoder.get_layer("block1").output)]
    )
    x = layers.Conv2D(48, 3, padding="same", activation="relu", name="box_conv")(x)
    x = layers.Conv2D(4, 1, activation="softplus", name="distances")(x)
    x = layers.Reshape((-1, 4), name="distances_by_cell")(x)
    boxes = FromCentres(name="boxes")(x)
    return keras.Model(encoder.input, {"boxes": boxes, "scores": scores}, name="detector")


@keras.saving.register_keras_serializable("digits")
class FromCentres(layers.Layer):
    """Turn the distances from a cell's centre to the four sides, in cells, into a box."""

    def call(self, distances):
        outwards = keras.ops.convert_to_tensor([-1.0, -1.0, 1.0, 1.0])
        return keras.ops.convert_to_tensor(centres()) + STRIDE * distances * outwards


def centres() -> np.ndarray:
    """Return the centre of each cell twice, as ``(144, 4)``: x, y, x, y.

    Examples
    --------
    >>> centres()[13].tolist()
    [12.0, 12.0, 12.0, 12.0]
    """
    line = (np.arange(12) + 0.5) * STRIDE
    y, x = np.meshgrid(line, line, indexing="ij")
    return np.stack([x, y, x, y], axis=-1).reshape(-1, 4).astype("float32")


def load_segmenter() -> keras.Model:
    """Load the trained U-Net.

    Examples
    --------
    >>> load_segmenter().name
    'segmenter'
    """
    return _load(build_segmenter())


def load_detector() -> keras.Model:
    """Load the trained detector.

    Examples
    --------
    >>> load_detector().name
    'detector'
    """
    return _load(build_detector())


def save_weights(model: keras.Model) -> None:
    """Save the trainable weights, in half precision."""
    arrays = {
        weight.path: keras.ops.convert_to_numpy(weight).astype("float16")
        for weight in model.trainable_weights
    }
    np.savez_compressed(FOLDER / f"{model.name}.npz", **arrays)


def _load(model: keras.Model) -> keras.Model:
    with np.load(FOLDER / f"{model.name}.npz") as arrays:
        for weight in model.trainable_weights:
            weight.assign(arrays[weight.path].astype("float32"))
    return model


def _frozen() -> keras.Model:
    classifier = load_model()
    classifier.trainable = False
    return classifier
