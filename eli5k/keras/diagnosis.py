"""Say why a map shows nothing: the picture is blank, and a user should not have to guess."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
import numpy as np

from eli5k.base import BlankMapWarning, warn
from eli5k.keras.methods.evidence import Evidence
from eli5k.keras.run import Answer, DisconnectedError, Run

# Keras' epsilon is added to the maximum when a map is scaled: below this it eats a tenth of it.
FAINT = 10 * keras.config.epsilon()
SATURATED = 1e-6


def warn_of_blank_maps(run: Run, answer: Answer) -> None:
    """Warn of each map of a batch that would be shown as nothing.

    Parameters
    ----------
    run : Run
        What was asked.
    answer : Answer
        What came, with maps ``(targets, batch, *grid)``.

    Warns
    -----
    BlankMapWarning
        Where a map is not finite, or is nowhere above what the scaling adds to its maximum.
    """
    grid = tuple(range(2, answer.maps.ndim))
    finite = np.isfinite(answer.maps).all(axis=grid)
    shows = finite & (answer.maps.max(axis=grid) > FAINT)
    if shows.all():
        return
    peaks = _peaks_behind(run, answer)
    for target, row in zip(*np.nonzero(~shows)):
        if not finite[target, row]:
            reason = "The map is not finite: " + _reason_for_not_finite(run)
        else:
            reason = "The map is blank: " + _reason_for_zero(peaks, answer, target, row)
        warn(reason, BlankMapWarning)


def _peaks_behind(run: Run, answer: Answer) -> tuple[np.ndarray, np.ndarray | None]:
    """Run the model once more, to see what went into maps that show nothing.

    Returns
    -------
    activations : numpy.ndarray
        Largest of each sample in magnitude, ``(batch,)``.
    gradients : numpy.ndarray or None
        ``(targets, batch)``; None where there are none, which a method that tries does without.
    """
    same = replace(run, layer=answer.layer, classes=answer.scores.classes)
    try:
        return (same.at_input(_peaks) if answer.layer is None else same.at_layer(_peaks)).maps
    except DisconnectedError:
        return np.abs(run.image).max(axis=tuple(range(1, run.image.ndim))), None


def _reason_for_not_finite(run: Run) -> str:
    if not all(np.isfinite(array).all() for array in keras.tree.flatten(run.inputs)):
        return "doc holds NaN or infinite values. Clean the input."
    for variable in run.model.variables:
        if not np.isfinite(keras.ops.convert_to_numpy(keras.ops.cast(variable, "float32"))).all():
            return (
                f"the model's weight {variable.path!r} holds NaN or infinite values. "
                "Load the model again, or train it with a lower learning rate."
            )
    return (
        "the model's computation overflows for this input. Check how the input is scaled and, in "
        "half precision, explain a float32 copy of the model."
    )


def _reason_for_zero(peaks: tuple, answer: Answer, target: int, row: int) -> str:
    activation_peaks, gradient_peaks = peaks
    probabilities = answer.scores.probabilities
    where = "the input" if answer.layer is None else f"layer {answer.layer!r}"
    if answer.maps[target, row].min() < -FAINT:
        return (
            f"all evidence at {where} is negative, it speaks against this target. "
            "Explain another target or layer; the signed map is in .attribution."
        )
    if activation_peaks[row] == 0:
        return (
            f"{where} holds zeros only for this document. Check how it is scaled (preprocess=), "
            "or pass another layer."
        )
    if probabilities is not None and _is_saturated(probabilities[row, target]):
        return (
            f"the output is saturated at {probabilities[row, target]:.6g}, where its gradient is "
            "zero. Pass logits=True to explain the score before the softmax or sigmoid."
        )
    if gradient_peaks is not None and gradient_peaks[target, row] == 0:
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
    """Largest activations ``(batch,)`` and gradients ``(targets, batch)``, in magnitude."""
    ops = keras.ops
    axes = tuple(range(1, len(evidence.activations.shape)))
    return (
        ops.max(ops.abs(evidence.activations), axis=axes),
        ops.max(ops.abs(evidence.gradients), axis=tuple(axis + 1 for axis in axes)),
    )
