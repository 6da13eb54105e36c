"""Perturbation of the input: hide parts and compare the scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import InitVar, dataclass
from itertools import product
from math import ceil
from typing import Any

import numpy as np

from eli5k.keras.evidence.baselines import Baseline, baseline_of
from eli5k.keras.evidence.batching import add_perturbed, chunks
from eli5k.keras.evidence.run import Attribution, Run
from eli5k.keras.methods.registry import Cost, register
from eli5k.maps import resize

# Stands for an argument that was not passed.
UNSET: Any = "unset"


def _take_fill(method: Occlusion | RISE, fill: Any) -> None:
    """Accept the former name of ``baseline``."""
    baseline = method.baseline if fill is UNSET else fill
    object.__setattr__(method, "baseline", "mean" if baseline is None else baseline)


@register(
    "occlusion",
    "perturbation",
    Cost(1, each=Cost(1), count=225, unit="window"),
    "To check another map by experiment, on any model; in units of the score.",
)
@dataclass(frozen=True)
class Occlusion:
    r"""Occlusion: measures what the score loses when a window is hidden.

    .. math:: M^c_p = \frac{1}{|\{w \ni p\}|} \sum_{w \ni p} f^c(X) - f^c(X_{\setminus w})

    The mean is over all windows :math:`w` that hide the point :math:`p`; the last window of each
    axis ends with the axis.

    The map is ``(targets, batch, *grid)`` of the input, signed, in units of the score. The model
    runs forward once, and once for each window.

    Attributes
    ----------
    window, stride : int, tuple of int or None
        Size of the window (None for an eighth of the axis) and distance between windows (None for
        half a window), for all axes or for each.
    baseline : float, tuple of float, "mean", "blur" or callable
        Content of a hidden window: see :func:`~eli5k.keras.evidence.baselines.baseline_of`.
    fill : float or None
        Former name of ``baseline``; None was "mean".

    References
    ----------
    Zeiler and Fergus 2014, https://arxiv.org/abs/1311.2901

    Examples
    --------
    >>> import keras
    >>> from eli5k.keras import attribute
    >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    >>> method = Occlusion(window=2, stride=2, fill=0)
    >>> _, maps = attribute(model, np.ones((1, 8, 8, 1)), 9, method=method)
    >>> maps[0, :4, :4]
    array([[1., 1., 0., 0.],
           [1., 1., 0., 0.],
           [0., 0., 0., 0.],
           [0., 0., 0., 0.]], dtype=float32)
    """

    window: int | tuple[int, ...] | None = None
    stride: int | tuple[int, ...] | None = None
    baseline: Baseline = "mean"
    fill: InitVar[Any] = UNSET

    def __post_init__(self, fill: Any) -> None:
        _take_fill(self, fill)

    def __call__(self, run: Run) -> Attribution:
        plain = run.scores()
        run = run.with_classes(plain)
        # The baseline may be fractional until the model runs, even for whole numbers.
        image = run.image.astype("float32", copy=False)
        baseline = baseline_of(image, self.baseline)
        windows = _windows(image.shape[1:-1], self.window, self.stride)
        targets = plain.explained.shape[1]
        maps = np.zeros((*image.shape[:-1], targets), "float32")
        for chunk in chunks(run, len(windows)):
            occluded = image[chunk.samples]
            for row, (sample, number) in enumerate(zip(chunk.samples, chunk.numbers)):
                occluded[row, *windows[number]] = baseline[sample, *windows[number]]
            scores = run.perturbed(occluded, chunk.samples).scores().explained
            drops = plain.explained[chunk.samples] - scores
            for row in range(chunk.n_valid):
                maps[chunk.samples[row], *windows[chunk.numbers[row]]] += drops[row]
        times_hidden = np.zeros(image.shape[1:-1], "float32")
        for window in windows:
            times_hidden[window] += 1
        maps = np.moveaxis(maps, -1, 0) / np.maximum(times_hidden, 1)
        return Attribution(None, plain, maps)


def _windows(
    grid: Sequence[int],
    window: int | tuple[int, ...] | None,
    stride: int | tuple[int, ...] | None,
) -> list[tuple[slice, ...]]:
    """Return what each window hides: one slice for each axis."""
    sizes = _for_each_axis("window", window, [ceil(size / 8) for size in grid], grid)
    strides = _for_each_axis("stride", stride, [ceil(size / 2) for size in sizes], grid)
    by_axis = [
        [slice(start, start + size) for start in (*range(0, length - size, step), length - size)]
        for length, size, step in zip(grid, sizes, strides)
    ]
    return list(product(*by_axis))


def _for_each_axis(
    name: str, value: int | tuple[int, ...] | None, default: list[int], grid: Sequence[int]
) -> Sequence[int]:
    if value is None:
        return default
    values = value if isinstance(value, tuple) else (value,) * len(grid)
    if len(values) != len(grid) or not all(1 <= v <= size for v, size in zip(values, grid)):
        raise ValueError(
            f"{name} must be from 1 to the size of the input's grid {tuple(grid)}: one number for "
            f"all axes, or a tuple with one for each. Received: {value}"
        )
    return values


@register(
    "rise",
    "perturbation",
    Cost(1, each=Cost(1), count=4000, unit="mask"),
    "On any model, also if hiding one window alone changes nothing; slow.",
)
@dataclass(frozen=True)
class RISE:
    r"""RISE: averages random masks, weighted by the masked picture's score.

    .. math:: M^c = \frac{1}{N \cdot E[H]} \sum_{i=1}^N f^c(X \circ H_i) \, H_i

    The masks are grids of ``cells``, each open with ``probability``, which is :math:`E[H]` at each
    point. They are enlarged by linear interpolation to one cell more than the input, and cropped at
    a random shift.

    The map is ``(targets, batch, *grid)`` of the input, in units of the score and with its sign.
    All values are near the mean score: only differences within the map mean something. The model
    runs forward once, and once for each mask.

    Attributes
    ----------
    masks : int
        Number of masks; all samples get the same ones.
    cells : int
        Number of cells along each axis.
    probability : float
        Probability that a cell is open, in (0, 1].
    baseline : float, tuple of float, "mean", "blur" or callable
        Content of closed cells: see :func:`~eli5k.keras.evidence.baselines.baseline_of`. The paper
        uses 0.
    fill : float or None
        Former name of ``baseline``; None was "mean".
    seed : int
        The same seed gives the same map.

    References
    ----------
    Petsiuk et al. 2018, https://arxiv.org/abs/1806.07421

    Examples
    --------
    >>> import keras
    >>> from eli5k.keras import attribute
    >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    >>> _, maps = attribute(model, np.ones((1, 8, 8, 1)), 27, method=RISE(masks=500))
    >>> np.unravel_index(maps[0].argmax(), (8, 8)) == (27 // 8, 27 % 8)
    True
    """

    masks: int = 4000
    cells: int = 7
    probability: float = 0.5
    baseline: Baseline = 0.0
    seed: int = 0
    fill: InitVar[Any] = UNSET

    def __post_init__(self, fill: Any) -> None:
        _take_fill(self, fill)
        if self.masks < 1 or self.cells < 1 or not 0 < self.probability <= 1:
            raise ValueError(
                f"masks and cells must be positive and probability in (0, 1]. Received: {self}"
            )

    def __call__(self, run: Run) -> Attribution:
        plain = run.scores()
        run = run.with_classes(plain)
        image = run.image
        grid = image.shape[1:-1]
        baseline = baseline_of(image, self.baseline)
        shown = image - baseline
        cell = [ceil(size / self.cells) for size in grid]
        random = np.random.default_rng(self.seed)
        # Store a byte for each cell; the masks are made when needed.
        is_open = random.random((self.masks, *[self.cells] * len(grid))) < self.probability
        shifts = random.integers(cell, size=(self.masks, len(grid)))
        maps = np.zeros((plain.explained.shape[1], *image.shape[:-1]), "float32")
        for chunk in chunks(run, self.masks):
            masks = _shifted(is_open[chunk.numbers], shifts[chunk.numbers], cell, grid)
            masked = shown[chunk.samples]
            masked *= masks[..., np.newaxis]
            if self.baseline != 0:
                masked += baseline[chunk.samples]
            weights = run.perturbed(masked, chunk.samples).scores().explained
            add_perturbed(maps, chunk, masks[np.newaxis], weights)
        return Attribution(None, plain, maps / np.float32(self.masks * self.probability))


def _shifted(
    is_open: np.ndarray, shifts: np.ndarray, cell: Sequence[int], grid: Sequence[int]
) -> np.ndarray:
    """Enlarge cells and shift each mask: ``(rows, *grid)``, float32 in [0, 1]."""
    large = [(cells + 1) * size for cells, size in zip(is_open.shape[1:], cell)]
    masks = resize(is_open.astype("float32"), large)
    windows = np.lib.stride_tricks.sliding_window_view(masks, grid, tuple(range(1, masks.ndim)))
    return windows[np.arange(len(masks)), *shifts.T]
