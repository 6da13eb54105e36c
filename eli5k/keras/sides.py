"""Warn if a map shows the side that the model didn't choose."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from eli5k.base import ExplanationWarning
from eli5k.keras.evidence.run import Attribution, Run
from eli5k.keras.evidence.targets import TargetNames, class_count
from eli5k.keras.model.shared import shared_inputs
from eli5k.keras.model.task import is_trained_on_numbers

NO = 0.5
BOTH = (
    'To see what lowers it as well, draw it with style="signed"; to see that alone, pass '
    'method="counterfactual".'
)


def is_regression(run: Run) -> bool:
    """Tell whether the output certainly holds numbers and not class scores."""
    target, head = run.target, run.survey.heads[run.target.output]
    if target.functions or target.binary or head.activation or head.hidden:
        return False
    return is_trained_on_numbers(run.model, target.output, head.name)


def is_number(run: Run) -> bool:
    """Tell whether a map explains a number, which may be negative."""
    target, head = run.target, run.survey.heads[run.target.output]
    is_score = target.functions or target.binary or head.activation or head.hidden
    if is_score or shared_inputs(run.model):  # The score of one text, say, like that of any other.
        return False
    return is_regression(run) or class_count(head) == 1


def with_sides(
    about_each: list[list[ExplanationWarning]], run: Run, answer: Attribution, names: TargetNames
) -> list[list[ExplanationWarning]]:
    """Warn about maps of what raises a number that the picture lowers.

    Parameters
    ----------
    about_each : list of list of ExplanationWarning
        One list for each document.
    run : Run
    answer : Attribution
        With maps ``(targets, batch, *grid)``.
    names : TargetNames
    """
    if run.target.functions or not np.array_equal(answer.scores.explained, answer.scores.values):
        # The explained number isn't the one that the model returned.
        return about_each
    find = _of_lone_sigmoid if _is_unnamed_sigmoid(run, names) else _of_numbers
    for row, about in enumerate(about_each):
        about.extend(map(ExplanationWarning, find(run, answer, names, row)))
    return about_each


def _is_unnamed_sigmoid(run: Run, names: TargetNames) -> bool:
    head = run.survey.heads[run.target.output]
    is_lone = class_count(head) == 1 and not run.target.binary
    return is_lone and head.activation == "sigmoid" and not names.by_class


def _of_lone_sigmoid(run: Run, answer: Attribution, names: TargetNames, row: int) -> Iterator[str]:
    del run, names
    probability = answer.scores.probabilities[row, 0]
    if probability < NO:
        yield (
            f"The output is a lone sigmoid at {probability:.3g}: the model says no, and the map "
            "shows the evidence for yes. Pass the names of both sides, such as "
            'target_names=["no", "yes"], to explain the one that the model chose.'
        )


def _of_numbers(run: Run, answer: Attribution, names: TargetNames, row: int) -> Iterator[str]:
    if not is_number(run):
        return
    count, asked = class_count(run.survey.heads[run.target.output]) or 1, run.options
    if count > 1 and (asked.targets, asked.top_targets, asked.threshold) == (None, None, None):
        yield (
            f"The output holds {count} numbers, and the largest of them is explained. Name those "
            f"that you mean in targets, or pass top_targets={count}."
        )
    for value, of_batch, index in zip(
        answer.scores.values[row], answer.maps, answer.scores.classes[row]
    ):
        # A map with a single sign hides nothing; blank maps are warned of elsewhere.
        if value < 0 and of_batch[row].min() < 0 < of_batch[row].max():
            several = answer.scores.values.shape[1] > 1
            which = f"The number {names.name(int(index))!r}" if several else "The number"
            message = f"{which} is {value:.4g}: the map highlights what raises it. {BOTH}"
            if not is_regression(run) and not names.by_class:
                message += (
                    " If this unit tells two classes apart, pass the names of both as target_names."
                )
            yield message
