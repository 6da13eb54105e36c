"""What was found out about a model, for as long as the model lives and stays as it is."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import keras

FACTS_PER_MODEL = 64

_facts: weakref.WeakKeyDictionary[keras.Model, OrderedDict] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def remember(
    model: keras.Model,
    key: Hashable,
    find_out: Callable[[], Any],
    structure: tuple | None = None,
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
    structure : tuple or None
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


def structure_of(model: keras.Model) -> tuple:
    """What changes with the layers of a model at any depth, their activations and precision.

    Examples
    --------
    >>> import keras
    >>> model = keras.Sequential([keras.layers.Dense(2)])
    >>> before = structure_of(model)
    >>> model.add(keras.layers.Dense(2))
    >>> structure_of(model) == before
    False
    """
    # Instance dictionaries, not attributes: this runs at each explanation, over all layers.
    attributes = [vars(layer) for layer in model._flatten_layers(include_self=False)]
    return tuple(
        (id(of_layer), id(of_layer.get("activation")), id(of_layer.get("_dtype_policy")))
        for of_layer in attributes
    )
