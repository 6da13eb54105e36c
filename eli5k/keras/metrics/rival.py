"""Rival test: does a map differ from the runner-up's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from eli5k.keras.evidence.run import Run
from eli5k.keras.metrics.explained import explained
from eli5k.keras.metrics.randomisation import spearman
from eli5k.options import MethodLike


def rival_likeness(run: Run, method: MethodLike) -> np.ndarray:
    """Compare the maps of the two best classes of each sample.

    A method that gives the same map for both shows what stands out, not what decides. If the two
    classes are much the same thing, such as two breeds of cat, their maps may well be alike.

    Parameters
    ----------
    run : Run
        From :func:`eli5k.keras.run`; its targets don't matter.
    method : str or callable

    Returns
    -------
    numpy.ndarray
        ``(batch,)``: the rank correlation of the two signed maps.

    Raises
    ------
    ValueError
        If the output is no vector of two classes or more.

    Examples
    --------
    >>> import keras
    >>> from eli5k.keras import run
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(3, 3)]
    >>> layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(4)]
    >>> docs = np.random.default_rng(0).random((2, 8, 8, 1))
    >>> rival_likeness(run(keras.Sequential(layers), docs), "eigen-cam").tolist()
    [1.0, 1.0]
    """
    shape = run.survey.heads[run.target.output].output
    if shape is None or len(shape) != 2 or shape[1] < 2:
        raise ValueError(
            f"The rival test needs an output of two classes or more. Received: shape {shape}"
        )
    target = replace(run.target, functions=(), objective=None, best=2)
    maps = explained(replace(run, target=target, classes=None), method).maps
    return np.array([spearman(one, other) for one, other in zip(*maps)])
