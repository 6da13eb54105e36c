"""What is remembered of a model goes with it, and is forgotten when the model changes."""

from __future__ import annotations

import gc
import weakref
from contextlib import ExitStack

import keras
import numpy as np
import pytest
from keras import layers

from eli5k import explain_prediction
from eli5k.keras.model import memory
from eli5k.keras.model.hooks import forward_hook, preactivation_hook
from eli5k.keras.model.memory import (
    FACTS_PER_MODEL,
    own_changes_ignored,
    remember,
    structure_of,
)
from tests.close import assert_close
from tests.zoo import (
    SHAPE,
    STRUCTURES,
    functional,
    net_layers,
    noise,
    sequential_of_list,
)

DOC = noise(1, *SHAPE, seed=1)


def counting():
    """A function that returns how often it was called."""
    calls = []

    def count():
        calls.append(None)
        return len(calls)

    return count


class TestRemember:
    def test_asks_once_for_each_key_and_model(self):
        one, two = functional(net_layers()), functional(net_layers())
        count = counting()
        assert [
            remember(one, "a", structure_of(one), count),
            remember(one, "a", structure_of(one), count),
        ] == [1, 1]
        assert [
            remember(one, "b", structure_of(one), count),
            remember(two, "a", structure_of(two), count),
        ] == [2, 3]
        assert remember(one, "a", structure_of(one), count) == 1

    def test_forgets_the_oldest(self):
        model = functional(net_layers())
        count = counting()
        remember(model, "first", structure_of(model), count)
        for key in range(FACTS_PER_MODEL - 1):
            remember(model, key, structure_of(model), count)
        assert (
            remember(model, "first", structure_of(model), count) == 1
        )  # Asked for again: now 0 is the oldest.
        remember(model, "one more", structure_of(model), count)
        assert remember(model, "first", structure_of(model), count) == 1
        assert remember(model, 0, structure_of(model), count) > FACTS_PER_MODEL

    def test_fact_that_could_not_be_found_out_is_asked_for_again(self):
        model = functional(net_layers())
        with pytest.raises(ZeroDivisionError):
            remember(model, "a", structure_of(model), lambda: 1 / 0)
        assert remember(model, "a", structure_of(model), lambda: 7) == 7

    @pytest.mark.parametrize(
        "change",
        [
            lambda model: model.add(layers.Dense(2)),
            lambda model: model.pop(),
            lambda model: setattr(model.layers[-1], "activation", keras.activations.linear),
        ],
        ids=["add", "pop", "activation"],
    )
    def test_forgets_when_the_model_is_rebuilt(self, change):
        model = sequential_of_list(net_layers())
        count = counting()
        remember(model, "a", structure_of(model), count)
        change(model)
        assert remember(model, "a", structure_of(model), count) == 2

    def test_forgets_an_activation_that_died(self):
        """Another function may get the address of one that died, and its id."""
        model = sequential_of_list(net_layers())
        count = counting()
        for number in range(1, 20):
            model.layers[-1].activation = lambda x, number=number: x * number
            assert remember(model, "a", structure_of(model), count) == number

    def test_knows_an_activation_that_it_has_seen(self):
        model = sequential_of_list(net_layers())
        count = counting()
        assert [remember(model, "a", structure_of(model), count) for _ in range(3)] == [1, 1, 1]

    def test_forgets_when_a_nested_model_is_rebuilt(self):
        inner = sequential_of_list(net_layers())
        model = keras.Sequential([keras.Input(SHAPE), inner])
        count = counting()
        remember(model, "a", structure_of(model), count)
        inner.layers[-1].activation = keras.activations.linear
        assert remember(model, "a", structure_of(model), count) == 2


def assert_explained_as_it_is(model, fresh):
    """Whatever was compiled before: ``fresh`` never was."""
    for logits in (False, True):
        found, expected = (
            explain_prediction(one, DOC, targets=[1], logits=logits).targets[0]
            for one in (model, fresh)
        )
        assert found.score == pytest.approx(expected.score, abs=1e-6)
        assert_close(found.attribution, expected.attribution)


def explained_thrice(model):
    """What the model is explained by is then compiled."""
    for logits in (False, True):
        for _ in range(3):
            explain_prediction(model, DOC, targets=[1], logits=logits)
    return model


def test_normalization_that_is_adapted_again():
    def model(normalization):
        return keras.Sequential([keras.Input(SHAPE), normalization, *net_layers()])

    normalization, other = (layers.Normalization() for _ in range(2))
    normalization.adapt(DOC)
    explained = explained_thrice(model(normalization))
    for one in (normalization, other):
        one.adapt(3 * DOC + 1)
    assert_explained_as_it_is(explained, model(other))


def test_low_rank_weights_of_a_fine_tuning():
    explained, fresh = explained_thrice(functional(net_layers())), functional(net_layers())
    for one in (explained, fresh):
        one.layers[-1].enable_lora(2)
        for variable in one.layers[-1].trainable_variables:
            variable.assign(noise(*variable.shape, seed=7))
    assert_explained_as_it_is(explained, fresh)


@pytest.mark.parametrize("structure", ["functional", "subclassed", "backbone and head"])
def test_model_is_freed_when_its_user_drops_it(structure):
    model = STRUCTURES[structure](net_layers())
    for targets in (None, [1], [0, 1], [lambda outputs: outputs[:, 0]]):
        for _ in range(2):
            explain_prediction(model, DOC, targets=targets)
    explanation = explain_prediction(model, DOC, targets=[1], layer="relu")
    freed = [weakref.ref(model), *(weakref.ref(part) for part in model._flatten_layers())]
    del model
    keras.backend.clear_session()
    gc.collect()
    assert not any(reference() for reference in freed)
    assert explanation.targets[0].heatmap.shape == (12, 12)


def test_nothing_grows_with_the_number_of_explanations():
    """The interpreter holds as many objects after 60 more explanations as before."""
    model = functional(net_layers())
    docs = noise(20, *SHAPE, seed=2)

    def explain_all():
        for doc in docs:
            explain_prediction(model, doc, targets=[1])
        gc.collect()
        return len(gc.get_objects())

    explain_all()
    before = explain_all()
    for _ in range(2):
        after = explain_all()
    assert after - before < 20


def test_a_new_target_is_no_new_question():
    """A class is an operand of the compiled function, not a part of it."""
    model = functional(net_layers())
    keys = []
    for target in (0, 1, 2):
        explain_prediction(model, DOC, targets=[target])
        keys.append(len(memory._facts[model]))
    assert keys[0] == keys[-1]


def test_callables_of_the_user_are_freed():
    model = functional(net_layers())

    def explain():
        def first_class(outputs):
            return outputs[:, 0]

        explain_prediction(model, DOC, targets=[first_class])
        return weakref.ref(first_class)

    references = [explain() for _ in range(3)]
    gc.collect()
    assert [reference() for reference in references] == [None] * 3


def test_new_weights_are_used_and_new_arrays_are_not_kept():
    model = functional(net_layers())
    doc = np.array(DOC)
    for _ in range(2):
        explanation = explain_prediction(model, doc, targets=[1])
    owner = weakref.ref(doc)
    del doc
    gc.collect()
    assert owner() is None
    assert explanation.image.size == SHAPE[:2]


class TestOpenHooks:
    """Another thread may have hooks open while a model is looked at."""

    def test_are_no_change_of_the_model(self):
        layer = layers.Dense(2, activation="relu")
        model = keras.Sequential([keras.Input((3,)), layer])
        before = structure_of(model)
        with forward_hook(layer, lambda x: x), preactivation_hook(layer, lambda x: x):
            assert structure_of(model) == before
            with own_changes_ignored(model):
                pass
        assert structure_of(model) == before
        layer.activation = keras.activations.tanh
        assert structure_of(model) != before

    def test_that_close_meanwhile_are_no_own_change(self):
        layer = layers.Dense(2, activation="relu")
        model = keras.Sequential([keras.Input((3,)), layer])
        with ExitStack() as stack:
            stack.enter_context(preactivation_hook(layer, lambda x: x))
            with own_changes_ignored(model):
                stack.close()
        before = structure_of(model)
        layer.activation = keras.activations.tanh
        assert structure_of(model) != before
