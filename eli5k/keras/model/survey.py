"""Survey of a model: which layers it calls, and with which shapes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from eli5k.keras.backends import Tensor, active_backend, to_tensors
from eli5k.keras.model.hooks import activation_hook, arrangement_hook
from eli5k.keras.model.memory import remember, structure_of
from eli5k.keras.model.record import Record
from eli5k.keras.model.shared import as_called, shared_inputs
from eli5k.keras.model.state import dry_run, stateless
from eli5k.keras.model.structure import (
    Call,
    Head,
    all_layers,
    fixed_batch_of,
    grid_of,
    has_channels_first,
)

# Functions that compute a ReLU in Keras' backends.
RELUS = ("relu", "relu6")


@dataclass(frozen=True)
class Survey:
    """Structure that one run of a model showed, without numbers. Picklable.

    Attributes
    ----------
    calls : tuple of Call
        In the order of returning.
    heads : tuple of Head
        The outputs, with shapes instead of tensors.
    input_shapes : tuple of tuple of int
        Shapes of the flat inputs.
    image_shapes : tuple of tuple of int
        Shapes ``(batch, *grid, channels)`` as which the model reads them: ``(1, 28, 28, 1)`` if it
        begins by reshaping ``(1, 784)`` to that.
    image_index : int
        Position of the explained image among them: the first of the highest rank, or the one with
        the largest vocabulary, unless the user chose another.
    channels_first : bool
        Whether tensors are ``(batch, channels, *grid)``.
    last_relu : int or None
        How many calls had returned when the last ReLU was computed, as a layer, an activation or
        an operation; None without any ReLU.
    fixed_batch : int or None
        The model's batch size, if it is fixed.
    structure : int
        The model's :func:`~eli5k.keras.model.memory.structure_of` at that time.
    token_calls : tuple of tuple
        For each input of tokens its position, and path and number of the call of an ``Embedding``
        that turns them into vectors.
    """

    calls: tuple[Call, ...]
    heads: tuple[Head, ...]
    input_shapes: tuple[tuple[int, ...], ...]
    image_shapes: tuple[tuple[int, ...], ...]
    image_index: int
    channels_first: bool
    last_relu: int | None
    fixed_batch: int | None
    structure: int
    token_calls: tuple[tuple[int, str, int], ...] = ()

    @property
    def output_names(self) -> list[str]:
        """Names of the outputs that can be explained.

        Some outputs may be None, or belong to no document.
        """
        return [head.name for head in self.heads if head.output is not None and head.per_sample]

    @property
    def rank(self) -> int:
        """Rank of the explained image."""
        return len(self.image_shape)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of the explained image as the model reads it, with batch."""
        return self.image_shapes[self.image_index]

    @property
    def embeddings(self) -> dict[int, tuple[str, int]]:
        """Token inputs by position: path and number of their embedding's call."""
        return {index: (path, number) for index, path, number in self.token_calls}

    @property
    def image_indices(self) -> list[int]:
        """Positions of all inputs of the highest rank: the images."""
        ranks = [len(shape) for shape in self.image_shapes]
        return [index for index, rank in enumerate(ranks) if rank == max(ranks)]

    @property
    def picture_grid(self) -> tuple[int, ...]:
        """Size of the explained image along each axis, without batch and channels."""
        return grid_of(self.image_shape, self.channels_first)


def run_model(model: keras.Model, inputs: Any) -> tuple[Any, list[Head]]:
    """Run the model at inference, and keep the logits.

    Parameters
    ----------
    model : keras.Model
    inputs : tensor, or list or dict of tensors
        ``(batch, ...)``, as the model takes them. Each has all rows of a
        :func:`shared <eli5k.keras.model.shared.shared_inputs>` input.

    Returns
    -------
    outputs : tensor, or structure of tensors
        As the model returns them.
    heads : list of Head
        One for each tensor of ``outputs``, in the order of ``keras.tree.flatten``.
    """
    activated: list[tuple[Any, Any, str]] = []
    # By identity of what holds the same numbers; the tensors are kept, so that it stays theirs.
    finals: dict[int, tuple[Any, Any, str]] = {}

    def see(kind: str) -> Any:
        def fn(x: Tensor, y: Tensor) -> Tensor:
            activated.append((y, x, kind))
            finals[id(y)] = (y, x, kind)
            return y

        return activation_hook(kind, fn, layers)

    def follow(x: Tensor, y: Tensor, again: Callable[[Tensor], Tensor]) -> None:
        if id(x) in finals and id(y) not in finals:
            _, logits, kind = finals[id(x)]
            finals[id(y)] = (y, again(logits), kind)

    layers = all_layers(model)
    with see("softmax"), see("sigmoid"), arrangement_hook(follow):
        outputs = model(as_called(model, inputs), training=False)
    heads = []
    for name, output in zip(_output_names(model, outputs), keras.tree.flatten(outputs)):
        _, logits, kind = finals.get(id(output), (None, None, None))
        hidden = None if kind else _hidden_activation(output, activated)
        heads.append(Head(name, output, logits, kind, hidden))
    return outputs, heads


def outputs_of(model: keras.Model, inputs: Any) -> list[np.ndarray]:
    """Return a model's outputs for one document, in flat order.

    Parameters
    ----------
    model : keras.Model
    inputs : numpy.ndarray, or list or dict of them
        Each ``(1, ...)``, as the model takes them.

    Returns
    -------
    list of numpy.ndarray
        Each ``(...)``, float32.

    Examples
    --------
    >>> model = keras.Sequential([keras.layers.Flatten()])
    >>> outputs_of(model, np.ones((1, 2, 2)))
    [array([1., 1., 1., 1.], dtype=float32)]
    """
    rows = np.zeros(fixed_batch_of(model) or 1, int)
    filled = keras.tree.map_structure(lambda array: array[rows], inputs)
    with active_backend().at_inference(model, all_layers):
        outputs, _ = stateless(lambda tensors: run_model(model, tensors))(to_tensors(filled))
        flat = [keras.ops.cast(output, "float32") for output in keras.tree.flatten(outputs)]
        return [keras.ops.convert_to_numpy(output)[0] for output in flat]


def _hidden_activation(output: Tensor, activated: list[tuple[Any, Any, str]]) -> str | None:
    """Find a softmax or sigmoid that the model changes before returning it."""
    shape = tuple(getattr(output, "shape", ()))
    return next((kind for y, _, kind in activated if tuple(y.shape) == shape), None)


def _output_names(model: keras.Model, outputs: Any) -> list[str]:
    """Names that ``output=`` accepts: keys, fields, the model's names, or indices."""
    fields = getattr(outputs, "_fields", ())
    if len(fields) > 0 and not any(map(keras.tree.is_nested, outputs)):
        return list(fields)
    paths = ["/".join(map(str, path)) for path, _ in keras.tree.flatten_with_path(outputs)]
    if isinstance(outputs, dict):
        return paths
    names = getattr(model, "output_names", None) or ()
    return list(names) if len(names) == len(paths) else paths


def survey(model: keras.Model, inputs: Any) -> Survey:
    """Run the model once, and remember its structure for such inputs.

    Parameters
    ----------
    model : keras.Model
    inputs : array, or list or dict of arrays
        ``(batch, ...)``, as the model takes them.

    Returns
    -------
    Survey

    Examples
    --------
    >>> import keras, numpy
    >>> model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3, "softmax")])
    >>> seen = survey(model, numpy.zeros((1, 4, 4, 1), "float32"))
    >>> seen.heads[0].activation, [call.shape for call in seen.calls]
    ('softmax', [(1, 16), (1, 3)])
    """
    flat = keras.tree.flatten(inputs)
    shapes = ("survey", *((x.shape[1:], str(x.dtype)) for x in flat))
    structure = structure_of(model)
    seen: Survey = remember(model, shapes, structure, lambda: _run_survey(model, inputs))
    if seen.structure != structure:  # The run built the model.
        remember(model, shapes, seen.structure, lambda: seen)
    return seen


def _run_survey(model: keras.Model, inputs: Any) -> Survey:
    heads: list[Head] = []
    relus: list[int] = []
    flat = keras.tree.flatten(inputs)
    fixed_batch = fixed_batch_of(model)
    shared = [x.shape[1] for i, x in enumerate(flat) if i in shared_inputs(model)]
    # Not the number of shared rows, to tell what belongs to the documents.
    count = fixed_batch or max(shared, default=0) + 1
    one = keras.tree.map_structure(lambda x: x[np.zeros(count, int)], inputs)
    record = Record(model)

    def note_relu(_: Any, output: Tensor) -> Tensor:
        relus.append(len(record.calls))
        return output

    def look() -> None:
        relus.clear()
        with ExitStack() as hooks:
            for name in RELUS:
                hooks.enter_context(activation_hook(name, note_relu, all_layers(model)))
            tensors = as_called(model, to_tensors(one))
            hooks.enter_context(record.open(keras.tree.flatten(tensors)))
            _, seen = run_model(model, tensors)
        heads[:] = [head._replace(output=_shape(head.output), logits=None) for head in seen]

    dry_run(look, model)
    shapes = tuple(tuple(x.shape) for x in keras.tree.flatten(as_called(model, one)))
    calls = tuple(record.calls)
    if shared:
        calls = tuple(call._replace(shape=_of_one(call.shape, count)) for call in calls)
        heads = [_own_head(head, count) for head in heads]
    images = tuple(record.image_shapes)
    # A text may come with a mask, and with the number of each sentence.
    image_index = max(
        range(len(images)),
        key=lambda index: (len(images[index]), record.vocabularies.get(index, 0)),
    )
    return Survey(
        calls,
        tuple(heads),
        shapes,
        images,
        image_index,
        has_channels_first(model),
        relus[-1] if relus else None,
        fixed_batch,
        structure_of(model),  # Only now, since the run may have built the model.
        tuple((index, *call) for index, call in record.embeddings.items()),
    )


def _own_head(head: Head, count: int) -> Head:
    """Mark an output that has no row for each document."""
    shape = _of_one(head.output, count)
    return head._replace(output=shape or head.output, per_sample=shape is not None)


def _of_one(shape: tuple[int, ...] | None, count: int) -> tuple[int, ...] | None:
    """Return one document's shape; None if it has no row there."""
    return (1, *shape[1:]) if shape and shape[0] == count else None


def _shape(output: Tensor) -> tuple[int, ...] | None:
    return tuple(output.shape) if keras.ops.is_tensor(output) else None
