"""Inputs that all documents share, such as texts to compare with.

CLIP takes pictures and texts, and returns a row for each picture with a column for each text: the
texts are its classes, not a part of the document. Each document carries them as one row of its own,
``(1, texts, ...)``, so that documents can be stacked, repeated and cut like any others. The model
gets the texts once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from eli5k.keras.model.interface import input_specs
from eli5k.keras.model.memory import remember

# Sizes of axes that a model leaves open: numbers that no sum of a few of them makes.
PICTURES, TEXTS, PIXELS, WORDS = 5, 1009, 256, 3


def shared_inputs(model: keras.Model) -> tuple[int, ...]:
    """Return the positions of the inputs that all documents share.

    A model has such inputs if the number of columns of an output is free: then there is one for
    each row of another input. They are all inputs but the images.

    Parameters
    ----------
    model : keras.Model

    Returns
    -------
    tuple of int
        Among the flat inputs. Empty for a model that declares no shapes.

    Examples
    --------
    >>> pictures, texts = keras.Input((8, 8, 3), name="a"), keras.Input((16,), name="b")
    >>> seen = keras.layers.Dense(16)(keras.layers.Flatten()(pictures))
    >>> shared_inputs(keras.Model([pictures, texts], seen @ keras.ops.transpose(texts)))
    (1,)
    >>> shared_inputs(keras.Model([pictures, texts], seen + texts))
    ()
    """
    specs = input_specs(model) or {}
    if len(specs) < 2:
        return ()
    if not any(len(output.shape) == 2 and output.shape[1] is None for output in model.outputs):
        return ()
    ranks = [len(spec.shape) for spec in specs.values()]
    others = tuple(index for index, rank in enumerate(ranks) if rank < max(ranks))
    # The declarations of a functional model never change.
    found: tuple[int, ...] = remember(
        model, "shared inputs", 0, lambda: others if _makes_columns(model, others) else ()
    )
    return found


def _makes_columns(model: keras.Model, others: Sequence[int]) -> bool:
    """Tell whether an output compares each image with each shared row.

    Shapes are followed through the model; nothing is computed.
    """
    flat = []
    for index, spec in enumerate((input_specs(model) or {}).values()):
        rows, side = (TEXTS, WORDS) if index in others else (PICTURES, PIXELS)
        shape = (rows, *(length or side for length in spec.shape[1:]))
        flat.append(keras.KerasTensor(shape, spec.dtype))
    try:
        outputs = model.compute_output_spec(keras.tree.pack_sequence_as(model.input, flat))
    except (ValueError, TypeError, RuntimeError):  # The model takes no other number of rows.
        return False
    return any(output.shape == (PICTURES, TEXTS) for output in keras.tree.flatten(outputs))


def as_rows(array: np.ndarray, count: int) -> np.ndarray:
    """Repeat a shared input for each document: ``(count, rows, ...)``.

    Examples
    --------
    >>> as_rows(np.zeros((5, 16)), 3).shape
    (3, 5, 16)
    """
    return np.broadcast_to(array, (count, *array.shape))


def as_called(model: keras.Model, inputs: Any) -> Any:
    """Return inputs as the model takes them, with shared ones once.

    Parameters
    ----------
    model : keras.Model
    inputs : structure of tensors or arrays
        ``(batch, ...)``; what is shared is ``(batch, rows, ...)``, the same for each document.

    Returns
    -------
    structure of tensors or arrays
        What is shared is ``(rows, ...)``. Inputs that are so already are left as they are.
    """
    shared = shared_inputs(model)
    if not shared:
        return inputs
    ranks = [len(spec.shape) for spec in (input_specs(model) or {}).values()]
    flat = [
        tensor[0] if index in shared and len(tensor.shape) > ranks[index] else tensor
        for index, tensor in enumerate(keras.tree.flatten(inputs))
    ]
    return keras.tree.pack_sequence_as(inputs, flat)


def is_alike(model: keras.Model, inputs: Sequence[Any]) -> bool:
    """Tell whether documents have equal shared inputs.

    Parameters
    ----------
    model : keras.Model
    inputs : sequence of structures of numpy.ndarray
        Those of each document.
    """
    first, *others = (keras.tree.flatten(each) for each in inputs)
    return all(
        np.array_equal(first[index], other[index])
        for other in others
        for index in shared_inputs(model)
    )
