"""Numbers instead of classes, and the side of them that a map shows."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest

import eli5k
from tests.keras.quadrants import SIDE, apart, head, net, peak, picture

pytestmark = [
    pytest.mark.filterwarnings("error::eli5k.ExplanationWarning"),
    pytest.mark.filterwarnings("ignore::eli5k.UnscaledInputWarning"),
]

BRIGHT = picture(0.9, 0.2, 0.1, 0.1)
# The top raises the number, the bottom lowers it.
BALANCE = np.array([[1.0], [1.0], [-1.0], [-1.0]])


class TestOneNumber:
    def test_map_of_a_sum_is_the_brightness_itself(self):
        """The number is the sum of all pixels: each cell counts as much as it is bright."""
        model = net(np.full((4, 1), 1.0))
        expl = eli5k.explain_prediction(model, BRIGHT)
        [target] = expl.targets
        assert target.score == pytest.approx(BRIGHT.sum() / 16, abs=1e-5)
        assert target.proba is None
        expected = BRIGHT[0, ..., 0]
        np.testing.assert_allclose(target.heatmap, expected / expected.max(), atol=1e-4)

    def test_description_speaks_of_a_number(self):
        description = eli5k.explain_prediction(net(np.ones((4, 1))), BRIGHT).description
        assert "raise the number." in description
        assert 'style="signed"' in description
        assert "class" not in description

    def test_below_zero_says_that_the_map_shows_what_raises_it(self):
        doc = picture(0.2, 0.1, 0.1, 0.9)
        with pytest.warns(eli5k.ExplanationWarning, match=r"(?s)number is -0\.7.*signed.*target_n"):
            expl = eli5k.explain_prediction(net(BALANCE), doc)
        [target] = expl.targets
        assert target.score == pytest.approx(-0.7, abs=1e-5)
        assert peak(target.heatmap) == 0
        assert peak(-target.attribution) == 3

    def test_the_remedies_show_what_lowers_it(self):
        doc = picture(0.2, 0.1, 0.1, 0.9)
        against = eli5k.explain_prediction(net(BALANCE), doc, method="counterfactual")
        assert peak(against.targets[0].heatmap) == 3
        with warnings.catch_warnings(action="ignore"):
            expl = eli5k.explain_prediction(net(BALANCE), doc)
        drawn = np.asarray(eli5k.format_as_image(expl, style="signed").convert("RGB"), int)
        blue = drawn[..., 2] - drawn[..., 0]
        rows, columns = np.unravel_index(blue.argmax(), blue.shape)
        assert min(rows, columns) >= drawn.shape[0] // 2

    def test_above_zero_or_of_one_sign_says_nothing(self):
        eli5k.explain_prediction(net(BALANCE), BRIGHT)
        # Below zero by its bias alone: the map hides nothing.
        eli5k.explain_prediction(net(np.ones((4, 1)), bias=-9.0), BRIGHT)

    def test_blank_map_speaks_of_a_number(self):
        with pytest.warns(eli5k.BlankMapWarning, match='(?s)lowers this number.*"counterfactual"'):
            eli5k.explain_prediction(net(-np.ones((4, 1))), BRIGHT)


class TestSeveralNumbers:
    names = ("width", "height", "depth")
    kernel = np.array([[1, -1, 0], [0, 1, 0], [0, -2, 1], [0, 0, -2]])

    def test_by_index_and_by_name(self):
        doc = picture(0.9, 0.8, 0.1, 0.2)
        expected = np.array([0.9, 0.8, 0.1, 0.2]) @ self.kernel
        model = net(self.kernel)
        model.compile(loss="mse")
        with pytest.warns(eli5k.ExplanationWarning) as caught:
            expl = eli5k.explain_prediction(
                model, doc, targets=["height", 0, "depth"], target_names=self.names
            )
        assert [target.target for target in expl.targets] == ["height", "width", "depth"]
        scores = [target.score for target in expl.targets]
        np.testing.assert_allclose(scores, expected[[1, 0, 2]], atol=1e-5)
        assert [peak(target.heatmap) for target in expl.targets] == [1, 0, 2]
        own = [str(each.message) for each in caught if issubclass(each.category, UserWarning)]
        assert len(own) == 2
        assert own[0].startswith("The number 'height' is -0.3")
        assert own[1].startswith("The number 'depth' is -0.3")
        assert "two classes" not in own[1]

    def test_the_largest_is_seldom_the_one_that_is_meant(self):
        model = net(np.eye(4)[:, :3])
        model.compile(loss="mse")
        with pytest.warns(eli5k.ExplanationWarning, match=r"holds 3 numbers.*top_targets=3"):
            expl = eli5k.explain_prediction(model, picture(0.1, 0.9, 0.2, 0))
        assert [target.target for target in expl.targets] == [1]
        every = eli5k.explain_prediction(model, picture(0.1, 0.9, 0.2, 0), top_targets=3)
        assert len(every.targets) == 3

    def test_logits_below_zero_say_nothing(self):
        """Without a loss nobody knows that these are no scores of classes."""
        expl = eli5k.explain_prediction(net(self.kernel), picture(1, 1, 1, 1), targets=[0, 1])
        assert not expl.is_regression
        assert "each target" in expl.description


class TestIsRegression:
    @pytest.mark.parametrize(
        ("loss", "expected"),
        [
            ("mse", True),
            ("mean_absolute_error", True),
            (keras.losses.Huber(), True),
            (keras.losses.log_cosh, True),
            ("binary_crossentropy", False),
            (keras.losses.CategoricalCrossentropy(from_logits=True), False),
            (lambda true, predicted: true - predicted, False),
            (None, False),
        ],
    )
    def test_only_if_the_loss_says_so(self, loss, expected, tmp_path):
        model = net(np.ones((4, 1)))
        model.compile(loss=loss)
        assert eli5k.explain_prediction(model, BRIGHT).is_regression is expected
        if isinstance(loss, str):
            model.optimizer.build(model.trainable_variables)
            model.save(tmp_path / "model.keras")
            loaded = keras.models.load_model(tmp_path / "model.keras")
            assert eli5k.explain_prediction(loaded, BRIGHT).is_regression is expected

    def test_squared_error_of_a_softmax_is_none(self):
        model = net(np.eye(4), activation="softmax")
        model.compile(loss="mse")
        assert not eli5k.explain_prediction(model, BRIGHT).is_regression

    @pytest.mark.parametrize(
        "loss", [{"age": "mse", "kind": "categorical_crossentropy"}, [None, "mse"]]
    )
    def test_of_one_head(self, loss):
        inputs = keras.Input((SIDE, SIDE, 1))
        pixels = apart(inputs)
        outputs = [head(pixels, np.eye(4), name="kind"), head(pixels, np.eye(4), name="age")]
        model = keras.Model(inputs, outputs)
        model.compile(loss=loss)
        expl = eli5k.explain_prediction(model, BRIGHT, output="all", targets=[0])
        assert [part.is_regression for part in (expl, *expl.others)] == [False, True]
        assert "each number in output 'age'" in expl.others[0].description


class TestLoneSigmoid:
    kernel = 10 * BALANCE

    def test_no_is_explained_as_such_if_it_has_a_name(self):
        model = net(self.kernel, activation="sigmoid")
        doc = picture(0.2, 0.1, 0.1, 0.9)
        with pytest.warns(eli5k.ExplanationWarning, match="lone sigmoid at 0.000911.*target_names"):
            expl = eli5k.explain_prediction(model, doc)
        assert peak(expl.targets[0].heatmap) == 0
        named = eli5k.explain_prediction(model, doc, target_names=["no", "yes"])
        [target] = named.targets
        assert target.target == "no"
        assert target.proba == pytest.approx(1 - expl.targets[0].proba)
        assert peak(target.heatmap) == 3

    @pytest.mark.parametrize("kwargs", [{"target_names": {0: "cat"}}, {"method": "counterfactual"}])
    def test_whoever_knows_what_it_means_is_not_told(self, kwargs):
        model = net(self.kernel, activation="sigmoid")
        eli5k.explain_prediction(model, picture(0.2, 0.1, 0.1, 0.9), **kwargs)

    def test_yes_says_nothing(self):
        eli5k.explain_prediction(net(self.kernel, activation="sigmoid"), BRIGHT)

    def test_in_a_stream_each_document_for_itself(self):
        model = net(self.kernel, activation="sigmoid")
        docs = np.concatenate([BRIGHT, picture(0.2, 0.1, 0.1, 0.9)])
        with pytest.warns(eli5k.ExplanationWarning, match="document 1: .*lone sigmoid"):
            found = list(eli5k.explain_predictions(model, docs))
        assert [len(expl.warnings) for expl in found] == [0, 1]
