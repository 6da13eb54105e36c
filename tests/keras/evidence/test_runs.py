"""How often an explanation runs the model, counted inside it; and if its numbers are random."""

from __future__ import annotations

import warnings
from functools import partial

import keras
import numpy as np
import pytest
from keras import layers

from eli5k import ExplanationWarning, explain_prediction
from eli5k.keras import attribute
from eli5k.keras.model.survey import survey
from tests.keras.backends.models import MonteCarlo
from tests.keras.model.test_tokens import transformer
from tests.zoo import SHAPE, functional, net_layers, noise

DOC = noise(1, *SHAPE, seed=1)
CALLS = 3  # The first may be eager, the second compiles, the third is what was compiled.
IS_RANDOM = "draws random numbers from its backend"

# Rows of each run since the counter was last cleared. No attribute of a layer: that the model has
# changed would be a reason to compile it anew.
_rows: list[int] = []


def note(rows) -> None:
    _rows.append(int(rows))


class Counted(layers.Layer):
    """The identity. Notes each time that it is run, not traced."""

    def call(self, x):
        match keras.config.backend():
            case "tensorflow":
                import tensorflow as tf

                tf.numpy_function(note, [tf.shape(x)[0]], [])
            case "jax":
                import jax

                jax.debug.callback(note, x.shape[0])
            case _:
                note(x.shape[0])
        return x


class BackendNoise(layers.Layer):
    """Adds noise of the framework's own, at inference too."""

    def __init__(self, generator=None):
        super().__init__()
        self.generator = generator

    def call(self, x):
        match keras.config.backend():
            case "tensorflow":
                import tensorflow as tf

                return x + (self.generator or tf.random).normal(tf.shape(x))
            case "torch":
                import torch

                return x + torch.randn(x.shape)
        import jax

        return x + jax.random.normal(jax.random.key(0), x.shape)


def counted(model: keras.Model, doc: np.ndarray = DOC) -> keras.Model:
    """The same model with a counter before it; which layers it calls is known already."""
    inputs = keras.Input(doc.shape[1:])
    model = keras.Model(inputs, model(Counted()(inputs)))
    survey(model, doc)
    return model


# Documents as they are: whether their values are those of the training is another question.
as_it_is = partial(explain_prediction, preprocess=False)


def runs(explain, *args, **kwargs) -> list[int]:
    """Rows of each run that a call needs."""
    _flush()
    _rows.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExplanationWarning)
        explain(*args, **kwargs)
    _flush()
    return list(_rows)


def _flush() -> None:
    """Wait for what JAX has still to note."""
    if keras.config.backend() == "jax":
        import jax

        jax.effects_barrier()


def with_head(change, activation=None, classes=3) -> keras.Model:
    """The net with another kernel in its head."""
    net = net_layers(activation, classes)
    kernel, bias = net[-1].get_weights()
    net[-1].set_weights([change(kernel), bias])
    return counted(functional(net))


class TestBlankMaps:
    """The reason comes with the answer: it is no question of its own."""

    @pytest.mark.parametrize(
        ("change", "activation", "is_blank"),
        [
            (np.abs, None, False),
            (lambda kernel: 1e-8 * np.abs(kernel), None, False),
            (lambda kernel: -np.abs(kernel), None, True),
            (lambda kernel: 0 * kernel, None, True),
            (lambda kernel: 1e4 * kernel, "softmax", True),
        ],
        ids=["shows", "faint", "negative", "unreached", "saturated"],
    )
    def test_cost_what_others_cost(self, change, activation, is_blank):
        model = with_head(change, activation)
        for _ in range(CALLS):
            assert runs(as_it_is, model, DOC) == [1]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExplanationWarning)
            [target] = explain_prediction(model, DOC).targets
        assert (target.heatmap.max() == 0) == is_blank

    def test_one_of_five_targets(self):
        def second_is_negative(kernel):
            return np.abs(kernel) * [1, -1, 1, 1, 1]

        model = with_head(second_is_negative, classes=5)
        for _ in range(CALLS):
            assert runs(as_it_is, model, DOC, targets=[0, 1, 2, 3, 4]) == [1]


class TestLayerOfATransformer:
    def test_is_found_in_one_run(self):
        """On noise, and measured in another, beside the run that explains; later it is known."""
        doc = noise(1, 16, 24, 3, seed=1)
        model = counted(transformer(extra=1), doc)
        first = runs(as_it_is, model, doc, targets=[0])
        assert len(first) == 3
        assert first[-1] == 1
        assert runs(as_it_is, model, doc, targets=[0]) == [1]
        assert explain_prediction(model, doc, targets=[0]).layer.endswith("/norm1")


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return counted(functional(net_layers()))


class TestMethods:
    def test_fuse_is_one_run_of_three_layers(self, model):
        name = model.layers[-1].name
        chosen = [f"{name}/{each}" for each in ("relu", "pool", "top")]
        for _ in range(CALLS):
            assert runs(attribute, model, DOC, 1, method="fuse", layer=chosen) == [1]

    @pytest.mark.parametrize("layer", [None, "norm"], ids=["last", "before a ReLU"])
    def test_guided_grad_cam_is_at_most_two(self, model, layer):
        for _ in range(CALLS):
            found = runs(attribute, model, DOC, 1, method="guided-grad-cam", layer=layer)
            assert found in ([1], [1, 1])

    def test_views_of_tta_are_the_plain_input_and_one_batch(self, model):
        for _ in range(CALLS):
            assert runs(attribute, model, DOC, 1, method="tta") == [1, 5]


class TestRandomNumbers:
    def warnings_with(self, layer: layers.Layer) -> list[str]:
        """What is warned of a model with this layer in it, in its first calls."""
        model = functional([layer, *net_layers()])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for _ in range(CALLS):
                explain_prediction(model, DOC, targets=[1])
        ours = [each for each in caught if issubclass(each.category, ExplanationWarning)]
        return [str(each.message) for each in ours]

    def test_of_the_backend_are_warned_of(self):
        found = self.warnings_with(BackendNoise())
        # JAX's own need a key, and are the same for the same key.
        is_expected = keras.config.backend() != "jax"
        assert any(IS_RANDOM in message for message in found) == is_expected

    @pytest.mark.skipif(keras.config.backend() != "tensorflow", reason="a class of TensorFlow")
    def test_of_a_generator_are_warned_of(self):
        import tensorflow as tf

        found = self.warnings_with(BackendNoise(tf.random.Generator.from_seed(1)))
        assert any(IS_RANDOM in message for message in found)

    def test_of_keras_are_not(self):
        """Dropout that is on at inference."""
        assert self.warnings_with(MonteCarlo()) == []
