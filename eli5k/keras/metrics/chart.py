"""Draw a ranking as bars."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

WIDTH, HEIGHT, EDGES = 6.0, 0.28, 0.8  # inches: of all, of a bar, above and below
COLOUR = "#2166ac"


def draw_ranking(ranks: Sequence[tuple[str, float, float]]) -> bytes:
    """Draw agreements as bars, and write what share of the maps is supported beside them.

    Parameters
    ----------
    ranks : sequence of (str, float, float)
        Name, agreement and share of each, the best first.

    Returns
    -------
    bytes
        A PNG.

    Examples
    --------
    >>> draw_ranking([("grad-cam", 0.85, 1.0), ("gradient", 0.42, 0.25)])[1:4]
    b'PNG'
    """
    # Without pyplot, which would open windows and keep the figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names, agreements, shares = zip(*ranks) if ranks else ((), (), ())
    figure = Figure(figsize=(WIDTH, EDGES + HEIGHT * len(ranks)), layout="constrained")
    axes = figure.add_subplot()
    axes.barh(range(len(ranks)), np.nan_to_num(agreements), color=COLOUR, height=0.7)
    axes.set_yticks(range(len(ranks)), names)
    axes.invert_yaxis()
    axes.set_xlim(min(0.0, *np.nan_to_num(agreements)) if ranks else 0.0, 1.0)
    axes.set_xlabel("agreement with the model; share of maps that are supported")
    beside = axes.twinx()
    beside.set_ylim(axes.get_ylim())
    beside.set_yticks(range(len(ranks)), [f"{100 * share:.0f} %" for share in shares])
    for each in (axes, beside):
        each.spines[["top", "right", "left"]].set_visible(False)
        each.tick_params(axis="y", length=0)
    written = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(written, format="png")
    return written.getvalue()
