"""Access to the framework under Keras: one :class:`Backend` per file.

No other part of the package imports a framework, or asks which one it is.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, cast

import keras

# A tensor of any framework: Keras has no type for them all.
Tensor = Any

SUPPORTED = ("tensorflow", "torch", "jax")


class Backend(Protocol):
    """Functions that each module of this package offers."""

    def differentiate(
        self, forward: Callable[..., Any]
    ) -> tuple[Any, list[Tensor], list[Tensor | None]]:
        """Run ``forward`` and differentiate its scores with respect to what it taps.

        Parameters
        ----------
        forward : callable
            ``forward(tap) -> (scores, rest)`` with scores ``(batch, targets)``. It passes each
            tensor of interest through ``tap`` and continues with the result. It may be called
            several times.

        Returns
        -------
        results : tuple
            ``(scores, rest)`` as ``forward`` returned them.
        tapped : list of tensors
            Each ``(batch, ...)``, in the order of the calls of ``tap``.
        gradients : list of tensors or None
            Each ``(targets, batch, ...)``; None if no score depends on the tensor.
        """

    def compiled(
        self,
        function: Callable[..., Any],
        model_of: Callable[[], keras.Model],
        layers_of: Callable[[keras.Model], list[keras.Layer]],
        is_new: bool,
    ) -> Callable[..., Any]:
        """Make ``function`` as fast as the framework can run it.

        What can't be traced runs eagerly at every call. Functions that the user compiled run as the
        Python code they were made from, so that hooks see what they do.

        Parameters
        ----------
        function : callable
            Runs the model, which must be built.
        model_of : callable
            Returns the model; what is compiled must not keep it alive.
        layers_of : callable
            Lists all layers of a model.
        is_new : bool
            ``function`` holds something that may never be asked about again, such as a lambda, so
            it isn't worth compiling at its first call.
        """

    def at_inference(
        self, model: keras.Model, layers_of: Callable[[keras.Model], list[keras.Layer]]
    ) -> AbstractContextManager[None]:
        """Run the model as ``predict`` does, and user-compiled code as plain Python."""

    def dry_run(
        self,
        function: Callable[[], Any],
        model: keras.Model,
        layers_of: Callable[[keras.Model], list[keras.Layer]],
    ) -> None:
        """Run ``function``, which calls the model, to learn shapes only."""

    def draws_random_numbers(self, function: Callable[..., Any]) -> bool:
        """Tell whether a compiled function draws the framework's random numbers.

        A compiled function shows that, but an eager run may hide it.
        """

    def free_memory(self) -> int | None:
        """Return the free bytes of the graphics card; None if unknown."""

    def limit_threads(self, count: int) -> None:
        """Limit the number of cores, if nothing was computed yet.

        Raises
        ------
        RuntimeError
            If it is too late.
        """


def active_backend() -> Backend:
    """Return the module for the backend that Keras runs on.

    Raises
    ------
    RuntimeError
        If Keras runs on a backend that can't differentiate, such as ``numpy``.

    Examples
    --------
    >>> active_backend().__name__.startswith("eli5k.keras.backends.")
    True
    """
    name = backend_name()
    if name not in SUPPORTED:
        raise RuntimeError(
            f"Keras runs on the backend {name!r}, but eli5k needs one of {', '.join(SUPPORTED)}. "
            "Set the environment variable KERAS_BACKEND before you import keras."
        )
    return cast("Backend", importlib.import_module(f"{__name__}.{name}"))


def backend_name() -> str:
    """Return the name of the backend that Keras runs on.

    Examples
    --------
    >>> backend_name() in SUPPORTED
    True
    """
    name: str = keras.config.backend()
    return name


def to_tensors(structure: Any) -> Any:
    """Convert the arrays of a structure to tensors; None stays.

    Examples
    --------
    >>> to_tensors({"a": None})
    {'a': None}
    """
    to_tensor = keras.ops.convert_to_tensor
    return keras.tree.map_structure(lambda x: None if x is None else to_tensor(x), structure)
