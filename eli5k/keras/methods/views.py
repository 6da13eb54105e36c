"""Test-time augmentation: average the maps of several views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from eli5k.keras.evidence.batching import add_perturbed, chunks
from eli5k.keras.evidence.run import Attribution, Run, on_whole_picture
from eli5k.keras.methods.registry import Cost, find_method, register
from eli5k.options import MethodLike


@register(
    "tta",
    "meta",
    Cost(each=Cost(method=1), count=6, unit="view"),
    "For sharper and more complete maps of a layer.",
)
@dataclass(frozen=True)
class TTA:
    r"""Test-time augmentation: averages the maps of flipped and scaled inputs.

    .. math:: M^c_p = \frac{1}{|\{v \ni p\}|} \sum_{v \ni p} v^{-1} \left( m^c(v(X)) \right)_p

    The views are all combinations of flips along some axes and scales about the centre, each turned
    back afterwards. The input keeps its size: a larger scale crops it, and a point counts only in
    the views that show it; a smaller scale continues its border.

    The map has the shape and sign of the wrapped method's. The method runs once for each view, the
    plain input among them.

    Attributes
    ----------
    method : str or callable
    flips : tuple of int
        Axes of the grid to flip: -1 is left to right.
    scales : tuple of float

    References
    ----------
    For class activation maps: Ahn and Kwak 2018, https://arxiv.org/abs/1803.10464

    Examples
    --------
    >>> import keras
    >>> from eli5k.keras import attribute
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3), keras.layers.Flatten()]
    >>> model = keras.Sequential([*layers, keras.layers.Dense(3)])
    >>> scores, maps = attribute(model, np.ones((5, 8, 8, 1)), method=TTA())
    >>> maps.shape
    (5, 6, 6)
    """

    method: MethodLike = "grad-cam"
    flips: tuple[int, ...] = (-1,)
    scales: tuple[float, ...] = (0.8, 1.0, 1.25)

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"scales must be positive numbers. Received: {self}")

    @property
    def needs_layer(self) -> bool:
        return find_method(self.method).needs_layer

    def __call__(self, run: Run) -> Attribution:
        explain = find_method(self.method).explain
        image = run.image
        factors = self._factors(image.ndim - 2)
        # The plain input decides the classes; usually it is one of the views.
        picture = run.survey.picture_grid
        plain = on_whole_picture(explain(run), picture)
        run = run.with_classes(plain.scores)
        is_plain = (factors == 1).all(axis=1)
        total = plain.maps * np.float32(is_plain.sum())
        others = factors[~is_plain]
        for chunk in chunks(run, len(others)) if len(others) else ():
            zooms = others[chunk.numbers]
            channels = np.moveaxis(image[chunk.samples].astype("float32", copy=False), -1, 1)
            views = np.moveaxis(_zoom(channels, zooms), 1, -1)
            of_views = explain(_moved(run.perturbed(views, chunk.samples), zooms))
            maps = on_whole_picture(of_views, picture).maps
            maps = np.moveaxis(_zoom(np.moveaxis(maps, 0, 1), 1 / zooms), 1, 0)
            add_perturbed(total, chunk, maps * _shown(zooms, maps.shape[2:]))
        times_shown = _shown(factors, total.shape[2:]).sum(axis=0)
        return plain._replace(maps=total / np.maximum(times_shown, 1))

    def _factors(self, rank: int) -> np.ndarray:
        """Factor of each axis in each view, ``(views, axes)``.

        It is negative if the axis is flipped.
        """
        if not all(-rank <= axis < rank for axis in self.flips):
            raise ValueError(
                f"flips must be axes of the input's grid, from {-rank} to {rank - 1}. "
                f"Received: {self.flips}"
            )
        flipped = {range(rank)[axis] for axis in self.flips}
        signs = product(*[(1, -1) if axis in flipped else (1,) for axis in range(rank)])
        return np.array([np.multiply(s, scale) for s, scale in product(signs, self.scales)])


def _moved(run: Run, zooms: np.ndarray) -> Run:
    """Let each view be asked about the pixels that it shows elsewhere."""
    reading = run.target.reading
    if run.places is None or reading is None:
        return run
    grid = reading.grid(run.survey.heads[run.target.output].output)
    if reading.boxes is not None or len(grid) != zooms.shape[1]:
        raise ValueError(
            "tta can't follow a box to another place. Use method='smooth-grad', or explain the "
            "output with a callable in targets."
        )
    places = run.places.reshape(*run.places.shape[:2], *grid).astype("float32")
    return replace(run, places=(_zoom(places, zooms) > 0.5).reshape(run.places.shape))


def _zoom(arrays: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Scale each row about its centre: ``(rows, parts, *grid)``."""
    zoomed = np.empty_like(arrays)
    for zoom in np.unique(factors, axis=0):
        rows = (factors == zoom).all(axis=1)
        part = arrays[rows]
        for axis, factor in enumerate(zoom, start=2):
            if factor == -1:
                part = np.flip(part, axis)
            elif factor != 1:
                part = _zoom_axis(part, axis, factor)
        zoomed[rows] = part
    return zoomed


def _zoom_axis(arrays: np.ndarray, axis: int, factor: float) -> np.ndarray:
    size = arrays.shape[axis]
    at = np.clip(_origins(size, np.array([factor]))[0] + (size - 1) / 2, 0, size - 1)
    distances = np.abs(np.arange(size)[:, np.newaxis] - at)
    matrix = np.maximum(1 - distances, 0).astype("float32")
    return np.moveaxis(np.moveaxis(arrays, axis, -1) @ matrix, -1, axis)


def _origins(size: int, factors: np.ndarray) -> np.ndarray:
    """Origins of the points of a zoomed axis: ``(rows, size)``.

    They are counted from the centre.
    """
    return (np.arange(size) - (size - 1) / 2) / factors[:, np.newaxis]


def _shown(factors: np.ndarray, grid: Sequence[int]) -> np.ndarray:
    """Tell which points each zoomed view shows: ``(rows, *grid)``, float32."""
    shown = np.ones((len(factors), *grid), "float32")
    for axis, (size, factor) in enumerate(zip(grid, factors.T), start=1):
        inside = np.abs(_origins(size, 1 / factor)) <= size / 2
        shown *= np.expand_dims(inside, [a for a in range(1, shown.ndim) if a != axis])
    return shown
