"""Format an explanation as text, and share its words with other formats."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eli5k.base import WHOLE, Explanation, TargetExplanation
from eli5k.formatters import fields
from eli5k.formatters.frame import Frame, place_of_cell


def format_as_text(
    expl: Explanation,
    show: Sequence[str] = fields.ALL,
    highlight_spaces: bool | None = None,
    show_feature_values: bool = False,
) -> str:
    """Describe what was explained and where the heat is.

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
    # What holds for all inputs is told once.
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


def place_of_heat(heatmap: np.ndarray | None, frame: Frame = WHOLE) -> str:
    """Describe where a map has its maximum.

    Parameters
    ----------
    heatmap : numpy.ndarray or None
        ``(*grid)``, in [0, 1].
    frame : tuple of float
        As in :class:`~eli5k.Explanation`, for a grid of two axes.

    Returns
    -------
    str
        The place of the first maximum, in percent of each axis; for a grid of two axes in percent
        of the picture and in words.

    Examples
    --------
    >>> place_of_heat(np.array([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.5]]))
    'hottest in the centre, 50% across and 50% down'
    >>> place_of_heat(np.array([0.0, 0.0, 0.0, 1.0, 0.0]))
    'hottest at 70% of the axis'
    >>> place_of_heat(np.eye(2), frame=(-0.6, 0.25, 1.4, 0.75))
    'hottest in the padding beyond the left edge'
    >>> place_of_heat(np.zeros((7, 7)))
    'the map is blank'
    """
    if heatmap is None:
        return "there is no map"
    heatmap = np.asarray(heatmap)
    if heatmap.size == 0 or not heatmap.max() > 0:
        return "the map is blank"
    position = np.unravel_index(heatmap.argmax(), heatmap.shape)
    if len(position) != 2:
        shares = [(index + 0.5) / length for index, length in zip(position, heatmap.shape)]
        percents = ", ".join(f"{share:.0%}" for share in shares)
        return f"hottest at {percents} of the {'axis' if len(shares) == 1 else 'axes'}"
    row, column = (float(index) + 0.5 for index in position)
    across, down = place_of_cell((row, column), heatmap.shape, frame)
    edges = {"left": across < 0, "right": across > 1, "top": down < 0, "bottom": down > 1}
    beyond = [edge for edge, is_beyond in edges.items() if is_beyond]
    if beyond:
        names = " and ".join(beyond)
        return f"hottest in the padding beyond the {names} edge{'s' * (len(beyond) - 1)}"
    vertical = ("top", "", "bottom")[min(2, int(3 * down))]
    horizontal = ("left", "", "right")[min(2, int(3 * across))]
    words = f"{vertical} {horizontal}".strip() or "in the centre"
    return f"hottest {words}, {across:.0%} across and {down:.0%} down"


def check_of(target: TargetExplanation) -> list[str]:
    """Tell what runs of the model said about a map, if it was checked.

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
    lines = [f"{line}: {place_of_heat(target.heatmap, expl.frame)}"]
    if check_of(target):
        lines.append(f"  {'. '.join(check_of(target))}")
    return lines
