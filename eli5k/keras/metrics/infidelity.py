"""Infidelity: does a map predict the effect of small changes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from eli5k.keras.evidence.batching import chunks
from eli5k.keras.evidence.run import Run
from eli5k.keras.metrics.agreement import on_cells

# Function from a random generator and pictures (rows, *grid, channels) to changes to subtract.
Perturb = Callable[[np.random.Generator, np.ndarray], np.ndarray]
SCALE = 0.1  # of the default noise, in standard deviations of each picture


def gaussian(random: np.random.Generator, pictures: np.ndarray) -> np.ndarray:
    """Draw Gaussian noise of a tenth of each picture's standard deviation."""
    scale = SCALE * pictures.std(axis=tuple(range(1, pictures.ndim)), keepdims=True)
    noise: np.ndarray = scale * random.standard_normal(pictures.shape)
    return noise


def infidelity(
    run: Run,
    maps: np.ndarray,
    perturb: Perturb = gaussian,
    samples: int = 10,
    seed: int = 0,
) -> np.ndarray:
    r"""Compare the predicted effects of small changes with the real ones.

    .. math:: E_I \left[ \left( I \cdot \phi - (f(x) - f(x - I)) \right)^2 \right]

    Parameters
    ----------
    run : Run
        From :func:`eli5k.keras.run`; its scores are measured.
    maps : numpy.ndarray
        ``(targets, batch, *grid, channels)``, or ``(targets, batch, *grid)`` for the same in each
        channel: in units of the score for each unit of the input.
    perturb : callable
        ``perturb(random, pictures)`` returns the changes: ``(rows, *grid, channels)``.
    samples : int
        Number of changes of each picture.
    seed : int

    Returns
    -------
    numpy.ndarray
        ``(targets, batch)``, in squared units of the score; less is better.

    References
    ----------
    Yeh et al. 2019, https://arxiv.org/abs/1901.09392

    Examples
    --------
    A linear model keeps what its gradient foretells.

    >>> import keras
    >>> from eli5k.keras import run
    >>> model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten()])
    >>> model.add(keras.layers.Dense(1, kernel_initializer="ones"))
    >>> asked = run(model, np.ones((1, 2, 2, 1)), 0)
    >>> infidelity(asked, np.ones((1, 1, 2, 2))).round(6).tolist()
    [[0.0]]
    """
    if run.classes is None and not run.target.functions:
        run = run.with_classes(run.scores())
    image = run.image.astype("float32", copy=False)
    if maps.ndim == image.ndim:
        maps = on_cells(maps, image.shape[1:-1])[..., np.newaxis]
    random = np.random.default_rng(seed)
    errors = np.zeros((len(maps), run.count))
    plain = np.full((run.count, len(maps)), np.nan)
    # Index 0 is the unchanged picture.
    for chunk in chunks(run, samples + 1):
        rows = image[chunk.samples]
        is_plain = chunk.numbers == 0
        change = perturb(random, rows).astype("float64")
        change[is_plain] = 0
        scores = run.perturbed(rows - change, chunk.samples).scores().explained
        for row, sample in enumerate(chunk.samples[: chunk.n_valid]):
            if is_plain[row]:
                plain[sample] = scores[row]
                continue
            foretold = (change[row] * maps[:, sample]).reshape(len(maps), -1).sum(axis=1)
            errors[:, sample] += (foretold - (plain[sample] - scores[row])) ** 2
    return (errors / samples).astype("float32")
