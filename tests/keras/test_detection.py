"""Outputs with boxes: what is explained is a box that ``predict`` gives, and its class's score."""

from __future__ import annotations

from functools import cache

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import eli5k
from eli5k.keras import attribute
from eli5k.keras.evidence.boxes import corners_of, find_boxes, overlap_with
from tests.zoo import noise

# Some random weights speak against a class everywhere.
pytestmark = pytest.mark.filterwarnings("ignore::eli5k.BlankMapWarning")

SIDE, CELLS, CLASSES = 16, 4, 3
DOC = noise(SIDE, SIDE, 3, seed=1)
# Boxes of the cells of a grid, in pixels: so wide that neighbours in a row suppress each other.
CORNERS = np.array(
    [[4 * x - 5, 4 * y - 1, 4 * x + 9, 4 * y + 5] for y in range(CELLS) for x in range(CELLS)],
    "float32",
)
CLOSE = {"rel": 1e-5, "abs": 1e-6}


@keras.saving.register_keras_serializable("tests")
class Boxes(layers.Layer):
    """The same boxes for every picture."""

    def call(self, x):
        zeros = 0 * keras.ops.mean(x, axis=(1, 2, 3))[:, None, None]
        return zeros + keras.ops.convert_to_tensor(CORNERS)


@cache
def detector(activation: str | None) -> keras.Model:
    inputs = keras.Input((SIDE, SIDE, 3), name="photo")
    x = layers.Conv2D(6, 3, 2, padding="same", activation="elu", name="conv1")(inputs)
    x = layers.Conv2D(8, 3, 2, padding="same", activation="elu", name="conv2")(x)
    boxes = Boxes(name="boxes")(x)
    x = layers.Conv2D(CLASSES, 1, name="by_cell", kernel_initializer="random_normal")(x)
    x = layers.Reshape((-1, CLASSES), name="logits")(30 * x)
    x = layers.Activation(activation, name="scores")(x) if activation else x
    return keras.Model(inputs, {"boxes": boxes, "scores": x})


def predicted(activation: str | None = "sigmoid") -> np.ndarray:
    return detector(activation).predict(DOC[np.newaxis], verbose=0)["scores"][0]


def suppressed(probabilities: np.ndarray) -> list[int]:
    """Non-maximum suppression by its definition: no better box that stays hides it."""
    stays: list[int] = []
    for box in np.argsort(-probabilities.max(axis=1), kind="stable"):
        if all(overlap_with(CORNERS[box], CORNERS[[other]])[0] <= 0.5 for other in stays):
            stays.append(int(box))
    return stays


def explain(**keywords):
    return eli5k.explain_prediction(detector("sigmoid"), DOC, preprocess=False, **keywords)


class TestBestBoxes:
    def test_scores_are_those_of_predict(self):
        scores = predicted()
        stays = [box for box in suppressed(scores) if scores[box].max() >= 0.5]
        assert len(stays) >= 3
        expl = explain(top_targets=3)
        for target, box in zip(expl.targets, stays, strict=False):
            assert target.target == scores[box].argmax()
            assert target.score == pytest.approx(scores[box].max(), **CLOSE)
            assert target.proba == target.score
            assert target.box == pytest.approx(CORNERS[box] / SIDE)
        assert len(expl.targets) == 3
        assert len(explain().targets) == min(4, len(stays))
        assert "the class of each box, at its own place in output 'scores'" in expl.description
        last = explain(top_targets=-1).targets[0]
        assert last.box == pytest.approx(CORNERS[stays[-1]] / SIDE)

    def test_scores_without_an_activation_are_logits(self):
        scores = predicted(None)
        best = suppressed(scores)[0]
        expl = eli5k.explain_prediction(detector(None), DOC, top_targets=1, preprocess=False)
        [target] = expl.targets
        assert target.score == pytest.approx(scores[best].max(), **CLOSE)
        assert target.proba == pytest.approx(1 / (1 + np.exp(-scores[best].max())), **CLOSE)

    def test_logits(self):
        target = explain(top_targets=1, logits=True).targets[0]
        assert 1 / (1 + np.exp(-target.score)) == pytest.approx(target.proba, **CLOSE)
        assert target.proba == pytest.approx(predicted().max(), **CLOSE)

    def test_attribute(self):
        docs = np.stack([DOC, noise(SIDE, SIDE, 3, seed=2)])
        scores, maps = attribute(detector("sigmoid"), docs, method="gradient")
        output = detector("sigmoid").predict(docs, verbose=0)["scores"]
        assert scores == pytest.approx(output.max(axis=(1, 2)), **CLOSE)
        assert maps.shape == (2, SIDE, SIDE)

    def test_documents_have_different_numbers_of_boxes(self):
        docs = np.stack([DOC, noise(SIDE, SIDE, 3, seed=2) / 50])
        output = detector("sigmoid").predict(docs, verbose=0)["scores"]
        for scores, expl in zip(
            output,
            eli5k.explain_predictions(detector("sigmoid"), docs, top_targets=99, preprocess=False),
        ):
            boxes = [box for box in suppressed(scores) if scores[box].max() >= 0.5]
            found = [target.score for target in expl.targets]
            assert found == pytest.approx([scores[box].max() for box in boxes or [0]], **CLOSE)

    def test_map_is_that_of_a_callable(self):
        scores = predicted()
        box, label = suppressed(scores)[0], scores.max(axis=0).argmax()

        def score(outputs):
            return outputs["scores"][:, box, label]

        wanted = explain(targets=[score], layer="conv1").targets[0].attribution
        found = explain(top_targets=1, layer="conv1").targets[0].attribution
        assert found == pytest.approx(wanted, abs=1e-4 * float(np.abs(wanted).max()))

    def test_views_are_refused(self):
        with pytest.raises(ValueError, match="tta can't follow a box"):
            explain(method="tta")

    def test_default_layer_is_the_last_before_the_scores(self):
        assert explain().layer == "conv2"


class TestTargets:
    def test_number_name_and_box(self):
        scores, names = predicted(), ["cat", "dog", "cow"]
        stays = suppressed(scores)
        of_dogs = next(box for box in stays if scores[box].argmax() == 1)
        expl = explain(targets=[1, "dog", (3, 4, 16, 8), 0], target_names=names, method="gradient")
        wanted = [stays[1], of_dogs, 6, stays[0]]
        for target, box in zip(expl.targets, wanted, strict=True):
            assert target.box == pytest.approx(CORNERS[box] / SIDE)
            assert target.score == pytest.approx(scores[box].max(), **CLOSE)
            assert target.target == names[scores[box].argmax()]

    def test_box_in_pixels_of_a_photograph(self):
        photo = Image.new("RGB", (10 * SIDE, 5 * SIDE), "teal")
        expl = eli5k.explain_prediction(
            detector("sigmoid"),
            photo,
            [(30, 20, 160, 40)],
            method="gradient",
            preprocess=lambda x: x / 255,
        )
        assert expl.targets[0].box == pytest.approx(CORNERS[6] / SIDE)

    def test_region(self):
        right = np.where(np.arange(16) % CELLS >= 2, predicted().max(axis=1), 0)
        [target] = explain(top_targets=1, region=(8, 0, 16, 16), method="gradient").targets
        assert target.box == pytest.approx(CORNERS[right.argmax()] / SIDE)

    @pytest.mark.parametrize(
        ("target", "error", "message"),
        [
            (99, ValueError, "numbers of boxes, of which there are"),
            ((1, 2, 3), TypeError, r"boxes \(left, top, right, bottom\)"),
            ((90, 90, 95, 95), ValueError, "no box of the model overlaps"),
            ("cat", TypeError, "target_names"),
        ],
    )
    def test_wrong(self, target, error, message):
        with pytest.raises(error, match=message):
            explain(targets=[target])


class TestFormats:
    BOX = np.array([[[0.5, 0.0, 0.75, 0.5]]], "float32")  # in shares: left, top, right, bottom

    @pytest.mark.parametrize(
        ("named", "given"),
        [
            (None, [8, 0, 12, 4]),
            (None, [0.5, 0.0, 0.75, 0.5]),
            ("xyxy", [8, 0, 12, 4]),
            ("yxyx", [0, 8, 4, 12]),
            ("xywh", [8, 0, 4, 4]),
            ("center_xywh", [10, 2, 4, 4]),
            ("center_yxhw", [2, 10, 4, 4]),
            ("rel_yxyx", [0.0, 0.5, 0.5, 0.75]),
            ("rel_center_xywh", [0.625, 0.25, 0.25, 0.5]),
        ],
    )
    def test_known_box(self, named, given):
        model = keras.Sequential()
        if named:
            model.bounding_box_format = named
        assert corners_of(model, np.array([[given]], "float32"), (8, 16)) == pytest.approx(self.BOX)

    def test_corners_out_of_order(self):
        with pytest.raises(ValueError, match=r"Set model\.bounding_box_format"):
            corners_of(keras.Sequential(), np.array([[[10.0, 2, 4, 4]]]), (8, 16))

    def test_unknown_format(self):
        model = keras.Sequential()
        model.bounding_box_format = "polar"
        with pytest.raises(ValueError, match="'polar'"):
            corners_of(model, np.array([[[10.0, 2, 4, 4]]]), (8, 16))

    def test_box_outside_the_picture_is_none(self):
        corners = np.array([[1.5, 0, 2, 1], [0, 0, 0.5, 0.5]])
        assert find_boxes(corners, np.array([[0.9], [0.6]]), None).places.tolist() == [1]


class TestPicture:
    def test_box_is_drawn(self):
        black = Image.new("RGB", (20 * SIDE, 20 * SIDE))
        expl = eli5k.explain_prediction(
            detector("sigmoid"),
            DOC,
            targets=[(60, 80, 320, 160)],
            image=black,
            method="gradient",
            preprocess=False,
        )
        drawn = np.asarray(eli5k.format_as_image(expl, alpha_limit=0.0).convert("L"))
        left, top, right, bottom = (min(round(320 * share), 319) for share in expl.targets[0].box)
        assert drawn[top : bottom + 1, left].min() == 255 == drawn[bottom, left : right + 1].min()
        inside = drawn[top + 10 : bottom - 10, left + 10 : right - 10]
        assert inside.max() == 0 == drawn[: top - 10].max()

    def test_one_panel_for_each_box(self):
        expl = explain(top_targets=2)
        sheet = eli5k.format_as_image(expl, caption=True)
        alone = eli5k.format_as_image(explain(top_targets=1), caption=True)
        assert sheet.width > 1.8 * alone.width
        assert eli5k.format_as_page(expl).count('"name":') == 2
