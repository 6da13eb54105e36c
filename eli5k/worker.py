"""Copy an object that needs a backend into a worker process.

It must be copied before Keras chooses another backend there.
"""

from __future__ import annotations

import importlib
import os
from typing import Any


def unpickled(backend: str | None, module: str, name: str) -> Any:
    """Return an object without its attributes, which its pickle sets later.

    Parameters
    ----------
    backend : str or None
        What Keras is to run on, unless it was imported before.
    module, name : str
        Where the class is.

    Examples
    --------
    >>> unpickled(None, "decimal", "Decimal")
    Decimal('0')
    """
    if backend is not None:
        os.environ["KERAS_BACKEND"] = backend
    made = getattr(importlib.import_module(module), name)
    return made.__new__(made)
