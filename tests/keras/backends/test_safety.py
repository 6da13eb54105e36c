"""Through the whole library: errors, training and threads leave the model and its maps right."""

from __future__ import annotations

import threading

import keras
import numpy as np
import pytest
from keras import layers, ops
from keras.src import backend as keras_backend

import eli5k
from eli5k.keras.evidence.probes import Layer, Probe
from tests.close import assert_close
from tests.keras.backends.models import DOCS, MonteCarlo, state, stateful

pytestmark = pytest.mark.filterwarnings("ignore::eli5k.BlankMapWarning")
DOC = DOCS[:1]
CLASSES = np.arange(len(DOCS)) % 3


class OwnError(Exception):
    pass


class Fragile(layers.Layer):
    """An identity that raises an error when it is told to."""

    broken = False

    def call(self, x):
        if self.broken:
            raise OwnError("mine")
        return x


def attribution(model, doc=DOC, **kwargs):
    return eli5k.explain_prediction(model, doc, **{"targets": [1], **kwargs}).targets[0].attribution


def fail_in_target(model):
    def target(outputs):
        raise OwnError("mine")

    attribution(model, targets=target)


def fail_in_layer(model):
    [layer] = [layer for layer in model.layers if isinstance(layer, Fragile)]
    layer.broken = True
    try:
        attribution(model, targets=[0, 2])
    finally:
        layer.broken = False


def fail_in_hook(model):
    from eli5k.keras.model.hooks import forward_hook

    def hook(output):
        raise OwnError("mine")

    with forward_hook(model.get_layer("last"), hook):
        attribution(model, targets=[0, 2])


def fail_in_method(model):
    def method(run):
        def function(evidence):
            raise OwnError("mine")

        return run.evidence(Probe(Layer()), function)

    attribution(model, method=method)


def fail_in_backend(model):
    """An operation of the backend that the model ends in."""

    def softmax(x, axis=-1):
        raise OwnError("mine")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras_backend.nn, "softmax", softmax)
        attribution(model, targets=[0, 2])


def fail_backward(model):
    def target(outputs):
        return without_gradient(outputs[:, 0])

    attribution(model, targets=target)


@ops.custom_gradient
def without_gradient(x):
    def gradient(*args, upstream=None):
        raise OwnError("mine")

    return x, gradient


FAILURES = [
    (fail_in_backend, False),
    (fail_in_backend, True),
    (fail_backward, False),
    (fail_backward, True),
    (fail_in_target, False),
    (fail_in_layer, False),
    (fail_in_layer, True),
    (fail_in_hook, True),
    (fail_in_method, False),
]


@pytest.mark.slow
class TestErrors:
    @pytest.mark.parametrize(("fail", "explained_before"), FAILURES)
    def test_leave_the_model_able_to_predict_explain_and_train(self, fail, explained_before):
        model, twin = stateful(Fragile()), stateful(Fragile())
        before, expected = state(model), attribution(twin)
        prediction = model.predict(DOCS, verbose=0)
        if explained_before:
            attribution(model)

        with pytest.raises(OwnError):
            fail(model)

        assert state(model) == before
        assert not any("call" in vars(layer) for layer in model.layers)
        assert_close(model.predict(DOCS, verbose=0), prediction)
        assert_close(attribution(model), expected)
        for one in (model, twin):
            one.compile("sgd", "sparse_categorical_crossentropy")
            one.fit(DOCS, CLASSES, shuffle=False, verbose=0)
        assert state(model) != before
        for found, weight in zip(model.get_weights(), twin.get_weights()):
            assert_close(found, weight)


class TestManyExplanations:
    def test_leave_the_model_bit_identical(self):
        model = stateful(MonteCarlo())
        before, first = state(model), attribution(model)
        for _ in range(1000):
            last = attribution(model)
        assert state(model) == before
        assert_close(last, first)


class TestTraining:
    def test_explained_in_a_callback(self):
        """The model is then explained as it is trained so far."""
        model, maps, weights = stateful(), [], []

        class Explain(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                maps.append(attribution(self.model))
                weights.append(self.model.get_weights())

        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(DOCS, CLASSES, batch_size=4, verbose=0, callbacks=[Explain()])
        assert len(maps) == 3
        for found, at_the_time in zip(maps, weights):
            fresh = stateful()
            fresh.set_weights(at_the_time)
            assert_close(found, attribution(fresh))
        assert np.abs(maps[2] - maps[0]).max() > 1e-5

    def test_between_explanations(self):
        """What was compiled before the training explains the model as it is after it."""
        model = stateful()
        model.compile("sgd", "sparse_categorical_crossentropy")
        for _ in range(2):
            before = attribution(model)
        model.fit(DOCS, CLASSES, verbose=0)
        after = attribution(model)
        assert np.abs(after - before).max() > 1e-5
        fresh = stateful()
        fresh.set_weights(model.get_weights())
        assert_close(after, attribution(fresh))


class TestRandomLayers:
    def test_their_seeds_stay_and_each_explanation_is_the_same(self):
        model = stateful(MonteCarlo())
        before = state(model)
        first = attribution(model)
        for _ in range(2):
            assert_close(attribution(model), first)
        assert state(model) == before


class TestThreads:
    def test_eight_with_one_model_get_the_maps_of_one(self):
        model = stateful()
        alone = stateful()
        expected = [attribution(alone, DOCS[row : row + 1]) for row in range(len(DOCS))]
        before = state(model)
        found, errors = [], []

        def work(thread):
            try:
                for step in range(len(DOCS)):
                    row = (thread + 5 * step) % len(DOCS)
                    found.append((row, attribution(model, DOCS[row : row + 1])))
            except Exception as error:
                errors.append(error)

        def predict():
            try:
                while len(found) < 8 * len(DOCS) and not errors:
                    output = ops.convert_to_numpy(model(DOCS, training=False))
                    assert_close(output, prediction)
            except Exception as error:
                errors.append(error)

        prediction = ops.convert_to_numpy(model(DOCS, training=False))
        threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
        threads.append(threading.Thread(target=predict))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
        assert len(found) == 8 * len(DOCS)
        for row, attributions in found:
            assert_close(attributions, expected[row])
        assert state(model) == before


class TestFreed:
    def test_model_that_was_explained(self):
        import gc
        import weakref

        model = stateful()
        for targets in ([0], [0, 1]):
            for _ in range(2):
                eli5k.explain_prediction(model, DOC, targets=targets)
        reference = weakref.ref(model)
        del model
        keras.backend.clear_session()
        gc.collect()
        assert reference() is None
