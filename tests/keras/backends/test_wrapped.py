"""A call that its user compiled is explained, and stays as it was: no hook is traced into it."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
from keras import layers

from eli5k import explain_prediction
from eli5k.keras import attribute
from eli5k.keras.methods import METHODS, RISE, IntegratedGradients, Occlusion, Smooth
from tests.close import assert_close
from tests.zoo import CLASSES, SHAPE, functional, net_layers, noise

pytestmark = pytest.mark.slow
DOCS = noise(2, *SHAPE, seed=1)
QUICK = {
    "integrated-gradients": IntegratedGradients(steps=4),
    "rise": RISE(masks=20),
    "occlusion": Occlusion(window=6),
    "smooth-grad": Smooth(samples=3),
    "square-grad": Smooth(samples=3, kind="square"),
    "var-grad": Smooth(samples=3, kind="variance"),
}


def wrap(function):
    """Compile a function as the users of a backend do."""
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(function)
    if backend == "jax":
        import jax

        return jax.jit(function)
    import torch

    return torch.compile(function, backend="eager")


class Wrapped(keras.Model):
    """A model whose layers run in a function that its user compiled."""

    def __init__(self):
        super().__init__()
        net = net_layers()
        functional(net)  # Builds the layers.
        self.net = net
        self.forward = wrap(self._forward)

    def _forward(self, x):
        for layer in self.net:
            x = layer(x)
        return x

    def call(self, x):
        return self.forward(x)


def predict(model):
    return keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(DOCS)))


@functools.cache
def expected_of(name):
    return attribute(functional(net_layers()), DOCS, 1, method=QUICK.get(name, name), layer="top")


def gradients_of(model):
    """Gradients of the sum of a class's scores, by the backend's own means."""
    match keras.config.backend():
        case "tensorflow":
            import tensorflow as tf

            with tf.GradientTape() as tape:
                score = tf.reduce_sum(model(DOCS)[:, 1])
            return [each.numpy() for each in tape.gradient(score, model.trainable_variables)]
        case "jax":
            import jax

            model(DOCS)  # Which builds it.
            others = [variable.value for variable in model.non_trainable_variables]

            def score(weights):
                outputs, _ = model.stateless_call(weights, others, DOCS)
                return outputs[:, 1].sum()

            found = jax.grad(score)([variable.value for variable in model.trainable_variables])
            return [np.asarray(each) for each in found]
    model.zero_grad()
    model(DOCS)[:, 1].sum().backward()
    return [variable.value.grad.numpy(force=True) for variable in model.trainable_variables]


def weights_after_training(model):
    model.compile("sgd", "mse")
    model.fit(DOCS, np.ones((2, CLASSES)), epochs=2, shuffle=False, verbose=0)
    return model.get_weights()


@functools.cache
def untouched(of):
    """What comes of a model that was never explained."""
    return of(Wrapped())


def assert_is_untouched(model, of):
    for one, other in zip(untouched(of), of(model), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", METHODS)
def test_each_method_sees_its_layers_and_leaves_it_alone(name):
    model = Wrapped()
    if keras.config.backend() != "jax":  # There a trace is made of each new function anyway.
        predict(model)
    before = predict(model)
    scores, expected = expected_of(name)
    for _ in range(3):
        found, maps = attribute(model, DOCS, 1, method=QUICK.get(name, name), layer="top")
        assert_close(found, scores)
        assert_close(maps, expected, tolerance=1e-4)
    assert_close(predict(model), before)
    assert_is_untouched(model, gradients_of)


@pytest.mark.parametrize("method", ["guided-backprop", "guided-grad-cam", "grad-cam"])
def test_gradients_and_training_are_bit_for_bit_what_they_were(method):
    """Though the first thing that ran the model was an explanation."""
    explained = Wrapped()
    for _ in range(3):
        explain_prediction(explained, DOCS[:1], targets=[1], method=method)
    assert_is_untouched(explained, gradients_of)
    assert_is_untouched(explained, weights_after_training)


class DecoratedLayer(layers.Layer):
    """A layer with a compiled call around another layer."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = layers.Conv2D(4, 3, name="inner")

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x):
        return self.inner(x)


def test_layer_inside_of_a_compiled_layer_is_explained():
    def model_of(is_wrapped):
        outer = DecoratedLayer(name="outer")
        outer.build((None, *SHAPE))
        if is_wrapped:
            outer.call = wrap(outer.call)
        net = [outer, layers.GlobalAveragePooling2D(), layers.Dense(3)]
        return keras.Sequential([keras.Input(SHAPE), *net])

    plain, wrapped = model_of(False), model_of(True)
    wrapped.set_weights(plain.get_weights())
    for layer in ("outer/inner", None):
        _, expected = attribute(plain, DOCS, 1, layer=layer)
        for _ in range(3):
            _, maps = attribute(wrapped, DOCS, 1, layer=layer)
            assert_close(maps, expected)
