"""Pick the explained numbers from a model's outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import keras

from eli5k.keras.backends import Tensor
from eli5k.keras.model.structure import Head


class Objective(Protocol):
    """Function of the scores that is explained instead of each score.

    A frozen dataclass.
    """

    def __call__(
        self, values: Tensor, every: Tensor, classes: Tensor, rivals: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute the number that is explained for each target.

        Parameters
        ----------
        values : tensor
            ``(batch, targets)``: the scores of the targets.
        every : tensor or None
            ``(batch, classes)``: the scores of all classes; None for callable targets.
        classes : tensor
            ``(batch, targets)``, int32.
        rivals : tensor or None
            ``(batch, targets, rivals)``, int32: the classes that each is compared with, if they
            are already chosen.

        Returns
        -------
        explained : tensor
            ``(batch, targets)``
        rivals : tensor or None
            The chosen rivals.
        """


class Reads(Protocol):
    """How an output with scores at many places is read: a :class:`~.readings.Reading`."""

    @property
    def boxes(self) -> int | None:
        """Position of the output with the boxes, if the places have some."""

    def count(self, shape: Sequence[int]) -> int:
        """Return the number of channels of an output ``shape``."""

    def grid(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the grid of the places of an output ``shape``."""

    def field(self, tensor: Tensor) -> Tensor:
        """Return an output as ``(batch, places, channels)``."""

    def scores(self, head: Head, target: Target, classes: Tensor, places: Tensor) -> Scores:
        """Compute the scores of the targets."""


@dataclass(frozen=True)
class Target:
    """Choice of the numbers that are explained, for any document. Hashable.

    Attributes
    ----------
    output : int
        Position of the explained output.
    logits : bool
        Explain the input of the final softmax or sigmoid.
    by_logits : bool
        Explain it as well, though the score is the probability: of a mask, most pixels are so sure
        that their probability has no gradient.
    binary : bool
        One unit stands for two classes.
    best : int
        If no classes are given, explain the ``best`` best, or the ``-best`` worst.
    functions : tuple of callable
        Functions from the model's outputs to ``(batch,)``, instead of classes.
    objective : Objective or None
        Function of the scores to explain; None for each score itself.
    reading : Reads or None
        How an output with scores at many places is read; None for a vector of classes.
    """

    output: int = 0
    logits: bool = False
    by_logits: bool = False
    binary: bool = False
    best: int = 1
    functions: tuple[Callable[[Any], Any], ...] = ()
    objective: Objective | None = None
    reading: Reads | None = None


class Scores(NamedTuple):
    """Scores of the targets: tensors during a run, arrays afterwards.

    Attributes
    ----------
    values, classes : tensor or numpy.ndarray
        ``(batch, targets)``, float32 and int32.
    probabilities : tensor, numpy.ndarray or None
        ``(batch, targets)``; None if the output is neither a softmax nor a sigmoid.
    explained : tensor or numpy.ndarray
        ``(batch, targets)``: the explained numbers; the values, unless there is an objective.
    rivals : tensor, numpy.ndarray or None
        ``(batch, targets, rivals)``, int32: the classes that an objective compares each with.
    """

    values: Tensor
    probabilities: Tensor
    classes: Tensor
    explained: Tensor
    rivals: Tensor = None


def select_scores(
    outputs: Any, heads: list[Head], target: Target, classes: Tensor, places: Tensor = None
) -> Scores:
    """Pick the explained numbers from what the model returned.

    Parameters
    ----------
    outputs : tensor, or structure of tensors
        As the model returned them.
    heads : list of Head
        Its outputs in order, with their logits.
    target : Target
    classes : tensor or None
        ``(batch, targets)``, int32; None to take the best ones of each sample. With a third axis,
        each class is followed by its rivals.
    places : tensor or None
        ``(batch, targets, places)``, bool: which places each score is the mean of, if the target
        has a reading; None for all.

    Returns
    -------
    Scores
        Always float32, at any precision of the model.
    """
    ops = keras.ops
    if target.functions:
        values = call_functions(outputs, heads, target)
        none = ops.zeros_like(values, dtype="int32")
        return Scores(values, None, none, *_explained(target, values, None, none, None))
    head = heads[target.output]
    if target.reading is not None:
        return target.reading.scores(head, target, classes, places)
    use_logits = target.logits and head.activation
    every = _as_columns(head.logits if use_logits else head.output)
    probabilities = _as_columns(head.output) if head.activation else None
    if target.binary:
        is_probability = bool(head.activation) and not use_logits
        every = _two_classes(every, is_probability)
        probabilities = None if probabilities is None else _two_classes(probabilities, True)
    rivals = None
    if classes is not None and len(classes.shape) == 3:
        classes, rivals = classes[..., 0], classes[..., 1:]
    if classes is None:
        sign = 1 if target.best > 0 else -1
        classes = ops.top_k(sign * every, abs(target.best))[1]
    classes = ops.cast(classes, "int32")
    values = ops.take_along_axis(every, classes, axis=1)
    if probabilities is not None:
        probabilities = ops.take_along_axis(probabilities, classes, axis=1)
    explained = _explained(target, values, every, classes, rivals)
    return Scores(values, probabilities, classes, *explained)


def _explained(
    target: Target, values: Tensor, every: Tensor, classes: Tensor, rivals: Tensor
) -> tuple[Tensor, Tensor]:
    if target.objective is None:
        return values, None
    return target.objective(values, every, classes, rivals)


def _as_columns(tensor: Tensor) -> Tensor:
    tensor = keras.ops.cast(tensor, "float32")
    return keras.ops.expand_dims(tensor, -1) if len(tensor.shape) == 1 else tensor


def _two_classes(unit: Tensor, is_probability: bool) -> Tensor:
    return keras.ops.concatenate([1 - unit if is_probability else -unit, unit], axis=1)


def call_functions(outputs: Any, heads: list[Head], target: Target) -> Tensor:
    """Call the functions of a target: scores ``(batch, targets)``, float32.

    Parameters
    ----------
    outputs : tensor, or structure of tensors
        As the model returned them.
    heads : list of Head
        Its outputs in order, with their logits.
    target : Target

    Raises
    ------
    ValueError
        If one of them doesn't return one number for each sample.
    """
    rows = heads[0].output.shape[0]
    if target.logits:
        flat = [head.output if head.logits is None else head.logits for head in heads]
        outputs = keras.tree.pack_sequence_as(outputs, flat)
    columns = []
    for function in target.functions:
        column = function(outputs)
        is_column = keras.ops.is_tensor(column) and len(column.shape) == 1
        if not is_column or (None not in (rows, column.shape[0]) and column.shape[0] != rows):
            raise ValueError(
                "A callable in targets must return one number for each sample: a tensor of shape "
                f"(batch,), here ({rows},). Received from {name_of(function)}: "
                f"{tuple(column.shape) if hasattr(column, 'shape') else type(column).__name__}"
            )
        columns.append(keras.ops.cast(column, "float32"))
    return keras.ops.stack(columns, axis=1)


def name_of(function: Callable[..., Any]) -> str:
    """Name under which a callable target is shown."""
    return getattr(function, "__name__", type(function).__name__)
