"""Write captions: what is shown, and how strong the evidence is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from eli5k.base import (
    AmbiguousOutputWarning,
    Explanation,
    MisplacedMapWarning,
    TargetExplanation,
    UnscaledInputWarning,
)
from eli5k.formatters.text import check_of, label, numbers

# Lines of a caption; a line isn't broken if it fits.
Caption = list[list[str]]

# Warnings that must be on the picture, which would mislead without them.
WARNED = {
    MisplacedMapWarning: "warning: misplaced map",
    UnscaledInputWarning: "warning: unscaled input",
    AmbiguousOutputWarning: "warning: one of several outputs",
}


def short_caption(expl: Explanation, target: TargetExplanation) -> Caption:
    """Name a target, its numbers and its input.

    Parameters
    ----------
    expl : Explanation
    target : TargetExplanation

    Returns
    -------
    list of list of str

    Examples
    --------
    >>> short_caption(Explanation("net", input="left"), TargetExplanation("cat", score=2.5))
    [['y=cat'], ['score 2.5'], ['input left']]
    """
    lines = [[label(target)], numbers(target)[::-1]]
    if expl.input:
        lines.append([f"input {expl.input}"])
    return [line for line in lines if line]


def what_was_done(expl: Explanation) -> list[str]:
    """Name the method, the layer and the output.

    Parameters
    ----------
    expl : Explanation

    Returns
    -------
    list of str

    Examples
    --------
    >>> what_was_done(Explanation("net", method="Grad-CAM", layer="conv"))
    ['Grad-CAM', 'layer conv']
    """
    words = [expl.method] if expl.method else []
    if expl.layer:
        words.append(f"layer {expl.layer}")
    if expl.output:
        words.append(f"output {expl.output}")
    return words


def long_caption(
    expl: Explanation, target: TargetExplanation, note: str = "", shared: Sequence[str] = ()
) -> Caption:
    """Write the full caption of one panel.

    Parameters
    ----------
    expl : Explanation
    target : TargetExplanation
    note : str
        How the map was scaled, or why nothing is seen.
    shared : sequence of str
        What is told once, below the sheet.

    Returns
    -------
    list of list of str

    Examples
    --------
    >>> expl = Explanation("net", method="RISE", layer="conv")
    >>> long_caption(expl, TargetExplanation("cat"), "no evidence", shared=["RISE"])
    [['y=cat'], ['layer conv'], ['no evidence']]
    """
    own = [word for word in what_was_done(expl) if word not in shared]
    source = [Path(expl.source).name] if expl.source else []
    source = [word for word in source if word not in shared]
    warned = [[WARNED[kind]] for kind in dict.fromkeys(map(type, expl.warnings)) if kind in WARNED]
    lines = [source, *short_caption(expl, target), own, [note], check_of(target)[:1], *warned]
    return [line for line in lines if any(line)]
