"""Completeness: does a map add up to the score."""

from __future__ import annotations

import numpy as np

from eli5k.keras.evidence.baselines import Baseline, baseline_of
from eli5k.keras.evidence.run import Run


def completeness(run: Run, maps: np.ndarray, baseline: Baseline = 0.0) -> np.ndarray:
    """Measure how far a map's sum is from the explained score.

    Only some methods promise it: integrated gradients, for example, with enough steps.

    Parameters
    ----------
    run : Run
        From :func:`eli5k.keras.run`; its scores are measured.
    maps : numpy.ndarray
        ``(targets, batch, *grid)``
    baseline : float, tuple of float, "mean", "blur" or callable
        That of the method: see :func:`~eli5k.keras.evidence.baselines.baseline_of`.

    Returns
    -------
    numpy.ndarray
        ``(targets, batch)``: the sum of the map, minus what the picture's score has more than the
        baseline's; in units of the score, 0 if the map is complete.

    References
    ----------
    Sundararajan et al. 2017, https://arxiv.org/abs/1703.01365

    Examples
    --------
    >>> import keras
    >>> from eli5k.keras import run
    >>> model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten()])
    >>> asked = run(model, np.full((1, 2, 2, 1), 3.0), targets=1)
    >>> completeness(asked, np.array([[[[0.0, 2.5], [0.0, 0.0]]]])).tolist()
    [[-0.5]]
    """
    plain = run.scores()
    run = run.with_classes(plain)
    image = run.image.astype("float32", copy=False)
    nothing = run.perturbed(baseline_of(image, baseline), np.arange(run.rows)).scores()
    promised = (plain.explained - nothing.explained)[: run.count].T
    missing: np.ndarray = maps.reshape(*maps.shape[:2], -1).sum(axis=-1) - promised
    return missing
