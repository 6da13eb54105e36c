"""Verdict on a map, in a word and a sentence."""

from __future__ import annotations

import numpy as np

from eli5k.keras.metrics.agreement import Agreement, is_flat
from eli5k.keras.metrics.places import place_of

SUPPORTED, CONTRADICTED = "supported", "contradicted"
NOT_SHOWN, UNTESTABLE = "not shown", "untestable"
# Set on some families of the benchmark, reported on others: see docs/trust.rst.
CHANCE = 0.05  # share of copies
LEAST = 0.6  # agreement
LEAST_OF_ATTAINABLE = 0.75  # share of the agreement that a map can have
CHANCE_AGAINST = 0.04
LEAST_AGAINST = 0.5
# The picture must raise the score by this many standard deviations of the halves' scores.
LEAST_GAIN = 1.0
# Less than this share of the largest score is rounding, not a gain.
ROUNDING = 1e-5


def verdict_on(found: Agreement, scores: tuple[np.ndarray, np.ndarray], gain: float) -> str:
    """Judge a map.

    Parameters
    ----------
    found : Agreement
    scores : tuple of numpy.ndarray
        ``(pairs,)`` each: the scores of the first and second halves.
    gain : float
        What the picture's score has more than the blurred picture's.

    Returns
    -------
    str
        ``"supported"``, ``"contradicted"``, ``"not shown"`` or ``"untestable"``.

    Examples
    --------
    >>> scores = np.array([5.0, 1.0]), np.array([1.0, 5.0])
    >>> verdict_on(Agreement(0.8, 0.01, 0.99, 500), scores, gain=7.0)
    'supported'
    """
    if not is_testable(found, scores, gain):
        return UNTESTABLE
    if found.value >= _least(found) and found.p_value <= CHANCE:
        return SUPPORTED
    if found.value <= -LEAST_AGAINST and found.p_against <= CHANCE_AGAINST:
        return CONTRADICTED
    return NOT_SHOWN


def _least(found: Agreement) -> float:
    return max(LEAST, LEAST_OF_ATTAINABLE * found.attainable)


def is_testable(found: Agreement, scores: tuple[np.ndarray, np.ndarray], gain: float) -> bool:
    """Tell whether the map varies and the picture raises the score."""
    if not (np.isfinite(scores).all() and np.isfinite(found.value) and found.copies):
        return False
    halves = np.concatenate(scores)
    return bool(gain > max(LEAST_GAIN * halves.std(), ROUNDING * np.abs(halves).max()))


def sentence_on(
    verdict: str,
    found: Agreement,
    on_grid: np.ndarray,
    important: tuple[float, float],
    ends: tuple[float, float],
    peak: str | None = None,
) -> str:
    """Say why, in scores and places.

    Parameters
    ----------
    verdict : str
    found : Agreement
    on_grid : numpy.ndarray
        ``(*cells)``: the map.
    important : tuple of float
        Mean scores of the halves that the map calls important, and of the others.
    ends : tuple of float
        Scores of the picture and of the blurred picture.
    peak : str or None
        Where the map has its peak, if not where ``on_grid`` has it.

    Examples
    --------
    >>> found = Agreement(0.8, 0.003, 0.99, 500)
    >>> sentence_on("supported", found, np.eye(3)[:1], (7.92, 1.24), (9.0, 0.5))
    'The map peaks at the left. Keeping the half of the picture that it calls important gives 7.92
    on average, the other half 1.24; the map moved elsewhere does as well in 0.3 % of the cases.'
    """
    plain, blurred = ends
    if verdict == UNTESTABLE:
        if not (np.isfinite(ends).all() and np.isfinite(on_grid).all()):
            return "The map or the score is not finite, so there is nothing to test."
        if is_flat(on_grid):
            return "The map is flat: it calls no place more important than another."
        if np.isfinite(found.value) and not found.copies:
            return "The map looks much the same wherever it is moved, so chance can't be told."
        return (
            f"The picture's score, {plain:.3g}, is not clearly above that of the blurred picture, "
            f"{blurred:.3g}: there is too little evidence in the picture to test a map with."
        )
    kept, other = important
    start = (
        f"The map peaks {peak or place_of(on_grid)}. Keeping the half of the "
        f"picture that it calls important gives {kept:.3g} on average, the other half {other:.3g}"
    )
    if verdict == CONTRADICTED:
        return (
            f"{start}: the map shows what counts against this score, or belongs to another target."
        )
    percent = f"{100 * found.p_value:.2g}" if found.p_value >= 0.001 else "less than 0.1"
    share = f"the map moved elsewhere does as well in {percent} % of the cases"
    if verdict == SUPPORTED:
        return f"{start}; {share}."
    if found.p_value <= CHANCE:
        return (
            f"{start}; {share}, but it agrees with the model to {found.value:.2f} only, and "
            f"{_least(found):.2f} is needed."
        )
    return f"{start}; {share}, so these runs don't show that the map is better than chance."
