"""Say why a map shows nothing: the picture is blank, and a user should not have to guess."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np

from eli5k.base import BlankMapWarning
from eli5k.keras.methods.evidence import Evidence
from eli5k.keras.run import Answer, Run

# Keras' epsilon is added to the maximum when a map is scaled: below this it eats a tenth of it.
FAINT = 10 * keras.config.epsilon()
SATURATED = 1e-6


def warn_if_blank(run: Run, attribution: np.ndarray) -> None:
    """Warn where a map would be shown as nothing.

    Parameters
    ----------
    run : Run
        Of one sample and one target, at the layer that was used.
    attribution : numpy.ndarray
        ``(*grid)``: the raw signed map.

    Warns
    -----
    BlankMapWarning
        If the map is not finite, or is nowhere above what the scaling adds to its maximum.
    """
    if np.isfinite(attribution).all() and attribution.max() > FAINT:
        return
    warnings.warn(reason_for_blank(run, attribution), BlankMapWarning, stacklevel=6)


def reason_for_blank(run: Run, attribution: np.ndarray) -> str:
    """Run the model once more and look at what went into a map that shows nothing.

    Parameters
    ----------
    run : Run
        Of one sample and one target, at the layer that was used.
    attribution : numpy.ndarray
        ``(*grid)``

    Returns
    -------
    str
        What is seen, why, and what to do about it.
    """
    if not np.isfinite(attribution).all():
        return "The map is not finite: " + _reason_for_not_finite(run.model, run.inputs)
    answer = run.at_input(_peaks) if run.layer is None else run.at_layer(_peaks)
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
    where = "the input" if answer.layer is None else f"layer {answer.layer!r}"
    if attribution.min() < -FAINT:
        return (
            f"all evidence at {where} is negative, it speaks against this target. "
            "Explain another target or layer; the signed map is in .attribution."
        )
    if activation_peak.max() == 0:
        return (
            f"{where} holds zeros only for this document. Check how it is scaled (preprocess=), "
            "or pass another layer."
        )
    if probabilities is not None and _is_saturated(probabilities.item()):
        return (
            f"the output is saturated at {probabilities.item():.6g}, where its gradient is zero. "
            "Pass logits=True to explain the score before the softmax or sigmoid."
        )
    if gradient_peak.max() == 0:
        return (
            f"{where} does not reach the output for this document: the gradient of the score is "
            "zero there. Pass another layer or target."
        )
    return (
        f"the evidence at {where} is too faint to show. Pass logits=True, or another layer; the "
        "unscaled map is in .attribution."
    )


def _is_saturated(probability: float) -> bool:
    return min(probability, 1 - probability) < SATURATED


def _peaks(evidence: Evidence) -> tuple[Any, Any]:
    peak = keras.ops.max(keras.ops.abs(evidence.activations))
    return peak, keras.ops.max(keras.ops.abs(evidence.gradients))
