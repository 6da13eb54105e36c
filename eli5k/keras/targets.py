"""Which number is explained: a class, a name, the best few, a logit, an output, a callable."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from eli5k.keras.survey import Head


class Selection(NamedTuple):
    """The part of a question that is the same for every document; hashable.

    Attributes
    ----------
    head : int
        Position of the explained output.
    logits : bool
        Explain what went into the final softmax or sigmoid.
    binary : bool
        One unit stands for two classes.
    best : int
        Without given classes: explain the best ``best``, or the worst ``-best``.
    functions : tuple of weakref.ref to callable
        What computes the scores from the outputs, in the place of classes.
    """

    head: int = 0
    logits: bool = False
    binary: bool = False
    best: int = 1
    functions: tuple[Callable[[], Any], ...] = ()


class Scores(NamedTuple):
    """The scores of the targets, as tensors while the model runs and as arrays afterwards.

    ``values`` and ``classes`` are ``(batch, targets)``; ``probabilities`` too, or None where the
    output is neither a softmax nor a sigmoid. ``explained`` is what the maps are of, also
    ``(batch, targets)``: the values, but for a method that asks for sums of them.
    """

    values: Any
    probabilities: Any
    classes: Any
    explained: Any


def select_scores(outputs: Any, heads: list[Head], selection: Selection, classes: Any) -> Scores:
    """Pick, from what the model returned, the numbers that are explained.

    Parameters
    ----------
    outputs : tensor, or structure of tensors
        As the model returned them.
    heads : list of Head
        Its outputs in order, with their logits.
    selection : Selection
    classes : tensor or None
        ``(batch, targets)``, int32; None to take the best ones of each sample.

    Returns
    -------
    Scores
        In float32, whatever the precision of the model.
    """
    ops = keras.ops
    if selection.functions:
        return _call_functions(outputs, heads, selection)
    head = heads[selection.head]
    use_logits = selection.logits and head.activation
    values = _as_columns(head.logits if use_logits else head.output)
    probabilities = _as_columns(head.output) if head.activation else None
    if selection.binary:
        is_probability = bool(head.activation) and not use_logits
        values = _two_classes(values, is_probability)
        probabilities = None if probabilities is None else _two_classes(probabilities, True)
    if classes is None:
        sign = 1 if selection.best > 0 else -1
        classes = ops.top_k(sign * values, abs(selection.best))[1]
    classes = ops.cast(classes, "int32")
    values = ops.take_along_axis(values, classes, axis=1)
    if probabilities is not None:
        probabilities = ops.take_along_axis(probabilities, classes, axis=1)
    return Scores(values, probabilities, classes, explained=values)


def _as_columns(tensor: Any) -> Any:
    tensor = keras.ops.cast(tensor, "float32")
    return keras.ops.expand_dims(tensor, -1) if len(tensor.shape) == 1 else tensor


def _two_classes(unit: Any, is_probability: bool) -> Any:
    return keras.ops.concatenate([1 - unit if is_probability else -unit, unit], axis=1)


def _call_functions(outputs: Any, heads: list[Head], selection: Selection) -> Scores:
    if selection.logits:
        flat = [head.output if head.logits is None else head.logits for head in heads]
        outputs = keras.tree.pack_sequence_as(outputs, flat)
    columns = []
    for reference in selection.functions:
        function = reference()
        column = function(outputs)
        if not keras.ops.is_tensor(column) or len(column.shape) != 1:
            raise ValueError(
                "A callable in targets must return one number for each sample: a tensor of shape "
                f"(batch,). Received from {name_of(function)}: "
                f"{tuple(column.shape) if hasattr(column, 'shape') else type(column).__name__}"
            )
        columns.append(keras.ops.cast(column, "float32"))
    values = keras.ops.stack(columns, axis=1)
    return Scores(values, None, keras.ops.zeros_like(values, dtype="int32"), explained=values)


def name_of(function: Callable) -> str:
    """Name under which a callable target is shown."""
    return getattr(function, "__name__", type(function).__name__)


def find_head(heads: Sequence[Head], output: str | int | None) -> int:
    """Find the output that a user means.

    Parameters
    ----------
    heads : sequence of Head
    output : str, int or None
        Name or index; None for the first.

    Raises
    ------
    TypeError
        If ``output`` is none of these.
    ValueError
        If the model has no such output; the error lists those it has.
    """
    names = [head.name for head in heads]
    if output is None:
        return 0
    if isinstance(output, str):
        if output in names:
            return names.index(output)
        raise ValueError(f"output must be one of {names}. Received: {output!r}")
    if not hasattr(output, "__index__"):
        raise TypeError(
            f"output must be a name (str), an index (int) or None. Received: {output!r}"
        )
    if not -len(heads) <= output < len(heads):
        raise ValueError(
            f"output must be an index below {len(heads)}, or one of {names}. Received: {output}"
        )
    return range(len(heads))[output]


def class_count(head: Head) -> int | None:
    """How many classes an output scores; None where it is no vector of scores.

    Examples
    --------
    >>> class_count(Head("out", (1, 10), None, "softmax"))
    10
    >>> class_count(Head("out", (1, 8, 8, 3), None, "softmax")) is None
    True
    """
    shape = head.output
    if shape is None or not 1 <= len(shape) <= 2:
        return None
    return shape[1] if len(shape) == 2 else 1


class TargetNames:
    """Translate between classes and the names that a user gave them.

    Parameters
    ----------
    names : list of str, dict of int to str, or None
        As in eli5: one name a class, or new names for some.
    count : int or None
        How many classes the output has.

    Raises
    ------
    TypeError
        If ``names`` is neither a sequence nor a mapping.
    ValueError
        If a list does not have one name for each class.

    Examples
    --------
    >>> names = TargetNames(["cat", "dog"], 2)
    >>> names.name(1), names.index("cat")
    ('dog', 0)
    """

    def __init__(self, names: Sequence[str] | Mapping[int, str] | None, count: int | None) -> None:
        if names is None:
            names = {}
        if isinstance(names, Mapping):
            self.by_class = {int(k): v for k, v in names.items() if _is_index(k)}
            if len(self.by_class) != len(names):
                raise TypeError(
                    "target_names as a dict maps class indices (int) to names. "
                    f"Received the keys: {list(names)}"
                )
        elif isinstance(names, Sequence | np.ndarray) and not isinstance(names, str):
            self.by_class = dict(enumerate(names))
            if count is not None and len(names) != max(count, 2 if len(names) == 2 else 1):
                raise ValueError(
                    f"target_names must have one name for each of the {count} classes. "
                    f"Received {len(names)} names."
                )
        else:
            raise TypeError(
                "target_names must be a list of names, a dict of class to name, or None. "
                f"Received: {names!r}"
            )

    def name(self, index: int) -> int | str:
        """Name of a class, or the class itself where it has none."""
        return self.by_class.get(index, index)

    def index(self, name: str) -> int:
        """Class that has a name."""
        for index, known in self.by_class.items():
            if known == name:
                return index
        known_names = list(self.by_class.values())
        if not known_names:
            # As eli5, which has no names: a string is no class.
            raise TypeError(
                f"targets has the name {name!r}: pass target_names to use names of classes."
            )
        raise ValueError(
            f"targets has the name {name!r}, which is not among target_names: {known_names[:20]}"
        )


def _is_index(value: Any) -> bool:
    return hasattr(value, "__index__")


def choose_targets(
    head: Head,
    targets: Sequence | Callable | None,
    top_targets: int | None,
    names: TargetNames,
    *,
    selection: Selection,
) -> tuple[Selection, list[int] | None]:
    """Turn what a user asked for one document into a selection and a list of classes.

    Parameters
    ----------
    head : Head
        The explained output, from a :class:`~eli5k.keras.survey.Survey`.
    targets : list of int, str or callable, a callable, or None
    top_targets : int or None
    names : TargetNames
    selection : Selection
        With the output and ``logits`` already set.

    Returns
    -------
    selection : Selection
    classes : list of int or None
        None where the model's own scores or callables decide.

    Raises
    ------
    TypeError
        If ``targets`` is not a list, or holds what is neither class, name nor callable.
    ValueError
        If a class is out of range, if the list is empty, if ``targets`` and ``top_targets`` are
        both given, or if the output is no vector of classes.
    """
    if callable(targets):
        targets = [targets]
    if targets is not None and top_targets is not None:
        raise ValueError("targets and top_targets exclude each other. Received both.")
    if targets is not None and not isinstance(targets, list):
        raise TypeError(
            "targets must be a list, such as targets=[282], a callable or None. "
            f"Received: {targets!r} of type {type(targets).__name__}"
        )
    if targets is not None and not targets:
        raise ValueError("targets must name at least one class. Received an empty list.")
    if targets and all(map(callable, targets)):
        return selection._replace(functions=tuple(weakref.ref(each) for each in targets)), None

    count = class_count(head)
    if count is None:
        raise ValueError(
            f"The output {head.name!r} has shape {head.output}, which is no vector of class "
            "scores. Pass targets=[callable], which takes the model's outputs and returns one "
            "number for each sample."
        )
    if count == 1 and len(names.by_class) == 2:
        selection, count = selection._replace(binary=True), 2
    if targets is None:
        return selection._replace(best=_checked_best(top_targets, count)), None
    return selection, [_checked_class(target, count, names) for target in targets]


def _checked_best(top_targets: int | None, count: int) -> int:
    if top_targets is None:
        return 1
    if not _is_index(top_targets):
        raise TypeError(f"top_targets must be an int or None. Received: {top_targets!r}")
    if top_targets == 0:
        raise ValueError("top_targets must be a positive or a negative number. Received: 0")
    return max(-count, min(count, int(top_targets)))


def _checked_class(target: Any, count: int, names: TargetNames) -> int:
    if isinstance(target, str):
        target = names.index(target)
    if not _is_index(target):
        raise TypeError(
            "Each of targets must be a class (int), a name from target_names (str), or all of them "
            f"callables. Received: {target!r} of type {type(target).__name__}"
        )
    if 0 <= target < count:
        return int(target)
    if count == 1:
        raise ValueError(
            f"targets has the class {target}, but the output is a single unit: target 0 is that "
            "unit. Pass target_names with two names to explain it as a binary classifier, whose "
            "classes are 0 and 1."
        )
    raise ValueError(f"targets must be in [0, {count}). Received: {target}")
