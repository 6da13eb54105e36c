"""``eli5k layers``: list the layers of a saved model to explain."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import eli5k
from eli5k.cli.backend import import_library
from eli5k.cli.errors import UserError, raised_by_others, reason_of
from eli5k.cli.messages import say
from eli5k.cli.model import LOADING, add_model_arguments, check_model_arguments, load_model

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    import keras
    import numpy as np

    from eli5k.keras.model.survey import Survey

UNKNOWN_SIDE = 224  # pixels, if a model takes pictures of any size
NO_GRID = "no grid"


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
    """Print a line for each layer: path, type and output shape.

    An asterisk marks the default; layers without a grid are marked in words.
    """
    check_model_arguments(arguments)
    import_library()
    model = load_model(arguments)
    from eli5k.keras.model.layers import has_grid, is_stretched
    from eli5k.keras.model.structure import layer_at
    from eli5k.keras.model.survey import survey
    from eli5k.keras.support import not_supported

    refusal = not_supported(model)
    if refusal is not None:
        raise UserError(f"{arguments.model}: {refusal.error}")
    blank = _blank_input(model)
    seen = survey(model, blank)
    default = _default_layer(model, blank, seen, arguments.model)
    calls = {call.path: call for call in seen.calls if call.shape}
    kinds = {path: type(layer_at(model, path)).__name__ for path in calls}
    path_width, kind_width = (max(map(len, column)) for column in (kinds, kinds.values()))
    for path, call in calls.items():
        mark = "*" if path == default else " "
        shape = str((None, *(call.shape or ())[1:]))
        can = has_grid(call) and not is_stretched(call, seen)
        say(
            f"{mark} {path:{path_width}}  {kinds[path]:{kind_width}}  {shape}"
            + ("" if can else f"  {NO_GRID}")
        )
    return 0


def _default_layer(model: keras.Model, blank: Any, seen: Survey, file: str) -> str | None:
    """Find the layer that is explained unless another is named.

    Shapes tell it, if arithmetic follows where the cells of the first candidate look; otherwise
    the model has to run.
    """
    from eli5k.keras.evidence.choice import is_map
    from eli5k.keras.model.geometry import view_of
    from eli5k.keras.model.layers import candidate_calls

    [first, *_] = [*candidate_calls(model, seen), None]
    is_plain = len(seen.heads) == 1 and len(seen.heads[0].output or ()) == 2
    if first is not None and first.place is not None and is_plain:
        view = view_of(model, seen, blank, first)
        if is_map(view) and not view.is_shared:
            return first.path
    with warnings.catch_warnings():
        # A blank input is enough to see which layer would be chosen.
        warnings.simplefilter("ignore", eli5k.ExplanationWarning)
        try:
            explanation = eli5k.explain_prediction(model, blank, targets=[_first_number])
        except raised_by_others() as error:
            raise UserError(f"{file}: {reason_of(error)}") from error
    if explanation.error:
        raise UserError(f"{file}: {explanation.error}")
    return explanation.layer


def _first_number(outputs: Any) -> Any:
    """Choose something to explain: the first number of the first output."""
    import keras

    first = keras.tree.flatten(outputs)[0]
    return keras.ops.reshape(first, (keras.ops.shape(first)[0], -1))[:, 0]


def _blank_input(model: keras.Model) -> Any:
    """Make zeros in the shapes and structure that a model takes."""
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
