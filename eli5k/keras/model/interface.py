"""Inputs of a model: their names, their shapes, and which of them are images."""

from __future__ import annotations

import operator
from typing import Any

import keras

from eli5k.keras.model.structure import walk

IMAGE_LAYERS = (
    keras.layers.Conv2D,
    keras.layers.Conv2DTranspose,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.GlobalAveragePooling2D,
)
# What a perceptron on flattened pixels is made of.
PLAIN_LAYERS = (
    *(keras.layers.Flatten, keras.layers.Reshape, keras.layers.Dense, keras.layers.Activation),
    *(keras.layers.ReLU, keras.layers.Softmax, keras.layers.Dropout, keras.layers.Rescaling),
    *(keras.layers.Normalization, keras.layers.BatchNormalization),
)
# (batch, height, width, channels), in any order.
IMAGE_RANK = 4


def input_specs(model: keras.Model) -> dict[str, keras.KerasTensor] | None:
    """Return names and shapes of the inputs in flat order, or None if undeclared.

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


def image_inputs(model: keras.Model, inputs: Any) -> dict[str, int]:
    """Return the names of the image inputs, with their positions among the flat inputs.

    Parameters
    ----------
    model : keras.Model
    inputs : array, or list or dict of arrays
        ``(batch, ...)``, as the model takes them. If the model declares no names, the keys of a
        dict and the positions in a list are the names.

    Returns
    -------
    dict of str to int
        The inputs of the highest rank: the images, if there are any.

    Examples
    --------
    >>> import numpy as np
    >>> model = keras.Sequential([keras.layers.Flatten()])
    >>> image_inputs(model, {"photo": np.ones((1, 4, 4, 3)), "age": np.ones((1, 1))})
    {'photo': 1}
    """
    flat = keras.tree.flatten_with_path(inputs)
    specs = input_specs(model) or {}
    names, ranks = list(specs), [len(spec.shape) for spec in specs.values()]
    if len(names) != len(flat):
        names = ["/".join(map(str, path)) for path, _ in flat]
        ranks = [len(array.shape) for _, array in flat]
    return {name: i for i, name in enumerate(names) if ranks[i] == max(ranks)}


def find_input(images: dict[str, int], asked: str | int | None) -> int:
    """Find the image input that a user means: its position among the flat inputs.

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


def is_image_model(model: keras.Model) -> bool:
    """Tell whether a model has image layers at any depth, or code of its own for images.

    Examples
    --------
    >>> is_image_model(keras.Sequential([keras.layers.Conv2D(2, 3)]))
    True
    >>> is_image_model(keras.Sequential([keras.layers.Dense(2)]))
    False
    """
    # Stop at the first one: most models begin with it, and this runs at each explanation.
    if any(isinstance(layer, IMAGE_LAYERS) for _, layer in walk(model)):
        return True
    # What mixes patches may be of any class: attention, a layer of the user's own.
    return takes_images(model) and any(_may_mix(layer) for _, layer in walk(model))


def _may_mix(layer: keras.Operation) -> bool:
    is_own = isinstance(layer, keras.Layer) and not isinstance(layer, keras.Model)
    return is_own and type(layer) not in PLAIN_LAYERS


def takes_images(model: keras.Model) -> bool:
    """Tell whether a declared input of a model could be an image.

    Examples
    --------
    >>> takes_images(keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()]))
    True
    """
    specs = input_specs(model) or {}
    return any(len(spec.shape) == IMAGE_RANK for spec in specs.values())
