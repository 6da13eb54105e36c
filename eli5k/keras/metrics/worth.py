"""Worth of each place of a picture to a model, from halves."""

from __future__ import annotations

from functools import reduce

import numpy as np

from eli5k.keras.metrics.halves import SMOOTHING, Halves

# Shares of noise in the halves' worth to try: the best predicts left-out halves best.
NOISE = (0.03, 0.1, 0.3, 1.0, 3.0)


def worth_of(halves: Halves) -> np.ndarray:
    """Solve the worth of each cell from that of the halves.

    This is kernel ridge regression: neighbouring cells are assumed to be worth about the same. The
    cells add up to the difference between the picture's and the blurred picture's worth.

    Parameters
    ----------
    halves : Halves

    Returns
    -------
    numpy.ndarray
        ``(targets, batch, *cells)``, float32, signed, in units of the score.

    Examples
    --------
    >>> import keras
    >>> from eli5k.keras import run
    >>> from eli5k.keras.metrics.halves import measure_halves
    >>> model = keras.Sequential([keras.Input((14, 14, 1)), keras.layers.GlobalMaxPooling2D()])
    >>> picture = np.zeros((1, 14, 14, 1))
    >>> picture[0, 3, 9] = 1
    >>> halves = measure_halves(run(model, picture, targets=0))
    >>> np.isclose(worth_of(halves).sum(), halves.plain - halves.blurred).item()
    True
    """
    cells = halves.signs.shape[1:]
    signs, across, gram = _kernel(halves.signs)
    measured = halves.worth.reshape(len(signs), -1).astype("float64")
    gain = (halves.plain - halves.blurred).reshape(-1)
    maps = np.empty((measured.shape[1], signs.shape[1]))
    for column, values in enumerate(measured.T):
        weights, _ = _solve(gram, values)
        solved = across.T @ weights
        maps[column] = solved + (gain[column] - solved.sum()) / len(solved)
    by_sample = maps.reshape(*halves.plain.shape, *cells)
    return np.moveaxis(by_sample, 1, 0).astype("float32")


def attainable(signs: np.ndarray, worth: np.ndarray) -> float:
    """Return how well maps predict pairs that they were not fitted to.

    Parameters
    ----------
    signs : numpy.ndarray
        ``(pairs, *cells)``: 1 in the first half of each pair, -1 in the second.
    worth : numpy.ndarray
        ``(pairs,)``

    Returns
    -------
    float
        Pearson's correlation; 0 if nothing can be predicted.

    Examples
    --------
    >>> from eli5k.keras.metrics.halves import draw_halves
    >>> signs = draw_halves((14, 14), 32)
    >>> attainable(signs, signs[:, :7, :7].sum(axis=(1, 2))) > 0.9
    True
    """
    _, _, gram = _kernel(signs)
    values = np.asarray(worth, "float64")
    _, errors = _solve(gram, values)
    predicted, measured = (each - each.mean() for each in (values - errors, values))
    norm = np.linalg.norm(predicted) * np.linalg.norm(measured)
    return float(predicted @ measured / norm) if norm > 0 else 0.0


def _kernel(signs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the signs ``(pairs, all cells)``, smoothed signs and their products."""
    flat = signs.reshape(len(signs), -1).astype("float64")
    across = flat @ reduce(np.kron, map(_nearness, signs.shape[1:]))
    return flat, across, across @ flat.T


def _nearness(length: int) -> np.ndarray:
    distance = np.arange(length)[:, np.newaxis] - np.arange(length)
    near: np.ndarray = np.exp(-((distance / SMOOTHING) ** 2) / 2)
    return near


def _solve(gram: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Solve with the noise that predicts each pair best from the others.

    Returns
    -------
    weights, errors : numpy.ndarray
        ``(pairs,)``: the weight of each pair, and its error, had it been left out.
    """
    scale = np.trace(gram) / len(gram)
    solved = []
    for noise in NOISE:
        inverse = np.linalg.inv(gram + noise * scale * np.eye(len(gram)))
        weights = inverse @ values
        solved.append((weights, weights / np.diag(inverse)))
    return min(solved, key=lambda each: float(np.square(each[1]).mean()))
