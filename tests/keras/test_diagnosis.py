"""A map that shows nothing says why; one that shows something says nothing."""

from __future__ import annotations

import re
import warnings

import keras
import numpy as np
import pytest
from keras import layers

import eli5k
from eli5k import BlankMapWarning, explain_prediction
from eli5k.keras import explain_prediction_keras
from eli5k.keras.evidence.asking import DisconnectedError
from eli5k.keras.methods import Occlusion
from tests.close import assert_close
from tests.zoo import SHAPE, closed_form, functional, net_layers, noise, run_in_numpy

DOC = noise(1, *SHAPE, seed=1)


def scaled_head(net, factor, bias=None):
    kernel, old = net[-1].get_weights()
    net[-1].set_weights([kernel * factor, old * factor if bias is None else bias])
    return net


def one_sided(net, sign):
    """Each class's evidence has one sign: activations are positive after ReLU."""
    kernel, bias = net[-1].get_weights()
    net[-1].set_weights([sign * np.abs(kernel), bias])
    return net


def warned(model, doc=DOC, **kwargs):
    """The explanation and its one warning, the same from an eager and from a compiled run."""
    results = []
    for _ in range(2):
        with pytest.warns(BlankMapWarning) as record:
            explanation = explain_prediction(model, doc, **kwargs)
        [warning] = [one for one in record if one.category is BlankMapWarning]
        assert warning.filename == __file__, "the warning points at the wrong line"
        results.append(str(warning.message))
    assert results[0] == results[1]
    [target] = explanation.targets
    assert target.heatmap.max() < 0.95 or not np.isfinite(target.attribution).all()
    return explanation, results[0]


class TestReasons:
    def test_saturated_softmax(self):
        model = functional(scaled_head(net_layers(), 1e4))
        _, message = warned(model)
        assert "saturated at 1" in message
        assert "logits=True" in message
        other = int(run_in_numpy(net_layers(), DOC).argmin())
        assert "saturated at 0" in warned(model, targets=[other])[1]

    @pytest.mark.filterwarnings("ignore:The output is a lone sigmoid")
    @pytest.mark.parametrize("factor", [1e4, -1e4])
    def test_saturated_sigmoid(self, factor):
        model = functional(scaled_head(net_layers(activation="sigmoid", classes=1), factor))
        assert "logits=True" in warned(model)[1]

    def test_remedy_for_saturation_works(self):
        linear = scaled_head(net_layers(activation=None), 1e4)
        model = functional(scaled_head(net_layers(), 1e4))
        best = int(run_in_numpy(linear, DOC).argmax())
        with warnings.catch_warnings():
            warnings.simplefilter("error", BlankMapWarning)
            explanation = explain_prediction(model, DOC, targets=[best], logits=True)
        expected = closed_form(linear, DOC, best)
        assert_close(explanation.targets[0].attribution, expected)

    def test_all_evidence_is_negative(self):
        net = one_sided(net_layers(activation=None), -1)
        explanation, message = warned(functional(net), targets=[1])
        assert "negative" in message
        assert ".attribution" in message
        [target] = explanation.targets
        expected = closed_form(net, DOC, 1)
        assert expected.max() <= 0 > expected.min()
        assert_close(target.attribution, expected)
        assert not target.heatmap.any()

    def test_dead_layer(self):
        net = net_layers(activation=None)
        kernel, bias = net[4].get_weights()
        net[4].set_weights([kernel * 0, bias * 0 - 1])
        _, message = warned(functional(net), targets=[1])
        assert "layer 'top' holds only zeros" in message
        assert "preprocess=" in message

    def test_class_that_no_channel_speaks_of(self):
        net = net_layers(activation=None)
        kernel, bias = net[-1].get_weights()
        kernel[:, 1] = 0
        net[-1].set_weights([kernel, bias])
        _, message = warned(functional(net), targets=[1])
        assert "layer 'top' does not reach the output" in message
        assert "gradient" in message

    def test_faint_evidence(self):
        net = scaled_head(one_sided(net_layers(activation=None), 1), 1e-8)
        """It shows: what eli5 adds to the maximum would eat it."""
        with warnings.catch_warnings(action="error", category=eli5k.ExplanationWarning):
            explanation = explain_prediction(functional(net), DOC, targets=[1])
        assert explanation.targets[0].heatmap.max() == pytest.approx(1 / 1.01)
        expected = closed_form(net, DOC, 1)
        np.testing.assert_allclose(
            explanation.targets[0].attribution, expected, atol=1e-5 * expected.max()
        )

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_input_that_is_not_finite(self, value):
        doc = DOC.copy()
        doc[0, 6, 6, 1] = value
        explanation, message = warned(net_without_relu(), doc, targets=[1])
        assert "not finite" in message
        assert "doc holds NaN or infinite" in message
        assert np.isfinite(explanation.targets[0].heatmap).all()
        assert not np.isfinite(explanation.targets[0].attribution).all()

    @pytest.mark.parametrize("value", [np.nan, -np.inf])
    def test_weight_that_is_not_finite(self, value):
        model = net_without_relu()
        kernel, bias = model.layers[0].get_weights()
        bias[3] = value
        model.layers[0].set_weights([kernel, bias])
        _, message = warned(model, targets=[1])
        assert re.search("the model's weight '.*/conv/bias' holds NaN or infinite", message)

    def test_overflow_inside_the_model(self):
        net = net_layers()
        for layer in (net[0], net[4]):
            layer.set_weights([array * 1e25 for array in layer.get_weights()])
        _, message = warned(functional(net), targets=[1])
        assert "overflows" in message


def net_without_relu():
    """On some processors a ReLU makes a zero of a NaN."""
    head = [layers.GlobalAveragePooling2D(), layers.Dense(3)]
    return keras.Sequential([keras.Input(SHAPE), layers.Conv2D(4, 3, name="conv"), *head])


@pytest.fixture(scope="module")
def without_gradient():
    """A model that takes integers, and is saturated."""
    inputs = keras.Input(SHAPE, dtype="uint8")
    x = layers.Flatten()(layers.Rescaling(1e4)(inputs))
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x))


class TestWithoutGradient:
    """The methods that try need none, and neither does the reason why their map is blank."""

    def test_saturated(self, without_gradient):
        doc = (DOC * 10 + 100).astype("uint8")
        _, message = warned(without_gradient, doc, method=Occlusion(window=2, stride=5))
        assert "saturated at 1" in message

    def test_nothing_to_see(self, without_gradient):
        _, message = warned(without_gradient, np.zeros_like(DOC, "uint8"), method="occlusion")
        assert "the input holds only zeros" in message


class TestWhen:
    def test_nothing_is_said_of_a_good_map(self, shapes_model, shapes_data):
        images, classes, _ = shapes_data
        with warnings.catch_warnings():
            warnings.simplefilter("error", eli5k.ExplanationWarning)
            for image, target in zip(images[:40], classes):
                explanation = explain_prediction(
                    shapes_model, image, targets=[int(target)], logits=True
                )
                assert explanation.targets[0].heatmap.max() > 0.99

    def test_each_blank_target_is_named_once(self):
        net = net_layers(activation=None)
        kernel, bias = net[-1].get_weights()
        kernel = np.abs(kernel) * [1, -1, -1]
        net[-1].set_weights([kernel, bias])
        with pytest.warns(BlankMapWarning) as record:
            explanation = explain_prediction(functional(net), DOC, targets=[0, 1, 2])
        assert len([one for one in record if one.category is BlankMapWarning]) == 2
        assert [bool(target.heatmap.any()) for target in explanation.targets] == [
            True,
            False,
            False,
        ]

    @pytest.mark.parametrize(
        "explain", [explain_prediction, explain_prediction_keras, eli5k.show_prediction]
    )
    def test_points_at_the_line_of_the_user(self, explain):
        model = functional(one_sided(net_layers(activation=None), -1))
        with pytest.warns(BlankMapWarning) as record:
            explain(model, DOC, targets=[1])
        assert [one.filename for one in record if one.category is BlankMapWarning] == [__file__]

    def test_can_be_made_an_error_or_silent(self):
        model = functional(one_sided(net_layers(activation=None), -1))
        with warnings.catch_warnings():
            warnings.simplefilter("error", eli5k.ExplanationWarning)
            with pytest.raises(BlankMapWarning):
                explain_prediction(model, DOC, targets=[1])
        with warnings.catch_warnings(record=True) as record:
            warnings.simplefilter("ignore", eli5k.ExplanationWarning)
            explain_prediction(model, DOC, targets=[1])
        assert not record

    def test_eli5_shows_the_same_nothing(self):
        """The heatmap of a blank map is eli5's: zeros."""
        model = functional(one_sided(net_layers(activation=None), -1))
        with pytest.warns(BlankMapWarning):
            explanation = explain_prediction(model, DOC, targets=[1])
        np.testing.assert_array_equal(explanation.targets[0].heatmap, np.zeros((4, 4)))


class TestLayerWithoutInfluence:
    def test_is_an_error_and_not_a_blank_map(self):
        inputs = keras.Input(SHAPE)
        trunk = layers.Conv2D(3, 3, activation="relu", name="trunk")(inputs)
        model = keras.Model(
            inputs,
            [
                layers.Dense(2, name="scores")(layers.GlobalAveragePooling2D()(trunk)),
                layers.Conv2D(2, 1, name="aside")(trunk),
            ],
        )
        for _ in range(2):
            with pytest.raises(DisconnectedError, match="does not depend on layer 'aside'"):
                explain_prediction(model, DOC, targets=[0], output="scores", layer="aside")
        assert issubclass(DisconnectedError, ValueError)
        explanation = explain_prediction(model, DOC, top_targets=1, output="scores")
        assert explanation.layer == "trunk"

    def test_gradient_that_the_model_stops(self):
        class Stop(layers.Layer):
            def call(self, x):
                return keras.ops.stop_gradient(x)

        net = net_layers()
        inputs = x = keras.Input(SHAPE)
        for layer in [*net[:5], Stop(name="stop"), *net[5:]]:
            x = layer(x)
        model = keras.Model(inputs, x)
        # What comes after the stop still has a gradient.
        assert explain_prediction(model, DOC).layer == "stop"
        with pytest.raises(ValueError, match="layer 'top'"):
            explain_prediction(model, DOC, targets=[1], layer="top")
