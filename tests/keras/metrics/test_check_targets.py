"""Checks of maps of masks, boxes and patches; and of texts, which can't be checked."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import eli5k
from tests.digits.dense import load_detector, load_segmenter
from tests.digits.scenes import make_scenes


def test_maps_of_masks_are_checked_by_their_own_scores():
    [scene] = make_scenes(1, digits=2, split="test", seed=11)
    image = scene.image.astype("float32")
    asked = {"top_targets": 2, "check": True, "preprocess": False}
    explained = eli5k.explain_prediction(load_segmenter(), image, **asked)
    known = [each for each in explained.targets if each.target - 1 in scene.labels]
    assert len(known) == 2
    for target in known:
        assert target.check.verdict == "supported"
        # The other digit's place is worth nothing to this one's score.
        own = scene.labels.index(target.target - 1)
        worth = eli5k.keras.metrics.heat_in(target.check.worth, scene.boxes[own], (96, 96))
        other = eli5k.keras.metrics.heat_in(target.check.worth, scene.boxes[1 - own], (96, 96))
        assert worth > 2 * other


def test_maps_of_boxes_are_checked_by_the_scores_of_the_boxes():
    """Grad-CAM shows all digits alike; LayerCAM, which does not, shows the one in the box."""
    [scene] = make_scenes(1, digits=2, split="test", seed=5)
    image = scene.image.astype("float32")
    asked = {"top_targets": 2, "check": True, "preprocess": False}
    found = eli5k.compare(load_detector(), image, ["grad-cam", "layer-cam"], **asked)
    assert [each.targets[0].check.verdict for each in found] == ["not shown", "supported"]
    for target in found[1].targets:
        assert target.check.verdict == "supported"
        own = scene.labels.index(target.target)
        worth = eli5k.keras.metrics.heat_in(target.check.worth, scene.boxes[own], (96, 96))
        other = eli5k.keras.metrics.heat_in(target.check.worth, scene.boxes[1 - own], (96, 96))
        assert worth > 2 * other


def test_maps_of_patches_are_checked_as_any_other():
    """A transformer of one block without attention: each patch counts for itself."""
    inputs = keras.Input((28, 28, 1))
    x = layers.Conv2D(4, 4, strides=4, kernel_initializer="ones")(inputs)
    x = layers.Reshape((-1, 4), name="patches")(x)
    x = layers.Dense(4, activation="relu", kernel_initializer="ones", name="mlp")(x - 4)
    outputs = layers.Dense(1, kernel_initializer="ones")(layers.GlobalAveragePooling1D()(x))
    model = keras.Model(inputs, outputs)
    picture = np.zeros((28, 28, 1), "float32")
    picture[4:12, 16:24] = 1
    asked = {"targets": [0], "check": True, "preprocess": False}
    right = eli5k.explain_prediction(model, picture, layer="mlp", **asked).targets[0]
    assert right.heatmap.shape == (7, 7)
    assert right.check.verdict == "supported"
    [wrong] = eli5k.keras.check_maps(
        model, picture[np.newaxis], np.roll(right.heatmap, 3, axis=(0, 1))[np.newaxis], 0
    )
    assert wrong.verdict in ("not shown", "contradicted")


def test_a_text_is_refused_in_a_line():
    model = keras.Sequential(
        [
            keras.Input((12,), dtype="int32"),
            layers.Embedding(20, 4),
            layers.Conv1D(4, 3, activation="relu", kernel_initializer="ones"),
            layers.GlobalAveragePooling1D(),
            layers.Dense(2, kernel_initializer="ones"),
        ]
    )
    tokens = np.arange(12, dtype="int32")[np.newaxis]
    with pytest.raises(ValueError, match="tokens of a text, and a token can't be blurred"):
        eli5k.explain_prediction(model, tokens, check=True)
