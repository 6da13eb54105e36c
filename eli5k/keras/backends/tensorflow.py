"""TensorFlow: a gradient tape that begins at the tapped tensors, inside one ``tf.function``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from eli5k.keras.backends import build_by_running, to_tensors


def differentiate(forward: Callable) -> tuple[Any, list, list]:
    """Run ``forward`` and differentiate its scores with respect to what it taps.

    Parameters
    ----------
    forward : callable
        ``forward(tap) -> (scores, rest)`` with scores ``(batch, targets)``. It passes each tensor
        of interest through ``tap`` and goes on with what ``tap`` returns.

    Returns
    -------
    results : tuple
        ``(scores, rest)`` as ``forward`` returned them.
    tapped : list of tensors
        Each ``(batch, ...)``, in the order of the calls of ``tap``.
    gradients : list of tensors or None
        Each ``(targets, batch, ...)``; None where no score depends on the tensor.
    """
    tapped: list[tf.Tensor] = []
    with tf.GradientTape(watch_accessed_variables=False, persistent=True) as tape:

        def tap(tensor: tf.Tensor) -> tf.Tensor:
            # A tensor of its own: what else uses the tensor, or taps it, is not asked about.
            tensor = tf.identity(tensor)
            tape.watch(tensor)
            tapped.append(tensor)
            return tensor

        scores, rest = forward(tap)
        # Samples do not mix at inference: the gradient of the sum is each sample's own gradient.
        totals = tf.unstack(tf.reduce_sum(scores, axis=0))
    # One backward pass a target: on a CPU, products of a vector with a large dense kernel are so
    # much faster than those of a small matrix that all at once (tape.jacobian) takes longer.
    by_target = [tape.gradient(total, tapped) for total in totals]
    gradients = [_stacked(*of_tap) for of_tap in zip(tapped, zip(*by_target))]
    return (scores, rest), tapped, gradients


def _stacked(tensor: tf.Tensor, gradients: tuple[tf.Tensor | None, ...]) -> tf.Tensor | None:
    """Stack the gradients of all targets, some of which may not depend on the tensor."""
    if all(gradient is None for gradient in gradients):
        return None
    return tf.stack([tf.zeros_like(tensor) if g is None else g for g in gradients])


def compiled(function: Callable, model: keras.Model) -> Callable:
    """Run ``function`` eagerly at its first call, and compile it when it is called again.

    Tracing takes as long as several eager runs, so a question that is asked once is answered
    soonest without it.
    """

    def stateless(*args: Any) -> Any:
        with keras.StatelessScope():
            return function(*args)

    graph = tf.function(stateless, autograph=False, reduce_retracing=True)
    asked = False
    last: tuple[Any, Callable] = (None, graph)

    def run(*args: Any) -> Any:
        nonlocal asked, last
        args = to_tensors(args)
        if not asked:
            asked = True
            return stateless(*args)
        # Calling the traced function itself spares tf.function's look-up, which takes as long as
        # everything else here.
        signature = [(x.shape, x.dtype) for x in tf.nest.flatten(args) if x is not None]
        known, concrete = last
        if known != signature:
            concrete = graph.get_concrete_function(*args)
            last = (signature, concrete)
        return concrete(*args)

    return run


def dry_run(function: Callable, model: keras.Model) -> None:
    """Run ``function`` eagerly: on TensorFlow that is sooner done than tracing it."""
    build_by_running(function, model)
    with keras.StatelessScope():
        function()
