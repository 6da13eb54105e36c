"""Run a model without changing its variables: assignments are discarded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras.src.backend.common.stateless_scope import get_stateless_scope

from eli5k.keras.backends import active_backend
from eli5k.keras.model.memory import own_changes_ignored, weakly
from eli5k.keras.model.structure import all_layers


@contextmanager
def variables_read_as(variables: Sequence[keras.Variable], values: Sequence[Any]) -> Iterator[None]:
    """Give variables other values while the context is open.

    The variables themselves stay as they are.

    Examples
    --------
    >>> variable = keras.Variable([1.0])
    >>> with variables_read_as([variable], [[2.0]]):
    ...     keras.ops.convert_to_numpy(variable + 0).tolist()
    [2.0]
    >>> keras.ops.convert_to_numpy(variable).tolist()
    [1.0]
    """
    outer = get_stateless_scope()
    scope = keras.StatelessScope(list(zip(variables, values)))
    if outer is not None:
        scope.state_mapping = {**outer.state_mapping, **scope.state_mapping}
    with scope:
        yield


def stateless(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let ``function`` read the variables, and discard its assignments.

    The next state of a seed, or a tracer, must not stay in the user's model.

    Parameters
    ----------
    function : callable

    Examples
    --------
    >>> variable = keras.Variable([1.0])
    >>> _ = stateless(lambda: variable.assign([2.0]))()
    >>> keras.ops.convert_to_numpy(variable).tolist()
    [1.0]
    """

    def run(*args: Any) -> Any:
        scope, outer = keras.StatelessScope(), get_stateless_scope()
        if outer is not None:
            scope.state_mapping.update(outer.state_mapping)
        with scope:
            return function(*args)

    return run


def is_built(model: keras.Model) -> bool:
    """Tell whether all layers of a model have made their variables.

    Examples
    --------
    >>> model = keras.Sequential([keras.layers.Dense(2)])
    >>> is_built(model), model.build((1, 3)), is_built(model)
    (False, None, True)
    """
    return all(layer.built for layer in all_layers(model))


def build_by_running(function: Callable[[], Any], model: keras.Model) -> None:
    """Call ``function``, which runs the model, if the model isn't built.

    Its assignments to existing variables, such as the next state of a seed, are undone: a layer
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


def dry_run(function: Callable[[], Any], model: keras.Model) -> None:
    """Run ``function``, which calls the model, to learn shapes.

    Build the model if necessary.

    Parameters
    ----------
    function : callable
        It runs twice if the model isn't built yet.
    model : keras.Model
    """
    with active_backend().at_inference(model, all_layers):
        build_by_running(function, model)
    with own_changes_ignored(model):
        active_backend().dry_run(stateless(function), model, all_layers)


def compiled(
    function: Callable[..., Any], model: keras.Model, is_new: bool = False
) -> Callable[..., Any]:
    """Make ``function``, which runs the model, as fast as possible.

    Parameters
    ----------
    function : callable
        Function of tensors or arrays.
    model : keras.Model
        A built model, held weakly.
    is_new : bool
        See :meth:`eli5k.keras.backends.Backend.compiled`.
    """
    return active_backend().compiled(stateless(function), weakly(model), all_layers, is_new)


def array_of(variable: keras.Variable) -> np.ndarray:
    """Return a variable's value as an array, from any device.

    ``convert_to_numpy`` moves it to the device of Keras' setting first.

    Examples
    --------
    >>> array_of(keras.Variable([1.0]))
    array([1.], dtype=float32)
    """
    array: np.ndarray = keras.ops.convert_to_numpy(variable._value)
    return array
