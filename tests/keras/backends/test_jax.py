"""JAX: everything is traced once, and nothing of a trace is left behind."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

import eli5k
from tests.close import assert_close
from tests.keras.backends.models import DOCS, MonteCarlo, state, stateful

if keras.config.backend() != "jax":
    pytest.skip("about JAX's traces", allow_module_level=True)

import jax

from eli5k.keras.model.state import compiled, dry_run

DOC = DOCS[:1]


class Traced(layers.Layer):
    """An identity that counts how often it is called, and sees whether it is traced."""

    calls = 0
    runs = 0

    def call(self, x):
        self.calls += 1
        self.runs += not isinstance(x, jax.core.Tracer)
        return x


class TestTraces:
    @pytest.mark.filterwarnings("ignore::eli5k.BlankMapWarning")
    def test_leak_nothing(self):
        with jax.checking_leaks():
            model = stateful(MonteCarlo())
            for targets in ([0], [0, 2], None):
                eli5k.explain_prediction(model, DOC, targets=targets)

    @pytest.mark.filterwarnings("ignore::eli5k.BlankMapWarning")
    def test_are_made_once_for_each_question_and_shape(self):
        layer = Traced()
        model = stateful(layer)
        layer.runs = 0
        counts = []
        for targets, docs in [([0], 1), ([0, 1], 1), ([0], 1), ([2], 1), ([1, 0], 1), ([0], 3)]:
            before = layer.calls
            eli5k.keras.attribute(model, DOCS[:docs], [targets] * docs)
            counts.append(layer.calls > before)
        assert counts == [True, True, False, False, False, True]
        assert layer.runs == 0

    def test_of_a_dry_run_compute_nothing(self):
        layer = Traced()
        model = stateful(layer)
        layer.runs = layer.calls = 0

        def function():
            model(DOCS, training=False)

        dry_run(function, model)
        assert (layer.calls, layer.runs) == (1, 0)

    def test_take_the_weights_as_arguments(self):
        model = stateful()
        run = compiled(lambda x: model(x, training=False), model)
        run(ops.convert_to_tensor(DOC))
        [graph] = [cell.cell_contents for cell in run.__closure__ if _is_jitted(cell.cell_contents)]
        weights = [variable.value for variable in model.variables]
        traced = graph.trace(weights, DOC).jaxpr
        assert len(traced.jaxpr.invars) == len(weights) + 1
        shapes = {weight.shape for weight in model.get_weights() if weight.size > 1}
        assert not shapes & {np.shape(constant) for constant in traced.consts}


def _is_jitted(value):
    return hasattr(value, "lower") and hasattr(value, "trace")


class TestUntraceable:
    """Models that need the numbers of a tensor, which a trace does not have."""

    class Impatient(keras.Model):
        def __init__(self, ask):
            super().__init__()
            self.ask = ask
            self.last = layers.Conv2D(4, 3, name="last")
            self.head = layers.Dense(3)

        def call(self, x):
            x = self.ask(x)
            return self.head(ops.mean(self.last(x), axis=(1, 2)))

    ASKS = {
        "if": lambda x: 2 * x if ops.sum(x) > 0 else x,
        "numpy": lambda x: x * (2 * np.ones_like(np.asarray(x))),
        "int": lambda x: x * (1 + int(ops.max(x) > 0)),
        "index": lambda x: 2 * x[: int(np.arange(5)[ops.shape(x)[0]])],
        "boolean index": lambda x: 2 * ops.reshape(x[x > -1], x.shape),
    }

    @pytest.mark.parametrize("ask", ASKS)
    def test_are_run(self, ask):
        patient = self.Impatient(lambda x: 2 * x)
        patient(DOC)
        model = self.Impatient(self.ASKS[ask])
        model(DOC)
        model.set_weights(patient.get_weights())
        [expected] = eli5k.explain_prediction(patient, DOC, targets=[1], layer="last").targets
        before = state(model)
        for _ in range(2):
            [found] = eli5k.explain_prediction(model, DOC, targets=[1], layer="last").targets
            assert_close(found.attribution, expected.attribution)
            assert_close(found.score, expected.score)
        assert state(model) == before

    def test_if_behind_the_layer(self):
        class Late(self.Impatient):
            def call(self, x):
                x = self.last(x)
                x = x if ops.max(x) > 1e9 else 3 * x
                return self.head(ops.mean(x, axis=(1, 2)))

        model = Late(None)
        model(DOC)
        [found] = eli5k.explain_prediction(model, DOC, targets=[1], layer="last").targets
        activations = ops.convert_to_numpy(model.last(DOC))[0]
        weights = 3 * model.head.get_weights()[0][:, 1] / 36
        assert_close(found.attribution, activations @ weights)
