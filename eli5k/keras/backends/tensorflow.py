"""TensorFlow: a gradient tape from the taps on, inside one ``tf.function``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from eli5k.keras.backends import Tensor, to_tensors

# Up to this many targets each backward pass is unrolled, which is a little faster than a loop.
UNROLLED = 5

# TensorFlow has one switch for all threads: the last thread that needs it turns it back.
_switch = threading.Lock()
_before_each: list[bool] = []  # The user's setting, once for each thread that needs the switch.


def differentiate(forward: Callable[..., Any]) -> tuple[Any, list[Tensor], list[Tensor | None]]:
    """Run ``forward`` and differentiate its scores with respect to what it taps.

    See :class:`eli5k.keras.backends.Backend`.
    """
    tapped: list[tf.Tensor] = []
    with tf.GradientTape(watch_accessed_variables=False, persistent=True) as tape:

        def tap(tensor: tf.Tensor) -> tf.Tensor:
            # A new tensor: other uses of the tensor, or other taps, don't count.
            tensor = tf.identity(tensor)
            tape.watch(tensor)
            tapped.append(tensor)
            return tensor

        scores, rest = forward(tap)
        # Samples don't mix at inference, so the gradient of the sum is each sample's own gradient.
        totals = tf.reduce_sum(scores, axis=0)

    def backward(seed: tf.Tensor) -> list[tf.Tensor | None]:
        return tape.gradient(totals, tapped, output_gradients=seed)

    # One backward pass per target: on a CPU, products of a vector with a large dense kernel are so
    # much faster than those of a small matrix that all at once (tape.jacobian) takes longer.
    seeds = tf.eye(totals.shape[0], dtype=totals.dtype)
    if totals.shape[0] <= UNROLLED:
        by_target = [backward(seed) for seed in tf.unstack(seeds)]
        return (
            (scores, rest),
            tapped,
            [None if parts[0] is None else tf.stack(parts) for parts in zip(*by_target)],
        )
    connected = [gradient is not None for gradient in backward(seeds[0])]

    def connected_gradients(seed: tf.Tensor) -> list[tf.Tensor]:
        return [gradient for gradient in backward(seed) if gradient is not None]

    dtypes = [tensor.dtype for tensor, flows in zip(tapped, connected) if flows]
    # A loop in the graph takes as long to build for a hundred targets as for one.
    stacked = iter(
        tf.map_fn(connected_gradients, seeds, fn_output_signature=dtypes) if dtypes else []
    )
    return (scores, rest), tapped, [next(stacked) if flows else None for flows in connected]


def compiled(
    function: Callable[..., Any],
    model_of: Callable[[], keras.Model],
    layers_of: Callable[[keras.Model], list[keras.Layer]],
    is_new: bool,
) -> Callable[..., Any]:
    """Run ``function`` eagerly at first, and compile it when called again.

    Tracing takes as long as several eager runs, so a question that is asked only once is answered
    faster without it.
    """
    del layers_of, is_new
    return _Compiled(function, model_of)


class _Compiled:
    """Function that runs eagerly first, then as a graph per signature.

    It stays eager if it can't be traced.
    """

    def __init__(self, function: Callable[..., Any], model_of: Callable[[], keras.Model]) -> None:
        self.function = function
        self.graph = tf.function(function, autograph=False, reduce_retracing=True)
        self.is_traceable = not getattr(model_of(), "run_eagerly", False)
        self.asked = False
        self.is_random = False  # As far as a graph has shown it.
        self.last: tuple[Any, Any] = (None, None)

    def __call__(self, *args: Any) -> Any:
        args = to_tensors(args)
        if not (self.asked and self.is_traceable):
            self.asked = True
            return self._run_eagerly(*args)
        # Call the traced function directly: the look-up in tf.function takes as long as everything
        # else here.
        signature = [(x.shape, x.dtype) for x in tf.nest.flatten(args) if x is not None]
        known, concrete = self.last
        if known != signature:
            try:
                with at_inference():
                    concrete = self.graph.get_concrete_function(*args)
            except Exception:  # A model's code may fail on a symbol in any way: try real numbers.
                self.is_traceable = False  # A true mistake is raised there again.
                return self._run_eagerly(*args)
            self.last = (signature, concrete)
            self.is_random = self.is_random or _is_random(concrete.graph)
        return concrete(*args)

    def _run_eagerly(self, *args: Any) -> Any:
        with at_inference():
            return self.function(*args)


@contextmanager
def at_inference(
    model: keras.Model | None = None,
    layers_of: Callable[[keras.Model], list[keras.Layer]] | None = None,
) -> Iterator[None]:
    """Run code under the user's ``tf.function`` as plain Python, for hooks.

    If it were traced into the user's function, a hook would stay there for good.
    """
    del model, layers_of
    with _switch:
        before = _before_each[0] if _before_each else tf.config.functions_run_eagerly()
        _before_each.append(before)
        tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        with _switch:
            _before_each.pop()
            tf.config.run_functions_eagerly(bool(_before_each) or before)


def dry_run(
    function: Callable[[], Any],
    model: keras.Model,
    layers_of: Callable[[keras.Model], list[keras.Layer]],
) -> None:
    """Run ``function`` eagerly: on TensorFlow that is faster than tracing it."""
    del model, layers_of
    with at_inference():
        function()


def draws_random_numbers(function: Any) -> bool:
    """Tell whether a compiled function draws TensorFlow's own random numbers."""
    return bool(function.is_random)


def free_memory() -> int | None:
    """Return None: TensorFlow doesn't tell how much memory is left."""
    return None


def limit_threads(count: int) -> None:
    """Limit the number of cores.

    Raises
    ------
    RuntimeError
        If TensorFlow has computed something already, with another number of threads.
    """
    threading = tf.config.threading
    if threading.get_intra_op_parallelism_threads() == count:
        return
    try:
        threading.set_intra_op_parallelism_threads(count)
        threading.set_inter_op_parallelism_threads(count)
    except RuntimeError as error:
        raise RuntimeError(
            f"threads={count} came too late: TensorFlow has computed something in this process. "
            "Explain in a process that does nothing else, or leave threads out."
        ) from error


def _is_random(graph: tf.Graph) -> bool:
    """Find operations that draw random numbers.

    Stateless ones take their seed from the model, and don't count.
    """
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(n for f in definition.library.function for n in f.node_def)]
    return any(
        node.op.startswith(("Random", "ParameterizedTruncatedNormal", "TruncatedNormal", "Rng"))
        or node.op == "Multinomial"
        for node in nodes
    )
