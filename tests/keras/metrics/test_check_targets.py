"""Checks of maps of masks; and of texts, which can't be checked."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import eli5k
from tests.digits.dense import load_segmenter
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
