"""``logits=True`` through what keeps the numbers; what hides the logits is named."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
from keras import layers, ops

import eli5k
from tests.zoo import CLASSES, SHAPE, net_layers, noise, run_layers

DOC = noise(1, *SHAPE)


def framework(name):
    """The backend's own function, which is no Keras activation."""
    match keras.config.backend():
        case "tensorflow":
            import tensorflow as tf

            return getattr(tf.nn, name)
        case "torch":
            import torch

            function = getattr(torch.nn.functional, name)
            return functools.partial(function, dim=-1) if name == "softmax" else function
        case "jax":
            import jax

            return getattr(jax.nn, name)


def model_of(*ends, activation=None):
    """The net without its final activation, and what follows."""
    net = net_layers(activation=None)
    inputs = x = keras.Input(SHAPE)
    for layer in net[:-1]:
        x = layer(x)
    dense = layers.Dense(CLASSES, activation=activation, name="classes")
    x = dense(x)
    dense.set_weights(net[-1].get_weights())
    for end in ends:
        x = end(x)
    return keras.Model(inputs, x)


def expected_logits():
    return run_layers(net_layers(activation=None), DOC)[0]


def explained(model, **options):
    return eli5k.explain_prediction(
        model, DOC, targets=list(range(CLASSES)), layer="top", **options
    )


ENDS = {
    "softmax": [layers.Softmax],
    "sigmoid": [lambda: layers.Activation("sigmoid")],
    "identity": [layers.Softmax, layers.Identity],
    "linear": [layers.Softmax, lambda: layers.Activation("linear")],
    "flatten": [layers.Softmax, layers.Flatten],
    "dropout": [layers.Softmax, lambda: layers.Dropout(0.5)],
    "cast": [layers.Softmax, lambda: layers.Activation("linear", dtype="float16")],
    "reshaped": [lambda: layers.Reshape((1, CLASSES)), layers.Softmax, layers.Flatten],
    "reshape": [layers.Softmax, lambda: layers.Reshape((CLASSES,))],
    "operation": [ops.softmax, lambda: lambda x: ops.reshape(x, (-1, CLASSES))],
}


@pytest.mark.parametrize("name", ENDS)
def test_what_keeps_the_numbers(name):
    ends = [ops.softmax if end is ops.softmax else end() for end in ENDS[name]]
    plain = explained(model_of())
    explanation = explained(model_of(*ends), logits=True)
    tolerance = 1e-2 if name == "cast" else 1e-4
    for target, truth, logit in zip(explanation.targets, plain.targets, expected_logits()):
        np.testing.assert_allclose(target.score, logit, rtol=tolerance, atol=tolerance / 10)
        scale = np.abs(truth.attribution).max()
        found, expected = target.attribution / scale, truth.attribution / scale
        np.testing.assert_allclose(found, expected, atol=tolerance)
        assert 0 < target.proba < 1
    assert "(logit)" in explanation.description


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_function_of_the_framework(kind):
    if keras.config.backend() == "torch" and kind == "sigmoid":
        import torch

        function = torch.sigmoid
    else:
        function = framework(kind)
    explanation = explained(model_of(activation=function), logits=True)
    found = [target.score for target in explanation.targets]
    np.testing.assert_allclose(found, expected_logits(), rtol=1e-4, atol=1e-5)
    again = explained(model_of(layers.Activation(function)), logits=True)
    found = [target.score for target in again.targets]
    np.testing.assert_allclose(found, expected_logits(), rtol=1e-4, atol=1e-5)


class InCall(keras.Model):
    """Computes its softmax in a call, without Keras."""

    def __init__(self):
        super().__init__()
        self.net = model_of()

    def call(self, x):
        return framework("softmax")(self.net(x))


def average():
    model = model_of()
    inputs = keras.Input(SHAPE)
    first, second = ops.softmax(model(inputs)), ops.softmax(2 * model(inputs))
    return keras.Model(inputs, layers.Average()([first, second]))


HIDDEN = {
    "clip": (lambda: model_of(layers.Softmax(), lambda x: ops.clip(x, 1e-7, 1)), "changes"),
    "average": (average, "changes"),
    "in call": (InCall, "without Keras"),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_what_hides_the_logits_is_named(name):
    make, reason = HIDDEN[name]
    model = make()
    layer = "top" if name == "clip" else None
    options = {"targets": [0], "layer": layer, "method": "gradient"}
    with pytest.warns(eli5k.ExplanationWarning, match=f"no effect.*{reason}"):
        explanation = eli5k.explain_prediction(model, DOC, logits=True, **options)
    assert "can't be seen" in explanation.description
    predicted = keras.ops.convert_to_numpy(model(DOC))[0, 0]
    np.testing.assert_allclose(explanation.targets[0].score, predicted, atol=1e-5)
    # Without the question there is nothing to say.
    assert eli5k.explain_prediction(model, DOC, **options).warnings == []


def test_real_logits_hide_nothing():
    assert explained(model_of(), logits=True).warnings == []


@pytest.mark.parametrize("name", HIDDEN)
def test_saturated_output_is_not_sent_back_to_the_logits(name):
    make, _ = HIDDEN[name]
    model = make()
    for each in model._flatten_layers():
        if isinstance(each, layers.Dense):
            kernel, bias = each.get_weights()
            each.set_weights([kernel, 1000 * np.eye(CLASSES)[0] + bias])
    with pytest.warns(eli5k.BlankMapWarning) as caught:
        eli5k.explain_prediction(model, DOC, targets=[0], method="gradient")
    assert not any("logits=True" in str(each.message) for each in caught)


class TestGuided:
    def net(self, relu):
        keras.utils.set_random_seed(3)
        return keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                layers.Conv2D(4, 3, activation=relu),
                layers.Conv2D(4, 3, activation=relu),
                layers.GlobalAveragePooling2D(),
                layers.Dense(2),
            ]
        )

    @pytest.mark.parametrize("name", ["relu", "relu6"])
    def test_relus_of_the_framework_are_guided(self, name):
        doc, options = noise(1, 8, 8, 3), {"method": "guided-backprop", "targets": [1]}
        own, theirs = self.net(name), self.net(framework(name))
        theirs.set_weights(own.get_weights())
        expected = eli5k.explain_prediction(own, doc, **options).targets[0].attribution
        for _ in range(2):
            found = eli5k.explain_prediction(theirs, doc, **options).targets[0].attribution
            np.testing.assert_allclose(found, expected, atol=1e-6)
        plain = eli5k.explain_prediction(own, doc, method="gradient", targets=[1])
        assert np.abs(plain.targets[0].attribution - expected).max() > 1e-4

    def test_one_in_a_call_is_not_denied(self):
        class Model(keras.Model):
            def __init__(self, net):
                super().__init__()
                self.net = net

            def call(self, x):
                return framework("relu")(self.net(x) + 10.0)

        with pytest.warns(eli5k.ExplanationWarning, match="sees none.*or its own code calls"):
            eli5k.explain_prediction(
                Model(self.net(None)), noise(1, 8, 8, 3), method="guided-backprop", targets=[0]
            )
