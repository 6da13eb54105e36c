"""Score curves as pixels are removed or restored, hottest first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eli5k.keras.evidence.baselines import Baseline, baseline_of
from eli5k.keras.evidence.batching import chunks
from eli5k.keras.evidence.run import Run
from eli5k.keras.metrics.agreement import on_cells


def deletion(
    run: Run,
    maps: np.ndarray,
    steps: int = 20,
    *,
    baseline: Baseline = "blur",
    least_first: bool = False,
) -> np.ndarray:
    """Measure the scores while the hottest pixels are replaced first.

    Parameters
    ----------
    run : Run
        From :func:`eli5k.keras.run`; its scores are measured.
    maps : numpy.ndarray
        ``(targets, batch, *grid)``; resized to the picture if its grid is another.
    steps : int
    baseline : float, tuple of float, "mean", "blur" or callable
        What replaces the pixels: see :func:`~eli5k.keras.evidence.baselines.baseline_of`.
    least_first : bool
        Replace the coldest pixels first.

    Returns
    -------
    numpy.ndarray
        ``(targets, batch, steps + 1)``, float32: from the whole picture to the baseline.

    References
    ----------
    Samek et al. 2016, https://arxiv.org/abs/1509.06321; Petsiuk et al. 2018,
    https://arxiv.org/abs/1806.07421

    Examples
    --------
    >>> import keras
    >>> from eli5k.keras import run
    >>> model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten()])
    >>> model.add(keras.layers.Dense(1, kernel_initializer="ones"))
    >>> picture = np.array([[[[4.0], [1.0]], [[2.0], [3.0]]]])
    >>> deletion(run(model, picture, 0), picture[np.newaxis, ..., 0], 4, baseline=0).tolist()
    [[[10.0, 6.0, 3.0, 1.0, 0.0]]]
    """
    ranks = _ranks(run, -maps if least_first else maps)
    return _scores(run, ranks, np.arange(steps + 1) / steps, baseline, keep=False)


def insertion(
    run: Run, maps: np.ndarray, steps: int = 20, *, baseline: Baseline = "blur"
) -> np.ndarray:
    """Measure the scores while the hottest pixels replace a baseline.

    Parameters
    ----------
    run, maps, steps, baseline
        As in :func:`deletion`.

    Returns
    -------
    numpy.ndarray
        ``(targets, batch, steps + 1)``, float32: from the baseline to the whole picture.

    References
    ----------
    Petsiuk et al. 2018, https://arxiv.org/abs/1806.07421

    Examples
    --------
    >>> import keras
    >>> from eli5k.keras import run
    >>> model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten()])
    >>> model.add(keras.layers.Dense(1, kernel_initializer="ones"))
    >>> picture = np.array([[[[4.0], [1.0]], [[2.0], [3.0]]]])
    >>> insertion(run(model, picture, 0), picture[np.newaxis, ..., 0], 4, baseline=0).tolist()
    [[[0.0, 4.0, 7.0, 9.0, 10.0]]]
    """
    return _scores(run, _ranks(run, maps), np.arange(steps + 1) / steps, baseline, keep=True)


def area(curves: np.ndarray) -> np.ndarray:
    """Return the area under curves, over shares from 0 to 1.

    Parameters
    ----------
    curves : numpy.ndarray
        ``(..., steps + 1)``

    Examples
    --------
    >>> area(np.array([0.0, 1.0, 1.0])).item()
    0.75
    """
    inner = curves[..., 1:-1].sum(axis=-1) + (curves[..., 0] + curves[..., -1]) / 2
    under: np.ndarray = inner / (curves.shape[-1] - 1)
    return under


def lerf_minus_morf(
    run: Run, maps: np.ndarray, steps: int = 20, *, baseline: Baseline = "blur"
) -> np.ndarray:
    """Measure how much longer the score survives removing the coldest pixels.

    Parameters
    ----------
    run, maps, steps, baseline
        As in :func:`deletion`.

    Returns
    -------
    numpy.ndarray
        ``(targets, batch)``: the area between the two curves of :func:`deletion`.

    References
    ----------
    Tomsett et al. 2020, https://arxiv.org/abs/1912.01451

    Examples
    --------
    >>> import keras
    >>> from eli5k.keras import run
    >>> model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten()])
    >>> model.add(keras.layers.Dense(1, kernel_initializer="ones"))
    >>> picture = np.array([[[[4.0], [1.0]], [[2.0], [3.0]]]])
    >>> maps = picture[np.newaxis, ..., 0]
    >>> lerf_minus_morf(run(model, picture, 0), maps, 4, baseline=0).tolist()
    [[2.5]]
    """
    least = deletion(run, maps, steps, baseline=baseline, least_first=True)
    return area(least) - area(deletion(run, maps, steps, baseline=baseline))


def _ranks(run: Run, maps: np.ndarray) -> np.ndarray:
    """Rank the pixels of each map, the hottest first: ``(targets, batch, *grid)``."""
    enlarged = on_cells(maps, run.image.shape[1:-1])
    flat = enlarged.reshape(*enlarged.shape[:2], -1)
    order = np.argsort(-flat, axis=-1, kind="stable")
    return np.argsort(order, axis=-1, kind="stable").reshape(enlarged.shape)


def _scores(
    run: Run,
    ranks: np.ndarray,
    shares: Sequence[float] | np.ndarray,
    baseline: Baseline,
    keep: bool,
) -> np.ndarray:
    """Keep or replace shares of the pixels, and run the model."""
    if run.classes is None and not run.target.functions:
        run = run.with_classes(run.scores())
    image = run.image.astype("float32", copy=False)
    replaced = baseline_of(image, baseline)
    targets, pixels = len(ranks), ranks[0, 0].size
    counts = np.rint(np.asarray(shares) * pixels)
    curves = np.empty((targets, run.count, len(counts)), "float32")
    for chunk in chunks(run, targets * len(counts)):
        target, share = np.divmod(chunk.numbers, len(counts))
        first = ranks[target, chunk.samples] < counts[share].reshape(-1, *[1] * (image.ndim - 2))
        is_kept = (first == keep)[..., np.newaxis]
        rows = np.where(is_kept, image[chunk.samples], replaced[chunk.samples])
        scores = run.perturbed(rows, chunk.samples).scores().explained
        valid = slice(chunk.n_valid)
        own = scores[np.arange(len(scores)), target]
        curves[target[valid], chunk.samples[valid], share[valid]] = own[valid]
    return curves
