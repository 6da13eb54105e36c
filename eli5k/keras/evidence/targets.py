"""Choose which number is explained."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from eli5k.class_names import names_by_index
from eli5k.keras.evidence.scores import Target
from eli5k.keras.model.structure import Head


def find_head(heads: Sequence[Head], output: str | int | None) -> int:
    """Find the output that a user means.

    Parameters
    ----------
    heads : sequence of Head
        Those without a shape are None, or no tensors: nothing can be explained there.
    output : str, int or None
        Name or index, counted as the model returns them. None for the first vector of scores or,
        without any, the first tensor.

    Raises
    ------
    TypeError
        If ``output`` is none of these.
    ValueError
        If the model has no such output; the error lists the existing ones.
    """
    names = {head.name: index for index, head in enumerate(heads) if head.output is not None}
    if not names:
        raise ValueError("The model must return a tensor. It returns none.")
    if output is None:
        own = [index for index in names.values() if heads[index].per_sample]
        vectors = (index for index in own if class_count(heads[index]) is not None)
        return next(vectors, (own or list(names.values()))[0])
    position = _position(heads, names, output)
    if not heads[position].per_sample:
        raise ValueError(
            f"output must have a row for each document. Received: {output!r}, whose rows are those "
            "of an input that all documents share."
        )
    return position


def _position(heads: Sequence[Head], names: Mapping[str, int], output: str | int) -> int:
    if isinstance(output, str):
        if output in names:
            return names[output]
        raise ValueError(f"output must be one of {list(names)}. Received: {output!r}")
    if not is_index(output):
        raise TypeError(
            f"output must be a name (str), an index (int) or None. Received: {output!r}"
        )
    if not -len(heads) <= output < len(heads):
        raise ValueError(
            f"output must be an index below {len(heads)}, or one of {list(names)}. "
            f"Received: {output}"
        )
    found = range(len(heads))[output]
    if heads[found].output is None:
        raise ValueError(
            f"output must be one of {list(names)}. Received: {output}, which the model leaves empty"
        )
    return found


def class_count(head: Head) -> int | None:
    """Return the number of classes of an output, or None.

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
    names : sequence of str, mapping, object with ``classes_``, path, or None
        As in eli5, one name per class, or new names for some classes; or as in
        :func:`~eli5k.class_names.names_by_index`.
    count : int or None
        How many classes the output has.

    Raises
    ------
    TypeError
        If ``names`` is none of these.
    ValueError
        If a list doesn't have one name for each class.
    OSError
        If a file can't be read.

    Examples
    --------
    >>> names = TargetNames(["cat", "dog"], 2)
    >>> names.name(1), names.index("cat")
    ('dog', 0)
    """

    def __init__(self, names: Any, count: int | None) -> None:
        self.by_class = names_by_index(names)
        is_of_each = isinstance(names, Sequence | np.ndarray) and not isinstance(names, str)
        is_of_each = is_of_each or hasattr(names, "classes_")
        given = len(self.by_class)
        if is_of_each and count is not None and given != max(count, 2 if given == 2 else 1):
            raise ValueError(
                f"target_names must have one name for each of the {count} classes. "
                f"Received {given} names."
            )

    def name(self, index: int) -> int | str:
        """Return the name of a class, or the class itself."""
        return self.by_class.get(index, index)

    def index(self, name: str) -> int:
        """Return the class that has a name.

        If two classes share it, as two of ImageNet's do, raise ValueError.
        """
        found = [index for index, known in self.by_class.items() if known == name]
        if len(found) > 1:
            raise ValueError(
                f"targets has the name {name!r}, which the classes {found} share. "
                "Pass the number of the class you mean."
            )
        if found:
            return found[0]
        known_names = list(self.by_class.values())
        if not known_names:
            # Like eli5, which has no names: a string is not a class.
            raise TypeError(
                f"To use the class name {name!r}, pass target_names= (in the shell: --names)."
            )
        raise ValueError(
            f"targets has the name {name!r}, which is not among target_names: {known_names[:20]}"
        )


def is_index(value: Any) -> bool:
    """Tell whether a value is a whole number.

    An array of floats has ``__index__`` but is none.

    Examples
    --------
    >>> is_index(3), is_index(np.array(1.7)), is_index(1.0)
    (True, False, False)
    """
    try:
        operator.index(value)
    except TypeError:
        return False
    return True


def choose_targets(
    head: Head,
    targets: Any,
    top_targets: int | None,
    names: TargetNames,
    *,
    target: Target,
) -> tuple[Target, list[int] | None]:
    """Turn the targets of one document into a target and classes.

    Parameters
    ----------
    head : Head
        The explained output, from a :class:`~eli5k.keras.model.survey.Survey`.
    targets : sequence of int, str or callable; one of these; or None
    top_targets : int or None
    names : TargetNames
    target : Target
        Its output and ``logits`` must be set already.

    Returns
    -------
    target : Target
    classes : list of int or None
        None if the model's own scores or callables decide.

    Raises
    ------
    TypeError
        If ``targets`` is neither classes, names nor callables.
    ValueError
        If a class is out of range, the list is empty, or the output is not a vector of classes.
    """
    targets = as_list(targets)
    if targets and all(map(callable, targets)):
        return replace(target, functions=tuple(targets)), None

    count = class_count(head)
    if count is None:
        raise ValueError(
            f"The output {head.name!r} has shape {head.output}, which is not a vector of class "
            "scores. Pass targets=[callable]: a function from the model's outputs to one number "
            "for each sample."
        )
    if count == 1 and len(names.by_class) == 2:
        target, count = replace(target, binary=True), 2
    if targets is None:
        best = 1 if top_targets is None else int(top_targets)
        return replace(target, best=max(-count, min(count, best))), None
    return target, [_checked_class(each, count, names) for each in targets]


def as_list(targets: Any) -> list[Any] | None:
    """Return a user's targets as a list; None stays.

    Raises
    ------
    TypeError
        If it is neither a sequence nor one target.
    ValueError
        If it is empty.

    Examples
    --------
    >>> as_list(3), as_list(("cat", "dog"))
    ([3], ['cat', 'dog'])
    """
    if targets is None:
        return None
    if callable(targets) or isinstance(targets, str) or is_index(targets):
        return [targets]
    if hasattr(targets, "__array__"):
        targets = np.asarray(targets)
    is_array = isinstance(targets, np.ndarray) and targets.ndim > 0
    if not is_array and (not isinstance(targets, Sequence) or isinstance(targets, bytes)):
        raise TypeError(
            "targets must be a list, such as targets=[282], a class, a name, a callable or None. "
            f"Received: {targets!r} of type {type(targets).__name__}"
        )
    if len(targets) == 0:
        raise ValueError("targets must name at least one class. Received an empty list.")
    return list(targets.tolist() if is_array else targets)


def choose_for_each(
    head: Head,
    targets: Sequence[Any],
    top_targets: int | None,
    names: TargetNames,
    *,
    target: Target,
) -> tuple[Target, np.ndarray | None]:
    """Turn several documents' targets into a target and rows of classes.

    Parameters
    ----------
    head, top_targets, names, target
        As in :func:`choose_targets`.
    targets : sequence
        The targets of each document; all of one kind, and as many for each.

    Returns
    -------
    target : Target
    classes : numpy.ndarray or None
        ``(documents, targets)``, int32
    """
    chosen = [choose_targets(head, each, top_targets, names, target=target) for each in targets]
    found, classes = chosen[0]
    if classes is None:
        return found, None
    return found, np.array([each for _, each in chosen], np.int32)


def _checked_class(target: Any, count: int, names: TargetNames) -> int:
    if isinstance(target, str):
        target = names.index(target)
    if not is_index(target):
        raise TypeError(
            "targets must hold classes (int) and names from target_names (str), or only callables. "
            f"Received: {target!r} of type {type(target).__name__}"
        )
    if 0 <= target < count:
        return int(target)
    if count == 1:
        raise ValueError(
            f"targets has the class {target}, but the output is a single unit: target 0. Pass two "
            "target_names to explain it as a binary classifier with the classes 0 and 1."
        )
    raise ValueError(f"targets must be in [0, {count}). Received: {target}")
