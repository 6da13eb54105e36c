"""What each place of a picture is worth to a model, solved from halves of it."""

from __future__ import annotations

from functools import reduce

import numpy as np

from eli5k.keras.metrics.halves import SMOOTHING, Halves

# How much of the halves' worth is taken for noise: the value that predicts left-out halves best.
NOISE = (0.03, 0.1, 0.3, 1.0, 3.0)


def worth_of(halves: Halves) -> np.ndarray:
    """Solve what each cell is worth from what halves are worth.

    This is kernel ridge regression: neighbouring cells are assumed to be worth about the same. The
    cells add up to what the whole picture is worth more than the blurred one.

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
    signs = halves.signs.reshape(len(halves.signs), -1).astype("float64")
    cells = halves.signs.shape[1:]
    near = reduce(np.kron, map(_nearness, cells))
    across = signs @ near
    gram = across @ signs.T
    scale = np.trace(gram) / len(gram)
    measured = halves.worth.reshape(len(signs), -1).astype("float64")
    gain = (halves.plain - halves.blurred).reshape(-1)
    maps = np.empty((measured.shape[1], signs.shape[1]))
    for column, values in enumerate(measured.T):
        solved = across.T @ _solve(gram, scale, values)
        maps[column] = solved + (gain[column] - solved.sum()) / len(solved)
    by_sample = maps.reshape(*halves.plain.shape, *cells)
    return np.moveaxis(by_sample, 1, 0).astype("float32")


def _nearness(length: int) -> np.ndarray:
    distance = np.arange(length)[:, np.newaxis] - np.arange(length)
    near: np.ndarray = np.exp(-((distance / SMOOTHING) ** 2) / 2)
    return near


def _solve(gram: np.ndarray, scale: float, values: np.ndarray) -> np.ndarray:
    """Solve with the noise that predicts each pair best from the others."""
    solved: list[tuple[float, np.ndarray]] = []
    for noise in NOISE:
        inverse = np.linalg.inv(gram + noise * scale * np.eye(len(gram)))
        weights = inverse @ values
        # The error of each pair, had it been left out.
        error = float(np.square(weights / np.diag(inverse)).mean())
        solved.append((error, weights))
    best: np.ndarray = min(solved, key=lambda each: each[0])[1]
    return best
