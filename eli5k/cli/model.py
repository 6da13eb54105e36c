"""The model file: its arguments, and loading it."""

from __future__ import annotations

import argparse
import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eli5k.cli.errors import UserError, raised_by_others, reason_of
from eli5k.cli.functions import check_module, look_here_too
from eli5k.cli.messages import warnings_as_lines

if TYPE_CHECKING:
    import keras

LOADING = (
    "A model file can contain executable code, so load only files from authors you trust. Without "
    "--unsafe, Keras refuses the known ways to run such code, e.g. Lambda layers that hold Python "
    "code."
)
ENDINGS = (".keras", ".h5", ".hdf5")
# Keras' error messages for a class or function that it doesn't know.
_MISSING = re.compile(r"Could not locate (class|function) '([^']+)'|Unknown (layer|\w+): '([^']+)'")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model file, ``--import`` and ``--unsafe`` to a command."""
    parser.add_argument("model", metavar="MODEL", help="a .keras or .h5 file")
    parser.add_argument(
        "--import",
        dest="modules",
        action="append",
        default=[],
        metavar="MODULE",
        help="module with layer classes of your own that the model file needs; may be repeated",
    )
    parser.add_argument(
        "--unsafe",
        action="store_true",
        help="allow model files that contain executable code (only if you trust the author)",
    )


def check_model_arguments(arguments: argparse.Namespace) -> None:
    """Check, without Keras, that a model file exists; find what it needs.

    Raises
    ------
    UserError
        If the file doesn't exist, or isn't a model.
    """
    if not Path(arguments.model).exists():
        raise UserError(f"{arguments.model}: No such file or directory")
    if not arguments.model.lower().endswith(ENDINGS):
        raise UserError(
            f"{arguments.model}: expected a .keras or .h5 file. The model comes before pictures."
        )
    for module in arguments.modules:
        check_module("--import", module)


def load_model(arguments: argparse.Namespace) -> keras.Model:
    """Load a saved model without its loss and optimizer.

    Parameters
    ----------
    arguments : argparse.Namespace
        With those of :func:`add_model_arguments`.

    Raises
    ------
    UserError
        If it can't be loaded.
    """
    import keras

    file, safe = arguments.model, not arguments.unsafe
    own = _own_objects(arguments.modules)
    try:
        with warnings_as_lines(Path(file)):
            model = keras.saving.load_model(file, custom_objects=own, safe_mode=safe, compile=False)
    except raised_by_others() as error:
        raise UserError(f"{file}: {_why_not(error, safe)}") from error
    if not isinstance(model, keras.Model):
        raise UserError(f"{file}: expected a model, got {type(model).__name__}")
    return model


def _own_objects(modules: list[str]) -> dict[str, Any]:
    """Import modules and return their classes and functions."""
    look_here_too()
    found: dict[str, Any] = {}
    for name in modules:
        try:
            module = importlib.import_module(name)
        except raised_by_others() as error:
            raise UserError(f"--import {name}: {reason_of(error)}") from error
        found |= {
            key: value
            for key, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", None) == module.__name__
        }
    return found


def _why_not(error: Exception, safe: bool) -> str:
    missing = _MISSING.search(str(error))
    if missing:
        kind, name = (missing[1], missing[2]) if missing[1] else ("class", missing[4])
        return (
            f"it needs the {kind} {name!r}, which Keras doesn't know. Pass --import MODULE, the "
            "module of yours that defines it."
        )
    reason = reason_of(error)
    return (
        f"{reason} Pass --unsafe if you trust its author."
        if "unsafe" in reason and safe
        else reason
    )
