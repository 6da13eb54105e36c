"""Find the hot connected regions of a map, as boxes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from PIL import Image

from eli5k.base import WHOLE, Explanation, TargetExplanation
from eli5k.formatters.frame import Frame
from eli5k.formatters.heatmap import drawable_heatmap
from eli5k.maps import bounds_of, frame_of, resize

# Cells along a side: a map is gathered into at most so many blocks, and these are enlarged to about
# the second number, so that a box is no coarser than what is seen.
COARSEST, FINEST = 32, 64
# The same for other numbers of axes.
SIDES = {1: (256, 512), 3: (16, 32)}


@dataclass(frozen=True)
class HotRegion:
    """A connected region of hot cells.

    Attributes
    ----------
    target : int or str
        The target whose map is hot here.
    box : tuple of float
        ``(left, top, right, bottom)``, in pixels of the explanation's picture, cut at its edges;
        ``(start, stop)`` in the steps of a signal or the tokens of a text, and ``(left, top, front,
        right, bottom, back)`` in a volume or a clip.
    heat : float
        The region's part of all heat in the map, in [0, 1].
    input : str or None
        Name of the input, if the model has several images.

    Examples
    --------
    >>> HotRegion("cat", box=(0.0, 0.0, 32.0, 32.0), heat=0.8).box
    (0.0, 0.0, 32.0, 32.0)
    """

    target: int | str
    box: tuple[float, ...]
    heat: float
    input: str | None = None


def hot_regions(
    expl: Explanation, threshold: float = 0.5, at_most: int | None = 5
) -> list[HotRegion]:
    """Find the hot regions of each target.

    Parameters
    ----------
    expl : Explanation
        With an ``image`` and maps of two axes, or of a ``kind`` that is no picture.
    threshold : float
        Cells are hot from this part of the map's maximum on, in (0, 1].
    at_most : int or None
        Keep at most this many regions of each target; None keeps all.

    Returns
    -------
    list of HotRegion
        Those of the first target first, the one with the most heat first. Empty for a blank map.

    Raises
    ------
    ValueError
        If ``threshold`` is not in (0, 1], or a map doesn't have the axes of its document.

    Examples
    --------
    >>> from eli5k.base import TargetExplanation
    >>> cat = TargetExplanation("cat", heatmap=np.array([[0.0, 0.0], [0.0, 1.0]]))
    >>> expl = Explanation("net", targets=[cat], image=Image.new("L", (64, 64)))
    >>> [(region.target, region.box) for region in hot_regions(expl)]
    [('cat', (32.0, 32.0, 64.0, 64.0))]
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be in (0, 1]. Received: {threshold!r}")
    found = []
    for part in (expl, *expl.others):
        for target in part.targets or ():
            boxes = hot_boxes(*_in_document(part, target), threshold)
            found += [
                HotRegion(target.target, box, heat, part.input) for box, heat in boxes[:at_most]
            ]
    return found


def _in_document(
    expl: Explanation, target: TargetExplanation
) -> tuple[np.ndarray, tuple[int, ...], Frame]:
    """Return map, document size and frame, with the last axis first."""
    heatmap, frame = drawable_heatmap(target, expl.kind), expl.frame
    if expl.kind is None:
        return heatmap, (1, 1) if expl.image is None else expl.image.size, frame
    size = target.size or (1,) * heatmap.ndim
    bounds = bounds_of(frame, heatmap.ndim)
    if heatmap.ndim > len(size):  # A signal has no axis for frequencies.
        bounds = bounds and (bounds[0][:1], bounds[1][:1])
        heatmap = heatmap.max(axis=1)
    return heatmap, size[::-1], frame_of(bounds, heatmap.ndim)


def hot_boxes(
    heatmap: np.ndarray, size: tuple[int, ...], frame: Frame = WHOLE, threshold: float = 0.5
) -> list[tuple[tuple[float, ...], float]]:
    """Find the boxes of a map's hot regions.

    Parameters
    ----------
    heatmap : numpy.ndarray
        ``(*grid)``, not negative: ``(height, width)`` for a picture.
    size : tuple of int
        Size of the document, last axis first: width and height of a picture.
    frame, threshold
        As in :class:`~eli5k.Explanation` and :func:`hot_regions`.

    Returns
    -------
    list of tuple
        Box in pixels of the picture, and part of the heat; the hottest region first.

    Examples
    --------
    >>> hot_boxes(np.eye(2), (10, 10))
    [((0.0, 0.0, 10.0, 10.0), 0.78...)]
    >>> hot_boxes(np.array([0.0, 0.0, 1.0, 0.0]), (400,))
    [((200.0, 300.0), 0.75)]
    """
    fine = _fine(heatmap) if heatmap.ndim == 2 else _finer(heatmap)
    total = fine.sum()
    if not total > 0:
        return []
    # Cells touch at corners as well, so that a slanting object is one region.
    found = []
    for cells in _connected(fine >= threshold * fine.max()):
        box = _box(cells, fine.shape, size, frame)
        half = len(size)
        if all(low < high for low, high in zip(box[:half], box[half:])):
            found.append((box, float(fine[cells].sum() / total)))
    return sorted(found, key=lambda region: -region[1])


def _fine(heatmap: np.ndarray) -> np.ndarray:
    """Resample a map to the grid on which regions are found.

    The mean of a block gathers the scattered pixels of a fine map.
    """
    image = Image.fromarray(np.asarray(heatmap, np.float32))
    blocks = (min(COARSEST, image.width), min(COARSEST, image.height))
    image = image.resize(blocks, Image.Resampling.BOX)
    size = (image.width * (FINEST // image.width), image.height * (FINEST // image.height))
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR), np.float64)


def _finer(heatmap: np.ndarray) -> np.ndarray:
    """Do the same for a map of another number of axes."""
    coarsest, finest = SIDES[heatmap.ndim]
    fine = np.asarray(heatmap, np.float64)
    for axis, cells in enumerate(fine.shape):
        if cells > coarsest:
            starts = np.linspace(0, cells, coarsest, endpoint=False).astype(int)
            sizes = np.diff([*starts, cells])
            sums = np.moveaxis(np.add.reduceat(fine, starts, axis=axis), axis, -1)
            fine = np.moveaxis(sums / sizes, -1, axis)
    return resize(fine, [cells * (finest // cells) for cells in fine.shape])


def _box(
    cells: tuple[np.ndarray, ...], grid: tuple[int, ...], size: tuple[int, ...], frame: Frame
) -> tuple[float, ...]:
    """Return a region's ends along each axis, last axis first."""
    axes = len(grid)
    lows, highs = bounds_of(frame, axes) or ((0.0,) * axes, (1.0,) * axes)
    starts, stops = [], []
    for axis in reversed(range(axes)):
        edges = (float(cells[axis].min()), float(cells[axis].max()) + 1)
        span, length = highs[axis] - lows[axis], size[axes - 1 - axis]
        shares = [lows[axis] + span * edge / grid[axis] for edge in edges]
        start, stop = (round(min(max(share, 0.0), 1.0) * length, 3) for share in shares)
        starts.append(start)
        stops.append(stop)
    return (*starts, *stops)


def _connected(mask: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield the cell indices of each connected region, by axis."""
    # With a border of cold cells, a neighbour is a fixed number of cells further in memory.
    bordered = np.pad(mask, 1)
    strides = np.array(bordered.strides) // bordered.itemsize
    steps = [int(np.dot(step, strides)) for step in product((-1, 0, 1), repeat=mask.ndim)]
    left = set(np.flatnonzero(bordered).tolist())
    while left:
        region = [left.pop()]
        for cell in region:
            for step in steps:
                near = cell + step
                if near in left:
                    left.remove(near)
                    region.append(near)
        yield tuple(axis - 1 for axis in np.unravel_index(region, bordered.shape))
