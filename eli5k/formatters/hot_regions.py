"""Find the connected regions of a map that are hot, as boxes in the picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from eli5k.base import WHOLE, Explanation
from eli5k.formatters.frame import Frame, place_of_cell
from eli5k.formatters.heatmap import drawable_heatmap

# Cells along a side: a map is gathered into at most so many blocks, and these are enlarged to about
# the second number, so that a box is no coarser than what is seen.
COARSEST, FINEST = 32, 64


@dataclass(frozen=True)
class HotRegion:
    """A connected region of hot cells.

    Attributes
    ----------
    target : int or str
        The target whose map is hot here.
    box : tuple of float
        ``(left, top, right, bottom)``, in pixels of the explanation's picture, cut at its edges.
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
    box: tuple[float, float, float, float]
    heat: float
    input: str | None = None


def hot_regions(
    expl: Explanation, threshold: float = 0.5, at_most: int | None = 5
) -> list[HotRegion]:
    """Find the hot regions of each target.

    Parameters
    ----------
    expl : Explanation
        With an ``image`` and maps of two axes.
    threshold : float
        Cells are hot from this part of the map's maximum on, in (0, 1].
    at_most : int or None
        Keep only so many regions of each target; None keeps all.

    Returns
    -------
    list of HotRegion
        Those of the first target first, the one with the most heat first. Empty for a blank map.

    Raises
    ------
    ValueError
        If ``threshold`` is not in (0, 1], or a map has other than two axes.

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
        size = (1, 1) if part.image is None else part.image.size
        for target in part.targets or ():
            boxes = hot_boxes(drawable_heatmap(target), size, part.frame, threshold)
            found += [
                HotRegion(target.target, box, heat, part.input) for box, heat in boxes[:at_most]
            ]
    return found


def hot_boxes(
    heatmap: np.ndarray, size: tuple[int, int], frame: Frame = WHOLE, threshold: float = 0.5
) -> list[tuple[tuple[float, float, float, float], float]]:
    """Find the boxes of a map's hot regions.

    Parameters
    ----------
    heatmap : numpy.ndarray
        ``(height, width)``, not negative.
    size : tuple of int
        Width and height of the picture.
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
    """
    fine = _fine(heatmap)
    total = fine.sum()
    if not total > 0:
        return []
    # Cells touch at corners as well, so that a slanting object is one region.
    found = []
    for rows, columns in _connected(fine >= threshold * fine.max()):
        box = _box(rows, columns, fine.shape, size, frame)
        if box[0] < box[2] and box[1] < box[3]:
            found.append((box, float(fine[rows, columns].sum() / total)))
    return sorted(found, key=lambda region: -region[1])


def _fine(heatmap: np.ndarray) -> np.ndarray:
    """Bring a map to the grid on which regions are found: blocks of cells, or parts of cells.

    The mean of a block gathers the scattered pixels of a fine map.
    """
    image = Image.fromarray(np.asarray(heatmap, np.float32))
    blocks = (min(COARSEST, image.width), min(COARSEST, image.height))
    image = image.resize(blocks, Image.Resampling.BOX)
    size = (image.width * (FINEST // image.width), image.height * (FINEST // image.height))
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR), np.float64)


def _box(
    rows: np.ndarray,
    columns: np.ndarray,
    grid: tuple[int, ...],
    size: tuple[int, int],
    frame: Frame,
) -> tuple[float, float, float, float]:
    shape = (grid[0], grid[1])
    left, top = place_of_cell((float(rows.min()), float(columns.min())), shape, frame)
    right, bottom = place_of_cell((float(rows.max()) + 1, float(columns.max()) + 1), shape, frame)
    width, height = size
    across = [round(min(max(share, 0.0), 1.0) * width, 3) for share in (left, right)]
    down = [round(min(max(share, 0.0), 1.0) * height, 3) for share in (top, bottom)]
    return across[0], down[0], across[1], down[1]


def _connected(mask: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rows and columns of the cells of each connected region."""
    left = set(zip(*(axis.tolist() for axis in np.nonzero(mask))))
    while left:
        region = [left.pop()]
        for row, column in region:
            for near in [(row + down, column + right) for down, right in NEIGHBOURS]:
                if near in left:
                    left.remove(near)
                    region.append(near)
        rows, columns = np.array(region).T
        yield rows, columns


NEIGHBOURS = [
    (down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0)
]
