"""eli5's two low-level functions: the parts of Grad-CAM."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np

from eli5k.keras.attribution import ask
from eli5k.keras.backends import Tensor
from eli5k.keras.evidence.probes import Evidence, Layer, Probe
from eli5k.keras.evidence.targets import TargetNames, choose_targets
from eli5k.keras.inputs import read_document
from eli5k.keras.methods.cam import channel_weights
from eli5k.options import Options


def gradcam(weights: np.ndarray, activations: np.ndarray) -> np.ndarray:
    """Combine channel weights and activations into a heatmap.

    Parameters
    ----------
    weights : numpy.ndarray
        ``(channels,)``: the mean gradient of each channel.
    activations : numpy.ndarray
        ``(*grid, channels)``

    Returns
    -------
    numpy.ndarray
        ``(*grid)``, float64, in [0, 1].

    Raises
    ------
    ValueError
        If the two don't have the same number of channels.

    References
    ----------
    Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391

    Examples
    --------
    >>> gradcam(np.array([1.0, -1.0]), np.array([[[2.0, 1.0], [0.0, 1.0]]])).round(3)
    array([[1., 0.]])
    """
    weights, activations = np.asarray(weights), np.asarray(activations)
    if weights.ndim != 1 or weights.shape != activations.shape[-1:]:
        raise ValueError(
            "weights must be (channels,) for activations (*grid, channels). "
            f"Received: {weights.shape} and {activations.shape}"
        )
    total = activations.astype(np.float64) @ weights.astype(np.float64)
    positive = np.where(np.isfinite(total), np.maximum(total, 0), 0)
    # eli5's formula, to the letter.
    heatmap: np.ndarray = positive / (positive.max() + keras.config.epsilon())
    return heatmap


def heatmap_of(attribution: np.ndarray) -> np.ndarray:
    """Clip a signed map at zero and scale it to [0, 1].

    Parameters
    ----------
    attribution : numpy.ndarray
        ``(*grid)``, of any float type.

    Returns
    -------
    numpy.ndarray
        ``(*grid)``, float64. Like eli5 this divides by the maximum plus Keras' epsilon, but adds at
        most 1 % of the maximum, so that a faint map is visible. Values that are not finite count as
        zero.

    Examples
    --------
    >>> heatmap_of(np.array([-1.0, 0.0, 2.0, 4.0])).round(3)
    array([0. , 0. , 0.5, 1. ])
    """
    attribution = np.asarray(attribution, np.float64)
    positive = np.where(np.isfinite(attribution), np.maximum(attribution, 0), 0)
    peak = positive.max()
    if peak == 0:
        return positive
    heatmap: np.ndarray = positive / (peak + min(keras.config.epsilon(), peak / 100))
    return heatmap


def gradcam_backend(
    model: keras.Model,
    doc: Any,
    targets: list[int] | None,
    activation_layer: str | int | keras.Layer,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, float]:
    """Run the model once and return the parts of Grad-CAM.

    Parameters
    ----------
    model : keras.Model
    doc : numpy.ndarray
        ``(1, *grid, channels)``, or any other document of :func:`eli5k.explain_prediction`.
    targets : list of int or None
        One class, or None for the class with the highest score.
    activation_layer : keras.Layer, str or int
        A layer with a grid.

    Returns
    -------
    weights : numpy.ndarray
        ``(channels,)``: mean of ``grads`` over the grid.
    activations : numpy.ndarray
        ``(*grid, channels)``: the layer's output.
    grads : numpy.ndarray
        ``(*grid, channels)``: gradient of the score with respect to them.
    predicted_idx : int
        The explained class.
    predicted_val : float
        Its score.

    Raises
    ------
    TypeError
        If ``targets`` is not a list, or ``activation_layer`` is not a layer.
    ValueError
        If there is more than one target or the layer has no grid.

    Examples
    --------
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3, name="conv")]
    >>> layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, "softmax")]
    >>> model = keras.Sequential(layers)
    >>> parts = gradcam_backend(model, np.ones((1, 8, 8, 1), "float32"), [2], "conv")
    >>> [part.shape for part in parts[:3]], parts[3]
    ([(2,), (6, 6, 2), (6, 6, 2)], 2)
    """
    if isinstance(targets, list) and len(targets) > 1:
        raise ValueError(f"targets must have one class here. Received: {targets}")
    inputs = read_document(model, doc).inputs
    run = ask(model, inputs, Options(layer=activation_layer))
    head = run.survey.heads[run.target.output]
    target, classes = choose_targets(
        head, targets, None, TargetNames(None, None), target=run.target
    )
    rows = None if classes is None else np.array([classes])
    answer = replace(run, target=target, classes=rows).evidence(Probe(Layer()), _parts)
    weights, activations, gradients = answer.maps
    score = answer.scores
    return (
        weights[0, 0],
        activations[0],
        gradients[0, 0],
        int(score.classes[0, 0]),
        float(score.values[0, 0]),
    )


def _parts(evidence: Evidence) -> tuple[Tensor, Tensor, Tensor]:
    return channel_weights(evidence.gradients), evidence.activations, evidence.gradients
