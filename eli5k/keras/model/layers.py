"""Find the layer that a user means, or order the candidates."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import keras

from eli5k.keras.model.receptive import PADDINGS, RECURRENT_CONVOLUTIONS, SINGLE, is_single
from eli5k.keras.model.structure import Call, grid_of, walk
from eli5k.keras.model.survey import Survey

# A step of a recurrent layer sees those before it, and its cell is called for one step alone.
RECURRENT = (keras.layers.RNN, keras.layers.Bidirectional)
# Padding adds cells that see nothing.
NEVER = (*PADDINGS, *RECURRENT)
# Layers over the frames of a clip, if no others have frames.
FRAMES = RECURRENT_CONVOLUTIONS
# Cells this many times longer than wide are tried last.
STRETCHED = 6


def calls_of(
    model: keras.Model, calls: Sequence[Call], layer: str | int | keras.Operation, reshaped: bool
) -> list[Call]:
    """Find the calls of the layer that a user means, last first.

    Parameters
    ----------
    model : keras.Model
    calls : sequence of Call
        Calls from :func:`eli5k.keras.model.survey.survey`.
    layer : str, int, keras.Layer or keras.Operation
        A name (at any depth, if unique), a path, an index into ``model.layers``, or an instance.
    reshaped : bool
        The user's own function makes a grid of its output, whatever its rank is.

    Raises
    ------
    TypeError
        If ``layer`` is none of these.
    ValueError
        If there is no such layer, if several layers share the name, if the model doesn't call it,
        or if its output has no grid.
    """
    if isinstance(layer, str):
        paths = {_find_path(calls, layer)}
    elif isinstance(layer, keras.Operation):
        paths = _paths_of(model, calls, layer)
    elif hasattr(layer, "__index__"):
        paths = _paths_of(model, calls, _layer_at_index(model, int(layer)))
    else:
        raise TypeError(
            "layer must be a name or path (str), an index (int), a keras.Layer or None; a list of "
            "layers is only allowed with method='fuse'. "
            f"Received: {layer!r} of type {type(layer).__name__}"
        )
    meant = [call for call in reversed(calls) if call.path in paths]
    fitting = [call for call in meant if has_grid(call) or (reshaped and call.shape)]
    if not fitting:
        raise ValueError(_no_grid(meant[0], calls))
    return fitting


def _no_grid(call: Call, calls: Sequence[Call]) -> str:
    elements = {
        other.path: other.shape for other in calls if other.path.startswith(call.path + "[")
    }
    if elements:
        listed = ", ".join(f"{path!r} {shape}" for path, shape in elements.items())
        return (
            f"layer {call.path!r} has no grid to make a map of: its output is not one tensor. "
            f"Pass the one that you need: {listed}."
        )
    return (
        f"layer {call.path!r} has no grid to make a map of: its output is "
        f"{call.shape or 'not one tensor'}, and a map needs more than one cell. Pass a layer "
        "before the pooling, or leave layer=None to let eli5k choose; if its shape is unusual "
        "pass reshape=, a function that returns (batch, *grid, channels)."
    )


def has_grid(call: Call) -> bool:
    """Tell whether a call's output has more than one cell."""
    return call.shape is not None and not is_single(call.shape)


def _find_path(calls: Sequence[Call], name: str) -> str:
    """Resolve a name or path, or list the existing ones."""
    paths = list(dict.fromkeys(call.path for call in calls))
    if name in paths:
        return name
    matches = [path for path in paths if path.endswith("/" + name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ValueError(
            f"layer {name!r} is a name that {len(matches)} layers share. Pass one of their paths: "
            + ", ".join(map(repr, matches))
        )
    # Only what can be explained is suggested. A path is compared as a whole and by its last part.
    usable = list(dict.fromkeys(call.path for call in calls if has_grid(call))) or paths
    ends = {path.rsplit("/", 1)[-1]: path for path in usable} | {path: path for path in usable}
    close = (ends[end] for end in difflib.get_close_matches(name, ends, n=3))
    near = list(dict.fromkeys(close)) or usable[-3:]
    raise ValueError(
        f"layer {name!r} is not among the layers that the model calls. "
        f"Did you mean one of: {', '.join(map(repr, near))}?"
    )


def _layer_at_index(model: keras.Model, index: int) -> keras.Layer:
    if not -len(model.layers) <= index < len(model.layers):
        raise ValueError(
            f"layer index must be in [{-len(model.layers)}, {len(model.layers)}). Received: {index}"
        )
    return model.layers[index]


def _paths_of(model: keras.Model, calls: Sequence[Call], layer: keras.Operation) -> set[str]:
    paths = {path for path, other in walk(model) if other is layer}
    if not any(call.path in paths for call in calls):
        raise ValueError(
            f"layer {layer.name!r} is not called when the model runs. "
            "Pass a layer of this model that takes part in its prediction."
        )
    return paths


def candidate_calls(model: keras.Model, survey: Survey) -> list[Call]:
    """Order the calls by how well they can be explained.

    The first one that the score depends on, and whose cells look at their own places, is explained.
    eli5's choice comes first, the last of ``model.layers`` whose output has a grid, unless a model
    that is called after it has a layer with a grid. Then come all layers at any depth, from the
    last called to the first. Paddings, recurrent layers and layers with a single cell are left out,
    and so are those that only prepare the picture (augmentation, rescaling: called before the first
    kernel). Recurrent convolutions come last, those with all frames first.

    Parameters
    ----------
    model : keras.Model
    survey : Survey

    Returns
    -------
    list of Call
        Empty if no layer has a grid.
    """
    calls, parts = survey.calls, dict(walk(model))
    first_kernel = next((i for i, call in enumerate(calls) if call.has_kernel), len(calls))
    inside = tuple(path + "/" for path, part in parts.items() if isinstance(part, RECURRENT))
    with_grid = [
        (index, call, parts[call.path.partition("[")[0]])
        for index, call in enumerate(calls)
        if index >= first_kernel
        and has_grid(call)
        and call.place != SINGLE
        and not call.path.startswith(inside)
    ]
    usable = [(index, call) for index, call, part in with_grid if not isinstance(part, NEVER)]
    frames = [call for _, call, part in reversed(with_grid) if isinstance(part, FRAMES)]
    at_top = {id(part): n for n, part in enumerate(getattr(model, "operations", model.layers))}
    order = {path: at_top[id(part)] for path, part in parts.items() if id(part) in at_top}
    models = tuple(path + "/" for path, part in parts.items() if isinstance(part, keras.Model))
    of_eli5 = max(
        ((order[call.path], index) for index, call in usable if call.path in order),
        default=None,
    )
    by_depth = [call for _, call in reversed(usable)]
    if of_eli5 is not None:
        is_last = not any(
            index > of_eli5[1] and call.path.startswith(models) for index, call in usable
        )
        by_depth = [calls[of_eli5[1]]] * is_last + by_depth
    # The axes of attention weights, for example, are heads and tokens.
    chosen = sorted(dict.fromkeys(by_depth), key=lambda call: is_stretched(call, survey))
    return chosen + sorted(frames, key=lambda call: len(call.shape or ()) != survey.rank)


def is_stretched(call: Call, survey: Survey) -> bool:
    """Tell whether cells would be much longer than wide in a map."""
    if call.place is not None or call.shape is None or len(call.shape) != survey.rank:
        return False
    grid = grid_of(call.shape, survey.channels_first)
    sides = [size / cells for size, cells in zip(survey.picture_grid, grid)]
    return max(sides) > STRETCHED * min(sides)
