"""Name the place of a map's peak."""

from __future__ import annotations

import numpy as np

from eli5k.maps import Bounds

# Names of the thirds of each axis; the middle one has none, unless all are in the middle.
THIRDS = {
    1: [("at the start", "", "at the end")],
    2: [("top", "", "bottom"), ("left", "", "right")],
}


def place_of(on_grid: np.ndarray, bounds: Bounds | None = None) -> str:
    """Name where a map is largest.

    Parameters
    ----------
    on_grid : numpy.ndarray
        ``(*grid)``
    bounds : tuple or None
        Where the map begins and ends along each axis of the picture; None if it covers it.

    Examples
    --------
    >>> place_of(np.eye(3)[[0, 2, 1]] * [[0], [0], [1]])
    'at the bottom'
    >>> place_of(np.diag([0.0, 0.0, 1.0])), place_of(np.diag([0.0, 1.0, 0.0]))
    ('at the bottom right', 'in the middle')
    >>> place_of(np.eye(2)[:1], ((0.0, 0.4), (1.0, 0.6)))
    'in the middle'
    """
    peak = np.unravel_index(np.nanargmax(on_grid), on_grid.shape)
    shares = [(float(each) + 0.5) / size for each, size in zip(peak, on_grid.shape)]
    if bounds is not None:
        shares = [low + (high - low) * share for share, low, high in zip(shares, *bounds)]
    return name_of(tuple(shares))


def name_of(point: tuple[float, ...]) -> str:
    """Name a point, given as a share of each axis.

    Examples
    --------
    >>> name_of((0.1, 0.5)), name_of((0.9,)), name_of((0.5, 0.5, 0.1))
    ('at the top', 'at the end', 'at 50 %, 50 %, 10 % of the axes')
    """
    thirds = THIRDS.get(len(point))
    if thirds is None:
        return f"at {', '.join(f'{share:.0%}'.replace('%', ' %') for share in point)} of the axes"
    words = [names[min(max(int(share * 3), 0), 2)] for names, share in zip(thirds, point)]
    words = [word for word in words if word]
    if not words:
        return "in the middle"
    return words[0] if len(point) == 1 else f"at the {' '.join(words)}"
