"""Memory of facts about a model, while it lives and stays unchanged.

Facts are about structure, never about a document's numbers: one bad document must not decide for
the next. A compiled run assumes more than the layers that it calls: their activations, their
arguments, the flags of a subclassed model. All of these are checked at each explanation, and a
change forgets what was compiled. Two things aren't seen: what a ``call`` reads from elsewhere, such
as a global variable, and changes inside an object of a class that isn't known here.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import threading
import types
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from eli5k.keras.model.structure import all_layers

FACTS_PER_MODEL = 64
# Values that can be compared and hold no part of the model.
PLAIN = (type(None), bool, int, float, complex, str, bytes, np.generic)
# Attributes of every layer and model: names, counters and the state of training. No output depends
# on them.
NOISE = frozenset(vars(keras.layers.Layer())) | frozenset(vars(keras.Model()))
TRAINING = {"compiled", "epoch_iterator", "history", "loss", "optimizer", "predict_function"}
TRAINING |= {"steps_per_execution", "stop_evaluating", "stop_predicting", "stop_training"}
TRAINING |= {"test_function", "train_function"}
# The only one of these that changes outputs: the precision.
POLICY = "_dtype_policy"
# Used only while a layer is built or trained.
ENDINGS = ("initializer", "regularizer", "constraint")

# Arrays of up to this many numbers are compared by value at each explanation, larger ones by
# identity.
SMALL = 1000
# How deep to look into lists and configurations, which may hold themselves.
DEEP = 8
UNKNOWN = object()

_facts: weakref.WeakKeyDictionary[keras.Model, OrderedDict[Hashable, Any]]
_facts = weakref.WeakKeyDictionary()
_structures: weakref.WeakKeyDictionary[keras.Model, tuple[int, list[_Seen]]]
_structures = weakref.WeakKeyDictionary()
# Attributes that a layer changes itself when it runs.
_own_changes: weakref.WeakKeyDictionary[keras.Layer, set[str]]
_own_changes = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def remember(model: keras.Model, key: Hashable, structure: int, find_out: Callable[[], Any]) -> Any:
    """Return the fact for a key, found out when first asked.

    The ``FACTS_PER_MODEL`` most recent facts are kept. The result of ``find_out`` must not hold the
    model, or the model would never be freed.

    Parameters
    ----------
    model : keras.Model
    key : hashable
    structure : int
        The model's :func:`structure_of`: another structure has other facts.
    find_out : callable
        Function without arguments, called if the fact is unknown.

    Examples
    --------
    >>> model = keras.Sequential([keras.layers.Flatten()])
    >>> remember(model, "answer", 1, lambda: 42), remember(model, "answer", 1, lambda: 43)
    (42, 42)
    """
    key = (key, structure)
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


def recall(model: keras.Model, key: Hashable, structure: int, default: Any = None) -> Any:
    """Return a fact if it is known, else ``default``.

    Examples
    --------
    >>> recall(keras.Sequential([keras.layers.Flatten()]), "answer", 1, 0)
    0
    """
    with _lock:
        return _facts.get(model, OrderedDict()).get((key, structure), default)


def forget(model: keras.Model, key: Hashable, structure: int) -> None:
    """Drop one fact that no longer holds."""
    with _lock:
        _facts.get(model, OrderedDict()).pop((key, structure), None)


def weakly(model: keras.Layer) -> Callable[[], Any]:
    """Refer to a model or a layer without keeping it alive.

    Examples
    --------
    >>> model = keras.Sequential([keras.layers.Flatten()])
    >>> weakly(model)() is model
    True
    """
    reference: Callable[[], Any] = weakref.ref(model)
    return reference


class NoKeyError(TypeError):
    """Error: an object can't be compared by value nor referenced weakly."""


def key_of(value: Any) -> Hashable:
    """Return a key that is equal for equal questions.

    It keeps nothing alive.

    Numbers, strings, and tuples and frozen dataclasses of them are compared by value. Functions,
    methods and other objects are compared by identity, as long as they live.

    Raises
    ------
    NoKeyError
        If ``value`` could only be kept, along with any model that it holds.

    Examples
    --------
    >>> key_of((1, "a")) == key_of((1, "a")), key_of(len) == key_of(max)
    (True, False)
    """
    if isinstance(value, (*PLAIN, type, types.BuiltinFunctionType)):
        return (type(value), value)
    if isinstance(value, tuple):
        return (type(value), tuple(map(key_of, value)))
    if isinstance(value, functools.partial):
        arguments = (value.args, tuple(sorted(value.keywords.items())))
        return (type(value), key_of(value.func), key_of(arguments))
    if _is_frozen(value):
        fields = (getattr(value, field.name) for field in dataclasses.fields(value))
        return (type(value), tuple(map(key_of, fields)))
    if isinstance(value, types.MethodType):
        return (types.MethodType, key_of(value.__func__), _Same(value.__self__))
    return _Same(value)


def _is_frozen(value: Any) -> bool:
    parameters = getattr(value, "__dataclass_params__", None)
    return parameters is not None and bool(parameters.frozen)


class _Same:
    """Key of one object, by identity: equal as long as it lives."""

    __slots__ = ("number", "reference")

    def __init__(self, value: Any) -> None:
        try:
            self.reference = weakref.ref(value)
        except TypeError as error:
            raise NoKeyError(f"{type(value).__name__} takes no weak references") from error
        self.number = id(value)

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Same):
            return NotImplemented
        value = self.reference()
        return value is not None and value is other.reference()


def structure_of(model: keras.Model) -> int:
    """Return a number that changes with anything a compiled run assumes.

    That is: the layers of the model at any depth, the values that they hold besides their weights
    (arguments, flags of a subclassed model), activations and precision.

    Examples
    --------
    >>> model = keras.Sequential([keras.layers.Rescaling(2.0)])
    >>> before = structure_of(model)
    >>> model.layers[0].scale = 3.0
    >>> structure_of(model) == before
    False
    """
    layers = all_layers(model)
    with _lock:
        number, seen = _structures.get(model, (0, []))
        # Sequential builds a functional model inside at its first call, so the list may grow.
        if len(seen) == len(layers) and all(map(_Seen.is_still, seen, layers)):
            return number
        _structures[model] = number + 1, [_Seen(layer) for layer in layers]
    return number + 1


@contextmanager
def own_changes_ignored(model: keras.Model) -> Iterator[None]:
    """Learn what a model changes itself while it runs.

    These changes don't count: otherwise each run would make all facts about the model stale.

    Examples
    --------
    >>> class Counting(keras.layers.Layer):
    ...     runs = 0
    ...     def call(self, x):
    ...         self.runs += 1
    ...         return x
    >>> model = keras.Sequential([Counting()])
    >>> with own_changes_ignored(model):
    ...     _ = model(keras.ops.ones((1, 1)))
    >>> before = structure_of(model)
    >>> _ = model(keras.ops.ones((1, 1)))
    >>> structure_of(model) == before
    True
    """
    before = [(layer, _attributes(layer).keys(), _Seen(layer)) for layer in all_layers(model)]
    yield
    with _lock:
        for layer, names, seen in before:
            if changed := seen.changed(layer) | (_attributes(layer).keys() - names):
                _own_changes.setdefault(layer, set()).update(changed)


class _Seen:
    """Snapshot of a layer: its plain values, and references to other objects."""

    __slots__ = ("count", "get_values", "names", "objects", "public", "reference", "values")

    def __init__(self, layer: keras.Layer) -> None:
        attributes = _attributes(layer)
        self.reference = weakref.ref(layer)
        self.count, self.public = len(attributes), _public(layer, attributes)
        self.names = [POLICY]
        self.objects: list[tuple[str, Callable[[Any], bool]]] = []
        # Keras' own layers keep their arguments under public names; TensorFlow adds private ones.
        prefix = "_" if type(layer).__module__.startswith("keras.") else ("_self_", "_trackable")
        ignored = _ignored(layer)
        for name, value in attributes.items():
            if name in ignored or name.startswith(prefix) or name.endswith(ENDINGS):
                continue
            if _is_plain(value):
                self.names.append(name)
            elif not isinstance(value, keras.layers.Layer | keras.Variable):
                snapshot = _snapshot(value)
                if snapshot is not None:
                    self.objects.append((name, snapshot))
        # One C call for all of them, since this runs at each explanation, over all layers.
        self.get_values = operator.itemgetter(*self.names)
        self.values = self.get_values(attributes)

    def is_still(self, layer: keras.Layer) -> bool:
        """Tell whether a layer is the same one and unchanged."""
        if self.reference() is not layer:
            return False
        attributes = vars(layer)
        # Something was added, such as a flag that the class had, or another call.
        if len(attributes) != self.count and not self._has_the_same_names(layer):
            return False
        try:
            if self.get_values(attributes) != self.values:
                return False
            for name, is_same in self.objects:
                if not is_same(_unshadowed(attributes[name])):
                    return False
        except (KeyError, ValueError, TypeError):
            return False  # An attribute is gone, or an array replaced a number.
        return True

    def _has_the_same_names(self, layer: keras.Layer) -> bool:
        attributes = _attributes(layer)
        if _public(layer, attributes) - self.public:
            return False
        self.count = len(attributes)
        return True

    def changed(self, layer: keras.Layer) -> set[str]:
        """Return the names of the attributes that have changed."""
        attributes = _attributes(layer)
        values = self.values if len(self.names) > 1 else (self.values,)
        plain = {
            name
            for name, value in zip(self.names, values)
            if not (name == POLICY or (_is_plain(now := attributes.get(name)) and now == value))
        }
        return plain | {
            name
            for name, is_same in self.objects
            if name not in attributes or not is_same(attributes[name])
        }


def _ignored(layer: keras.Layer) -> set[str] | frozenset[str]:
    """Names of attributes that say nothing about what the layer computes."""
    ignored = NOISE | _own_changes.get(layer, set())
    return ignored | TRAINING if isinstance(layer, keras.Model) else ignored


def _public(layer: keras.Layer, attributes: dict[str, Any]) -> set[str]:
    # Keras itself adds private attributes at any time.
    return {name for name in attributes.keys() - _ignored(layer) if not name.startswith("_")}


def _attributes(layer: keras.Layer) -> dict[str, Any]:
    """Attributes of a layer without hooks.

    Other threads open and close these meanwhile.
    """
    return {
        name: _unshadowed(value)
        for name, value in dict(vars(layer)).items()
        if not (callable(value) and getattr(value, "is_added", False))
    }


def _unshadowed(value: Any) -> Any:
    # While a hook is open in another thread, the layer still has what the hook shadows.
    return getattr(value, "shadowed", value) if callable(value) else value


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return isinstance(value, PLAIN)


def _snapshot(value: Any) -> Callable[[Any], bool] | None:
    """Return a check whether an attribute is unchanged.

    None if that can't be told.
    """
    kind, frozen = type(value), _frozen(value)
    if frozen is not UNKNOWN:
        return lambda now: type(now) is kind and _frozen(now) == frozen
    try:
        reference = weakref.ref(value)
    except TypeError:
        return None
    return lambda now: now is reference()


def _frozen(value: Any, depth: int = DEEP) -> Any:
    """Copy plain values, small arrays, and containers and configurations of them.

    The copies are compared later. What can't be copied becomes UNKNOWN.
    """
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, np.ndarray) and value.size <= SMALL and value.dtype != object:
        return value.shape, value.dtype.str, value.tobytes()
    parts = _parts_of(value)
    if parts is None or depth == 0:
        return UNKNOWN
    frozen = tuple(_frozen(part, depth - 1) for part in parts)
    if any(part is UNKNOWN for part in frozen):
        return UNKNOWN
    return frozenset(frozen) if isinstance(value, set | frozenset) else frozen


def _parts_of(value: Any) -> Iterable[Any] | None:
    """Return the parts of a container or configuration, or None for others."""
    if isinstance(value, dict):
        return value.items()
    if isinstance(value, list | tuple | set | frozenset):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name, None) for field in dataclasses.fields(value)]
    return vars(value).items() if isinstance(value, types.SimpleNamespace) else None
