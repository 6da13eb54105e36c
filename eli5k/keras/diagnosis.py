"""Explain why a map shows nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import keras
import numpy as np

from eli5k.base import BlankMapWarning, ExplanationWarning, UnscaledInputWarning
from eli5k.keras.evidence.run import Attribution, Run
from eli5k.keras.evidence.scores import Scores, Target
from eli5k.keras.evidence.targets import class_count
from eli5k.keras.sides import is_number

# A float32 has no number between 1 - 6e-8 and 1: this close to 0 or 1, a gradient is mostly
# rounding error.
SATURATED = 2.0**-23
OTHERS = "Explain another target or layer; the signed map is in .attribution."
LOWERING = 'To see that, draw it with style="signed", or pass method="counterfactual".'


def warnings_about(
    run: Run,
    attribution: Attribution,
    names: Sequence[Sequence[object]],
    unscaled: Sequence[ExplanationWarning | None] = (),
) -> list[list[ExplanationWarning]]:
    """Find problems with the maps and scores of a batch.

    The model is not run again.

    Parameters
    ----------
    run : Run
        The question.
    attribution : Attribution
        The answer, with maps ``(targets, batch, *grid)``.
    names : sequence
        ``names[row][target]``: the name of a document's target.
    unscaled : sequence of ExplanationWarning or None
        What is wrong with the values of each document. It comes first, and explains why an output
        is saturated.

    Returns
    -------
    list of list of ExplanationWarning
        One list for each document. They name the target if there are several. A target without a
        name is one that nobody asked for.
    """
    maps, values = attribution.maps, attribution.scores.values
    grid = tuple(range(2, maps.ndim))
    finite = np.isfinite(maps).all(axis=grid)
    shows = finite & (maps.max(axis=grid) > 0)
    saturated = _is_saturated(run, attribution)
    found = [[each] if each else [] for each in unscaled or [None] * values.shape[0]]
    suspect = ~shows | saturated | ~np.isfinite(values.T)
    for row, target in np.argwhere(suspect.T):
        if target >= len(names[row]):
            continue
        is_unscaled = any(isinstance(each, UnscaledInputWarning) for each in found[row])
        if is_unscaled and _near_one(run, attribution)[target, row]:
            continue  # That is why, and logits=True wouldn't help.
        about = f" of target {names[row][target]!r}" if values.shape[1] > 1 else ""
        category: type[ExplanationWarning] = BlankMapWarning
        if not finite[target, row]:
            message = f"The map{about} is not finite: {_not_finite(run, row)}"
        elif not np.isfinite(values[row, target]):
            category = ExplanationWarning
            message = f"The score{about} is {values[row, target]}: {_not_finite(run, row)}"
        elif not shows[target, row]:
            message = f"The map{about} is blank: {_blank(run, attribution, target, row)}"
        else:
            category = ExplanationWarning
            probability = attribution.scores.probabilities[row, target]
            message = (
                f"The output{about} is saturated at {probability:.8g}: what is left of its "
                "gradient is mostly rounding. Pass logits=True to explain the score before the "
                "softmax or sigmoid."
            )
        found[row].append(category(message))
    return found


def with_too_few(
    about_each: list[list[ExplanationWarning]],
    scores: Scores,
    labels: np.ndarray,
    threshold: float | None,
) -> list[list[ExplanationWarning]]:
    """Add a warning about each document that has no label at all.

    Parameters
    ----------
    about_each : list of list of ExplanationWarning
        One list for each document.
    scores : Scores
        Those of the best class of each document come first.
    labels : numpy.ndarray
        ``(batch,)``: how many classes of each reach the threshold.
    threshold : float
    """
    has_probabilities = scores.probabilities is not None
    best = (scores.probabilities if has_probabilities else scores.values)[:, 0]
    number = "probability" if has_probabilities else "score"
    for row in np.flatnonzero(labels == 0):
        about_each[row].append(
            ExplanationWarning(
                f"No class has a {number} of at least {threshold:g}: the best one is explained, "
                f"with a {number} of {best[row]:.3g}."
            )
        )
    return about_each


def hidden_logits(run: Run, scores: Scores) -> str | None:
    """Tell why the logits that a user asks for can't be seen.

    Parameters
    ----------
    run : Run
    scores : Scores
        Its scores, as arrays.

    Returns
    -------
    str or None
        The reason, as half a sentence; None if nothing is hidden, or nothing was asked for.
    """
    head = run.survey.heads[run.target.output]
    if not run.target.logits or run.target.functions or head.activation:
        return None
    # Numbers outside [0, 1] are logits already.
    if ((scores.values < 0) | (scores.values > 1)).any():
        return None
    if head.hidden:
        return f"the model changes its {head.hidden} before it returns it, as a clip or a mean does"
    count = class_count(head)
    if count is None or count == 1:
        return None
    every = replace(run, target=Target(run.target.output, best=count), classes=None)
    if not np.allclose(every.scores().values.sum(axis=1), 1, atol=1e-3):
        return None
    return "the model's own code computes its softmax without Keras"


def _is_saturated(run: Run, attribution: Attribution) -> np.ndarray:
    """Tell if rounding ate the gradient of a probability: ``(targets, batch)``."""
    saturated: np.ndarray = _near_one(run, attribution) & (attribution.peaks is not None)
    return saturated


def _near_one(run: Run, attribution: Attribution) -> np.ndarray:
    probabilities = attribution.scores.probabilities
    if run.target.logits or run.target.by_logits or probabilities is None:
        return np.zeros(attribution.maps.shape[:2], bool)
    near: np.ndarray = np.minimum(probabilities, 1 - probabilities).T
    # A probability near zero is as exact as any other: its gradient is small but right.
    is_one = (probabilities.T > 0.5) | (probabilities.T == 0)
    saturated: np.ndarray = is_one & (near <= SATURATED)
    return saturated


def _not_finite(run: Run, row: int) -> str:
    inputs = [array[row] for array in keras.tree.flatten(run.inputs)]
    if not all(np.isfinite(array).all() for array in inputs):
        return "doc holds NaN or infinite values. Clean the input."
    for variable in run.model.variables:
        if not np.isfinite(keras.ops.convert_to_numpy(keras.ops.cast(variable, "float32"))).all():
            return (
                f"the model's weight {variable.path!r} holds NaN or infinite values. "
                "Load the model again, or train it with a lower learning rate."
            )
    if run.target.functions or run.options.reshape is not None:
        own = "the callable in targets" if run.target.functions else "reshape="
        return (
            f"the model or {own} computes NaN or infinite values for this input. Check what "
            "model.predict returns for it."
        )
    return (
        "the model's computation overflows for this input. Check how the input is scaled and, in "
        "half precision, explain a float32 copy of the model."
    )


def _blank(run: Run, attribution: Attribution, target: int, row: int) -> str:
    """Return the reason for a map without positive evidence, if certain."""
    where = "the input" if attribution.layer is None else f"layer {attribution.layer!r}"
    if attribution.maps[target, row].min() < 0:
        return (
            f"all evidence at {where} is negative: {_negative(run, attribution, target, row)}. "
            f"{LOWERING if is_number(run) else OTHERS}"
        )
    peaks = attribution.peaks
    if peaks is None:
        return _nothing_changes(run, attribution, target, row)
    if peaks.activations[row] == 0:
        return (
            f"{where} holds only zeros for this document. Check how it is scaled (preprocess=), "
            "or pass another layer."
        )
    if peaks.gradients[target, row] == 0:
        head = run.survey.heads[run.target.output]
        if head.activation is None and abs(attribution.scores.values[row, target] - 1) <= SATURATED:
            return (
                "the output is 1, where the gradient of a softmax or sigmoid is zero. Its logits "
                "can't be seen: explain a copy of the model that returns them."
            )
        if _near_one(run, attribution)[target, row]:
            probability = attribution.scores.probabilities[row, target]
            return (
                f"the output is saturated at {probability:.6g}, where its gradient is zero. Pass "
                "logits=True to explain the score before the softmax or sigmoid; if that map is "
                f"blank too, {where} does not reach the output for this document."
            )
        return (
            f"{where} does not reach the output for this document: the gradient of the score is "
            "zero there. Pass another layer or target."
        )
    return (
        f"the evidence at {where} cancels out everywhere, though there are activations and "
        "gradients. Pass another layer or method."
    )


def _negative(run: Run, attribution: Attribution, target: int, row: int) -> str:
    """Describe a map without positive evidence, by what the method explained."""
    score = attribution.scores.values[row, target]
    explained = attribution.scores.explained[row, target]
    if explained == score or run.target.by_logits:
        return "it lowers this number" if is_number(run) else "it speaks against this class"
    if explained == -score:
        return "there is evidence for this class, and none against it"
    return "it supports the classes that this one is compared with"


def _nothing_changes(run: Run, attribution: Attribution, target: int, row: int) -> str:
    """Return the reason why no perturbation changes the score."""
    image = run.image[row]
    if not image.any():
        return "the input holds only zeros for this document. Check how it is scaled (preprocess=)."
    axes = tuple(range(image.ndim - 1))
    if not np.ptp(image, axis=axes).any():
        return "the picture has a single colour, so hiding a part of it changes nothing."
    if _near_one(run, attribution)[target, row]:
        probability = attribution.scores.probabilities[row, target]
        return (
            f"the output is saturated at {probability:.6g}, and no perturbation changes it. Pass "
            "logits=True to explain the score before the softmax or sigmoid."
        )
    return "no perturbation of the picture lowers the score. Explain another target."
