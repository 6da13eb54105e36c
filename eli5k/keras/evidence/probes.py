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
from eli5k.keras.model.hooks import output_hook
from eli5k.keras.model.structure import layer_at
from eli5k.keras.model.survey import Survey
from eli5k.keras.model.view import Frame, View


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
    number : int or None
        Which of the layer's calls.
    constant : tensor or None
        What the evidence has as activations, if not the tensor itself.
    """

    path: str | None
    to_grid: Callable[[Any, int], Any]
    number: int | None = None
    constant: Tensor = None


# ``tap(tensor, about)``: the model continues with the result.
TapFunction = Callable[[Tensor, Tap], Tensor]
# Function from a model's flat inputs to those that it is called with.
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
    """The output of one call of a layer.

    Attributes
    ----------
    path : str or None
        None stands for the layer in the run's options or, without one, the default layer.
    number : int or None
        Which of the layer's calls; None for all of them, one for each step of a sequence.
    element : int or None
        Which tensor of a layer that returns several.
    view : View or None
        How the output is read as a map; None leaves it as it is.
    reshape : callable or None
        The user's function from the layer's output to ``(batch, *grid, channels)``.
    """

    path: str | None = None
    number: int | None = 0
    element: int | None = None
    view: View | None = None
    reshape: Callable[[Tensor], Tensor] | None = None

    @property
    def key(self) -> str:
        """Name of the call."""
        return f"{self.path}:{self.number}"

    @contextmanager
    def tapping(self, model: keras.Model, survey: Survey, tap: TapFunction) -> Iterator[InputsTap]:
        del survey
        about = Tap(self.path, self._as_it_is if self.number is None else self._read, self.number)
        with self.hook(model, lambda output: tap(output, about)):
            yield list

    def hook(
        self, model: keras.Model, fn: Callable[[Tensor], Tensor]
    ) -> AbstractContextManager[None]:
        """Pass this output through ``fn`` while the context is open."""
        assert self.path is not None  # Resolved before anything runs.
        return output_hook(layer_at(model, self.path), fn, self.number, self.element)

    def gather(self, found: Sequence[tuple[Tap, Evidence]]) -> Any:
        if not found or self.number is not None:
            return found[-1][1] if found else None
        steps = [evidence for _, evidence in found]
        activations = keras.ops.stack([step.activations for step in steps], axis=1)
        gradients = keras.ops.stack([step.gradients for step in steps], axis=2)
        return Evidence(self._read(activations, 1), self._read(gradients, 2))

    @staticmethod
    def _as_it_is(tensor: Tensor, leading: int) -> Tensor:
        del leading
        return tensor

    def _read(self, tensor: Tensor, leading: int) -> Tensor:
        if self.reshape is None:
            return tensor if self.view is None else self.view.read(tensor, leading)
        shape = keras.ops.shape(tensor)
        rows = self.reshape(keras.ops.reshape(tensor, (-1, *shape[leading:])))
        _check_reshaped(rows, tensor, leading)
        return keras.ops.reshape(rows, (*shape[:leading], *keras.ops.shape(rows)[1:]))


def frame_of(point: Any) -> Frame | None:
    """Return where a point's maps lie; None for the whole picture."""
    view = getattr(point, "view", None)
    return None if view is None else view.frame


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

    Their evidence is a dict by :attr:`Layer.key`.
    """

    layers: tuple[Layer, ...]

    @contextmanager
    def tapping(self, model: keras.Model, survey: Survey, tap: TapFunction) -> Iterator[InputsTap]:
        with ExitStack() as hooks:
            for layer in self.layers:
                hooks.enter_context(layer.tapping(model, survey, tap))
            yield list

    def gather(self, found: Sequence[tuple[Tap, Evidence]]) -> Any:
        return _by_layer(self.layers, found) or None


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
        at_layer = _by_layer([self.layer], found).get(self.layer.key)
        at_input = next((evidence for about, evidence in found if about.path is None), None)
        return None if at_layer is None or at_input is None else (at_layer, at_input)


def _by_layer(
    layers: Sequence[Layer], found: Sequence[tuple[Tap, Evidence]]
) -> dict[str, Evidence]:
    gathered = {}
    for layer in layers:
        own = [
            (about, evidence)
            for about, evidence in found
            if (about.path, about.number) == (layer.path, layer.number)
        ]
        if own:
            gathered[layer.key] = layer.gather(own)
    return gathered


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
                # The axis was counted with one leading axis, the batch.
                at = axis + leading - 1 if axis > 0 else axis
                return keras.ops.moveaxis(gradient, at, -1)

            return tap(tensor, Tap("", to_grid, constant=bias))

        with bias_hooks(model, fn):
            yield lambda flat: _with_tapped_image(flat, survey, tap, None)

    def gather(self, found: Sequence[tuple[Tap, Evidence]]) -> Any:
        # The map needs the input's own part.
        return [evidence for _, evidence in found] if found and found[0][0].path is None else None


def _with_tapped_image(
    flat: list[Tensor], survey: Survey, tap: TapFunction, path: str | None
) -> list[Tensor]:
    def to_grid(tensor: Tensor, leading: int) -> Tensor:
        shape = survey.image_shape[1:]
        if shape != tuple(tensor.shape[leading:]):
            before = keras.ops.shape(tensor)[:leading]
            tensor = keras.ops.reshape(tensor, (*before, *shape))
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
    >>> Probe(Input()).point
    Input()
    """

    point: Point
    patches: tuple[Patch, ...] = ()
