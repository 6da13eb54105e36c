"""Question and model as text: a store answers one question."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import inspect
import json
import os
import types
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from eli5k.class_names import names_by_index
from eli5k.keras.model.structure import walk
from eli5k.keras.store.rows import SCHEMA_VERSION
from eli5k.options import Options

# Options that change the speed, but no answer.
NOT_ASKED = ("batch_size", "progress", "target_names", "token_names")


def question_of(model: keras.Model, options: Options, **more: Any) -> dict[str, Any]:
    """Return what is asked of which model, for JSON.

    Parameters
    ----------
    model : keras.Model
    options : Options
    **more
        What else belongs to the question, such as the type of the keys.

    Returns
    -------
    dict
        Functions are told by their name and source, arrays by a hash.

    Examples
    --------
    >>> model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()])
    >>> asked = question_of(model, Options(top_targets=2, batch_size=8))
    >>> asked["options"]["top_targets"], "batch_size" in asked["options"]
    (2, False)
    """
    fields = {name: value for name, value in vars(options).items() if name not in NOT_ASKED}
    names = {str(index): str(name) for index, name in _names(options).items()}
    return {
        "schema": SCHEMA_VERSION,
        "model": fingerprint(model),
        "model_name": model.name,
        "options": {name: described(value) for name, value in fields.items()},
        **more,
        "class_names": names,
    }


def fingerprint(model: keras.Model) -> str:
    """Return a hash of a model's architecture and weights.

    Parameters
    ----------
    model : keras.Model

    Returns
    -------
    str
        The same after saving and loading.

    Examples
    --------
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> before = fingerprint(model)
    >>> model.layers[0].set_weights([np.ones((4, 2)), np.ones(2)])
    >>> fingerprint(model) == before
    False
    """
    found = hashlib.blake2b(digest_size=16)
    found.update(json.dumps(_architecture(model), sort_keys=True, default=str).encode())
    for weight in model.weights:
        array = np.ascontiguousarray(keras.ops.convert_to_numpy(weight))
        found.update(f"{array.shape} {array.dtype}".encode())
        found.update(array.data)
    return found.hexdigest()


def _architecture(model: keras.Model) -> Any:
    try:
        return keras.saving.serialize_keras_object(model)["config"]
    except NotImplementedError:
        # A subclass that can't be saved is described by its layers.
        return [(path, type(layer).__name__) for path, layer in walk(model)]


def _names(options: Options) -> dict[int, str]:
    names = options.target_names
    if isinstance(names, Mapping) and any(isinstance(each, Mapping) for each in names.values()):
        return {}
    return names_by_index(names)


def described(value: Any, depth: int = 4) -> Any:
    """Return a value for JSON, so that other values give other texts.

    Parameters
    ----------
    value : object
    depth : int
        How far to look into objects.

    Examples
    --------
    >>> described(np.ones(3))["shape"], described(len)
    ([3], {'function': 'builtins.len'})
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, keras.layers.Layer):
        return {"layer": value.path or value.name}
    if hasattr(value, "__array__") and hasattr(value, "shape"):
        return _array(np.asarray(value))
    if isinstance(value, Mapping):
        return [[described(each, depth) for each in pair] for pair in value.items()]
    if isinstance(value, Sequence | set | frozenset):
        return [described(each, depth) for each in value]
    if depth == 0:
        return type(value).__qualname__
    return _object(value, depth - 1)


def _array(array: np.ndarray) -> dict[str, Any]:
    data = np.ascontiguousarray(array)
    told = data.tobytes() if data.dtype.kind != "O" else repr(data.tolist()).encode()
    return {"shape": list(data.shape), "dtype": str(data.dtype), "hash": _hash(told)}


def _object(value: Any, depth: int) -> Any:
    if isinstance(value, functools.partial):
        parts = [value.func, list(value.args), value.keywords]
        return {"partial": [described(part, depth) for part in parts]}
    if isinstance(value, types.MethodType):
        own = described(value.__self__, depth)
        return {"method": value.__func__.__qualname__, "of": own}
    if inspect.isroutine(value):
        return _function(value, depth)
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if dataclasses.is_dataclass(value):
        own = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    else:
        own = dict(vars(value)) if hasattr(value, "__dict__") else {}
    return {"object": kind} | {name: described(each, depth) for name, each in own.items()}


def _function(value: Any, depth: int) -> dict[str, Any]:
    told = {"function": f"{value.__module__}.{value.__qualname__}"}
    # Builtins and typed-in functions have only a name.
    with contextlib.suppress(OSError, TypeError):
        told["source"] = _hash(inspect.getsource(value).encode())
    enclosed = [cell.cell_contents for cell in getattr(value, "__closure__", None) or ()]
    given = [getattr(value, "__defaults__", None), *enclosed]
    if any(each is not None for each in given):
        told["given"] = described(given, depth)
    return told


def _hash(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()
