"""Read an output with scores at many places: masks, sequences, boxes.

Such an output is turned into the form that the rest of eli5k knows, ``(batch, classes)`` columns of
scores. The column of a class is its mean score over some of the places. These places are data, like
the classes, so a method needs to know nothing about the kind of output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from eli5k.keras.backends import Tensor
from eli5k.keras.evidence.scores import Reads, Scores, Target
from eli5k.keras.model.structure import Head
from eli5k.keras.model.survey import Survey

# Numbers that tell where a box is.
SIDES = 4
# Least rank of an output with places: batch, places and classes.
DENSE = 3


@dataclass(frozen=True)
class Reading:
    """How an output with scores at many places is read. Hashable.

    Attributes
    ----------
    class_axis : int
        The axis of the classes: -1, or 1 if the channels come first.
    boxes : int or None
        Position of the output that has the box of each place; None if places are cells of a grid.

    Examples
    --------
    >>> Reading(class_axis=1).field(keras.ops.zeros((2, 3, 4, 5))).shape == (2, 20, 3)
    True
    """

    class_axis: int = -1
    boxes: int | None = None

    def grid(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the grid of the places of an output ``shape``."""
        return tuple(shape[1:-1] if self.class_axis == -1 else shape[2:])

    def count(self, shape: Sequence[int]) -> int:
        """Return the number of channels of an output ``shape``."""
        return shape[self.class_axis]

    def field(self, tensor: Tensor) -> Tensor:
        """Return an output as ``(batch, places, channels)``, float32."""
        ops = keras.ops
        tensor = ops.moveaxis(ops.cast(tensor, "float32"), self.class_axis, -1)
        return ops.reshape(tensor, (-1, _product(tensor.shape[1:-1]), tensor.shape[-1]))

    def scores(self, head: Head, target: Target, classes: Tensor, places: Tensor) -> Scores:
        """Compute the scores: each target's mean over its places.

        Parameters
        ----------
        head : Head
            The explained output.
        target : Target
        classes : tensor or None
            As in :func:`~eli5k.keras.evidence.scores.select_scores`.
        places : tensor or None
            ``(batch, targets, places)``, bool: the places of each target; None for all.
        """
        ops = keras.ops
        use_logits = bool(target.logits and head.activation)
        is_unit = bool(head.activation or head.hidden) and not use_logits
        every = self._means(head.logits if use_logits else head.output, target, is_unit, places)
        rivals = None
        if classes is not None and len(classes.shape) == 3:
            classes, rivals = classes[..., 0], classes[..., 1:]
        if classes is None:
            # Only on noise, or to rank classes; documents are explained with classes.
            places, sign = None, 1 if target.best > 0 else -1
            every = self._means(head.logits if use_logits else head.output, target, is_unit, None)
            classes = ops.top_k(sign * every[:, 0], abs(target.best))[1]
        classes = ops.cast(classes, "int32")
        values = _at(every, classes)
        probabilities = None
        if head.activation:
            probabilities = _at(self._means(head.output, target, True, places), classes)
        elif self.boxes is not None and not head.hidden:
            # As KerasHub's decoder does with scores that have no activation.
            probabilities = ops.sigmoid(values)
        explained = values
        if target.by_logits and head.activation:
            explained = _at(self._means(head.logits, target, False, places), classes)
        if target.objective is not None:
            explained, rivals = self._compared(target, values, every, classes, rivals)
        return Scores(values, probabilities, classes, explained, rivals)

    def _means(self, tensor: Tensor, target: Target, is_unit: bool, places: Tensor) -> Tensor:
        """Means over places: ``(batch, targets, classes)``.

        There is one target for all places.
        """
        ops = keras.ops
        field = self.field(tensor)
        if target.binary:
            field = ops.concatenate([1 - field if is_unit else -field, field], axis=-1)
        if places is None:
            return ops.mean(field, axis=1, keepdims=True)
        weights = ops.cast(places, "float32")
        # Divide last: a sum of small shares would lose digits.
        total = ops.sum(weights, axis=-1, keepdims=True)
        return ops.matmul(weights, field) / ops.maximum(total, 1.0)

    @staticmethod
    def _compared(
        target: Target, values: Tensor, every: Tensor, classes: Tensor, rivals: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compare each target with others at its own places."""
        assert target.objective is not None
        found, others = [], []
        for column in range(classes.shape[1]):
            own = slice(column, column + 1)
            explained, chosen = target.objective(
                values[:, own],
                every[:, min(column, every.shape[1] - 1)],
                classes[:, own],
                None if rivals is None else rivals[:, own],
            )
            found.append(explained)
            others.append(chosen)
        explained = keras.ops.concatenate(found, axis=1)
        return explained, None if others[0] is None else keras.ops.concatenate(others, axis=1)


@dataclass(frozen=True)
class Given:
    """Function of a model's outputs: the class that each place is given.

    It returns ``(batch, places)``, int32; ``(batch, places, classes)``, bool, if a place may have
    several or none.
    """

    reading: Reads
    target: Target

    def __call__(self, heads: Sequence[Head]) -> Tensor:
        ops = keras.ops
        head = heads[self.target.output]
        field = self.reading.field(head.output)
        if self.target.binary:
            return ops.cast(field[..., 0] > 0.5, "int32")
        if head.activation == "sigmoid":
            return field > 0.5
        return ops.cast(ops.argmax(field, axis=-1), "int32")


@dataclass(frozen=True)
class Boxes:
    """Function from a model's outputs to each place's scores and box.

    It returns ``(batch, places, classes)`` and ``(batch, places, 4)``, as the model gives them.
    """

    reading: Reads
    target: Target

    def __call__(self, heads: Sequence[Head]) -> tuple[Tensor, Tensor]:
        assert self.reading.boxes is not None
        field = self.reading.field(heads[self.target.output].output)
        return field, keras.ops.cast(heads[self.reading.boxes].output, "float32")


def reading_of(survey: Survey, output: int) -> Reading | None:
    """Find out how an output is read, from the shapes.

    Parameters
    ----------
    survey : Survey
    output : int
        Position of the output.

    Returns
    -------
    Reading or None
        None for a vector of classes, which needs none.
    """
    shape = survey.heads[output].output
    if shape is None or len(shape) < DENSE:
        return None
    boxes = next((b for s, b in box_outputs(survey.heads) if s == output), None)
    if boxes is not None:
        return Reading(boxes=boxes)
    may_be_first = survey.channels_first and len(shape) == survey.rank
    is_last = tuple(shape[1:-1]) == tuple(survey.picture_grid)
    return Reading(1 if may_be_first and not is_last else -1)


def box_outputs(heads: Sequence[Head]) -> list[tuple[int, int]]:
    """List the outputs with class scores of boxes, and their boxes.

    Examples
    --------
    >>> box_outputs([Head("boxes", (1, 9, 4), None, None), Head("scores", (1, 9, 20), None, None)])
    [(1, 0)]
    """
    dense = {i: head.output for i, head in enumerate(heads) if len(head.output or ()) == DENSE}
    sides = [i for i, shape in dense.items() if shape[1] > 1 and shape[2] == SIDES]
    # With four classes, the name tells.
    named = [i for i in sides if "box" in heads[i].name.lower()]
    pairs = []
    for box in named or sides:
        partners = (i for i, shape in dense.items() if i != box and shape[1] == dense[box][1])
        partner = next((i for i in partners if i not in named), None)
        if partner is not None:
            pairs.append((partner, box))
    return pairs


def _at(every: Tensor, classes: Tensor) -> Tensor:
    """Pick each target's class from ``(batch, targets, classes)``."""
    ops = keras.ops
    if every.shape[1] != classes.shape[1]:
        every = ops.repeat(every, classes.shape[1], axis=1)
    return ops.take_along_axis(every, ops.expand_dims(classes, -1), axis=2)[..., 0]


def _product(sizes: Sequence[Any]) -> int:
    product = 1
    for size in sizes:
        product *= size
    return product
