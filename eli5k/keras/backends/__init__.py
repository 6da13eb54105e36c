"""The seam to the framework under Keras: one file a backend, the same few functions in each.

``differentiate(forward)``
    Runs ``forward(tap)`` and returns its results with the tapped tensors and the gradients of the
    scores with respect to what ``tap`` returned.
``compiled(function, model)``
    The same function, of tensors or arrays, as fast as the framework can run it, where the model
    is; it must be built. What it assigns to the model's variables is forgotten.
``dry_run(function, model)``
    Runs ``function``, which calls the model, for the sake of its side effects, shapes and dtypes;
    the numbers that it computes are thrown away. Where the model is not built yet, ``function``
    runs twice: ``build_by_running``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import keras

SUPPORTED = ("tensorflow", "torch", "jax")


def active_backend() -> ModuleType:
    """Module of this package for the backend that Keras runs on.

    Raises
    ------
    RuntimeError
        If Keras runs on a backend that cannot differentiate, such as ``numpy``.

    Examples
    --------
    >>> active_backend().__name__.startswith("eli5k.keras.backends.")
    True
    """
    name = keras.config.backend()
    if name not in SUPPORTED:
        raise RuntimeError(
            f"Keras runs on the backend {name!r}, and eli5k on one of {', '.join(SUPPORTED)}. "
            "Set the environment variable KERAS_BACKEND before keras is imported."
        )
    return importlib.import_module(f"{__name__}.{name}")


def to_tensors(structure: Any) -> Any:
    """Make tensors of the arrays in a structure; None stays.

    Examples
    --------
    >>> to_tensors({"a": None})
    {'a': None}
    """
    to_tensor = keras.ops.convert_to_tensor
    return keras.tree.map_structure(lambda x: None if x is None else to_tensor(x), structure)


def is_built(model: keras.Model) -> bool:
    """Tell whether all layers of a model have made their variables.

    Examples
    --------
    >>> model = keras.Sequential([keras.layers.Dense(2)])
    >>> is_built(model), model.build((1, 3)), is_built(model)
    (False, None, True)
    """
    return all(layer.built for layer in model._flatten_layers())


def build_by_running(function: Callable[[], Any], model: keras.Model) -> None:
    """Call ``function``, which runs the model, if some layer has not made its variables yet.

    What it assigns to those that there are, such as the next state of a seed, is undone: a layer
    that the model never calls would make each call the first one.

    Examples
    --------
    >>> model = keras.Sequential([keras.layers.Dense(2)])
    >>> build_by_running(lambda: model(keras.ops.ones((1, 3))), model)
    >>> build_by_running(lambda: 1 / 0, model)
    """
    if is_built(model):
        return
    before = [(v, keras.ops.copy(v.value)) for v in model.non_trainable_variables]
    try:
        function()
    finally:
        for variable, value in before:
            variable.assign(value)
