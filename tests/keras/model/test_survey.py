"""What one run of a model shows: its calls in order, their shapes, and its heads."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from eli5k.keras.model.survey import run_model, survey
from tests.zoo import (
    SHAPE,
    STRUCTURES,
    Subclassed,
    functional,
    net_layers,
    noise,
    run_in_numpy,
    run_layers,
)

DOC = noise(1, *SHAPE, seed=1)
NAMES = ["stem", "norm", "relu", "pool", "top", "gap", "head"]


@pytest.mark.parametrize("structure", STRUCTURES)
def test_calls_come_in_the_order_in_which_they_return(structure):
    net = net_layers()
    model = STRUCTURES[structure](net_layers())
    model(DOC)  # Keras may call each layer once more to build a model.
    seen = survey(model, DOC)
    calls = [call for call in seen.calls if call.path.split("/")[-1] in NAMES]
    assert [call.path.split("/")[-1] for call in calls] == NAMES
    assert [call.shape for call in calls] == [run_layers(net, DOC, name).shape for name in NAMES]
    assert [call.has_kernel for call in calls] == [True, False, False, False, True, False, True]
    assert (seen.rank, seen.channels_first, seen.image_index) == (4, False, 0)


@pytest.mark.parametrize("structure", ["subclassed of blocks", "sequential never built"])
def test_model_that_was_never_built_is_built_by_it(structure):
    net = net_layers()
    model = STRUCTURES[structure](net_layers())
    assert not model.built
    seen = survey(model, DOC)
    shapes = {call.path.split("/")[-1]: call.shape for call in seen.calls}
    for name in NAMES:
        assert shapes[name] == run_layers(net, DOC, name).shape


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("activation", ["softmax", "sigmoid", None])
def test_head_knows_its_activation(structure, activation):
    [head] = survey(STRUCTURES[structure](net_layers(activation=activation)), DOC).heads
    assert (head.output, head.activation) == ((1, 3), activation)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_logits_are_what_went_into_the_final_activation(activation):
    net = net_layers(activation=activation)
    outputs, [head] = run_model(functional(net), keras.ops.convert_to_tensor(DOC))
    assert head.output is outputs
    linear = net_layers(activation=None)
    to_numpy = keras.ops.convert_to_numpy
    np.testing.assert_allclose(to_numpy(head.logits), run_in_numpy(linear, DOC), atol=1e-5)
    np.testing.assert_allclose(to_numpy(head.output), run_in_numpy(net, DOC), atol=1e-6)


def test_shared_layer_is_called_twice():
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    inputs = keras.Input(SHAPE)
    model = keras.Model(inputs, layers.Flatten()(shared(shared(inputs))))
    seen = survey(model, DOC)
    assert [call.path.split("_")[0] for call in seen.calls] == ["shared", "shared", "flatten"]


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (
            lambda x: [layers.Dense(2, name="one")(x), layers.Dense(3, name="two")(x)],
            ["one", "two"],
        ),
        (lambda x: {"b": layers.Dense(2)(x), "a": layers.Dense(3)(x)}, ["a", "b"]),
    ],
    ids=["list", "dict"],
)
def test_names_of_several_heads(make, names):
    inputs = keras.Input(SHAPE)
    x = layers.GlobalAveragePooling2D()(inputs)
    model = keras.Model(inputs, make(x))
    assert [head.name for head in survey(model, DOC).heads] == names


def test_names_of_a_subclassed_models_outputs():
    class Pair(Subclassed):
        def call(self, x):
            x = super().call(x)
            return x, {"twice": 2 * x}

    seen = survey(Pair(net_layers()), DOC)
    assert [head.name for head in seen.heads] == ["0", "1/twice"]
    # What is computed from a softmax is no softmax.
    assert [head.activation for head in seen.heads] == ["softmax", None]


def test_is_made_once_for_each_shape():
    model = keras.Sequential(
        [keras.Input((None, None, 3)), layers.Conv2D(2, 3), layers.GlobalMaxPooling2D()]
    )
    small, large = noise(1, 5, 5, 3), noise(1, 8, 9, 3)
    assert survey(model, small) is survey(model, small * 2)
    assert survey(model, small) is survey(model, np.repeat(small, 3, axis=0))
    assert survey(model, large) is not survey(model, small)
    assert survey(model, large).calls[0].shape == (1, 6, 7, 2)


def test_runs_the_model_at_inference():
    phases = []

    class Asks(layers.Layer):
        def call(self, x, training=None):
            phases.append(training)
            return x

    net = net_layers()
    survey(keras.Sequential([keras.Input(SHAPE), Asks(), *net]), DOC)
    assert phases[-1] is False
