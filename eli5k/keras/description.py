"""Describe in a sentence what a run's maps show."""

from __future__ import annotations

from eli5k.keras.aims import told_of_places
from eli5k.keras.evidence.run import Run
from eli5k.keras.evidence.targets import TargetNames, class_count
from eli5k.keras.methods import Method
from eli5k.keras.sides import is_number

SIGNED = ' With style="signed", what lowers it is drawn too.'


def description_of(
    method: Method, layer: str | None, run: Run, hidden: str | None, names: TargetNames
) -> str:
    """Describe the maps of a run.

    Parameters
    ----------
    method : Method
    layer : str or None
        Path of the explained layer; None for the input.
    run : Run
    hidden : str or None
        Why the logits that the user asked for can't be seen.
    names : TargetNames

    Returns
    -------
    str
        One sentence, or two for a number, or if a background is left out.
    """
    head = run.survey.heads[run.target.output]
    where = "the input" if layer is None else f"layer {layer!r}"
    output = f" in output {head.name!r}" if len(run.survey.output_names) > 1 else ""
    of_places, left_out = told_of_places(run, names)
    sentence = (
        f"{method.title} at {where}: highlights the parts of the input that raise "
        f"{_what(run, hidden, of_places)}{output}.{left_out}"
    )
    return sentence + SIGNED if is_number(run) else sentence


def _what(run: Run, hidden: str | None, of_places: str) -> str:
    """Name what is explained: a number, or the score of a class."""
    head = run.survey.heads[run.target.output]
    if run.target.functions:
        return "the score of each target"
    if of_places:
        is_logit = run.target.logits or run.target.by_logits
        unit = "logit" if is_logit else "probability"
        return f"the score{f' ({unit})' if head.activation else ''} of {of_places}"
    if is_number(run):
        return "the number" if class_count(head) == 1 else "each number"
    if hidden:
        return "the score (probability, because its logits can't be seen) of each class"
    if head.activation:
        return f"the score ({'logit' if run.target.logits else 'probability'}) of each class"
    # Numbers without an activation may be logits of classes, or no classes at all.
    is_classifier = head.hidden or run.target.binary
    return f"the score of each {'class' if is_classifier else 'target'}"
