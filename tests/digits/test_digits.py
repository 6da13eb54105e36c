"""A net whose evidence is known: it names digits, and maps point at those they explain."""

from __future__ import annotations

from functools import cache

import keras
import numpy as np
import pytest
from PIL import Image

import eli5k
from tests.digits.samples import load_model, load_samples
from tests.digits.scenes import make_scenes, pointing_game

SCENES = 300  # two maps each
PICTURES = 2000


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return load_model()


@cache
def two_digit_scenes() -> list:
    return make_scenes(SCENES, digits=2, split="test", seed=2)


def point(model: keras.Model, logits: bool) -> float:
    """Play the pointing game on both digits of each held-out scene."""
    scenes = two_digit_scenes()
    images = np.stack([scene.image for scene in scenes]).astype("float32")
    labels = [list(scene.labels) for scene in scenes]
    _, maps = eli5k.keras.attribute(model, images, targets=labels, logits=logits)
    boxes = np.array([scene.boxes for scene in scenes])
    flat = maps.reshape(-1, *maps.shape[2:])
    return pointing_game(flat, boxes.reshape(-1, 4), boxes[:, ::-1].reshape(-1, 4))


class TestSamples:
    def test_samples_are_what_they_say(self, model):
        samples = load_samples()
        assert [len(sample.labels) for sample in samples] == [2, 2, 2, 1]
        for sample in samples:
            with Image.open(sample.path) as picture:
                assert (picture.size, picture.mode) == ((96, 96), "RGB")
            best = eli5k.explain_prediction(model, sample.path, top_targets=len(sample.labels))
            assert {target.target for target in best.targets} == set(sample.labels)

    def test_samples_point(self, model):
        for sample in load_samples(digits=2):
            labels = list(sample.labels)
            explanation = eli5k.explain_prediction(model, sample.path, targets=labels, logits=True)
            maps = [target.attribution for target in explanation.targets]
            assert pointing_game(maps, sample.boxes, sample.boxes[::-1]) == 1

    def test_model_names_held_out_digits(self, model):
        scenes = make_scenes(PICTURES, split="test", seed=2)
        images = np.stack([scene.image for scene in scenes])
        guesses = model.predict(images, batch_size=256, verbose=0).argmax(axis=1)
        accuracy = np.mean(guesses == [scene.labels[0] for scene in scenes])
        print(f"accuracy on {PICTURES} held-out pictures of one digit: {accuracy:.1%}")
        assert accuracy >= 0.95


class TestPointingGame:
    def test_logits(self, model):
        share = point(model, logits=True)
        print(f"pointing game, {2 * SCENES} maps, logits=True: {share:.1%}")
        assert share >= 0.9

    def test_default(self, model):
        share = point(model, logits=False)
        print(f"pointing game, {2 * SCENES} maps, logits=False: {share:.1%}")
        assert share >= 0.8

    def test_is_not_won_by_explaining_the_other_digit(self, model):
        scenes = two_digit_scenes()[:100]
        images = np.stack([scene.image for scene in scenes]).astype("float32")
        _, maps = eli5k.keras.attribute(
            model, images, targets=[scene.labels[1] for scene in scenes], logits=True
        )
        first, second = (np.array([scene.boxes[i] for scene in scenes]) for i in (0, 1))
        assert pointing_game(maps, first, second) < 0.1
