"""A dry run is for its side effects: it shows shapes, builds a model and changes no other thing."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

from eli5k.keras.model import state as model_state
from eli5k.keras.model.hooks import forward_hook
from eli5k.keras.model.state import is_built
from tests.keras.backends.models import DOCS, SHAPE, MonteCarlo, state, stateful


def shapes_of(model, name):
    """Shapes that a dry run sees at the layer of this name."""
    shapes = []
    inputs = ops.convert_to_tensor(DOCS)

    def look():
        shapes.clear()
        layer = model.get_layer(name)
        with forward_hook(layer, lambda y: shapes.append((tuple(y.shape), y.dtype)) or y):
            model(inputs, training=False)

    model_state.dry_run(look, model)
    return [(shape, keras.backend.standardize_dtype(dtype)) for shape, dtype in shapes]


class TestBuilt:
    def test_sees_shapes_and_dtypes_every_time(self):
        model = stateful()
        for _ in range(3):
            assert shapes_of(model, "last") == [((12, 6, 6, 4), "float32")]

    def test_same_function_runs_again(self):
        runs = []

        def look():
            runs.append(1)

        model = stateful()
        model_state.dry_run(look, model)
        model_state.dry_run(look, model)
        assert len(runs) >= 2

    def test_changes_no_variable(self):
        model = stateful(MonteCarlo())
        before = state(model)
        shapes_of(model, "last")
        assert state(model) == before

    def test_error_comes_through(self):
        def fail():
            raise KeyError("mine")

        with pytest.raises(KeyError) as raised:
            model_state.dry_run(fail, stateful())
        assert raised.value.args == ("mine",)


class Table(layers.Layer):
    """Makes a tensor that is no variable when it is built."""

    def build(self, shape):
        self.table = ops.arange(shape[-1], dtype="float32")

    def call(self, x):
        return x + self.table


class BuildsItself(keras.Model):
    """A subclassed model that builds its layers without Keras' help."""

    def __init__(self):
        super().__init__()
        self.table = Table()
        self.last = layers.Conv2D(3, 3, name="last")
        self.head = layers.Dense(2)

    def build(self, shape):
        self.table.build(shape)
        self.last.build(shape)
        self.head.build((None, 6, 6, 3))
        self.built = True

    def call(self, x):
        return self.head(self.last(self.table(x)))


class Subclassed(keras.Model):
    """A subclassed model that leaves its building to Keras."""

    def __init__(self):
        super().__init__()
        self.drop = layers.Dropout(0.5)
        self.last = layers.Conv2D(3, 3, name="last")
        self.head = layers.Dense(2)

    def call(self, x, training=None):
        return self.head(self.last(self.drop(x, training=training)))


class WithSpareLayer(keras.Model):
    """A layer that is never called is never built."""

    def __init__(self):
        super().__init__()
        self.spare = layers.Dense(7)
        self.random = MonteCarlo()
        self.last = layers.Conv2D(3, 3, name="last")

    def call(self, x):
        return self.last(self.random(x))


class TestUnbuilt:
    @pytest.mark.filterwarnings(r"ignore:`build\(\)` was called on layer:UserWarning")
    def test_layer_that_is_never_called_lets_no_seed_move(self):
        model = WithSpareLayer()
        shapes_of(model, "last")
        assert not is_built(model)
        before = state(model)
        shapes_of(model, "last")
        assert state(model) == before

    @pytest.mark.parametrize(
        "make",
        [
            BuildsItself,
            Subclassed,
            lambda: keras.Sequential([layers.Conv2D(3, 3, name="last"), layers.Dense(2)]),
            lambda: keras.Sequential(
                [
                    layers.Normalization(mean=[0.5, 0.5], variance=[2.0, 3.0]),
                    layers.Conv2D(3, 3, name="last"),
                    Table(),
                ]
            ),
        ],
        ids=["builds itself", "subclassed", "sequential", "with constants"],
    )
    def test_is_built_and_works(self, make):
        keras.utils.set_random_seed(0)
        model = make()
        assert not is_built(model)
        assert shapes_of(model, "last") == [((12, 6, 6, 3), "float32")]
        assert is_built(model)
        variables = [ops.convert_to_numpy(variable) for variable in model.variables]
        assert any(np.abs(variable).max() > 0 for variable in variables)
        output = ops.convert_to_numpy(model(DOCS, training=False))
        assert np.isfinite(output).all()
        np.testing.assert_allclose(model.predict(DOCS, verbose=0), output, rtol=1e-4, atol=1e-5)
        assert output.shape[1:3] == (SHAPE[0] - 2, SHAPE[1] - 2)
