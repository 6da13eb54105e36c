"""Find where a layer's cells look, to draw the map there.

Layers that arithmetic can't follow are measured: noise goes in, and the gradient of a few cells
with respect to the picture shows what each of them sees most. An affine map from cells to places is
the frame of the layer's map. If none fits, the layer has no map of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any, NamedTuple

import keras
import numpy as np

from eli5k.keras.model.memory import remember
from eli5k.keras.model.receptive import SINGLE
from eli5k.keras.model.sight import Sight, look
from eli5k.keras.model.structure import Call
from eli5k.keras.model.survey import Survey
from eli5k.keras.model.view import View, readings_of

# How far off a cell may be: a share of its size, or off the picture's axes.
LOOSE, SKEW = 0.5, 0.3
# Cells of less than this share of the map count as that large; errors that close count as equal.
FINE, NEAR = 0.06, 0.1
# A map of less than this share of the picture, or of more than its inverse, is no map. Nor are
# cells of less than this share of a pixel: attention heads, for example, all see the same.
SMALLEST, PIXEL = 0.05, 0.9
MAP_RANK = 3


def view_of(model: keras.Model, survey: Survey, inputs: Any, call: Call) -> View:
    """Find out how to read a layer's output as a map.

    If arithmetic can follow the layer, this costs nothing. Otherwise it takes one forward and
    backward pass of a small batch, and the result is remembered.

    Parameters
    ----------
    model : keras.Model
    survey : Survey
    inputs : array, or list or dict of arrays
        Only their shapes and dtypes matter.
    call : Call
        One of the survey's, with one tensor as output.

    Returns
    -------
    View
        With its ``problem`` set if there is none.
    """
    assert call.shape is not None
    known = _followed(survey, call)
    if known is not None:
        return known
    key = ("view", call.path, call.number, survey.image_index, survey.input_shapes)
    view: View = remember(
        model, key, survey.structure, lambda: _measured(model, survey, inputs, call)
    )
    return view


def _followed(survey: Survey, call: Call) -> View | None:
    """Return what arithmetic tells, if it does."""
    place, shape = call.place, call.shape
    assert shape is not None
    if place is None:
        return None
    axes = tuple(range(len(survey.picture_grid)))
    view = View(axes, channel_axis=1 if survey.channels_first else -1)
    if place == SINGLE:
        return replace(view, problem="each of its cells sees the whole picture")
    if place.input != survey.image_index:
        return replace(view, problem=f"it looks at another input, number {place.input}")
    low, high = place.frame(view.grid(shape), survey.picture_grid)
    return _in_frame(view, shape, low, high, [0.0] * len(axes))


def _measured(model: keras.Model, survey: Survey, inputs: Any, call: Call) -> View:
    shape, axes = call.shape, len(survey.picture_grid)
    assert shape is not None
    wrong: list[View] = []
    # A converted model may hold channels first in spite of its setting.
    for channel_axis in (1, -1) if survey.channels_first else (-1, 1):
        readings = readings_of(shape, channel_axis, axes)
        if len(shape) < MAP_RANK or not readings:
            continue
        sight = look(model, survey, inputs, call, channel_axis)
        if sight is None:
            return _squarest(readings, shape, survey.picture_grid)
        view = best_of([fit(each, shape, sight) for each in readings])
        if view.problem is None:
            return view
        wrong.append(view)
    # If neither fits, a layer that the user named is read in the model's own format.
    return wrong[0] if wrong else View(tuple(range(axes)), problem="its output has no grid")


def _squarest(readings: list[View], shape: Sequence[int], picture: Sequence[int]) -> View:
    """Guess if nothing can be measured, as without gradients.

    A model that takes whole numbers has no gradient.
    """

    def stretch(view: View) -> float:
        sides = [size / cells for size, cells in zip(picture, view.grid(shape))]
        return max(sides) / min(sides)

    return min(readings, key=stretch)


class Fit(NamedTuple):
    """How well a view fits.

    Attributes
    ----------
    view : View
    error : float
        How far the cells look from where its frame puts them, in cells.
    shift : float
        How far the ends of its frame are from those of the picture, as a share of it.
    """

    view: View
    error: float
    shift: float = np.inf


def best_of(fits: list[Fit]) -> View:
    """Choose the reading that fits best, then the one that covers most.

    A grid without its first row, or with tokens of another kind as its first row, fits as well.
    """
    fitting = [each for each in fits if each.view.problem is None]
    full = [each for each in fitting if None not in each.view.axes]
    least = min(each.error for each in full or fitting or fits)
    near = [each for each in full or fitting or fits if each.error <= least + NEAR]
    return min(near, key=lambda each: each.shift).view


def fit(view: View, shape: Sequence[int], sight: Sight) -> Fit:
    """Fit the frame of a view to where a few cells look.

    Parameters
    ----------
    view : View
        A reading of the output, not yet placed.
    shape : sequence of int
        Shape of the output.
    sight : Sight

    Returns
    -------
    Fit
        Its view is turned and framed, or tells its problem.

    Examples
    --------
    >>> centres = np.array([[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]])
    >>> fit(View((0, 1)), (1, 2, 2, 8), Sight(np.arange(4), centres[:, ::-1], (9, 9))).view.axes
    (1, 0)
    """
    if sight.others and not np.isfinite(sight.centres).any():
        other = f"it looks at another input, number {sight.others[0]}"
        return Fit(replace(view, problem=other), np.inf)
    own = view.own_grid(shape)
    view = replace(view, is_shared=bool(sight.others))
    long = [axis for axis, n in enumerate(own) if n > 1]
    where, centres = _coordinates(view, shape, sight)
    if len(where) <= len(long):
        return Fit(replace(view, problem="its cells do not see the picture"), np.inf)
    shares = (where[:, long] + 0.5) / np.array(own)[long]
    design = np.column_stack([shares, np.ones(len(shares))])
    inverse = np.linalg.pinv(design)
    solved = inverse @ centres  # (long axes + 1, picture axes)
    slopes, starts = solved[:-1], solved[-1]
    off = np.sqrt(np.mean((design @ solved - centres) ** 2, axis=0))
    along = _matched(slopes)
    error = _error(slopes, off, along, np.array(own)[long], sight.sizes)
    left = len(long) - sum(axis is not None for axis in along)
    if (left and centres.shape[1] > 1) or error > LOOSE:
        how = f" (off by {off.max():.2f} of its size)" if np.isfinite(error) else ""
        return Fit(replace(view, problem=f"no grid fits where its cells look{how}"), error)
    axes = tuple(None if axis is None else long[axis] for axis in along)
    ends = [
        (0.0, 1.0) if axis is None else (start, start + slopes[axis, column])
        for column, (axis, start) in enumerate(zip(along, starts))
    ]
    # The end of a fitted line has twice its error, and no peak is exact below a pixel.
    doubt = 2 * off * np.abs(inverse[-1]).max() + 1 / np.array(sight.sizes)
    if left:  # A spectrogram: its frequencies lie along no axis of the signal, and come last.
        rest = tuple(axis for axis in range(len(own)) if axis not in axes)
        axes, ends = axes + rest, ends + [(0.0, 1.0)] * len(rest)
        doubt = np.pad(doubt, (0, len(rest)))
    low, high = zip(*((float(a), float(b)) for a, b in ends))
    shift = max(max(abs(min(pair)), abs(max(pair) - 1)) for pair in ends)
    return Fit(_in_frame(replace(view, axes=axes), shape, low, high, doubt), error, float(shift))


def _coordinates(view: View, shape: Sequence[int], sight: Sight) -> tuple[np.ndarray, np.ndarray]:
    """Return row and column of cells that look somewhere, and where."""
    own = view.own_grid(shape)
    cells = prod(own)
    total = shape[2 if view.channel_axis == 1 else 1] if view.tokens else cells
    numbers = sight.positions - (total - cells)
    usable = (numbers >= 0) & np.isfinite(sight.centres).all(axis=1)
    return np.stack(np.unravel_index(numbers[usable], own), axis=1), sight.centres[usable]


def _error(
    slopes: np.ndarray,
    off: np.ndarray,
    along: Sequence[int | None],
    cells: np.ndarray,
    sizes: Sequence[int],
) -> float:
    """Return the largest error of the fit, in cells."""
    worst = 0.0
    for column, axis in enumerate(along):
        if axis is None:
            continue
        span = abs(slopes[axis, column])
        is_point = span * sizes[column] < PIXEL * cells[axis]
        if is_point or not SMALLEST <= span <= 1 / SMALLEST:
            return np.inf
        skew = np.delete(np.abs(slopes[:, column]), axis).max(initial=0) / span
        error = off[column] / (span * max(1 / cells[axis], FINE))
        worst = max(worst, float(error), float(skew) * LOOSE / SKEW)
    return worst


def _matched(slopes: np.ndarray) -> list[int | None]:
    """Choose for each picture axis the grid axis that follows it best."""
    left = np.abs(slopes)
    along: list[int | None] = [None] * left.shape[1]
    for _ in range(min(left.shape)):
        axis, picture_axis = np.unravel_index(left.argmax(), left.shape)
        along[picture_axis] = int(axis)
        left[axis], left[:, picture_axis] = -1, -1
    return along


def _in_frame(
    view: View,
    shape: Sequence[int],
    low: Sequence[float],
    high: Sequence[float],
    doubt: Sequence[float],
) -> View:
    """Let a map cover an axis if true within a cell."""
    flipped = tuple(b < a for a, b in zip(low, high))
    view = replace(view, flipped=flipped if any(flipped) else ())
    sides = [(min(a, b), max(a, b)) for a, b in zip(low, high)]
    cells = zip(sides, view.grid(shape), doubt)
    sides = [
        (0.0, 1.0) if max(abs(a), abs(b - 1)) <= (b - a) / n * (1 + 1e-6) + unsure else (a, b)
        for (a, b), n, unsure in cells
    ]
    if any(b <= 0 or a >= 1 for a, b in sides):
        return replace(view, problem="its cells look beyond the picture")
    is_whole = all(side == (0, 1) for side in sides)
    frame = (tuple(a for a, _ in sides), tuple(b for _, b in sides))
    return view if is_whole else replace(view, frame=frame)
