"""Structure of a Keras model: layers, paths, grids and calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import keras
from keras.src.models.functional import Functional

from eli5k.keras.backends import Tensor
from eli5k.keras.model.receptive import Place


def all_layers(model: keras.Model) -> list[keras.Layer]:
    """List all layers of a model, the model itself first.

    Examples
    --------
    >>> model = keras.Sequential([keras.Sequential([keras.layers.Flatten()])])
    >>> len(all_layers(model))
    3
    """
    return list(model._flatten_layers())


def walk(model: keras.Layer, prefix: str = "") -> Iterator[tuple[str, keras.Operation]]:
    """Yield path and instance of every layer and operation inside a model.

    An operation is what ``a + b`` or ``ops.relu(x)`` leaves in a functional model.

    Parameters
    ----------
    model : keras.Layer
        A model, or any layer that has layers of its own.

    Yields
    ------
    path : str
        Names joined by ``/``, as in ``"mobilenetv2_1.00_224/Conv_1"``. If a subclassed model gives
        several siblings the same name, they get ``:1``, ``:2``, ...
    layer : keras.Layer or keras.Operation
        The instance. Input layers are left out, since nothing calls them.

    Examples
    --------
    >>> backbone = keras.Sequential([keras.layers.Flatten(name="flat")], name="backbone")
    >>> [path for path, _ in walk(keras.Sequential([backbone]))]
    ['backbone', 'backbone/flat']
    """
    seen: Counter[str] = Counter()
    parts = model._flatten_layers(include_self=False, recursive=False)
    for layer in chain(parts, _operations_of(model)):
        if isinstance(layer, keras.layers.InputLayer):
            continue
        path = prefix + layer.name + (f":{seen[layer.name]}" if seen[layer.name] else "")
        seen[layer.name] += 1
        yield path, layer
        if isinstance(layer, keras.Layer):
            yield from walk(layer, prefix=path + "/")


def _operations_of(model: keras.Layer) -> Iterator[keras.Operation]:
    """Yield the operations of a functional model that are no layers."""
    if isinstance(model, Functional):
        yield from (part for part in model.operations if not isinstance(part, keras.Layer))


def layer_at(model: keras.Model, path: str) -> keras.Operation:
    """Return the layer at a path that :func:`walk` gave, or an element's.

    Raises
    ------
    ValueError
        If the layer isn't called, like an input layer.
    """
    for found, layer in walk(model):
        if path == found or path.startswith(found + "["):
            return layer
    raise ValueError(f"layer must be one that the model calls. Received: {path!r}")


def input_layer_name(
    model: keras.Model, layer: str | int | keras.Layer | None, image_index: int
) -> str | None:
    """Return the image's input layer if ``layer`` means it, else None.

    Parameters
    ----------
    model : keras.Model
    layer : str, int, keras.Layer or None
        As in :func:`find_call`.
    image_index : int
        Position of the image among the flat inputs.

    Examples
    --------
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
    """Return the axes between the batch axis and the channels.

    Examples
    --------
    >>> grid_of((1, 7, 7, 1280), channels_first=False)
    (7, 7)
    >>> grid_of((1, 1280, 7, 7), channels_first=True)
    (7, 7)
    """
    return tuple(shape[2:] if channels_first else shape[1:-1])


def fixed_batch_of(model: keras.Model) -> int | None:
    """Return the fixed batch size of a model, or None.

    Examples
    --------
    >>> fixed_batch_of(keras.Sequential([keras.Input((2,), batch_size=4), keras.layers.Dense(1)]))
    4
    """
    inputs = getattr(model, "inputs", None)
    return inputs[0].shape[0] if inputs else None


def has_channels_first(model: keras.Model) -> bool:
    """Tell whether the model's outputs are ``(batch, channels, *grid)``.

    The first layer that has a ``data_format`` decides; if there is none, Keras' setting does.

    Examples
    --------
    >>> has_channels_first(keras.Sequential([keras.layers.Conv2D(2, 3)]))
    False
    """
    formats = (getattr(layer, "data_format", None) for _, layer in walk(model))
    first = next((f for f in formats if f), keras.config.image_data_format())
    return first == "channels_first"


class Call(NamedTuple):
    """One call of one layer or operation, in the order of returning.

    Attributes
    ----------
    path : str
    shape : tuple of int or None
        Shape of the output; None if it is not one tensor.
    has_kernel : bool
        Whether the layer has weights with several axes.
    number : int or None
        Which call of the same layer it is. None stands for all calls, one for each step: the layer
        is inside a ``TimeDistributed``, and the shape has the axis of the steps.
    place : Place or None
        Where its cells lie in the picture, if arithmetic can follow them.
    element : int or None
        Position among the flat outputs of a layer that returns several tensors; the path ends in
        ``[0]``, ``[1]`` or a key.
    """

    path: str
    shape: tuple[int, ...] | None
    has_kernel: bool
    number: int | None = 0
    place: Place | None = None
    element: int | None = None


class Head(NamedTuple):
    """One output of a model, and its value before the final activation.

    ``output`` and ``logits`` are tensors while the model runs, and shapes in a :class:`Survey`.
    ``activation`` is ``"softmax"``, ``"sigmoid"`` or None; if it is None, so is ``logits``.
    ``hidden`` is one that the model changes, as a clip or an average does, before it returns it.
    ``per_sample`` is False if its rows are those of an input that all documents share.
    """

    name: str
    output: Tensor
    logits: Tensor
    activation: str | None
    hidden: str | None = None
    per_sample: bool = True
