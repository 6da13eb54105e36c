"""Fixtures that several folders of tests share; models that take long to make live a session."""

from __future__ import annotations

import gc
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def pytest_collection_finish():
    """Leave all that was imported out of each collection of garbage, a tenth of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _same_weights_on_every_backend():
    """Draw the weights of new layers with NumPy: a seed has other numbers on each backend."""
    if "keras" not in sys.modules:
        yield
        return
    from keras.src.initializers import random_initializers

    draws = {"normal": _normal, "truncated_normal": _truncated_normal, "uniform": _uniform}
    numpys = SimpleNamespace(**(vars(random_initializers.random) | draws))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(random_initializers, "random", numpys)
        yield


@pytest.fixture(autouse=True)
def _same_random_numbers():
    """Seed Keras where a test module has imported it; this imports nothing."""
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(0)


@pytest.fixture(scope="session")
def shapes_model():
    """A small net that was trained to tell squares, rings and crosses apart."""
    from tests.zoo import train_on_shapes

    return train_on_shapes()


@pytest.fixture(scope="session")
def shapes_data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images that ``shapes_model`` has not seen, their classes, and where the shapes are."""
    from tests.zoo import draw_shapes

    return draw_shapes(100, seed=2)


@pytest.fixture
def rows_run(monkeypatch):
    """How many rows go through a model in each run."""
    import keras

    from eli5k.keras.evidence import run as run_module

    rows = []
    ask = run_module.ask_model

    def counted(question, operands=()):
        rows.append(len(keras.tree.flatten(question.inputs)[0]))
        return ask(question, operands)

    monkeypatch.setattr(run_module, "ask_model", counted)
    return rows


def _uniform(shape, minval=0.0, maxval=1.0, dtype=None, seed=None):
    return _tensor(_generator(seed).uniform(minval, maxval, shape), dtype)


def _normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    return _tensor(_generator(seed).normal(mean, stddev, shape), dtype)


def _truncated_normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
    """As in Keras, what is further from the mean than two standard deviations is drawn anew."""
    generator = _generator(seed)
    values = np.asarray(generator.standard_normal(shape, "float32"))
    flat = values.reshape(-1)
    far = np.flatnonzero(np.abs(flat) > 2)
    while far.size:
        flat[far] = generator.standard_normal(far.size, "float32")
        far = far[np.abs(flat[far]) > 2]
    return _tensor(mean + stddev * values, dtype)


def _generator(seed):
    return np.random.default_rng(getattr(seed, "_initial_seed", seed))


def _tensor(values, dtype):
    return sys.modules["keras"].ops.convert_to_tensor(values, dtype)


@pytest.fixture
def registry():
    """The registry of methods, which comes back as it was, in its order."""
    from eli5k.keras.methods import METHODS

    before = dict(METHODS)
    yield METHODS
    METHODS.clear()
    METHODS.update(before)
