"""``eli5k layers``: list the layers of a saved model that can be explained."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import eli5k
from eli5k.cli.backend import import_library
from eli5k.cli.errors import UserError, reason_of
from eli5k.cli.model import LOADING, add_model_arguments, load_model

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    import keras
    import numpy as np

UNKNOWN_SIDE = 224  # pixels, if a model takes pictures of any size


def add_to(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command and its arguments."""
    parser = commands.add_parser(
        "layers",
        help="list the layers you can explain (for --layer and layer=)",
        epilog=LOADING,
    )
    add_model_arguments(parser)
    parser.set_defaults(command=print_layers)


def print_layers(arguments: argparse.Namespace) -> int:
    """Print a line for each layer: path, type and output shape; the default is marked."""
    import_library()
    model = load_model(arguments.model, arguments.unsafe)
    from eli5k.keras.model.layers import has_grid, is_stretched
    from eli5k.keras.model.structure import layer_at
    from eli5k.keras.model.survey import survey

    blank = _blank_input(model)
    default = _default_layer(model, blank, arguments.model)
    seen = survey(model, blank)
    shapes = {
        call.path: call.shape
        for call in seen.calls
        if call.shape and has_grid(call) and not is_stretched(call, seen)
    }
    kinds = {path: type(layer_at(model, path)).__name__ for path in shapes}
    path_width, kind_width = (max(map(len, column)) for column in (kinds, kinds.values()))
    for path, shape in shapes.items():
        mark = "*" if path == default else " "
        shown = str((None, *shape[1:]))
        print(f"{mark} {path:{path_width}}  {kinds[path]:{kind_width}}  {shown}")
    return 0


def _default_layer(model: keras.Model, blank: Any, file: str) -> str | None:
    with warnings.catch_warnings():
        # A blank input explains nothing; it only shows which layer would be taken.
        warnings.simplefilter("ignore", eli5k.ExplanationWarning)
        try:
            explanation = eli5k.explain_prediction(model, blank, targets=[_first_number])
        except (TypeError, ValueError) as error:
            raise UserError(f"{file}: {reason_of(error)}") from error
    if explanation.error:
        raise UserError(f"{file}: {explanation.error}")
    return explanation.layer


def _first_number(outputs: Any) -> Any:
    """Pick something to explain in a model of any output: the first number of the first one."""
    import keras

    first = keras.tree.flatten(outputs)[0]
    return keras.ops.reshape(first, (keras.ops.shape(first)[0], -1))[:, 0]


def _blank_input(model: keras.Model) -> Any:
    """Make zeros of the shape that a model takes, in the structure in which it takes them."""
    import numpy as np

    def zeros(shape: Sequence[int | None], dtype: str = "float32") -> np.ndarray:
        return np.zeros([1, *(UNKNOWN_SIDE if side is None else side for side in shape[1:])], dtype)

    inputs = getattr(model, "inputs", None)
    if inputs:
        structure = getattr(model, "input", None)
        if isinstance(structure, dict):
            return {name: zeros(x.shape, x.dtype) for name, x in structure.items()}
        arrays = [zeros(x.shape, x.dtype) for x in inputs]
        return arrays if len(arrays) > 1 else arrays[0]
    # A subclassed model that was loaded knows the shape with which it was built.
    shape = (model.get_build_config() or {}).get("input_shape")
    if shape is None:
        raise UserError("the model does not declare its input shape")
    return zeros(shape)
