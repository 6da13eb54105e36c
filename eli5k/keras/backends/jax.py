"""JAX: pull back to zeros added at the taps, under ``jax.jit``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import keras
from jax.extend import core

from eli5k.keras.backends import Tensor, to_tensors

# Errors of JAX if a model needs the numbers of a tensor, for instance in an if or for NumPy.
UNTRACEABLE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.NonConcreteBooleanIndexError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)


def differentiate(forward: Callable[..., Any]) -> tuple[Any, list[Tensor], list[Tensor | None]]:
    """Run ``forward`` and differentiate its scores with respect to what it taps.

    ``forward`` is traced twice. See :class:`eli5k.keras.backends.Backend`.
    """

    def shifted(shifts: list[jax.Array]) -> tuple[jax.Array, Any]:
        tapped: list[jax.Array] = []

        def tap(tensor: jax.Array) -> jax.Array:
            tapped.append(tensor + shifts[len(tapped)])
            return tapped[-1]

        scores, rest = forward(tap)
        # Samples don't mix at inference, so the gradient of the sum is each sample's own gradient.
        return jnp.sum(scores, axis=0), ((scores, rest), tapped)

    zeros = [jnp.zeros(tap.shape, tap.dtype) for tap in _taps(forward)]
    totals, pull_back, (results, tapped) = jax.vjp(shifted, zeros, has_aux=True)
    return results, tapped, _gradients(pull_back, totals)


def _taps(forward: Callable[..., Any]) -> list[jax.ShapeDtypeStruct]:
    """Return the shapes of the tensors that ``forward`` taps."""

    def tapped() -> list[jax.Array]:
        tensors: list[jax.Array] = []

        def tap(tensor: jax.Array) -> jax.Array:
            tensors.append(tensor)
            return tensor

        forward(tap)
        return tensors

    return _shapes_of(tapped)


def _shapes_of(function: Callable[..., Any]) -> Any:
    """Trace ``function``, or run it if a trace isn't enough."""
    with _untraceable_passed_over():
        return jax.eval_shape(function)
    return function()


@contextmanager
def _untraceable_passed_over() -> Iterator[None]:
    """Ignore the error if something can't be traced."""
    try:
        yield
    except Exception as error:
        # Keras replaces some errors of JAX by its own.
        cause: BaseException | None = error
        while not isinstance(cause, UNTRACEABLE):
            if cause is None:
                raise
            cause = cause.__context__


def _gradients(pull_back: Callable[..., Any], totals: jax.Array) -> list[jax.Array | None]:
    """Compute gradients ``(targets, batch, ...)`` with respect to each tapped tensor."""
    backward = jax.make_jaxpr(pull_back)(totals)
    gradients = jax.vmap(core.jaxpr_as_fun(backward))(jnp.eye(len(totals), dtype=totals.dtype))
    # JAX fills in zeros if nothing flows: these don't depend on the gradient of the totals.
    reached = set(backward.jaxpr.invars)
    for equation in backward.jaxpr.eqns:
        if any(isinstance(x, core.Var) and x in reached for x in equation.invars):
            reached.update(equation.outvars)
    connected = [isinstance(x, core.Var) and x in reached for x in backward.jaxpr.outvars]
    return [gradient if flows else None for gradient, flows in zip(gradients, connected)]


def compiled(
    function: Callable[..., Any],
    model_of: Callable[[], keras.Model],
    layers_of: Callable[[keras.Model], list[keras.Layer]],
    is_new: bool,
) -> Callable[..., Any]:
    """Compile ``function`` with the model's weights as arguments."""
    has_jit = any(_has_jitted_part(layer) for layer in layers_of(model_of()))
    is_traceable, wait = not getattr(model_of(), "run_eagerly", False), is_new

    @jax.jit
    def graph(weights: list[jax.Array], *args: Any) -> Any:
        with keras.StatelessScope(list(zip(model_of().variables, weights))), _inlined(has_jit):
            return function(*args)

    def run(*args: Any) -> Any:
        nonlocal is_traceable, wait
        args = to_tensors(args)
        model = model_of()
        model.jax_state_sync()  # In a callback, the weights of the training so far.
        weights = [variable.value for variable in model.variables]
        if is_traceable and not wait:
            with _untraceable_passed_over():
                return graph(weights, *args)
            is_traceable = False  # It won't be at the next call either.
        wait = False
        with _inlined(has_jit):
            return function(*args)

    return run


def _has_jitted_part(layer: keras.Layer) -> bool:
    parts = [*vars(type(layer)).values(), *vars(layer).values()]
    # A look at one attribute first: isinstance with a protocol takes eight times as long.
    return any(hasattr(part, "lower") and isinstance(part, jax.stages.Wrapped) for part in parts)


def _inlined(has_jit: bool) -> AbstractContextManager[None]:
    """Run code under the user's ``jax.jit`` as plain Python.

    Its trace would keep a hook.
    """
    return jax.disable_jit() if has_jit else nullcontext()


def at_inference(
    model: keras.Model, layers_of: Callable[[keras.Model], list[keras.Layer]]
) -> AbstractContextManager[None]:
    """Run code under the user's ``jax.jit`` as plain Python, for hooks."""
    return _inlined(any(_has_jitted_part(layer) for layer in layers_of(model)))


def dry_run(
    function: Callable[[], Any],
    model: keras.Model,
    layers_of: Callable[[keras.Model], list[keras.Layer]],
) -> None:
    """Trace ``function``: on JAX that is faster than running it."""

    # A new function each time: JAX doesn't trace again what it has traced before.
    def run() -> Any:
        with at_inference(model, layers_of):
            return function()

    _shapes_of(run)


def draws_random_numbers(function: Callable[..., Any]) -> bool:
    """Return False: in JAX all random numbers come from a given key."""
    del function
    return False


def free_memory() -> int | None:
    """Return the bytes left of the first device; None on a CPU."""
    told = jax.local_devices()[0].memory_stats()
    if not told or "bytes_limit" not in told:
        return None
    return int(told["bytes_limit"]) - int(told["bytes_in_use"])


def limit_threads(count: int) -> None:
    """Limit the number of cores, before JAX has computed anything."""
    # Its client for the CPU takes this for the number of cores.
    os.environ["NPROC"] = str(count)
