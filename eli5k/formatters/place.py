"""Say in words where a map is hot."""

from __future__ import annotations

import numpy as np

from eli5k.base import WHOLE, Explanation, TargetExplanation
from eli5k.formatters.drawing import SLICES
from eli5k.formatters.frame import Frame, place_of_cell
from eli5k.maps import bounds_of, frame_of, over_picture

# A map is hot above this share of its maximum.
HOT = 0.5
BLANK = "the map is blank"


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
        return BLANK
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


def place_in(expl: Explanation, target: TargetExplanation) -> str:
    """Describe where a target's map is hot, in the document's units.

    Steps, tokens, slices and frames are counted from 0.

    Parameters
    ----------
    expl : Explanation
    target : TargetExplanation

    Returns
    -------
    str

    Examples
    --------
    >>> heatmap = np.array([0.0, 0.0, 1.0, 0.0])
    >>> target = TargetExplanation("beat", heatmap=heatmap, size=(400,))
    >>> place_in(Explanation("net", kind="signal"), target)
    'hottest from step 200 to 300 of 400'
    >>> bad = TargetExplanation("bad", heatmap=heatmap, size=(4,))
    >>> place_in(Explanation("net", kind="text", tokens=["so", "very", "dull", "."]), bad)
    "hottest at 'dull', token 2 of 0 to 3"
    >>> cube = TargetExplanation("lump", heatmap=np.eye(1, 64).reshape(4, 4, 4), size=(8, 9, 9))
    >>> place_in(Explanation("net", kind="volume"), cube)
    'hottest in slices 0 to 1 of 0 to 7, top left, 12% across and 12% down'
    """
    heatmap = target.heatmap
    if expl.kind is None or target.size is None or heatmap is None or not np.max(heatmap) > 0:
        return place_of_heat(heatmap, expl.frame)
    hottest = _hottest(target, heatmap)
    start, stop = _run_around(_along(target, heatmap), hottest)
    if expl.kind in SLICES:
        word, last = SLICES[expl.kind], target.size[0] - 1
        slices = f"{word} {start}" if stop - start == 1 else f"{word}s {start} to {stop - 1}"
        return f"hottest in {slices} of 0 to {last}, {_in_slice(target, heatmap)}"
    if expl.kind == "text":
        word = "" if expl.tokens is None else f"{expl.tokens[hottest]!r}, "
        return f"hottest at {word}token {hottest} of 0 to {target.size[0] - 1}"
    return f"hottest from step {start} to {stop} of {target.size[0]}"


def _bounds_along(target: TargetExplanation, axes: int) -> tuple[float, float]:
    """Return a map's span along the document's first axis."""
    bounds = bounds_of(target.frame, axes)
    return (0.0, 1.0) if bounds is None else (bounds[0][0], bounds[1][0])


def _hottest(target: TargetExplanation, heatmap: np.ndarray) -> int:
    """Return the hottest cell's place along the first axis."""
    assert target.size is not None
    low, high = _bounds_along(target, heatmap.ndim)
    cell = int(np.unravel_index(int(np.argmax(heatmap)), heatmap.shape)[0])
    place = int((low + (high - low) * (cell + 0.5) / len(heatmap)) * target.size[0])
    return min(max(place, 0), target.size[0] - 1)


def _along(target: TargetExplanation, heatmap: np.ndarray) -> np.ndarray:
    """Return the largest heat at each place along the first axis."""
    assert target.size is not None
    low, high = _bounds_along(target, heatmap.ndim)
    most = np.asarray(heatmap, np.float64).reshape(len(heatmap), -1).max(axis=1)
    return over_picture(most, target.size[:1], ((low,), (high,)))


def _in_slice(target: TargetExplanation, heatmap: np.ndarray) -> str:
    """Describe the place of the hottest cell in its slice."""
    own = heatmap[np.unravel_index(int(np.argmax(heatmap)), heatmap.shape)[0]]
    bounds = bounds_of(target.frame, 3)
    frame = frame_of(bounds and (bounds[0][1:], bounds[1][1:]), 2)
    return place_of_heat(own, frame).removeprefix("hottest ")


def _run_around(values: np.ndarray, hottest: int) -> tuple[int, int]:
    """Return where the hot run around the hottest place begins and ends."""
    cold = np.flatnonzero(~(values >= HOT * values[hottest]))
    before, after = cold[cold < hottest], cold[cold > hottest]
    return int(before.max(initial=-1)) + 1, int(after.min(initial=len(values)))
