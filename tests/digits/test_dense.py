"""Nets whose evidence is known: a mask's and a box's map point at the digit that they explain."""

from __future__ import annotations

from functools import cache

import keras
import numpy as np
import pytest

import eli5k
from tests.digits.dense import load_detector, load_segmenter
from tests.digits.samples import FOLDER
from tests.digits.scenes import Scene, make_scenes, pointing_game

pytestmark = pytest.mark.slow
SCENES = 60  # about two maps each


@cache
def scenes() -> list[Scene]:
    return make_scenes(SCENES, digits=2, split="test", seed=11)


def pixels() -> np.ndarray:
    return np.stack([scene.image for scene in scenes()]).astype("float32")


def points(model: keras.Model, first: int, **asked) -> tuple[float, float, str | None]:
    """Share of targets that are digits of the scene, and of their maps that point at them."""
    hits, known, count, layer = 0.0, 0, 0, None
    explained = eli5k.explain_predictions(model, pixels(), progress=False, **asked)
    for scene, expl in zip(scenes(), explained, strict=True):
        layer = expl.layer
        for target in expl.targets:
            count += 1
            if target.target - first in scene.labels and target.proba > 0.5:
                own = scene.labels.index(target.target - first)
                known += 1
                hits += pointing_game(
                    [target.attribution], [scene.boxes[own]], [scene.boxes[1 - own]]
                )
    print(f"{model.name}, {asked}: {known} of {count} are digits; points {hits / known:.1%}")
    return known / count, hits / known, layer


def test_weights_are_small():
    sizes = [(FOLDER / f"{name}.npz").stat().st_size for name in ("segmenter", "detector")]
    assert sum(sizes) < 500_000


@pytest.mark.parametrize(("method", "least"), [("grad-cam", 0.9), ("hires-cam", 0.95)])
def test_masks_point(method, least):
    known, share, layer = points(load_segmenter(), 1, top_targets=2, method=method)
    assert layer == "block3"
    assert known >= 0.9
    assert share >= least


def test_boxes_point():
    known, share, layer = points(load_detector(), 0)
    assert layer == "class_conv"
    assert known >= 0.9
    assert share >= 0.95


def test_boxes_are_where_the_digits_are():
    hits = []
    for scene, expl in zip(scenes(), eli5k.explain_predictions(load_detector(), pixels())):
        for target in expl.targets:
            if target.target in scene.labels:
                found = 96 * np.array(target.box)
                wanted = np.array(scene.boxes[scene.labels.index(target.target)])
                hits.append(np.abs(found - wanted).max() < 8)
    assert np.mean(hits) >= 0.9


def test_mask_is_that_of_the_digit():
    """Most of the region that is explained is ink of the digit."""
    shares = []
    explained = eli5k.explain_predictions(load_segmenter(), pixels()[:20], top_targets=2)
    for scene, expl in zip(scenes(), explained):
        shares += [
            np.mean(scene.mask[target.region] == target.target)
            for target in expl.targets
            if target.target - 1 in scene.labels
        ]
    assert np.mean(shares) >= 0.5
