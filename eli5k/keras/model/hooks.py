"""Hooks: see or replace what a layer or an activation computes.

A hook shadows a function on the one object that computes it, while the context manager is open and
only in the thread that opened it. The model isn't rebuilt, so its structure (functional, nested,
subclassed, reloaded) doesn't matter.

The shadowed objects are shared between threads and, for a backbone, between models. So one lock
admits one thread at a time to the hooks. Compiled functions run without it.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import update_wrapper
from typing import Any

import keras
from keras.src import backend as keras_backend

from eli5k.keras.backends import Tensor

# Activation functions that are hooked, and the frameworks that have functions of these names.
ACTIVATIONS = frozenset({"relu", "relu6", "softmax", "sigmoid"})
FRAMEWORKS = frozenset({"tensorflow", "torch", "jax"})
# Functions of Keras' backends that keep the numbers. Layers and operations reach them by two names.
ARRANGEMENTS = (
    (keras_backend, "cast"),
    (keras_backend.core, "cast"),
    (keras_backend.numpy, "reshape"),
    (keras_backend.numpy, "squeeze"),
    (keras_backend.numpy, "expand_dims"),
)

_one_thread_at_a_time = threading.RLock()


@contextmanager
def _shadow(
    owner: Any, name: str, replace: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Iterator[None]:
    """Replace ``owner.name`` by ``replace(original)``, for this thread only."""
    with _one_thread_at_a_time:
        thread = threading.get_ident()
        original = getattr(owner, name)
        replacement = replace(original)

        def shadow(*args: Any, **kwargs: Any) -> Any:
            function = replacement if threading.get_ident() == thread else original
            return function(*args, **kwargs)

        attributes = vars(owner)
        before = attributes.get(name)
        # Another thread may save the model meanwhile, with the name of an activation.
        update_wrapper(shadow, original)
        # Or read the attributes of the layer, without the hook.
        shadow.shadowed = getattr(original, "shadowed", original)  # type: ignore[attr-defined]
        shadow.is_added = getattr(before, "is_added", before is None)  # type: ignore[attr-defined]
        try:
            attributes[name] = shadow
            yield
        finally:
            if before is None:
                attributes.pop(name, None)
            else:
                attributes[name] = before


@contextmanager
def forward_hook(layer: keras.Operation, fn: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Pass each output of ``layer`` through ``fn`` while the context is open.

    Parameters
    ----------
    layer : keras.Operation
        A layer, at any depth of any model.
    fn : callable
        Function from the layer's output to what the rest of the model gets instead.

    Examples
    --------
    >>> import keras
    >>> layer = keras.layers.Rescaling(2.0)
    >>> with forward_hook(layer, lambda output: output + 1):
    ...     float(layer(3.0))
    7.0
    >>> float(layer(3.0))
    6.0
    """
    with call_hook(layer, lambda call, args, kwargs: fn(call(*args, **kwargs))):
        yield


@contextmanager
def output_hook(
    layer: keras.Operation, fn: Callable[[Tensor], Tensor], number: int | None, element: int | None
) -> Iterator[None]:
    """Pass the outputs of one call, or one of them, through ``fn``.

    Parameters
    ----------
    layer : keras.Operation
    fn : callable
        Function from the output to what the rest of the model gets instead.
    number : int or None
        Which call, counted from the opening of the context; None for all.
    element : int or None
        Which of the tensors that the layer returns; None if it is one tensor.

    Examples
    --------
    >>> import keras
    >>> layer = keras.layers.Rescaling(2.0)
    >>> with output_hook(layer, lambda output: output + 1, number=1, element=None):
    ...     float(layer(3.0)), float(layer(3.0))
    (6.0, 7.0)
    """
    numbers = itertools.count()

    def on_output(output: Any) -> Any:
        if number not in (None, next(numbers)):
            return output
        if element is None:
            return fn(output)
        flat = keras.tree.flatten(output)
        flat[element] = fn(flat[element])
        return keras.tree.pack_sequence_as(output, flat)

    with forward_hook(layer, on_output):
        yield


@contextmanager
def call_hook(
    layer: keras.Operation, fn: Callable[[Callable[..., Any], Any, Any], Any]
) -> Iterator[None]:
    """Call ``fn`` instead of ``layer`` while the context is open.

    Parameters
    ----------
    layer : keras.Operation
    fn : callable
        ``fn(call, args, kwargs)``: what the rest of the model gets instead of
        ``call(*args, **kwargs)``.

    Examples
    --------
    >>> import keras
    >>> layer = keras.layers.Rescaling(2.0)
    >>> with call_hook(layer, lambda call, args, kwargs: call(args[0] + 1, **kwargs)):
    ...     float(layer(3.0))
    8.0
    """

    def replace(original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: fn(original, args, kwargs)

    # A quantized layer runs its quantized_call instead of call.
    quantized = getattr(layer, "quantization_mode", None) is not None
    with _shadow(layer, "quantized_call" if quantized else "call", replace):
        yield


@contextmanager
def input_hook(layer: keras.Operation, fn: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Pass a layer's first input through ``fn`` while the context is open.

    Parameters
    ----------
    layer : keras.Operation
        A layer, at any depth of any model.
    fn : callable
        Function from the layer's input to what the layer gets instead.

    Examples
    --------
    >>> import keras
    >>> layer = keras.layers.Rescaling(2.0)
    >>> with input_hook(layer, lambda tensor: tensor + 1):
    ...     float(layer(3.0))
    8.0
    """

    def on_input(call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        return call(fn(args[0]), *args[1:], **kwargs)

    with call_hook(layer, on_input):
        yield


@contextmanager
def preactivation_hook(layer: keras.Layer, fn: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Pass what a layer computes before its own ``activation=`` through ``fn``.

    Parameters
    ----------
    layer : keras.Layer
        If it has no activation of its own, its output is passed.
    fn : callable
        Function from that tensor to what the layer continues with instead.

    Examples
    --------
    >>> import keras
    >>> layer = keras.layers.Dense(1, activation="relu", kernel_initializer="ones")
    >>> with preactivation_hook(layer, lambda tensor: tensor + 5):
    ...     keras.ops.convert_to_numpy(layer(keras.ops.full((1, 1), -3.0))).tolist()
    [[2.0]]
    """
    if not callable(getattr(layer, "activation", None)):
        with forward_hook(layer, fn):
            yield
        return

    def replace(original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda tensor, *args, **kwargs: original(fn(tensor), *args, **kwargs)

    with _shadow(layer, "activation", replace):
        yield


@contextmanager
def activation_hook(
    name: str, fn: Callable[[Tensor, Tensor], Tensor], layers: Iterable[keras.Layer] = ()
) -> Iterator[None]:
    """Pass each result of an activation function through ``fn``.

    An ``activation=`` argument, an activation layer, an operation of a functional graph and
    ``keras.ops`` in a subclassed model's ``call`` all end in one function of Keras' backend: that
    one is hooked, wherever the model computes it.

    Parameters
    ----------
    name : str
        Name of the function, such as ``"relu"``, ``"softmax"`` or ``"sigmoid"``.
    fn : callable
        ``fn(input, output) -> output``, with those of the activation function.
    layers : iterable of keras.Layer
        Layers whose ``activation=`` may be a function of the framework, such as ``tf.nn.relu``.

    Examples
    --------
    >>> import keras
    >>> with activation_hook("relu", lambda input, output: input):
    ...     float(keras.activations.relu(keras.ops.convert_to_tensor(-3.0)))
    -3.0
    """

    def replace(original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda x, *args, **kwargs: fn(x, original(x, *args, **kwargs))

    with ExitStack() as hooks:
        hooks.enter_context(_shadow(keras_backend.nn, name, replace))
        for layer in layers:
            activation = getattr(layer, "activation", None)
            if framework_activation(getattr(activation, "shadowed", activation)) == name:
                hooks.enter_context(_shadow(layer, "activation", replace))
        yield


def framework_activation(function: Any) -> str | None:
    """Return Keras' name of a framework's activation function, or None.

    Examples
    --------
    >>> import keras
    >>> framework_activation(keras.activations.relu) is None
    True
    """
    function = getattr(function, "func", function)  # The function of a functools.partial.
    # A module such as torch.nn.ReLU has no name of its own.
    named = function if hasattr(function, "__name__") else type(function)
    name = named.__name__.lower().removesuffix("_v2")
    framework = str(named.__module__).partition(".")[0]
    return name if name in ACTIVATIONS and framework in FRAMEWORKS else None


@contextmanager
def arrangement_hook(
    fn: Callable[[Tensor, Tensor, Callable[[Tensor], Tensor]], None],
) -> Iterator[None]:
    """Show ``fn`` each result that only reshapes or casts its input.

    Parameters
    ----------
    fn : callable
        ``fn(input, output, again)``: ``again`` does the same to another tensor.
    """

    def replace(original: Callable[..., Any]) -> Callable[..., Any]:
        def arrange(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            result = original(x, *args, **kwargs)
            fn(x, result, lambda other: original(other, *args, **kwargs))
            return result

        return arrange

    with ExitStack() as hooks:
        for owner, name in ARRANGEMENTS:
            hooks.enter_context(_shadow(owner, name, replace))
        yield
