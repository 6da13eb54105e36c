"""A compiled function gives what the function gives, whatever happens to its model."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import NamedTuple

import numpy as np
import pytest
from keras import ops

from eli5k.keras.model import state as model_state
from tests.close import assert_close
from tests.keras.backends.models import DOCS, MonteCarlo, state, stateful


class Result(NamedTuple):
    output: object
    none: object


def compiled_call(model):
    """The compiled function that calls the model; it holds the model weakly."""
    reference = weakref.ref(model)
    return model_state.compiled(
        lambda inputs, classes: Result(reference()(inputs, training=False), classes), model
    )


def run(compiled, docs, classes=None):
    return ops.convert_to_numpy(compiled(ops.convert_to_tensor(docs), classes).output)


class TestResults:
    @pytest.mark.parametrize("count", [1, 5, 2])
    def test_are_those_of_the_model_at_every_call(self, count):
        model = stateful()
        compiled = compiled_call(model)
        expected = ops.convert_to_numpy(model(DOCS, training=False))
        for start in range(4):
            docs = DOCS[start : start + count]
            assert_close(run(compiled, docs), expected[start : start + count])

    def test_keep_their_structure(self):
        model = stateful()
        compiled = compiled_call(model)
        for _ in range(3):
            result = compiled(ops.convert_to_tensor(DOCS), None)
            assert type(result) is Result
            assert result.none is None
        result = compiled(ops.convert_to_tensor(DOCS), {"a": [ops.ones(2), ops.zeros(3)]})
        np.testing.assert_array_equal(ops.convert_to_numpy(result.none["a"][0]), [1, 1])

    def test_follow_the_weights(self):
        model = stateful()
        compiled = compiled_call(model)
        seen = [run(compiled, DOCS) for _ in range(3)]
        model.set_weights([array / 2 for array in model.get_weights()])
        seen.append(run(compiled, DOCS))
        assert np.abs(seen[3] - seen[2]).max() > 1e-3
        assert_close(seen[3], ops.convert_to_numpy(model(DOCS, training=False)))

    def test_follow_training(self):
        model = stateful()
        compiled = compiled_call(model)
        before = [run(compiled, DOCS) for _ in range(3)][-1]
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(DOCS, np.zeros(len(DOCS)), verbose=0)
        after = run(compiled, DOCS)
        assert np.abs(after - before).max() > 1e-4
        assert_close(after, model.predict(DOCS, verbose=0))


class TestModel:
    def test_is_bit_identical_after_a_thousand_runs(self):
        model = stateful(MonteCarlo())
        compiled = compiled_call(model)
        before = state(model)
        first = run(compiled, DOCS[:1])
        for _ in range(1000):
            last = run(compiled, DOCS[:1])
        assert state(model) == before
        assert_close(last, first)

    def test_keeps_counting_by_itself(self):
        """What is forgotten is only what a compiled function assigned."""
        layer = MonteCarlo()
        model = stateful(layer)
        compiled = compiled_call(model)
        run(compiled, DOCS)
        model(DOCS, training=False)
        run(compiled, DOCS)
        model(DOCS, training=False)
        assert int(layer.calls) == 2

    def test_is_freed_while_the_function_lives(self):
        model = stateful()
        compiled = compiled_call(model)
        for _ in range(2):
            run(compiled, DOCS)
        reference = weakref.ref(model)
        del model
        gc.collect()
        assert reference() is None


class TestErrors:
    class OwnError(Exception):
        pass

    @pytest.mark.parametrize("good_runs", [0, 1, 2])
    def test_come_through_and_the_next_run_is_as_before(self, good_runs):
        model = stateful()
        fails = False
        reference = weakref.ref(model)

        def function(inputs):
            if fails:
                raise self.OwnError("mine")
            return reference()(inputs, training=False)

        compiled = model_state.compiled(function, model)
        expected = ops.convert_to_numpy(model(DOCS, training=False))
        before = state(model)
        for _ in range(good_runs):
            compiled(ops.convert_to_tensor(DOCS))
        fails = True
        with pytest.raises(self.OwnError) as raised:
            # Each shape is traced anew, and a function that is already traced cannot fail.
            compiled(ops.convert_to_tensor(DOCS[: 3 + good_runs]))
        assert raised.value.args == ("mine",)
        assert state(model) == before
        fails = False
        for _ in range(3):
            output = ops.convert_to_numpy(compiled(ops.convert_to_tensor(DOCS)))
            assert_close(output, expected)


class TestThreads:
    def test_eight_get_what_one_gets(self):
        model = stateful()
        compiled = compiled_call(model)
        expected = ops.convert_to_numpy(model(DOCS, training=False))
        outputs, errors = {}, []

        def work(thread):
            try:
                for step in range(len(DOCS)):
                    row = (step * 5 + thread) % len(DOCS)
                    outputs[thread, row] = run(compiled, DOCS[row : row + 1])[0]
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
        assert len(outputs) == 8 * len(DOCS)
        for (_, row), output in outputs.items():
            assert_close(output, expected[row])
