"""The seam to the framework under Keras: one file a backend, the same few functions in each.

``differentiate(forward)``
    Runs ``forward(tap)`` once and returns its results with the tapped tensors and the gradients.
``compiled(function, model)``
    The same function, as fast as the framework can run it.
``dry_run(function)``
    Runs ``function`` once for the sake of its side effects, shapes and dtypes; the numbers that it
    computes are thrown away.
"""

from __future__ import annotations

import importlib
from types import ModuleType

import keras

SUPPORTED = ("tensorflow",)


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
