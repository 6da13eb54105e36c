"""Where evidence is taken from a model, and what is changed meanwhile.

A :class:`Probe` is a point and patches. A point chooses the tensors that are tapped in a run. A
patch is an intervention: it maps a model and an operand to a context manager that is open while the
model runs. A new mechanism is a new point or a new patch, and needs no change of the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple, Protocol

import keras

from eli5k.keras.backends import Tensor
from eli5k.keras.model.biases import bias_hooks
from eli5k.keras.model.hooks import activation_hook, forward_hook
from eli5k.keras.model.state import variables_read_as
from eli5k.keras.model.structure import layer_at
from eli5k.keras.model.survey import RELUS, Survey


class Evidence(NamedTuple):
    """Activations, and the gradients of the scores with respect to them.

    Always channels last and float32, even if the model isn't.

    Attributes
    ----------
    activations : tensor
        ``(batch, *grid, channels)``, or ``(channels,)`` for a bias.
    gradients : tensor
        ``(targets, batch, *grid, channels)``: gradients of each target's score.
    """

    activations: Tensor
    gradients: Tensor


class Tap(NamedTuple):
    """Facts about a tapped tensor, besides its values.

    Attributes
    ----------
    path : str or None
        The layer whose output it is; None for the input.
    to_grid : callable
        ``to_grid(tensor, leading)`` returns it as ``(..., *grid, channels)`` and keeps the first
        ``leading`` axes.
    constant : tensor or None
        What the evidence has as activations, if not the tensor itself.
    """

    path: str | None
    to_grid: Callable[[Any, int], Any]
    constant: Tensor = None


# ``tap(tensor, about)``: the model continues with the result.
TapFunction = Callable[[Tensor, Tap], Tensor]
# From the flat inputs of a model to those that it is called with.
InputsTap = Callable[[list[Tensor]], list[Tensor]]


class Point(Protocol):
    """Where evidence is taken: hashable, plain data."""

    def tapping(
        self, model: keras.Model, survey: Survey, tap: TapFunction
    ) -> AbstractContextManager[InputsTap]:
        """Tap tensors while the context is open.

        Parameters
        ----------
        model : keras.Model
        survey : Survey
        tap : callable
            ``tap(tensor, about) -> tensor``: the model continues with the result.

        Returns
        -------
        context manager
            Its value maps the flat inputs to those that the model is called with.
        """

    def gather(self, found: Sequence[tuple[Tap, Evidence]]) -> Any:
        """Choose the evidence that a method gets; None if there is none."""


@dataclass(frozen=True)
class Layer:
    """The output of one layer.

    Attributes
    ----------
    path : str or None
        None stands for the layer in the run's options or, without one, the default layer.
    tokens : tuple of int or None
        Grid of the patches, if the output is ``(batch, tokens, channels)``.
    reshape : callable or None
        Function from the layer's output to ``(batch, *grid, channels)``.
    """

    path: str | None = None
    tokens: tuple[int, ...] | None = None
    reshape: Callable[[Tensor], Tensor] | None = None

    @contextmanager
    def tapping(self, model: keras.Model, survey: Survey, tap: TapFunction) -> Iterator[InputsTap]:
        def to_grid(tensor: Tensor, leading: int) -> Tensor:
            return _layer_to_grid(tensor, leading, self, survey.channels_first)

        assert self.path is not None  # Resolved before anything runs.
        about = Tap(self.path, to_grid)
        with forward_hook(layer_at(model, self.path), lambda output: tap(output, about)):
            yield list

    def gather(self, found: Sequence[tuple[Tap, Evidence]]) -> Any:
        # If a layer is called several times, the call nearest to the output is explained.
        return found[-1][1] if found else None


def _layer_to_grid(tensor: Tensor, leading: int, point: Layer, channels_first: bool) -> Tensor:
    ops = keras.ops
    shape = ops.shape(tensor)
    if point.reshape is not None:
        rows = point.reshape(ops.reshape(tensor, (-1, *shape[leading:])))
        _check_reshaped(rows, tensor, leading)
        return ops.reshape(rows, (*shape[:leading], *ops.shape(rows)[1:]))
    if point.tokens:
        patches = tensor[..., -prod(point.tokens) :, :]
        return ops.reshape(patches, (*shape[:leading], *point.tokens, shape[-1]))
    return ops.moveaxis(tensor, leading, -1) if channels_first else tensor


def _check_reshaped(rows: Tensor, tensor: Tensor, leading: int) -> None:
    """Raise ValueError unless ``reshape`` kept the samples and a grid."""
    expected = prod(n for n in tensor.shape[:leading] if n is not None)
    known = None not in tensor.shape[:leading]
    fits = (
        keras.ops.is_tensor(rows)
        and len(rows.shape) > 2
        and (not known or rows.shape[0] in (None, expected))
    )
    if not fits:
        raise ValueError(
            "reshape must return a tensor (batch, *grid, channels) with the samples that it got. "
            f"Received, for {tuple(tensor.shape[leading - 1 :])}: "
            f"{tuple(rows.shape) if hasattr(rows, 'shape') else type(rows).__name__}"
        )


@dataclass(frozen=True)
class Layers:
    """The outputs of several layers, in one run.

    Their evidence is a dict by path.
    """

    layers: tuple[Layer, ...]

    @contextmanager
    def tapping(self, model: keras.Model, survey: Survey, tap: TapFunction) -> Iterator[InputsTap]:
        with ExitStack() as hooks:
            for layer in self.layers:
                hooks.enter_context(layer.tapping(model, survey, tap))
            yield list

    def gather(self, found: Sequence[tuple[Tap, Evidence]]) -> Any:
        # As in Layer, the last of several calls counts.
        return {about.path: evidence for about, evidence in found} or None


@dataclass(frozen=True)
class Input:
    """The image input itself."""

    @contextmanager
    def tapping(self, model: keras.Model, survey: Survey, tap: TapFunction) -> Iterator[InputsTap]:
        del model
        yield lambda flat: _with_tapped_image(flat, survey, tap, None)

    def gather(self, found: Sequence[tuple[Tap, Evidence]]) -> Any:
        return found[0][1] if found else None


@dataclass(frozen=True)
class Both:
    """One layer and the image input, in one run.

    Their evidence is ``(at_layer, at_input)``.
    """

    layer: Layer

    @contextmanager
    def tapping(self, model: keras.Model, survey: Survey, tap: TapFunction) -> Iterator[InputsTap]:
        with self.layer.tapping(model, survey, tap):
            yield lambda flat: _with_tapped_image(flat, survey, tap, None)

    def gather(self, found: Sequence[tuple[Tap, Evidence]]) -> Any:
        by_path = {about.path: evidence for about, evidence in found}
        if set(by_path) != {None, self.layer.path}:
            return None
        return by_path[self.layer.path], by_path[None]


@dataclass(frozen=True)
class Biases:
    """The image input, and each tensor right after a bias is added.

    Their evidence is a list.

    The activations of a bias are the bias itself, ``(channels,)``.
    """

    @contextmanager
    def tapping(self, model: keras.Model, survey: Survey, tap: TapFunction) -> Iterator[InputsTap]:
        def fn(tensor: Tensor, bias: Tensor, axis: int) -> Tensor:
            def to_grid(gradient: Tensor, leading: int) -> Tensor:
                # The axis is counted in the tensor, which has one leading axis, the batch.
                at = axis + leading - 1 if axis > 0 else axis
                return keras.ops.moveaxis(gradient, at, -1)

            return tap(tensor, Tap("", to_grid, bias))

        with bias_hooks(model, fn):
            yield lambda flat: _with_tapped_image(flat, survey, tap, None)

    def gather(self, found: Sequence[tuple[Tap, Evidence]]) -> Any:
        # Without the input's own part there is no map.
        return [evidence for _, evidence in found] if found and found[0][0].path is None else None


def _with_tapped_image(
    flat: list[Tensor], survey: Survey, tap: TapFunction, path: str | None
) -> list[Tensor]:
    def to_grid(tensor: Tensor, leading: int) -> Tensor:
        return keras.ops.moveaxis(tensor, leading, -1) if survey.channels_first else tensor

    flat = list(flat)
    flat[survey.image_index] = tap(flat[survey.image_index], Tap(path, to_grid))
    return flat


class Patch(Protocol):
    """An intervention: a function or, with parameters, a frozen dataclass."""

    def __call__(
        self, model: keras.Model, survey: Survey, operand: Tensor
    ) -> AbstractContextManager[Any]:
        """Open the intervention for one run of ``model``.

        ``operand`` is a tensor, or None. It may change between runs without a new compilation.
        """


@dataclass(frozen=True)
class Probe:
    """Where evidence is taken, and which patches are open meanwhile. Hashable.

    Attributes
    ----------
    point : Point
    patches : tuple of Patch

    Examples
    --------
    >>> Probe(Input(), (guided_relus,)).point
    Input()
    """

    point: Point
    patches: tuple[Patch, ...] = ()


@dataclass(frozen=True)
class ScaledChannels:
    """Patch that multiplies the channels of a layer by the operand.

    The operand is ``(rows, channels)``, float32, and applies to each call of the layer. A single
    sample becomes that many rows at the layer, so the layers before it run once for all of them.
    This works if the rest of the model depends on the layer alone, or broadcasts.

    Attributes
    ----------
    path : str
    """

    path: str

    def __call__(
        self, model: keras.Model, survey: Survey, operand: Tensor
    ) -> AbstractContextManager[None]:
        def fn(output: Tensor) -> Tensor:
            ones = (1,) * (len(output.shape) - 2)
            channels = operand.shape[1]
            first = survey.channels_first and len(output.shape) == survey.rank
            shape = (-1, channels, *ones) if first else (-1, *ones, channels)
            return output * keras.ops.cast(keras.ops.reshape(operand, shape), output.dtype)

        return forward_hook(layer_at(model, self.path), fn)


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
        # Inside the scope of a compiled run: one around it would be hidden.
        with variables_read_as([variables[number] for number in self.numbers], operand):
            yield


@contextmanager
def guided_relus(model: keras.Model, survey: Survey, operand: Tensor) -> Iterator[None]:
    """Let only positive gradients pass each ReLU (Springenberg et al. 2014)."""
    del model, survey, operand
    with ExitStack() as hooks:
        for name in RELUS:
            hooks.enter_context(activation_hook(name, lambda _, y: _positive_gradient(y)))
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
