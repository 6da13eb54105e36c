"""Draw a ranking as bars."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Inches, dots an inch, and the colours of supported and of other maps: told apart by everybody.
WIDE, ROW, AROUND, DPI = 7.0, 0.34, 0.9, 100
SUPPORTED, OTHER = "#0b57d0", "#c4c7cf"


def bars_of(
    names: Sequence[str],
    agreement: Sequence[float],
    supported: Sequence[float],
    seconds: Sequence[float],
) -> Figure:
    """Draw each name's agreement as a bar, coloured if supported.

    Parameters
    ----------
    names, agreement, supported, seconds : sequence
        As in :class:`~eli5k.keras.metrics.Rank`, the best first.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> figure = bars_of(["grad-cam"], [0.8], [0.5], [0.01])
    >>> [float(bar.get_width()) for bar in figure.axes[0].patches]
    [0.8, 0.4]
    """
    from matplotlib.figure import Figure

    lengths = [0.0 if math.isnan(each) else each for each in agreement]
    places = range(len(names))
    figure = Figure((WIDE, AROUND + ROW * len(names)), DPI, layout="constrained", facecolor="white")
    axes = figure.subplots()
    axes.barh(places, lengths, color=OTHER, label="maps that are not supported")
    shares = [length * share for length, share in zip(lengths, supported)]
    axes.barh(places, shares, color=SUPPORTED, label="maps that a check calls supported")
    for place, length, each in zip(places, lengths, seconds):
        axes.text(max(length, 0), place, f" {1000 * each:.3g} ms", va="center", fontsize=8)
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_xlim(min(0.0, *lengths), 1.15)
    axes.set_xlabel("agreement of the maps with the model, from -1 to 1")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return figure


def png_of(figure: Figure) -> bytes:
    """Return a figure as a file in PNG format.

    Examples
    --------
    >>> png_of(bars_of(["grad-cam"], [0.8], [1.0], [0.01]))[1:4]
    b'PNG'
    """
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
