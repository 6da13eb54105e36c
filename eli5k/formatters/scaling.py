"""Scale maps so that they can be seen, and say how: for captioned pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eli5k.base import Explanation, TargetExplanation
from eli5k.formatters.heatmap import drawable_heatmap

# A map that never falls below this part of its maximum hardly varies.
FLAT = 0.5
PERCENTILE = 99
# A map with so many rows and columns shows pixels and not the cells of a layer.
FINE = 64


@dataclass(frozen=True)
class Scaled:
    """A map as it is shown.

    Attributes
    ----------
    heatmap : numpy.ndarray
        ``(height, width)``, in [0, 1].
    note : str
        How it was scaled, or why nothing is seen; empty for eli5's scaling by the maximum.
    low, high : float
        The parts of the map's maximum that are shown as 0 and as 1.

    Examples
    --------
    >>> Scaled(np.zeros((7, 7)), "no evidence").low
    0.0
    """

    heatmap: np.ndarray
    note: str = ""
    low: float = 0.0
    high: float = 1.0


def is_fine(expl: Explanation, target: TargetExplanation) -> bool:
    """Tell whether a map is one of pixels, with a few that outshine all others.

    Parameters
    ----------
    expl : Explanation
    target : TargetExplanation

    Returns
    -------
    bool
        True for methods at the input, and for those that multiply a map with one of the input.

    Examples
    --------
    >>> guided = TargetExplanation("cat", heatmap=np.ones((224, 224)))
    >>> is_fine(Explanation("net", layer="conv"), guided)
    True
    """
    return expl.layer is None or min(drawable_heatmap(target).shape) >= FINE


def scale(expl: Explanation, target: TargetExplanation) -> Scaled:
    """Scale a map so that it can be seen.

    A few pixels of a fine map outshine all others: it is scaled by its 99th percentile. A map that
    hardly varies is scaled from its minimum to its maximum. Others, and all of Grad-CAM, stay as
    they are.

    Parameters
    ----------
    expl : Explanation
    target : TargetExplanation

    Returns
    -------
    Scaled

    Raises
    ------
    TypeError, ValueError
        If the map can't be drawn.

    Examples
    --------
    >>> rise = TargetExplanation("cat", heatmap=np.array([[0.75, 1.0]]))
    >>> scale(Explanation("net", method="RISE", layer="conv"), rise)
    Scaled(heatmap=array([[0., 1.]]), note='shown from 0.75 to 1 of its maximum', ...)
    """
    heatmap = np.asarray(drawable_heatmap(target), np.float64)
    low, high = float(heatmap.min()), float(heatmap.max())
    if high == 0:
        return Scaled(heatmap, "no evidence: the map is blank")
    if low == high:
        return Scaled(heatmap, "the same everywhere: the map shows no place")
    if expl.method == "Grad-CAM":
        return Scaled(heatmap)
    low = low if low >= FLAT * high else 0.0
    percentile = float(np.percentile(heatmap, PERCENTILE))
    is_sparse = is_fine(expl, target) and low < percentile < high
    top = percentile if is_sparse else high
    note = ""
    if low > 0:
        note = f"shown from {low / high:.2g} to {top / high:.2g} of its maximum"
    elif is_sparse:
        note = f"scaled by its {PERCENTILE}th percentile"
    shown = np.clip((heatmap - low) / (top - low), 0, 1)
    return Scaled(shown, note, low / high, top / high)


def scale_alike(targets: Sequence[TargetExplanation]) -> list[Scaled]:
    """Scale maps by one maximum, so that they can be compared.

    Parameters
    ----------
    targets : sequence of TargetExplanation
        With raw maps.

    Returns
    -------
    list of Scaled

    Raises
    ------
    ValueError
        If a raw map is missing.

    Examples
    --------
    >>> faint = TargetExplanation("dog", attribution=np.array([[0.0, 1.0]]))
    >>> clear = TargetExplanation("cat", attribution=np.array([[-1.0, 4.0]]))
    >>> [each.heatmap.tolist() for each in scale_alike([faint, clear])]
    [[[0.0, 0.25]], [[0.0, 1.0]]]
    """
    positive = []
    for target in targets:
        if target.attribution is None:
            raise ValueError(
                f"target {target.target!r} must have a raw map to be shown on the scale of others. "
                "Received: attribution None"
            )
        raw = np.asarray(target.attribution, np.float64)
        positive.append(np.maximum(np.nan_to_num(raw, nan=0.0, posinf=0.0, neginf=0.0), 0))
    highest = max(float(raw.max()) for raw in positive)
    note = "all maps on one scale"
    return [
        Scaled(
            raw / highest if highest else raw,
            note if raw.any() else "no evidence: the map is blank",
        )
        for raw in positive
    ]
