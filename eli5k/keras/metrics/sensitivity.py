"""Max-sensitivity: how much a map changes if the picture changes a little."""

from __future__ import annotations

import numpy as np

from eli5k.keras.attribution import explain_samples
from eli5k.keras.evidence.run import Run
from eli5k.options import MethodLike


def max_sensitivity(
    run: Run, method: MethodLike, radius: float = 0.02, samples: int = 10, seed: int = 0
) -> np.ndarray:
    """Measure the largest relative change of a map under small uniform noise.

    It says nothing about faithfulness: a constant map is perfectly stable.

    Parameters
    ----------
    run : Run
        From :func:`eli5k.keras.run`.
    method : str or callable
    radius : float
        The noise is in [-radius, radius], in units of the model's input.
    samples : int
        How often noise is added.
    seed : int

    Returns
    -------
    numpy.ndarray
        ``(targets, batch)``; less is more stable, NaN if the map is zero.

    References
    ----------
    Yeh et al. 2019, https://arxiv.org/abs/1901.09392

    Examples
    --------
    >>> import keras
    >>> from eli5k.keras import run
    >>> model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()])
    >>> max_sensitivity(run(model, np.ones((1, 4, 4, 1)), 5), "gradient").tolist()
    [[0.0]]
    """
    plain = explain_samples(run, method)
    run = run.with_classes(plain.scores)
    image = run.image.astype("float32", copy=False)
    random = np.random.default_rng(seed)
    own = _norms(plain.maps)
    largest = np.zeros_like(own)
    for _ in range(samples):
        noise = random.uniform(-radius, radius, image.shape).astype("float32")
        changed = explain_samples(run.perturbed(image + noise, np.arange(run.rows)), method)
        largest = np.maximum(largest, _norms(changed.maps - plain.maps))
    return np.divide(largest, own, out=np.full_like(own, np.nan), where=own > 0)


def _norms(maps: np.ndarray) -> np.ndarray:
    norms: np.ndarray = np.linalg.norm(maps.reshape(*maps.shape[:2], -1), axis=-1)
    return norms
