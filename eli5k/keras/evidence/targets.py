"""Choose which number is explained."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from eli5k.keras.evidence.scores import Target
from eli5k.keras.model.structure import Head


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
        If the model has no such output; the error lists the existing ones.
    """
    names = [head.name for head in heads]
    if output is None:
        return 0
    if isinstance(output, str):
        if output in names:
            return names.index(output)
        raise ValueError(f"output must be one of {names}. Received: {output!r}")
    if not is_index(output):
        raise TypeError(
            f"output must be a name (str), an index (int) or None. Received: {output!r}"
        )
    if not -len(heads) <= output < len(heads):
        raise ValueError(
            f"output must be an index below {len(heads)}, or one of {names}. Received: {output}"
        )
    return range(len(heads))[output]


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
    names : list of str, dict of int to str, or None
        As in eli5: one name per class, or new names for some classes.
    count : int or None
        How many classes the output has.

    Raises
    ------
    TypeError
        If ``names`` is neither a sequence nor a mapping.
    ValueError
        If a list doesn't have one name for each class.

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
            self.by_class = {int(k): v for k, v in names.items() if is_index(k)}
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
    targets: Sequence[Any] | Callable[..., Any] | None,
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
    targets : list of int, str or callable, a callable, or None
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
        If ``targets`` is not a list of classes, names or callables.
    ValueError
        If a class is out of range, the list is empty, or the output is not a vector of classes.
    """
    if callable(targets):
        targets = [targets]
    if targets is not None and not isinstance(targets, list):
        raise TypeError(
            "targets must be a list, such as targets=[282], a callable or None. "
            f"Received: {targets!r} of type {type(targets).__name__}"
        )
    if targets is not None and not targets:
        raise ValueError("targets must name at least one class. Received an empty list.")
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


def choose_for_each(
    head: Head,
    targets: Sequence[Any],
    top_targets: int | None,
    names: TargetNames,
    *,
    target: Target,
) -> tuple[Target, np.ndarray | None]:
    """Turn the targets of several documents into a target and rows of classes.

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
