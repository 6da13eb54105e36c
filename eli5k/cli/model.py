"""The model file: its arguments, and loading it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from eli5k.cli.errors import UserError, raised_by_others, reason_of
from eli5k.cli.messages import warnings_as_lines

if TYPE_CHECKING:
    import keras

LOADING = (
    "A model file can contain executable code, so load only files from authors you trust. Without "
    "--unsafe, Keras refuses the known ways to run such code, e.g. Lambda layers that hold Python "
    "code."
)


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model file and ``--unsafe`` to a command."""
    parser.add_argument("model", metavar="MODEL", help="a .keras or .h5 file")
    parser.add_argument(
        "--unsafe",
        action="store_true",
        help="allow model files that contain executable code (only if you trust the author)",
    )


def load_model(file: str, unsafe: bool) -> keras.Model:
    """Load a saved model, without the loss and optimizer that it was trained with.

    Parameters
    ----------
    file : str
    unsafe : bool
        Whether code that the file contains may run.

    Raises
    ------
    UserError
        If there is no such file, or it cannot be loaded.
    """
    import keras

    if not Path(file).exists():
        raise UserError(f"{file}: No such file or directory")
    try:
        with warnings_as_lines(Path(file)):
            model = keras.saving.load_model(file, safe_mode=not unsafe, compile=False)
    except raised_by_others() as error:
        reason = reason_of(error)
        refused = "unsafe" in reason and not unsafe
        hint = " Pass --unsafe if you trust its author." if refused else ""
        raise UserError(f"{file}: {reason}{hint}") from error
    if not isinstance(model, keras.Model):
        raise UserError(f"{file}: expected a model, got {type(model).__name__}")
    return model
