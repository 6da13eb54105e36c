"""Draw a check's curve: scores without the hottest parts of the picture."""

from __future__ import annotations

from html import escape

import numpy as np

from eli5k.base import Check

WIDTH, HEIGHT, BORDER = 160, 48, 2  # pixels


def curve_of(check: Check) -> str:
    """Return a small picture of a check's curve, with its description.

    Parameters
    ----------
    check : Check

    Returns
    -------
    str
        HTML; empty if the check has no curve.

    Examples
    --------
    >>> curve_of(Check("untestable", "The map is flat."))
    ''
    >>> check = Check("supported", "Right.", score=9.0, shares=(0.1, 0.4), dropped=(4.0, 1.0))
    >>> check.dropped_elsewhere = (8.5, 7.0)
    >>> curve_of(check)
    '<svg ...<polyline points="0,0 40,30 160,48" .../>...<small>...: 1 instead of 9...</small>'
    """
    scores = [(check.score, *values) for values in (check.dropped, check.dropped_elsewhere)]
    if not check.shares or not np.isfinite(scores).all():
        return ""
    low, high = np.min(scores), np.max(scores)
    across = [WIDTH * share / check.shares[-1] for share in (0.0, *check.shares)]
    down = [[HEIGHT * (high - value) / ((high - low) or 1) for value in line] for line in scores]
    drawn = "".join(
        f'<polyline points="{_points(across, line)}" fill="none" stroke="currentColor"{dashes}/>'
        for line, dashes in zip(down, ("", ' stroke-dasharray="3 3"'))
    )
    told = (
        f"Score with the hottest {100 * check.shares[-1]:.0f} % blurred: {check.dropped[-1]:.3g} "
        f"instead of {check.score:.3g}; with a random part as large (dashed): "
        f"{check.dropped_elsewhere[-1]:.3g}."
    )
    box = f"{-BORDER} {-BORDER} {WIDTH + 2 * BORDER} {HEIGHT + 2 * BORDER}"
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="{box}" aria-hidden="true" '
        f'style="display: block; margin: 0.3em 0;">{drawn}</svg><small>{escape(told)}</small>'
    )


def _points(across: list[float], down: list[float]) -> str:
    return " ".join(f"{x:.0f},{y:.0f}" for x, y in zip(across, down))
