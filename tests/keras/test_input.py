"""``input=``: which of several pictures is explained, and which picture is shown."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import eli5k
from eli5k.keras.inputs import read_document
from tests.zoo import noise

LEFT, RIGHT = Image.new("RGB", (40, 30), "red"), Image.new("RGB", (20, 50), "blue")


def two_towers(as_dict=False):
    """A model of two pictures: the score is 3 times the mean of the left one less the right's."""
    inputs = {name: keras.Input((6, 6, 3), name=name) for name in ("left", "right")}
    maps = [
        layers.Conv2D(
            1, 1, kernel_initializer=keras.initializers.Constant(scale), name=f"of_{name}"
        )(inputs[name])
        for name, scale in (("left", 3.0), ("right", -1.0))
    ]
    means = [layers.GlobalAveragePooling2D()(each) for each in maps]
    return keras.Model(inputs if as_dict else list(inputs.values()), layers.Add()(means))


# The gradient of the score at each pixel of an input.
SLOPES = {"left": 3 / 36, "right": 1 / 36}


@pytest.mark.parametrize("as_dict", [False, True])
class TestWhichInput:
    def explain(self, as_dict, **options):
        doc = {"left": LEFT, "right": RIGHT} if as_dict else [LEFT, RIGHT]
        return eli5k.explain_prediction(
            two_towers(as_dict), doc, method="gradient", targets=[0], **options
        )

    def test_each_flat_input_has_its_picture(self, as_dict):
        doc = {"left": LEFT, "right": RIGHT} if as_dict else [LEFT, RIGHT]
        document = read_document(two_towers(as_dict), doc)
        assert [picture.size for picture in document.pictures] == [LEFT.size, RIGHT.size]

    @pytest.mark.parametrize(
        ("asked", "name"), [(None, "left"), ("right", "right"), (1, "right"), (-2, "left")]
    )
    def test_the_picture_and_the_map_are_of_the_asked_input(self, as_dict, asked, name):
        explanation = self.explain(as_dict, input=asked)
        assert explanation.input == name
        assert explanation.image.size == {"left": LEFT, "right": RIGHT}[name].size
        np.testing.assert_allclose(explanation.targets[0].attribution, SLOPES[name], rtol=1e-5)

    def test_all_of_them(self, as_dict):
        first = self.explain(as_dict, input="all")
        for explanation, name in zip([first, *first.others], SLOPES, strict=True):
            assert explanation.input == name
            np.testing.assert_allclose(explanation.targets[0].attribution, SLOPES[name], rtol=1e-5)
        assert [each.image.size for each in (first, *first.others)] == [LEFT.size, RIGHT.size]

    def test_a_picture_instead_of_the_explained_one(self, as_dict):
        shown = Image.new("RGB", (9, 9))
        assert self.explain(as_dict, input="right", image=shown).image.size == shown.size
        with pytest.raises(ValueError, match="one input"):
            self.explain(as_dict, input="all", image=shown)


@pytest.mark.parametrize(
    ("asked", "error", "message"),
    [
        ("middle", ValueError, r"\['left', 'right'\]. Received: 'middle'"),
        (2, ValueError, r"below 2, or one of \['left', 'right'\]. Received: 2"),
        (1.5, TypeError, "Received: 1.5"),
    ],
)
def test_an_input_that_is_not_there(asked, error, message):
    with pytest.raises(error, match=message):
        eli5k.explain_prediction(two_towers(), [LEFT, RIGHT], method="gradient", input=asked)


def test_a_single_image_needs_no_name(shapes_model):
    explanation = eli5k.explain_prediction(
        shapes_model, noise(24, 24, 3, low=0), input=0, logits=True
    )
    assert explanation.input is None


def test_many_samples():
    arrays = [noise(3, 6, 6, 3), noise(3, 6, 6, 3, seed=1)]
    for name, slope in SLOPES.items():
        _, maps = eli5k.keras.attribute(two_towers(), arrays, method="gradient", input=name)
        np.testing.assert_allclose(maps, np.full((3, 6, 6), slope), rtol=1e-5)


def test_many_documents():
    docs = [[LEFT, RIGHT]] * 3
    options = {"method": "gradient", "input": "all", "batch_size": 2}
    for first in eli5k.explain_predictions(two_towers(), docs, **options):
        assert [other.input for other in first.others] == ["right"]
