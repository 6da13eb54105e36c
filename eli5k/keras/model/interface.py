"""Inputs of a model: names, shapes, and which are images."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Sequence
from typing import Any

import keras

from eli5k.keras.model.structure import walk

# Layers of a perceptron on flattened pixels.
PLAIN_LAYERS = (
    *(keras.layers.Flatten, keras.layers.Reshape, keras.layers.Dense, keras.layers.Activation),
    *(keras.layers.ReLU, keras.layers.Softmax, keras.layers.Dropout, keras.layers.Rescaling),
    *(keras.layers.Normalization, keras.layers.BatchNormalization),
)
# (batch, height, width, channels), in any order.
IMAGE_RANK = 4


def input_specs(model: keras.Model) -> dict[str, keras.KerasTensor] | None:
    """Return the inputs' names and shapes in flat order; None if undeclared.

    Examples
    --------
    >>> model = keras.Sequential([keras.Input((4, 4, 1), name="photo"), keras.layers.Flatten()])
    >>> list(input_specs(model))
    ['photo']
    """
    try:
        inputs = model.inputs
    except AttributeError:
        return None
    if inputs is None:
        return None
    structure = getattr(model, "input", None)
    if isinstance(structure, dict):
        return {str(path[-1]): x for path, x in keras.tree.flatten_with_path(structure)}
    return {x.name: x for x in inputs}


def built_specs(model: keras.Model, names: Sequence[Any]) -> dict[Any, keras.KerasTensor]:
    """Return the shapes that a model was built with, by name.

    They are needed for a model that declares no inputs.

    Parameters
    ----------
    model : keras.Model
    names : sequence
        Keys of a dict of inputs, positions in a list, or ``[None]`` for a single input.

    Returns
    -------
    dict of KerasTensor
        ``(None, ...)`` each; empty if the model never ran, or ran on something else.

    Examples
    --------
    >>> model = keras.Sequential([keras.layers.Flatten()])
    >>> _ = model(keras.ops.ones((2, 4, 4)))
    >>> built_specs(model, [None])[None].shape
    (None, 4, 4)
    """
    shapes = (model.get_build_config() or {}).get("input_shape")
    if names == [None]:
        by_name: dict[Any, Any] = {None: shapes}
    elif isinstance(shapes, dict):
        by_name = shapes
    else:
        by_name = dict(enumerate(shapes or ()))
    if set(by_name) != set(names) or not all(map(_is_shape, by_name.values())):
        return {}
    return {name: keras.KerasTensor((None, *shape[1:])) for name, shape in by_name.items()}


def _is_shape(shape: Any) -> bool:
    is_sequence = isinstance(shape, list | tuple) and len(shape) > 0
    return is_sequence and all(size is None or isinstance(size, int) for size in shape)


def call_arguments(model: keras.Model) -> list[str]:
    """Return the names of the required arguments of a model's ``call``.

    Examples
    --------
    >>> call_arguments(keras.Sequential())
    ['inputs']
    """
    parameters = inspect.signature(model.call).parameters.values()
    return [
        each.name
        for each in parameters
        if each.default is each.empty
        and each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
        and each.name not in ("training", "mask")
    ]


def image_inputs(model: keras.Model, inputs: Any, positions: Sequence[int]) -> dict[str, int]:
    """Return the image inputs' names, with their flat positions.

    Parameters
    ----------
    model : keras.Model
    inputs : array, or list or dict of arrays
        ``(batch, ...)``, as the model takes them. If the model declares no names, the keys of a
        dict and the positions in a list are the names.
    positions : sequence of int
        ``image_indices`` of the survey.

    Examples
    --------
    >>> import numpy as np
    >>> model = keras.Sequential([keras.layers.Flatten()])
    >>> image_inputs(model, {"photo": np.ones((1, 4, 4, 3)), "age": np.ones((1, 1))}, [1])
    {'photo': 1}
    """
    flat = keras.tree.flatten_with_path(inputs)
    names = list(input_specs(model) or ())
    if len(names) != len(flat):
        names = ["/".join(map(str, path)) for path, _ in flat]
    return {names[position]: position for position in positions}


def find_input(images: dict[str, int], asked: str | int | None) -> int:
    """Find the flat position of the image input that a user means.

    Parameters
    ----------
    images : dict of str to int
        From :func:`image_inputs`.
    asked : str, int or None
        A name, an index among the images, or None for the first of them.

    Raises
    ------
    TypeError
        If ``asked`` is none of these.
    ValueError
        If there is no such image; the error lists the existing ones.

    Examples
    --------
    >>> find_input({"left": 0, "right": 2}, "right"), find_input({"left": 0, "right": 2}, -1)
    (2, 2)
    """
    names, positions = list(images), list(images.values())
    if asked is None:
        return positions[0]
    if isinstance(asked, str):
        if asked in images:
            return images[asked]
        raise ValueError(f"input must be one of {names}. Received: {asked!r}")
    try:
        index = operator.index(asked)
    except TypeError:
        raise TypeError(
            f"input must be a name (str), an index (int) or None. Received: {asked!r}"
        ) from None
    if not -len(names) <= index < len(names):
        raise ValueError(
            f"input must be an index below {len(names)}, or one of {names}. Received: {asked}"
        )
    return positions[index]


def may_have_grid(model: keras.Model) -> bool:
    """Tell whether any layer's output could be a map, at any depth.

    Examples
    --------
    >>> may_have_grid(keras.Sequential([keras.layers.Conv1D(2, 3)]))
    True
    >>> may_have_grid(keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(2)]))
    False
    """
    # It stops at the first one: this runs at each explanation.
    return any(_may_mix(layer) for _, layer in walk(model))


def _may_mix(layer: keras.Operation) -> bool:
    is_own = isinstance(layer, keras.Layer) and not isinstance(layer, keras.Model)
    return is_own and type(layer) not in PLAIN_LAYERS


def takes_text(model: keras.Model) -> bool:
    """Tell whether a declared input of a model is text.

    Examples
    --------
    >>> takes_text(keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()]))
    False
    """
    specs = input_specs(model) or {}
    return any(spec.dtype == "string" for spec in specs.values())
