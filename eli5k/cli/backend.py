"""Choose Keras' backend, and import it without its chatter."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
from contextlib import nullcontext
from pathlib import Path

from eli5k.cli.errors import UserError
from eli5k.cli.messages import silence


def choose_backend() -> None:
    """Fall back to an installed backend if Keras' own choice is missing."""
    home = os.environ.get("KERAS_HOME") or Path("~", ".keras").expanduser()
    try:
        configured = json.loads(Path(home, "keras.json").read_text("utf-8")).get("backend")
    except (OSError, ValueError, AttributeError):
        configured = None  # Keras, too, goes on without a file that it cannot read.
    if "KERAS_BACKEND" in os.environ or importlib.util.find_spec(configured or "tensorflow"):
        return
    for name in ("tensorflow", "torch", "jax"):
        if importlib.util.find_spec(name):
            os.environ["KERAS_BACKEND"] = name
            return


def import_library() -> None:
    """Import what explains Keras models, and Keras with its backend.

    Raises
    ------
    UserError
        If no backend is installed.
    """
    # Even at its highest log level, TensorFlow reports on some processors how it computes.
    is_wanted = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "3"
    try:
        with nullcontext() if is_wanted else silence():
            importlib.import_module("eli5k.keras")
            # The first tensor makes the backend look for graphics cards, and talk about it.
            importlib.import_module("keras").ops.zeros(1)
    except ImportError as error:
        raise UserError(str(error)) from error
