"""Find a layer of a model by name, path, index or instance, and choose one where none is named."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING

import keras

if TYPE_CHECKING:
    from eli5k.keras.survey import Call

ATTENTION = (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention)


def walk(model: keras.Layer, prefix: str = "") -> Iterator[tuple[str, keras.Layer]]:
    """Yield the path and the instance of every layer inside a model, at any depth.

    Parameters
    ----------
    model : keras.Layer
        A model, or any layer that has layers of its own.

    Yields
    ------
    path : str
        Names joined by ``/``, as in ``"mobilenetv2_1.00_224/Conv_1"``. A name that a subclassed
        model gives to several siblings is told apart by ``:1``, ``:2``, ...
    layer : keras.Layer
        The instance; input layers are left out, since nothing calls them.

    Examples
    --------
    >>> import keras
    >>> backbone = keras.Sequential([keras.layers.Flatten(name="flat")], name="backbone")
    >>> [path for path, _ in walk(keras.Sequential([backbone]))]
    ['backbone', 'backbone/flat']
    """
    seen: Counter[str] = Counter()
    for layer in model._flatten_layers(include_self=False, recursive=False):
        if isinstance(layer, keras.layers.InputLayer):
            continue
        path = prefix + layer.name + (f":{seen[layer.name]}" if seen[layer.name] else "")
        seen[layer.name] += 1
        yield path, layer
        yield from walk(layer, prefix=path + "/")


def layer_at(model: keras.Model, path: str) -> keras.Layer:
    """Return the layer at a path that :func:`walk` gave.

    Raises
    ------
    ValueError
        If there is none, as for an input layer.
    """
    for found, layer in walk(model):
        if found == path:
            return layer
    raise ValueError(f"layer must be one that the model calls. Received: {path!r}")


def input_layer_name(
    model: keras.Model, layer: str | int | keras.Layer | None, image_index: int
) -> str | None:
    """Name of the input layer of the image, where ``layer`` means that one; else None.

    Parameters
    ----------
    model : keras.Model
    layer : str, int, keras.Layer or None
        As in :func:`find_call`.
    image_index : int
        Position of the image among the flat inputs.

    Examples
    --------
    >>> import keras
    >>> x = keras.Input((4, 4, 1), name="photo")
    >>> model = keras.Model(x, keras.layers.Flatten()(x))
    >>> input_layer_name(model, "photo", 0), input_layer_name(model, 1, 0)
    ('photo', None)
    """
    if layer is None:
        return None
    layers = model.layers
    for index, part in enumerate(layers):
        is_meant = layer in (part, part.name, index, index - len(layers))
        if is_meant and isinstance(part, keras.layers.InputLayer):
            image = keras.tree.flatten(model.inputs)[image_index]
            return part.name if part.output is image else None
    return None


def grid_of(shape: Sequence[int], channels_first: bool) -> tuple[int, ...]:
    """Axes of an output between its batch axis and its channels.

    Examples
    --------
    >>> grid_of((1, 7, 7, 1280), channels_first=False)
    (7, 7)
    >>> grid_of((1, 1280, 7, 7), channels_first=True)
    (7, 7)
    """
    return tuple(shape[2:] if channels_first else shape[1:-1])


def map_grid(call: Call, rank: int, channels_first: bool) -> tuple[int, ...]:
    """Grid of a map of a call's output; empty where it has none."""
    if call.shape is not None and len(call.shape) == rank:
        return grid_of(call.shape, channels_first)
    return call.tokens or ()


def has_channels_first(model: keras.Model) -> bool:
    """Tell whether the model's outputs are ``(batch, channels, *grid)``.

    The first layer that has a ``data_format`` decides; without any, Keras' own setting does.

    Examples
    --------
    >>> import keras
    >>> has_channels_first(keras.Sequential([keras.layers.Conv2D(2, 3)]))
    False
    """
    formats = (getattr(layer, "data_format", None) for _, layer in walk(model))
    first = next((f for f in formats if f), keras.config.image_data_format())
    return first == "channels_first"


def find_call(
    model: keras.Model, calls: Sequence[Call], layer: str | int | keras.Layer, rank: int | None
) -> Call:
    """Find the call of the layer that a user means.

    Parameters
    ----------
    model : keras.Model
    calls : sequence of Call
        What :func:`eli5k.keras.survey.survey` saw the model do.
    layer : str, int or keras.Layer
        A name (at any depth, where it is unique), a path, an index into ``model.layers``, or an
        instance.
    rank : int or None
        Rank that the layer's output must have, unless it is known to hold tokens of patches: the
        rank of the model's image input. None for any.

    Raises
    ------
    TypeError
        If ``layer`` is none of these.
    ValueError
        If there is no such layer, if the name belongs to several, if the model does not call it,
        or if its output has no grid.
    """
    if isinstance(layer, str):
        named = _find_path(calls, layer)
        call = next(call for call in reversed(calls) if call.path == named)
    elif isinstance(layer, keras.Layer):
        call = _find_instance(calls, layer)
    elif hasattr(layer, "__index__"):
        call = _find_instance(calls, _layer_at_index(model, int(layer)))
    else:
        raise TypeError(
            "layer must be a name or path (str), an index (int), a keras.Layer or None, and for "
            "method='fuse' alone may be a list of these. "
            f"Received: {layer!r} of type {type(layer).__name__}"
        )
    fits = rank is None or call.tokens or (call.shape is not None and len(call.shape) == rank)
    if not fits:
        raise ValueError(
            f"layer {call.path!r} has no grid to make a map of: its output is "
            f"{'not one tensor' if call.shape is None else call.shape}, and a map needs "
            f"rank {rank}. Pass a layer before the pooling, None to have one chosen, or reshape= a "
            "callable that makes (batch, *grid, channels) of it."
        )
    return call


def _find_path(calls: Sequence[Call], name: str) -> str:
    """Resolve a name or path to a path, or say which ones there are."""
    paths = list(dict.fromkeys(call.path for call in calls))
    if name in paths:
        return name
    matches = [path for path in paths if path.endswith("/" + name)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ValueError(
            f"layer {name!r} is the name of {len(matches)} layers. Pass one of their paths: "
            + ", ".join(map(repr, matches))
        )
    # A path is compared as a whole and by its last name.
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


def _find_instance(calls: Sequence[Call], layer: keras.Layer) -> Call:
    for call in reversed(calls):
        if call.layer_id == id(layer):
            return call
    raise ValueError(
        f"layer {layer.name!r} is not called when the model runs. "
        "Pass a layer of this model that takes part in its prediction."
    )


def preparing_paths(calls: Sequence[Call]) -> set[str]:
    """Paths of the layers that only prepare the picture: they are called before the first kernel.

    Parameters
    ----------
    calls : sequence of Call
        Of a model, in order.
    """
    first_kernel = next((i for i, call in enumerate(calls) if call.has_kernel), len(calls))
    return {call.path for call in calls[:first_kernel]}


def candidate_calls(
    model: keras.Model, calls: Sequence[Call], rank: int, channels_first: bool
) -> list[Call]:
    """Order the calls by how well a map of them would serve: the first that the score depends on.

    eli5's choice comes first: the last of ``model.layers`` whose output has the rank of the input,
    or else the tokens of its patches. Then every layer at any depth, from the last called to the
    first. A layer without a grid, or with one of a single pixel, is left out; layers that only
    prepare the picture (augmentation, rescaling: called before the first kernel) come last.

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
        Without repetition; empty when no layer has a grid.
    """
    usable = [
        call
        for call in calls
        if not call.in_attention and prod(map_grid(call, rank, channels_first)) > 1
    ]
    preparing = preparing_paths(calls)
    top_level = {id(layer): index for index, layer in enumerate(model.layers)}
    of_eli5 = sorted(
        (call for call in usable if call.layer_id in top_level),
        key=lambda call: -top_level[call.layer_id],
    )[:1]
    ordered = {call.path: call for call in of_eli5 + usable[::-1]}.values()
    return sorted(ordered, key=lambda call: call.path in preparing)
