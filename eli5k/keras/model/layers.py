"""Find the layer that a user means, or order the candidates."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from math import prod

import keras

from eli5k.keras.model.structure import Call, grid_of, walk


def map_grid(call: Call, rank: int, channels_first: bool) -> tuple[int, ...]:
    """Return the grid of a map of a call's output, or ``()``."""
    if call.shape is not None and len(call.shape) == rank:
        return grid_of(call.shape, channels_first)
    return call.tokens or ()


def find_call(
    model: keras.Model, calls: Sequence[Call], layer: str | int | keras.Layer, rank: int | None
) -> Call:
    """Find the call of the layer that a user means.

    Parameters
    ----------
    model : keras.Model
    calls : sequence of Call
        Calls from :func:`eli5k.keras.model.survey.survey`.
    layer : str, int or keras.Layer
        A name (at any depth, if unique), a path, an index into ``model.layers``, or an instance.
    rank : int or None
        Rank that the layer's output must have, unless it holds tokens of patches: the rank of the
        model's image input. None for any.

    Raises
    ------
    TypeError
        If ``layer`` is none of these.
    ValueError
        If there is no such layer, if several layers share the name, if the model doesn't call it,
        or if its output has no grid.
    """
    if isinstance(layer, str):
        named = _find_path(calls, layer)
        call = next(call for call in reversed(calls) if call.path == named)
    elif isinstance(layer, keras.Layer):
        call = _find_instance(model, calls, layer)
    elif hasattr(layer, "__index__"):
        call = _find_instance(model, calls, _layer_at_index(model, int(layer)))
    else:
        raise TypeError(
            "layer must be a name or path (str), an index (int), a keras.Layer or None; a list of "
            "layers is only allowed with method='fuse'. "
            f"Received: {layer!r} of type {type(layer).__name__}"
        )
    fits = rank is None or call.tokens or (call.shape is not None and len(call.shape) == rank)
    if not fits:
        raise ValueError(
            f"layer {call.path!r} has no grid to make a map of: its output is "
            f"{'not one tensor' if call.shape is None else call.shape}, and a map needs "
            f"rank {rank}. Pass a layer before the pooling, or leave layer=None to let eli5k "
            "choose; for unusual shapes pass reshape=, a function that returns "
            "(batch, *grid, channels)."
        )
    return call


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
    # A path is compared as a whole and by its last part.
    ends = {path.rsplit("/", 1)[-1]: path for path in paths} | {path: path for path in paths}
    close = (ends[end] for end in difflib.get_close_matches(name, ends, n=3))
    near = list(dict.fromkeys(close)) or paths[-3:]
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


def _find_instance(model: keras.Model, calls: Sequence[Call], layer: keras.Layer) -> Call:
    paths = {path for path, other in walk(model) if other is layer}
    for call in reversed(calls):
        if call.path in paths:
            return call
    raise ValueError(
        f"layer {layer.name!r} is not called when the model runs. "
        "Pass a layer of this model that takes part in its prediction."
    )


def preparing_paths(calls: Sequence[Call]) -> set[str]:
    """Paths of the layers that only prepare the picture.

    They are called before the first layer with a kernel.

    Parameters
    ----------
    calls : sequence of Call
        Calls of a model, in order.
    """
    first_kernel = next((i for i, call in enumerate(calls) if call.has_kernel), len(calls))
    return {call.path for call in calls[:first_kernel]}


def candidate_calls(
    model: keras.Model, calls: Sequence[Call], rank: int, channels_first: bool
) -> list[Call]:
    """Order the calls by how well they can be explained.

    The first one that the score depends on is explained. eli5's choice comes first: the last of
    ``model.layers`` whose output has the rank of the input, or the tokens of its patches. Then come
    all layers at any depth, from the last called to the first. Layers without a grid, or with a
    single pixel, are left out. Layers that only prepare the picture (augmentation, rescaling:
    called before the first kernel) come last.

    Parameters
    ----------
    model : keras.Model
    calls : sequence of Call
    rank : int
        Rank of the model's image input.
    channels_first : bool

    Returns
    -------
    list of Call
        Without repetition; empty if no layer has a grid.
    """
    usable = [
        call
        for call in calls
        if not call.in_attention and prod(map_grid(call, rank, channels_first)) > 1
    ]
    preparing = preparing_paths(calls)
    order = {id(layer): index for index, layer in enumerate(model.layers)}
    top_level = {path: order[id(layer)] for path, layer in walk(model) if id(layer) in order}
    of_eli5 = sorted(
        (call for call in usable if call.path in top_level),
        key=lambda call: -top_level[call.path],
    )[:1]
    ordered = {call.path: call for call in of_eli5 + usable[::-1]}.values()
    return sorted(ordered, key=lambda call: call.path in preparing)
