"""Stem of a model: its first layers, without the rest."""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import numpy as np

from eli5k.keras.backends import Tensor, active_backend, to_tensors
from eli5k.keras.model.hooks import input_hook
from eli5k.keras.model.shared import as_called
from eli5k.keras.model.state import array_of, stateless
from eli5k.keras.model.structure import Call, all_layers, layer_at, walk
from eli5k.keras.model.survey import Survey


class Statistics(NamedTuple):
    """What a normalisation layer remembers of its training data: ``(channels,)`` each."""

    mean: np.ndarray
    variance: np.ndarray


def norms_of(model: keras.Model, survey: Survey) -> tuple[str, ...]:
    """Return the paths of called layers that store image statistics, in order.

    Examples
    --------
    >>> from eli5k.keras.model.survey import survey
    >>> names = keras.layers.Conv2D(2, 3), keras.layers.BatchNormalization(name="norm")
    >>> model = keras.Sequential([keras.Input((4, 4, 1)), *names])
    >>> norms_of(model, survey(model, np.ones((1, 4, 4, 1))))
    ('norm',)
    """
    parts = dict(walk(model))
    return tuple(
        call.path
        for call in survey.calls
        if call.shape is not None
        and len(call.shape) == survey.rank
        and call.element is None
        and _looks_at_image(call, survey)
        and _stores(parts[call.path])
    )


def _stores(layer: keras.Layer) -> bool:
    if isinstance(layer, keras.layers.Normalization):
        # If the mean was an argument, none is stored.
        return layer.input_mean is None
    return isinstance(layer, keras.layers.BatchNormalization)


def first_kernel(survey: Survey) -> str | None:
    """Return the path of the first called layer with a kernel."""
    calls = (call for call in survey.calls if call.has_kernel and _looks_at_image(call, survey))
    return next((call.path for call in calls), None)


def _looks_at_image(call: Call, survey: Survey) -> bool:
    """Tell whether a layer's first call looks at the explained image."""
    if len(survey.input_shapes) == 1:
        return True
    place = call.place
    return place is not None and place.input == survey.image_index and call.number == 0


def stored_mean(layer: keras.Layer) -> np.ndarray | None:
    """Return a normalisation's mean; None if nothing was stored yet.

    Examples
    --------
    >>> norm = keras.layers.BatchNormalization()
    >>> norm.build((None, 2))
    >>> stored_mean(norm) is None
    True
    """
    mean, variance = _memory_of(layer)
    if mean is None:
        return None
    array = np.ravel(array_of(mean)).astype("float32")
    # Reading a variable takes as long as all else, so read one if possible.
    return array if array.any() or (array_of(variance) != 1).any() else None


def _memory_of(layer: keras.Layer) -> tuple[Any, Any]:
    if isinstance(layer, keras.layers.BatchNormalization):
        return layer.moving_mean, layer.moving_variance
    return getattr(layer, "adapt_mean", None), getattr(layer, "adapt_variance", None)


def statistics_of(layer: keras.Layer) -> Statistics:
    """Return the statistics that a normalisation stores.

    Examples
    --------
    >>> norm = keras.layers.BatchNormalization(epsilon=0.5)
    >>> norm.build((None, 2))
    >>> statistics_of(norm).variance
    array([1.5, 1.5], dtype=float32)
    """
    mean, variance = (np.ravel(array_of(each)).astype("float32") for each in _memory_of(layer))
    return Statistics(mean, variance + getattr(layer, "epsilon", 0.0))


class _EnoughError(BaseException):
    """Leaves a model's call, past every ``except Exception`` of Keras."""

    def __init__(self, tensor: Tensor) -> None:
        super().__init__()
        self.tensor = tensor


def run_until(model: keras.Model, path: str, inputs: Any) -> np.ndarray | None:
    """Return the first input of a layer, without running what comes after.

    Parameters
    ----------
    model : keras.Model
    path : str
        A layer that the model calls.
    inputs : numpy.ndarray, or list or dict of them
        ``(batch, ...)``, as the model takes them.

    Returns
    -------
    numpy.ndarray or None
        ``(batch, ...)``, float32; None if the model doesn't call that layer.

    Examples
    --------
    >>> layers = [keras.layers.Rescaling(2.0), keras.layers.Dense(3, name="dense")]
    >>> run_until(keras.Sequential(layers), "dense", np.ones((1, 2)))
    array([[2., 2.]], dtype=float32)
    """

    def stop(tensor: Tensor) -> Tensor:
        raise _EnoughError(tensor)

    layer = layer_at(model, path)
    with active_backend().at_inference(model, all_layers), input_hook(layer, stop):
        try:
            called = as_called(model, to_tensors(inputs))
            stateless(lambda tensors: model(tensors, training=False))(called)
        except _EnoughError as reached:
            tensor = keras.ops.cast(reached.tensor, "float32")
            found: np.ndarray = keras.ops.convert_to_numpy(tensor)
            return found
    return None


def channels_of(layer: keras.Layer, array: np.ndarray) -> Statistics:
    """Return mean and variance of each channel that a normalisation has.

    Parameters
    ----------
    layer : keras.Layer
        BatchNormalization or Normalization.
    array : numpy.ndarray
        ``(batch, ...)``: its input.
    """
    kept = {int(axis) % array.ndim for axis in np.atleast_1d(layer.axis)}
    others = tuple(axis for axis in range(array.ndim) if axis not in kept)
    array = array.astype("float64")
    return Statistics(np.ravel(array.mean(axis=others)), np.ravel(array.var(axis=others)))
