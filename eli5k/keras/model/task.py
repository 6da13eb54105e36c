"""What a model was trained for, as far as it tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

# Losses for numbers. Classifiers trained with one of them end in a softmax or sigmoid.
OF_NUMBERS = (
    keras.losses.mean_squared_error,
    keras.losses.mean_absolute_error,
    keras.losses.mean_absolute_percentage_error,
    keras.losses.mean_squared_logarithmic_error,
    keras.losses.huber,
    keras.losses.log_cosh,
)


def is_trained_on_numbers(model: keras.Model, output: int, name: str) -> bool:
    """Tell whether an output was trained to predict numbers.

    Its loss shows that, such as the squared error.

    A model that was never compiled doesn't tell.

    Parameters
    ----------
    model : keras.Model
    output : int
        Position of the output.
    name : str
        Its name.

    Examples
    --------
    >>> model = keras.Sequential([keras.layers.Dense(1)])
    >>> is_trained_on_numbers(model, 0, "dense")
    False
    >>> model.compile(loss=keras.losses.Huber())
    >>> is_trained_on_numbers(model, 0, "dense")
    True
    """
    return _function_of(_loss_of(model, output, name)) in OF_NUMBERS


def _loss_of(model: keras.Model, output: int, name: str) -> Any:
    loss = getattr(model, "loss", None)
    if isinstance(loss, Mapping):
        return loss.get(name)
    if isinstance(loss, list | tuple):
        return loss[output] if output < len(loss) else None
    return loss


def _function_of(loss: Any) -> Any:
    if isinstance(loss, str):
        try:
            loss = keras.losses.get(loss)
        except ValueError:  # Only custom_object_scope knows this name.
            return None
    return getattr(loss, "fn", loss)
