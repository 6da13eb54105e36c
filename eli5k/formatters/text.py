"""Format an explanation as text, and share its words with other formats."""

from __future__ import annotations

from collections.abc import Sequence

from eli5k.base import Explanation, TargetExplanation
from eli5k.formatters import fields
from eli5k.formatters.place import place_in


def format_as_text(
    expl: Explanation,
    show: Sequence[str] = fields.ALL,
    highlight_spaces: bool | None = None,
    show_feature_values: bool = False,
) -> str:
    """Describe what was explained and where the heat is.

    In a signal, a text, a volume or a clip, places are counted from 0.

    Parameters
    ----------
    expl : Explanation
    show : sequence of str
        Which of "method", "description" and "targets" to show, in this order. Other names, such as
        those of eli5's other estimators, add nothing. The error is always shown.
        See :mod:`eli5k.formatters.fields`.
    highlight_spaces, show_feature_values
        Accepted for compatibility with eli5; they mean nothing for an image.

    Returns
    -------
    str
        Lines without a final newline.

    Examples
    --------
    >>> import numpy as np
    >>> heatmap = np.array([[0.0, 1.0], [0.0, 0.2]])
    >>> target = TargetExplanation("cat", proba=0.9, score=2.5, heatmap=heatmap)
    >>> print(format_as_text(Explanation("net", method="Grad-CAM", targets=[target], layer="conv")))
    Explained as: Grad-CAM
    y=cat (probability 0.9, score 2.5) at layer conv: hottest top right, 75% across and 25% down
    """
    parts = [expl, *expl.others]
    lines = [f"Error: {part.error}" for part in parts if part.error]
    for section in show:
        if section == "method":
            lines += [f"Explained as: {part.method}" for part in parts if part.method]
        elif section == "description":
            lines += [part.description for part in parts if part.description]
        elif section == "targets":
            lines += [
                line for part in parts for each in part.targets or () for line in _lines(each, part)
            ]
    # Facts about all inputs are printed once.
    return "\n".join(dict.fromkeys(lines))


def label(target: TargetExplanation) -> str:
    r"""Name a target in one line.

    Parameters
    ----------
    target : TargetExplanation

    Returns
    -------
    str
        A name without line breaks or characters that can't be encoded.

    Examples
    --------
    >>> label(TargetExplanation(7)), label(TargetExplanation("golden\nretriever"))
    ('y=7', 'y=golden retriever')
    """
    name = " ".join(str(target.target).split())
    return "y=" + name.encode("utf-8", "replace").decode("utf-8")


def numbers(target: TargetExplanation) -> list[str]:
    """Describe the probability and the score of a target, if known.

    Parameters
    ----------
    target : TargetExplanation

    Returns
    -------
    list of str

    Examples
    --------
    >>> numbers(TargetExplanation(7, proba=0.98765, score=-12.5))
    ['probability 0.9877', 'score -12.5']
    >>> numbers(TargetExplanation(7))
    []
    """
    pairs = (("probability", target.proba), ("score", target.score))
    return [f"{name} {value:.4g}" for name, value in pairs if value is not None]


def check_of(target: TargetExplanation) -> list[str]:
    """Describe the result of a map's check, if there was one.

    Parameters
    ----------
    target : TargetExplanation

    Returns
    -------
    list of str
        The verdict and the reason, or nothing.

    Examples
    --------
    >>> from eli5k.base import Check
    >>> check_of(TargetExplanation(7, check=Check("not shown", "Chance does as well.")))
    ['check: not shown', 'Chance does as well.']
    """
    check = target.check
    return [] if check is None else [f"check: {check.verdict}", check.sentence]


def _lines(target: TargetExplanation, expl: Explanation) -> list[str]:
    line = label(target)
    if numbers(target):
        line += f" ({', '.join(numbers(target))})"
    if expl.output:
        line += f" of output {expl.output}"
    if expl.input:
        line += f" in input {expl.input}"
    if expl.layer:
        line += f" at layer {expl.layer}"
    lines = [f"{line}: {place_in(expl, target)}"]
    if check_of(target):
        lines.append(f"  {'. '.join(check_of(target))}")
    return lines
