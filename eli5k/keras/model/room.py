"""How many rows have room in the memory of a graphics card."""

from __future__ import annotations

import math

import keras
import numpy as np

from eli5k.keras.backends import active_backend
from eli5k.keras.model.interface import input_specs
from eli5k.keras.model.memory import remember, structure_of
from eli5k.keras.model.survey import survey

# Rows at a time on a CPU, where more aren't faster, and at most on a graphics card.
USUAL, MOST = 32, 1024
# Share of the free memory that rows may take, and how many copies there are of each output: itself,
# its gradient, and a convolution's work space.
SHARE, COPIES = 0.5, 3
BYTES = 4


def rows_at_once(model: keras.Model) -> int:
    """Return how many rows should go through a model together.

    Returns
    -------
    int
        A power of two. It is found once for a model: as many rows as have room in half of the
        card's free memory, by the sizes of all outputs of layers. 32 without a card, if the backend
        can't tell how much is free, as TensorFlow, or if the model's inputs have any size.

    Examples
    --------
    >>> rows_at_once(keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()]))
    32
    """
    free = active_backend().free_memory()
    specs = input_specs(model)
    if free is None or specs is None:
        return USUAL
    shapes = [tuple(spec.shape[1:]) for spec in specs.values()]
    if any(size is None for shape in shapes for size in shape):
        return USUAL

    def find_out() -> int:
        rows = [np.zeros((1, *shape), spec.dtype) for shape, spec in zip(shapes, specs.values())]
        inputs = rows[0] if len(rows) == 1 else keras.tree.pack_sequence_as(model.input, rows)
        outputs = [call.shape for call in survey(model, inputs).calls if call.shape is not None]
        numbers = sum(math.prod(shape[1:]) for shape in outputs)
        fitting = SHARE * free / (COPIES * BYTES * max(numbers, 1))
        return int(2 ** math.floor(math.log2(min(max(fitting, 1), MOST))))

    found: int = remember(model, "rows at once", structure_of(model), find_out)
    return found
