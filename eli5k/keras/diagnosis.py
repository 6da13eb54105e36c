"""Say why a map shows nothing: the picture is blank, and a user should not have to guess."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np

from eli5k.base import BlankMapWarning
from eli5k.keras.attribution import Answer, ask
from eli5k.keras.methods.evidence import Evidence
from eli5k.keras.survey import Survey
from eli5k.keras.targets import Selection

# Keras' epsilon is added to the maximum when a map is scaled: below this it eats a tenth of it.
FAINT = 10 * keras.config.epsilon()
SATURATED = 1e-6


def warn_if_blank(attribution: np.ndarray, explain: Any) -> None:
    """Warn where a map would be shown as nothing.

    Parameters
    ----------
    attribution : numpy.ndarray
        ``(*grid)``: the raw signed map.
    explain : callable
        Returns the reason and the remedy; only called when there is something to say.

    Warns
    -----
    BlankMapWarning
        If the map is not finite, or is nowhere above what the scaling adds to its maximum.
    """
    if np.isfinite(attribution).all() and attribution.max() > FAINT:
        return
    warnings.warn(explain(), BlankMapWarning, stacklevel=4)


def reason_for_blank(
    model: keras.Model,
    inputs: Any,
    seen: Survey,
    *,
    layer: str,
    selection: Selection,
    classes: np.ndarray | None,
    attribution: np.ndarray,
) -> str:
    """Run the model once more and look at what went into a map that shows nothing.

    Parameters
    ----------
    model : keras.Model
    inputs : array, or list or dict of arrays
        ``(1, ...)``
    seen : Survey
    layer : str
    selection : Selection
    classes : numpy.ndarray or None
        ``(1, 1)``
    attribution : numpy.ndarray
        ``(*grid)``

    Returns
    -------
    str
        What is seen, why, and what to do about it.
    """
    if not np.isfinite(attribution).all():
        return "The map is not finite: " + _reason_for_not_finite(model, inputs)
    answer = ask(
        model, inputs, seen, layer=layer, method=_peaks, selection=selection, classes=classes
    )
    return "The map is blank: " + _reason_for_zero(answer, attribution)


def _reason_for_not_finite(model: keras.Model, inputs: Any) -> str:
    if not all(np.isfinite(array).all() for array in keras.tree.flatten(inputs)):
        return "doc holds NaN or infinite values. Clean the input."
    for variable in model.variables:
        if not np.isfinite(keras.ops.convert_to_numpy(keras.ops.cast(variable, "float32"))).all():
            return (
                f"the model's weight {variable.path!r} holds NaN or infinite values. "
                "Load the model again, or train it with a lower learning rate."
            )
    return (
        "the model's computation overflows for this input. Check how the input is scaled and, in "
        "half precision, explain a float32 copy of the model."
    )


def _reason_for_zero(answer: Answer, attribution: np.ndarray) -> str:
    activation_peak, gradient_peak = answer.maps
    probabilities = answer.scores.probabilities
    if attribution.min() < -FAINT:
        return (
            f"all evidence at layer {answer.layer!r} is negative, it speaks against this target. "
            "Explain another target or layer; the signed map is in .attribution."
        )
    if activation_peak.max() == 0:
        return (
            f"layer {answer.layer!r} puts out zeros only for this input. Check how the input is "
            "scaled (preprocess=), or pass another layer."
        )
    if probabilities is not None and _is_saturated(probabilities.item()):
        return (
            f"the output is saturated at {probabilities.item():.6g}, where its gradient is zero. "
            "Pass logits=True to explain the score before the softmax or sigmoid."
        )
    if gradient_peak.max() == 0:
        return (
            f"layer {answer.layer!r} does not reach the output for this input: the gradient of the "
            "score is zero there. Pass another layer or target."
        )
    return (
        f"the evidence at layer {answer.layer!r} is too faint to show. Pass logits=True, or "
        "another layer; the unscaled map is in .attribution."
    )


def _is_saturated(probability: float) -> bool:
    return min(probability, 1 - probability) < SATURATED


def _peaks(evidence: Evidence) -> tuple[Any, Any]:
    peak = keras.ops.max(keras.ops.abs(evidence.activations))
    return peak, keras.ops.max(keras.ops.abs(evidence.gradients))
