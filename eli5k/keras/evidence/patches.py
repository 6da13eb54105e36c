"""Interventions: changes to a model while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import keras

from eli5k.keras.backends import Tensor
from eli5k.keras.evidence.probes import Layer
from eli5k.keras.model.hooks import activation_hook
from eli5k.keras.model.state import variables_read_as
from eli5k.keras.model.structure import all_layers
from eli5k.keras.model.survey import RELUS, Survey


@dataclass(frozen=True)
class ScaledChannels:
    """Patch that multiplies the channels of a layer by the operand.

    The operand is ``(rows, channels)``, float32. A single
    sample becomes that many rows at the layer, so the layers before it run once for all of them.
    This works if the rest of the model depends on the layer alone, or broadcasts.

    Attributes
    ----------
    layer : Layer
    """

    layer: Layer

    def __call__(
        self, model: keras.Model, survey: Survey, operand: Tensor
    ) -> AbstractContextManager[None]:
        del survey
        view = self.layer.view

        def fn(output: Tensor) -> Tensor:
            ones = (1,) * (len(output.shape) - 2)
            channels = operand.shape[1]
            first = view is not None and view.channel_axis == 1
            shape = (-1, channels, *ones) if first else (-1, *ones, channels)
            return output * keras.ops.cast(keras.ops.reshape(operand, shape), output.dtype)

        return self.layer.hook(model, fn)


@dataclass(frozen=True)
class ReplacedWeights:
    """Patch that gives variables of the model other values for one run.

    The operand is a tuple of arrays, one for each variable, of its shape. The model itself is not
    touched, and other values need no new compilation.

    Attributes
    ----------
    numbers : tuple of int
        Indices into ``model.variables``.
    """

    numbers: tuple[int, ...]

    @contextmanager
    def __call__(self, model: keras.Model, survey: Survey, operand: Tensor) -> Iterator[None]:
        del survey
        variables = model.variables
        # Inside the scope of a compiled run, which would hide an outer one.
        with variables_read_as([variables[number] for number in self.numbers], operand):
            yield


@contextmanager
def guided_relus(model: keras.Model, survey: Survey, operand: Tensor) -> Iterator[None]:
    """Let only positive gradients pass each ReLU (Springenberg et al. 2014)."""
    del survey, operand
    layers = all_layers(model)
    with ExitStack() as hooks:
        for name in RELUS:
            guide = activation_hook(name, lambda _, y: _positive_gradient(y), layers)
            hooks.enter_context(guide)
        # TensorFlow computes it with a ReLU; the other backends don't.
        hooks.enter_context(activation_hook("hard_sigmoid", lambda x, _: _hard_sigmoid(x)))
        yield


def _hard_sigmoid(x: Tensor) -> Tensor:
    return keras.ops.clip(x / 6 + 0.5, 0, 1)


@keras.ops.custom_gradient
def _positive_gradient(x: Tensor) -> Tensor:
    def gradient(*args: Any, upstream: Tensor = None) -> Tensor:
        upstream = args[0] if upstream is None else upstream
        return keras.ops.maximum(upstream, 0)

    return x, gradient
