"""ROAD: remove and debias. Pixels are replaced by what their neighbours foretell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

from eli5k.keras.evidence.batching import chunks
from eli5k.keras.evidence.run import Run
from eli5k.keras.metrics.agreement import on_cells

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
NOISE = 0.01  # in units of the model's input
# Weights of the neighbours of a pixel: beside it and across.
BESIDE, ACROSS = 1 / 6, 1 / 12
PRECISION, MOST_STEPS = 1e-8, 10_000


def road(
    run: Run,
    maps: np.ndarray,
    shares: Sequence[float] = SHARES,
    *,
    noise: float = NOISE,
    seed: int = 0,
) -> np.ndarray:
    """Compare removing the coldest pixels with removing the hottest ones.

    A removed pixel becomes the weighted mean of its neighbours, plus a little noise, so that the
    shape of what was removed can hardly be seen.

    Parameters
    ----------
    run : Run
        From :func:`eli5k.keras.run`, of pictures; its scores are measured.
    maps : numpy.ndarray
        ``(targets, batch, *grid)``; resized to the picture if its grid is another.
    shares : sequence of float
        Shares of the pixels to remove.
    noise : float
        Standard deviation of the noise.
    seed : int

    Returns
    -------
    numpy.ndarray
        ``(targets, batch)``: half the mean difference of the two scores; more is better.

    References
    ----------
    Rong et al. 2022, https://arxiv.org/abs/2202.00449

    Examples
    --------
    >>> import keras
    >>> from eli5k.keras import run
    >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.GlobalMaxPooling2D()])
    >>> picture = np.zeros((1, 8, 8, 1))
    >>> picture[0, 2:4, 2:4] = 1
    >>> road(run(model, picture, 0), picture[np.newaxis, ..., 0], noise=0).round(2).tolist()
    [[0.5]]
    """
    if run.classes is None and not run.target.functions:
        run = run.with_classes(run.scores())
    image = run.image.astype("float32", copy=False)
    grid = image.shape[1:-1]
    if len(grid) != 2:
        raise ValueError(f"ROAD is for pictures with two axes. Received: a grid of shape {grid}")
    on_picture = on_cells(maps, grid)
    random = np.random.default_rng(seed)
    found = np.empty((len(maps), run.count, 2, len(shares)))
    for chunk in chunks(run, found[:, 0].size):
        target, first, share = np.unravel_index(chunk.numbers, (len(maps), 2, len(shares)))
        rows = image[chunk.samples]
        for row, sample in enumerate(chunk.samples):
            missing = removed(on_picture[target[row], sample], shares[share[row]], bool(first[row]))
            rows[row] = impute(rows[row], missing, noise, random)
        scores = run.perturbed(rows, chunk.samples).scores().explained
        for row in range(chunk.n_valid):
            place = target[row], chunk.samples[row], first[row], share[row]
            found[place] = scores[row, target[row]]
    difference: np.ndarray = (found[:, :, 1] - found[:, :, 0]).mean(axis=-1) / 2
    return difference.astype("float32")


def removed(on_picture: np.ndarray, share: float, coldest: bool = False) -> np.ndarray:
    """Mark the pixels to remove: those from a percentile on.

    Parameters
    ----------
    on_picture : numpy.ndarray
        ``(height, width)``: the map.
    share : float
    coldest : bool
        Remove the coldest instead of the hottest.

    Returns
    -------
    numpy.ndarray
        ``(height, width)`` of bool.

    Examples
    --------
    >>> removed(np.array([[1.0, 2.0, 3.0, 4.0]]), 0.5).tolist()
    [[False, False, True, True]]
    """
    heat = -on_picture if coldest else on_picture
    marked: np.ndarray = heat >= np.percentile(heat, 100 * (1 - share))
    return marked


def impute(
    picture: np.ndarray,
    missing: np.ndarray,
    noise: float = NOISE,
    random: np.random.Generator | None = None,
) -> np.ndarray:
    """Replace pixels by weighted means of their neighbours, plus noise.

    The new values depend on each other, so a linear system is solved.

    Parameters
    ----------
    picture : numpy.ndarray
        ``(height, width, channels)``
    missing : numpy.ndarray
        ``(height, width)`` of bool.
    noise : float
        Standard deviation of the noise.
    random : numpy.random.Generator, optional

    Returns
    -------
    numpy.ndarray
        ``(height, width, channels)``, of the same type.

    Examples
    --------
    >>> picture = np.array([[[0.0], [7.0], [6.0]]])
    >>> impute(picture, np.array([[False, True, False]]), noise=0).ravel().tolist()
    [0.0, 3.0, 6.0]
    """
    known = np.where(missing[..., np.newaxis], 0, picture).astype("float64")
    if missing.all():
        return np.zeros_like(picture)
    weights = _neighbours(np.ones((*missing.shape, 1)))
    inside = missing[..., np.newaxis]

    def system(values: np.ndarray) -> np.ndarray:
        return np.where(inside, weights * values - _neighbours(values), 0)

    solved = _solve(system, np.where(inside, _neighbours(known), 0))
    if noise:
        random = random or np.random.default_rng()
        solved += noise * random.standard_normal(picture.shape)
    return np.where(inside, solved, picture).astype(picture.dtype)


def _neighbours(values: np.ndarray) -> np.ndarray:
    """Sum the weighted neighbours of each pixel; none beyond the border."""
    padded = np.pad(values, ((1, 1), (1, 1), (0, 0)))
    height, width = values.shape[:2]
    total = np.zeros_like(values)
    for down, right in product(range(3), range(3)):
        if (down, right) != (1, 1):
            weight = BESIDE if 1 in (down, right) else ACROSS
            total += weight * padded[down : down + height, right : right + width]
    return total


def _solve(system: Callable[[np.ndarray], np.ndarray], right: np.ndarray) -> np.ndarray:
    """Solve a positive definite system by conjugate gradients, channel by channel."""
    solved, rest = np.zeros_like(right), right.copy()
    direction, square = rest.copy(), (rest**2).sum(axis=(0, 1))
    enough = PRECISION**2 * square
    for _ in range(MOST_STEPS):
        if (square <= enough).all():
            break
        changed = system(direction)
        curvature = (direction * changed).sum(axis=(0, 1))
        step = square / np.where(curvature > 0, curvature, np.inf)
        solved += step * direction
        rest -= step * changed
        before, square = square, (rest**2).sum(axis=(0, 1))
        direction = rest + square / np.where(before > 0, before, np.inf) * direction
    return solved
