"""Scale maps for captioned pictures, and describe the scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from eli5k.base import Explanation, TargetExplanation
from eli5k.formatters.heatmap import drawable_heatmap

# A map that never falls below this share of its maximum hardly varies.
FLAT = 0.5
PERCENTILE = 99
BY_PERCENTILE = f"scaled by its {PERCENTILE}th percentile"
BLANK = "no evidence: the map is blank"
# A map with at least this many rows and columns shows pixels, not a layer's cells.
FINE = 64


@dataclass(frozen=True)
class Scaled:
    """A map as it is shown.

    Attributes
    ----------
    heatmap : numpy.ndarray
        ``(*grid)``, in [0, 1].
    note : str
        How it was scaled, or why nothing is seen; empty for eli5's scaling by the maximum.
    low, high : float
        The values of the map that are shown as 0 and as 1.
    unit : float
        The raw value that 1 in the map stands for; 1 if there is no raw map.

    Examples
    --------
    >>> Scaled(np.zeros((7, 7)), "no evidence").low
    0.0
    """

    heatmap: np.ndarray
    note: str = ""
    low: float = 0.0
    high: float = 1.0
    unit: float = 1.0


def is_fine(expl: Explanation, target: TargetExplanation) -> bool:
    """Tell whether a few of a map's pixels outshine all others.

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
    heatmap = drawable_heatmap(target, expl.kind)
    return expl.layer is None or (expl.kind is None and min(heatmap.shape) >= FINE)


def as_it_is(target: TargetExplanation, kind: str | None = None) -> Scaled:
    """Leave a map as eli5 scales it: by its maximum.

    Parameters
    ----------
    target : TargetExplanation
    kind : str or None
        What the document is, as in :class:`~eli5k.Explanation`.

    Returns
    -------
    Scaled

    Raises
    ------
    TypeError, ValueError
        If the map can't be drawn.

    Examples
    --------
    >>> raw = np.array([[-1.0, 3.0]])
    >>> as_it_is(TargetExplanation("cat", heatmap=np.array([[0.0, 1.0]]), attribution=raw)).unit
    3.0
    """
    heatmap = drawable_heatmap(target, kind)
    highest = float(heatmap.max())
    if highest == 0 or target.attribution is None:
        return Scaled(heatmap)
    return Scaled(heatmap, unit=float(_positive(target.attribution).max()) / highest)


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
    same = as_it_is(target, expl.kind)
    heatmap = np.asarray(same.heatmap, np.float64)
    low, high = float(heatmap.min()), float(heatmap.max())
    if high == 0:
        return replace(same, note=BLANK)
    if low == high:
        return replace(same, note="the same everywhere: the map shows no place")
    low = low if low >= FLAT * high else 0.0
    percentile = float(np.percentile(heatmap, PERCENTILE))
    is_sparse = is_fine(expl, target) and low < percentile < high
    if expl.method == "Grad-CAM" or not (low or is_sparse):
        return same
    top = percentile if is_sparse else high
    note = BY_PERCENTILE
    if low:
        note = f"shown from {low / high:.2g} to {top / high:.2g} of its maximum"
    shown = np.clip((heatmap - low) / (top - low), 0, 1)
    return replace(same, heatmap=shown, note=note, low=low, high=top)


def _positive(attribution: np.ndarray) -> np.ndarray:
    raw = np.asarray(attribution, np.float64)
    return np.maximum(np.nan_to_num(raw, nan=0.0, posinf=0.0, neginf=0.0), 0)


def highest_signed(expl: Explanation, target: TargetExplanation) -> float | None:
    """Return the magnitude at which a signed map has its full colours.

    Parameters
    ----------
    expl : Explanation
    target : TargetExplanation

    Returns
    -------
    float or None
        The 99th percentile of a map of pixels, the maximum of any other; None without a raw map.

    Examples
    --------
    >>> raw = np.array([[-3.0, 1.0]])
    >>> target = TargetExplanation("cat", heatmap=np.ones((1, 2)), attribution=raw)
    >>> highest_signed(Explanation("net", layer="conv"), target)
    3.0
    """
    if target.attribution is None:
        return None
    strength = np.abs(np.nan_to_num(np.asarray(target.attribution, np.float64), posinf=0, neginf=0))
    percentile = float(np.percentile(strength, PERCENTILE)) if is_fine(expl, target) else 0.0
    return percentile or float(strength.max())


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
        positive.append(_positive(target.attribution))
    highest = max(float(raw.max()) for raw in positive)
    notes = ["all maps on one scale" if raw.any() else BLANK for raw in positive]
    unit = highest or 1.0
    return [Scaled(raw / unit, note, unit=unit) for raw, note in zip(positive, notes)]
