"""Halves of a picture, and their worth to a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from eli5k.keras.evidence.baselines import Baseline, baseline_of
from eli5k.keras.evidence.batching import chunks
from eli5k.keras.evidence.run import Run
from eli5k.keras.evidence.scores import Scores
from eli5k.maps import resize

# Cells along the shortest axis, by the grid's number of axes: fewer axes, finer halves.
CELLS = {1: 56, 2: 14}
CELLS_OTHERWISE = 8
# The longest axis has at most this many times as many cells.
LONGEST = 4
SMOOTHING = 2.0  # cells


@dataclass(frozen=True, eq=False)
class Halves:
    """Scores of a model for random halves of each picture.

    Attributes
    ----------
    signs : numpy.ndarray
        ``(pairs, *cells)``, float32: 1 in the first half of each pair, -1 in the second.
    first, second : numpy.ndarray
        ``(pairs, batch, targets)``: the scores with only that half kept, the other one blurred.
    plain, blurred : numpy.ndarray
        ``(batch, targets)``: the scores of the picture, and of the picture blurred.
    classes : numpy.ndarray
        ``(batch, targets)``
    extra : numpy.ndarray
        ``(masks, batch, targets)``: the scores of other masks, measured in the same batches.
    """

    signs: np.ndarray
    first: np.ndarray
    second: np.ndarray
    plain: np.ndarray
    blurred: np.ndarray
    classes: np.ndarray
    extra: np.ndarray

    @property
    def worth(self) -> np.ndarray:
        """How much more each pair's first half is worth than its second."""
        with np.errstate(invalid="ignore"):  # The verdict judges infinite scores.
            worth: np.ndarray = self.first - self.second
        return worth

    @property
    def runs(self) -> int:
        """How many runs of the model each picture took."""
        return 2 * len(self.signs) + 2


def cells_of(grid: Sequence[int]) -> tuple[int, ...]:
    """Choose how many cells halves have along each axis of a picture.

    Parameters
    ----------
    grid : sequence of int
        Size of the picture along each axis.

    Examples
    --------
    >>> cells_of((224, 448)), cells_of((12, 12)), cells_of((1000,))
    ((14, 28), (12, 12), (56,))
    """
    count = CELLS.get(len(grid), CELLS_OTHERWISE)
    wanted = [min(round(count * size / min(grid)), LONGEST * count) for size in grid]
    return tuple(min(size, number) for size, number in zip(grid, wanted))


def draw_halves(cells: Sequence[int], pairs: int, seed: int = 0) -> np.ndarray:
    """Draw smooth random halves of a grid: smoothed noise, cut halfway.

    Parameters
    ----------
    cells : sequence of int
    pairs : int
    seed : int
        The same seed gives the same halves.

    Returns
    -------
    numpy.ndarray
        ``(pairs, *cells)``, float32: 1 or -1.

    Examples
    --------
    >>> draw_halves((4, 4), pairs=3).sum(axis=(1, 2)).tolist()
    [0.0, 0.0, 0.0]
    """
    noise = draw_fields(cells, pairs, seed)
    ranks = noise.reshape(pairs, -1).argsort(axis=1).argsort(axis=1)
    signs = np.where(2 * ranks >= ranks.shape[1], 1.0, -1.0)
    return signs.reshape(noise.shape).astype("float32")


def draw_fields(cells: Sequence[int], count: int, seed: int = 0) -> np.ndarray:
    """Draw smooth random fields.

    Parameters
    ----------
    cells : sequence of int
    count : int
    seed : int

    Returns
    -------
    numpy.ndarray
        ``(count, *cells)``, of the same distribution at each cell.
    """
    fields = np.random.default_rng(seed).standard_normal((count, *cells))
    for axis, length in enumerate(cells, 1):
        fields = np.moveaxis(np.moveaxis(fields, axis, -1) @ smoothing(length), -1, axis)
    return fields


def smoothing(length: int) -> np.ndarray:
    """Return a matrix that smooths white noise and keeps its variance."""
    width = min(SMOOTHING, length / 7)
    distance = np.arange(length)[:, np.newaxis] - np.arange(length)
    kernel = np.exp(-((distance / max(width, 1e-6)) ** 2) / 2)
    smooth: np.ndarray = kernel / np.sqrt((kernel**2).sum(axis=0))
    return smooth


def measure_halves(
    run: Run, pairs: int = 32, seed: int = 0, extra: Sequence[np.ndarray] = ()
) -> Halves:
    """Run a model on random halves of each picture.

    In each half the picture is kept, and the other half is blurred. The edge between the two is as
    soft as a cell is wide. Scores are taken before a final softmax or sigmoid.

    Parameters
    ----------
    run : Run
    pairs : int
        Number of pairs of halves, the same for each picture.
    seed : int
    extra : sequence of numpy.ndarray
        Other masks to run the model on in the same batches: see :func:`scores_of_masks`.

    Returns
    -------
    Halves

    Examples
    --------
    >>> import keras
    >>> from eli5k.keras import run
    >>> model = keras.Sequential([keras.Input((14, 14, 1)), keras.layers.Flatten()])
    >>> picture = np.random.default_rng(0).random((1, 14, 14, 1))
    >>> measure_halves(run(model, picture, targets=5), pairs=8).worth.shape
    (8, 1, 1)
    """
    run = before_activation(run)
    cells = cells_of(run.image.shape[1:-1])
    signs = draw_halves(cells, pairs, seed)
    first = (signs + 1)[:, np.newaxis] / 2
    both = [np.ones((1, *cells), "float32"), np.zeros((1, *cells), "float32")]
    found = scores_of_masks(run, [*both, *first, *(1 - first), *extra])
    plain, blurred, rest = found[0], found[1], found[2:]
    classes = np.zeros(plain.shape, int) if run.classes is None else run.classes[: run.count]
    return Halves(
        signs,
        first=rest[:pairs],
        second=rest[pairs : 2 * pairs],
        plain=plain,
        blurred=blurred,
        classes=classes,
        extra=rest[2 * pairs :],
    )


def with_extra(run: Run, halves: Halves, extra: Sequence[np.ndarray]) -> Halves:
    """Measure other masks for halves that were measured before.

    Parameters
    ----------
    run : Run
        The one of the halves.
    halves : Halves
    extra : sequence of numpy.ndarray
        As in :func:`measure_halves`.

    Returns
    -------
    Halves
    """
    if not extra:
        return halves
    return replace(halves, extra=scores_of_masks(before_activation(run), extra))


def before_activation(run: Run) -> Run:
    """Ask about the chosen classes' scores before a softmax or sigmoid."""
    if run.target.functions:
        return run
    run = replace(run, target=replace(run.target, logits=True))
    return run if run.classes is not None else run.with_classes(run.scores())


def explained_scores(scores: Scores) -> np.ndarray:
    """Read the explained scores ``(rows, targets)``."""
    explained: np.ndarray = scores.explained
    return explained


def scores_of_masks(
    run: Run,
    masks: Sequence[np.ndarray],
    read: Callable[[Scores], np.ndarray] = explained_scores,
    baseline: Baseline = "blur",
) -> np.ndarray:
    """Run a model on pictures of which only a part is kept.

    Parameters
    ----------
    run : Run
        With its classes chosen.
    masks : sequence of numpy.ndarray
        ``(batch, *grid)``, or ``(1, *grid)`` for all samples; in [0, 1], 1 where the picture is
        kept. A coarser grid is interpolated.
    read : callable
        From the scores of some rows to ``(rows, targets)``.
    baseline : float, tuple of float, "mean", "blur" or callable
        What replaces the rest: see :func:`~eli5k.keras.evidence.baselines.baseline_of`.

    Returns
    -------
    numpy.ndarray
        ``(masks, batch, targets)``
    """
    image = run.image.astype("float32", copy=False)
    replaced = baseline_of(image, baseline)
    shown = image - replaced
    found: list[np.ndarray] = []
    for chunk in chunks(run, len(masks)):
        rows = shown[chunk.samples]
        for row, (sample, number) in enumerate(zip(chunk.samples, chunk.numbers)):
            mask = masks[number][sample if len(masks[number]) > 1 else 0]
            rows[row] *= resize(mask, image.shape[1:-1])[..., np.newaxis]
        rows += replaced[chunk.samples]
        scores = read(run.perturbed(rows, chunk.samples).scores())
        found.append(scores[: chunk.n_valid])
    by_sample = np.concatenate(found).reshape(run.count, len(masks), -1)
    return np.moveaxis(by_sample, 1, 0)
