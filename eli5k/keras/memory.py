"""What was found out about a model, for as long as the model lives and stays as it is."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import keras

FACTS_PER_MODEL = 64
# Attributes of layers that a compiled run takes for constant: those of which other objects may take
# the place. The mean of a normalisation changes when it is adapted.
CONSTANTS = ("activation", "_dtype_policy", "mean", "lora_kernel_a")

_facts: weakref.WeakKeyDictionary[keras.Model, OrderedDict] = weakref.WeakKeyDictionary()
_structures: weakref.WeakKeyDictionary[keras.Model, tuple] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def remember(
    model: keras.Model,
    key: Hashable,
    find_out: Callable[[], Any],
    structure: int | None = None,
) -> Any:
    """Return what ``find_out()`` returned when it was first asked for this key.

    The newest ``FACTS_PER_MODEL`` facts are kept. What ``find_out`` returns must not hold the
    model, or the model would never be freed.

    Parameters
    ----------
    model : keras.Model
    key : hashable
    find_out : callable
        Called without arguments where the fact is not known, or the model was rebuilt since.
    structure : int or None
        What :func:`structure_of` the model is, where that was just found out.

    Examples
    --------
    >>> import keras
    >>> model = keras.Sequential([keras.layers.Flatten()])
    >>> remember(model, "answer", lambda: 42), remember(model, "answer", lambda: 43)
    (42, 42)
    """
    key = (key, structure_of(model) if structure is None else structure)
    with _lock:
        known = _facts.setdefault(model, OrderedDict())
        if key in known:
            known.move_to_end(key)
            return known[key]
    fact = find_out()
    with _lock:
        fact = known.setdefault(key, fact)
        while len(known) > FACTS_PER_MODEL:
            known.popitem(last=False)
    return fact


def structure_of(model: keras.Model) -> int:
    """Number that is another one after a change of what a compiled run takes for constant.

    These are the layers of a model at any depth, and their ``CONSTANTS``.

    Examples
    --------
    >>> import keras
    >>> model = keras.Sequential([keras.layers.Dense(2)])
    >>> before = structure_of(model)
    >>> model.add(keras.layers.Dense(2))
    >>> structure_of(model) == before
    False
    """
    parts = _constant_parts(model)
    with _lock:
        number, references = _structures.get(model, (0, []))
        if len(references) != len(parts) or not all(
            reference() is part for reference, part in zip(references, parts)
        ):
            number += 1
            _structures[model] = number, [_reference(part) for part in parts]
    return number


def _constant_parts(model: keras.Model) -> list[Any]:
    parts: list[Any] = []
    for layer in model._flatten_layers(include_self=False):
        # Instance dictionaries, not attributes: this runs at each explanation, over all layers.
        attributes = vars(layer)
        parts.append(layer)
        for name in CONSTANTS:
            part = attributes.get(name)
            parts.append(layer if part is None else getattr(part, "shadowed", part))
    return parts


def _reference(part: Any) -> Callable[[], Any]:
    """Refer to an object without keeping it: its id may be given to another one after its death."""
    try:
        return weakref.ref(part)
    except TypeError:  # A type of the user's that cannot be referred to in this way.
        return lambda: part
