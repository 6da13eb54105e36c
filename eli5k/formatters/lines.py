"""Draw signals as lines, with their heat as bands behind them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from eli5k.formatters.styles import Heat, Style
from eli5k.maps import bounds_of

# Pixels: a picture, its margins (left, top, right, bottom), the height of one line or of each of
# several, and that of frequencies below the lines; letters in points, read on a phone too.
WIDTH, DPI, LETTERS = 640, 100, 14
MARGINS = (88, 10, 28, 62)
ALONE, TALLEST, LOWEST, FREQUENCIES = 200, 56, 13, 120
# How much of its row a line takes, and how many rows have a number each.
AMPLITUDE, NUMBERED = 0.84, 16
# On a darker background than this, ink is white.
DARK = 110


def draw_lines(values: np.ndarray, style: Style, heat: Heat | None = None) -> Image.Image:
    """Draw a signal, or an array's rows, as lines over time.

    Parameters
    ----------
    values : numpy.ndarray
        ``(length,)`` or ``(length, rows)``. Several rows are scaled each by its own range.
    style : callable
        Lays the heat over paper, as over a photograph.
    heat : Heat or None
        Its map is ``(length,)``, the same for all rows; ``(rows, length)`` in a picture's order if
        each row has its own; or ``(length, frequencies)``, drawn below the lines as well. None
        draws the lines alone.

    Returns
    -------
    PIL.Image.Image
        In mode RGBA, 640 pixels wide.

    Examples
    --------
    >>> from eli5k.formatters.styles import find_style
    >>> beat = np.sin(np.arange(100) / 5)
    >>> draw_lines(beat, find_style("overlay"), Heat(np.eye(1, 100)[0])).size
    (640, 272)
    """
    values = np.asarray(values, np.float64)
    rows = values[:, np.newaxis] if values.ndim == 1 else values
    count = rows.shape[1]
    high = ALONE if count == 1 else count * max(LOWEST, min(TALLEST, 2 * ALONE // count))
    is_spectral = heat is not None and heat.heatmap.ndim == 2 and not heat.of_rows
    height = high + (FREQUENCIES + MARGINS[1] if is_spectral else 0)
    figure, add_axes = _figure(height)
    lines = add_axes(0, high)
    ink = _paint(lines, style, None if heat is None else row_behind(heat), len(rows), high)
    _draw_rows(lines, rows, ink)
    if is_spectral and heat is not None:
        lines.set_xticklabels([])
        below = add_axes(high + MARGINS[1], FREQUENCIES)
        _paint(below, style, _upright(heat), len(rows), FREQUENCIES)
        below.set_yticks([])
        below.set_ylabel("frequency", fontsize=LETTERS)
        lines = below
    lines.set_xlabel("step", fontsize=LETTERS)
    figure.canvas.draw()
    return Image.fromarray(np.asarray(figure.canvas.buffer_rgba()).copy())


def _figure(height: int) -> tuple[Any, Callable[[int, int], Any]]:
    """Return a figure, and a function that adds axes from the top."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    left, top, right, bottom = MARGINS
    whole = height + top + bottom
    figure = Figure(figsize=(WIDTH / DPI, whole / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)

    def add_axes(start: int, high: int) -> Any:
        box = (left / WIDTH, 1 - (top + start + high) / whole)
        axes = figure.add_axes((*box, (WIDTH - left - right) / WIDTH, high / whole))
        axes.tick_params(labelsize=LETTERS)
        return axes

    return figure, add_axes


def _paint(axes: Any, style: Style, heat: Heat | None, length: int, high: int) -> str:
    """Draw the heat into axes; return the colour of ink for it."""
    axes.set_xlim(0, length)
    if heat is None:
        return "black"
    paper = Image.new("RGB", (WIDTH - MARGINS[0] - MARGINS[2], high), "white")
    painted = style(paper, heat).convert("RGB")
    low, top = axes.get_ylim()
    axes.imshow(np.asarray(painted), extent=(0, length, low, top), aspect="auto", zorder=0)
    return "white" if np.asarray(painted.convert("L")).mean() < DARK else "black"


def row_behind(heat: Heat) -> Heat:
    """Return a signal's heat as a picture's map.

    It has one row for all lines, or one for each.

    Examples
    --------
    >>> row_behind(Heat(np.array([0.0, 1.0]), frame=(0.0, 0.5))).frame
    (0.0, 0.0, 0.5, 1.0)
    """
    if heat.of_rows:
        return heat
    bounds = bounds_of(heat.frame, heat.heatmap.ndim)
    start, stop = (0.0, 1.0) if bounds is None else (bounds[0][0], bounds[1][0])

    def flat(values: np.ndarray | None) -> np.ndarray | None:
        if values is None:
            return None
        # The most important of many frequencies.
        rows = values.reshape(len(values), -1)
        most = np.abs(np.nan_to_num(rows)).argmax(axis=1)
        return rows[np.arange(len(rows)), most][np.newaxis]

    heatmap = flat(heat.heatmap)
    assert heatmap is not None
    attribution = flat(heat.attribution)
    return replace(heat, heatmap=heatmap, attribution=attribution, frame=(start, 0.0, stop, 1.0))


def _upright(heat: Heat) -> Heat:
    """Turn a map: time runs across, low frequencies are at the bottom."""
    bounds = bounds_of(heat.frame, 2)
    start, stop = (0.0, 1.0) if bounds is None else (bounds[0][0], bounds[1][0])
    attribution = None if heat.attribution is None else heat.attribution.T[::-1]
    frame = (start, 0.0, stop, 1.0)
    return replace(heat, heatmap=heat.heatmap.T[::-1], attribution=attribution, frame=frame)


def _draw_rows(axes: Any, rows: np.ndarray, ink: str) -> None:
    """Draw each row around its own middle, the first one on top."""
    count = rows.shape[1]
    axes.set_ylim(count, 0)
    for image in axes.images:
        image.set_extent((0, len(rows), count, 0))
    for number in range(count):
        where, values, low, high = _scaled(rows[:, number])
        axes.plot(where, number + 0.5 - AMPLITUDE * values, color=ink, linewidth=1, zorder=2)
        if count == 1:
            ticks = [0.5 + AMPLITUDE / 2, 0.5 - AMPLITUDE / 2]
            axes.set_yticks(ticks, [f"{low:.3g}", f"{high:.3g}"])
    if count > 1:
        numbers = range(0, count, 1 if count <= NUMBERED else 8)
        axes.set_yticks([number + 0.5 for number in numbers], list(map(str, numbers)))
        axes.set_ylabel("channel", fontsize=LETTERS)


def _scaled(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Return a line's places, its values in [-1/2, 1/2], and their range."""
    where, values = _envelope(values)
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    values = (values - (low + high) / 2) / ((high - low) or 1.0)
    return where, np.where(np.isfinite(values), values, np.nan), float(low), float(high)


def _envelope(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keep the lowest and highest of the values within each pixel."""
    where = np.arange(len(values)) + 0.5
    if len(values) <= 4 * WIDTH:
        return where, values
    starts = np.linspace(0, len(values), WIDTH, endpoint=False).astype(int)
    both = [function.reduceat(values, starts) for function in (np.minimum, np.maximum)]
    return np.repeat(where[starts], 2), np.stack(both, axis=1).ravel()
