"""An explanation as JSON."""

import base64
import dataclasses
import io
import json

import numpy as np
import pytest
from PIL import Image

from eli5k.base import Explanation, TargetExplanation
from eli5k.formatters import format_as_dict

pytestmark = pytest.mark.once


def through_json(explanation):
    return json.loads(json.dumps(format_as_dict(explanation), allow_nan=False))


def test_an_explanation_survives_json():
    heatmap = np.array([[0.0, 0.5], [0.25, 1.0]])
    target = TargetExplanation(
        np.int64(3),
        proba=np.float32(0.5),
        score=np.float64(-2),
        heatmap=heatmap,
        attribution=heatmap.astype(np.float32) - 1,
    )
    expl = Explanation("net", method="CAM", targets=[target], layer="conv", output="head")
    data = through_json(expl)
    assert list(data) == [field.name for field in dataclasses.fields(Explanation)]
    assert (data["estimator"], data["method"], data["is_regression"]) == ("net", "CAM", False)
    assert (data["layer"], data["output"], data["error"]) == ("conv", "head", None)
    [part] = data["targets"]
    assert part == through_json(target)
    assert list(part) == [field.name for field in dataclasses.fields(TargetExplanation)]
    assert (part["target"], part["proba"], part["score"]) == (3, 0.5, -2.0)
    assert part["heatmap"] == heatmap.tolist()
    assert part["attribution"] == (heatmap - 1).tolist()


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.str_("cat"), "cat"),
        (np.bool_(True), True),
        (np.float16(0.5), 0.5),
        (np.array(7), 7),
        (float("nan"), None),
        (np.array([1.0, np.inf, -np.inf]), [1.0, None, None]),
        ((1, (2, np.int8(3))), [1, [2, 3]]),
        ({np.int64(1): np.array([2])}, {"1": [2]}),
        ({(1, 2): 3}, {"[1, 2]": 3}),
        ({1}, "{1}"),
    ],
)
def test_every_value_becomes_plain(value, plain):
    found = through_json(TargetExplanation(0, feature_weights=value))["feature_weights"]
    assert found == plain
    assert type(found) is type(plain)


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK", "YCbCr", "HSV"]
)
def test_a_picture_becomes_a_png(mode):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    if mode == "HSV":
        picture = picture.convert("RGB")
    picture = picture.convert(mode)
    head, data = through_json(Explanation("net", image=picture))["image"].split(",")
    assert head == "data:image/png;base64"
    read = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
    read.load()
    if mode in ("CMYK", "YCbCr", "HSV"):
        picture = picture.convert("RGB")
    np.testing.assert_array_equal(np.asarray(read), np.asarray(picture))


@pytest.mark.parametrize("value", [None, "text", {}, [TargetExplanation(1)], Explanation])
def test_only_explanations_and_their_parts_are_taken(value):
    with pytest.raises(TypeError, match=r"must be an Explanation or part of one\. Received"):
        format_as_dict(value)
