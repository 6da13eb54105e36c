"""JAX: a pull-back through zeros added at the tapped tensors, inside one ``jax.jit``."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import keras
from jax.extend import core
from keras.src.backend.common.stateless_scope import get_stateless_scope

from eli5k.keras.backends import build_by_running, to_tensors

# What JAX raises where a model needs the numbers of a tensor, such as an if or numpy.
UNTRACEABLE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.NonConcreteBooleanIndexError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)


def differentiate(forward: Callable) -> tuple[Any, list, list]:
    """Run ``forward`` and differentiate its scores with respect to what it taps.

    Parameters
    ----------
    forward : callable
        ``forward(tap) -> (scores, rest)`` with scores ``(batch, targets)``. It passes each tensor
        of interest through ``tap`` and goes on with what ``tap`` returns. It is traced twice.

    Returns
    -------
    results : tuple
        ``(scores, rest)`` as ``forward`` returned them.
    tapped : list of tensors
        Each ``(batch, ...)``, in the order of the calls of ``tap``.
    gradients : list of tensors or None
        Each ``(targets, batch, ...)``; None where no score depends on the tensor.
    """
    forward = _stateless(forward)

    def shifted(shifts: list[jax.Array]) -> tuple[jax.Array, Any]:
        tapped: list[jax.Array] = []

        def tap(tensor: jax.Array) -> jax.Array:
            tapped.append(tensor + shifts[len(tapped)])
            return tapped[-1]

        scores, rest = forward(tap)
        # Samples do not mix at inference: the gradient of the sum is each sample's own gradient.
        return jnp.sum(scores, axis=0), ((scores, rest), tapped)

    zeros = [jnp.zeros(tap.shape, tap.dtype) for tap in _taps(forward)]
    totals, pull_back, (results, tapped) = jax.vjp(shifted, zeros, has_aux=True)
    return results, tapped, _gradients(pull_back, totals)


def _taps(forward: Callable) -> list[jax.ShapeDtypeStruct]:
    """Shapes of the tensors that ``forward`` taps."""

    def tapped() -> list[jax.Array]:
        tensors: list[jax.Array] = []

        def tap(tensor: jax.Array) -> jax.Array:
            tensors.append(tensor)
            return tensor

        forward(tap)
        return tensors

    return _shapes_of(tapped)


def _shapes_of(function: Callable) -> Any:
    """Trace ``function`` or, where the model needs numbers and a trace has only shapes, run it."""
    with _untraceable_passed_over():
        return jax.eval_shape(function)
    return function()


@contextmanager
def _untraceable_passed_over() -> Iterator[None]:
    """Go on behind the context where something in it could not be traced."""
    try:
        yield
    except Exception as error:
        # Keras puts its own error in the place of some that JAX raises.
        cause: BaseException | None = error
        while not isinstance(cause, UNTRACEABLE):
            if cause is None:
                raise
            cause = cause.__context__


def _stateless(function: Callable) -> Callable:
    """Let ``function`` see the variables as they are, and forget what it assigns: tracers."""

    def run(*args: Any) -> Any:
        scope, outer = keras.StatelessScope(), get_stateless_scope()
        if outer is not None:
            scope.state_mapping.update(outer.state_mapping)
        with scope:
            return function(*args)

    return run


def _gradients(pull_back: Callable, totals: jax.Array) -> list[jax.Array | None]:
    """Gradients ``(targets, batch, ...)`` of the totals with respect to each tapped tensor."""
    backward = jax.make_jaxpr(pull_back)(totals)
    gradients = jax.vmap(core.jaxpr_as_fun(backward))(jnp.eye(len(totals), dtype=totals.dtype))
    # JAX fills in zeros where nothing flows: these do not come from the gradient of the totals.
    reached = set(backward.jaxpr.invars)
    for equation in backward.jaxpr.eqns:
        if any(isinstance(x, core.Var) and x in reached for x in equation.invars):
            reached.update(equation.outvars)
    connected = [isinstance(x, core.Var) and x in reached for x in backward.jaxpr.outvars]
    return [gradient if flows else None for gradient, flows in zip(gradients, connected)]


def compiled(function: Callable, model: keras.Model) -> Callable:
    """Compile ``function``, with the model's weights as arguments; it holds the model weakly."""
    reference: Callable[[], Any] = weakref.ref(model)
    eager = _stateless(function)
    is_traceable = True

    @jax.jit
    def graph(weights: list[jax.Array], *args: Any) -> Any:
        with keras.StatelessScope(list(zip(reference().variables, weights))):
            return function(*args)

    def run(*args: Any) -> Any:
        nonlocal is_traceable
        args = to_tensors(args)
        model = reference()
        model.jax_state_sync()  # In a callback, the weights of the training so far.
        weights = [variable.value for variable in model.variables]
        if is_traceable:
            with _untraceable_passed_over():
                return graph(weights, *args)
            is_traceable = False  # Nor will it be at the next call.
        return eager(*args)

    return run


def dry_run(function: Callable, model: keras.Model) -> None:
    """Trace ``function``: on JAX that is sooner done than running it."""
    build_by_running(function, model)  # Variables made while a model is traced are of no use.
    # A function of its own, since JAX does not trace again what it has traced before.
    _shapes_of(_stateless(function))
