"""Choose the method that agrees best with the model on these documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from eli5k.keras.evidence.run import Attribution, Run
from eli5k.keras.methods import find_method
from eli5k.keras.metrics.check import PAIRS
from eli5k.keras.metrics.halves import Halves, measure_halves
from eli5k.keras.metrics.ranking import Rank, affordable, ranked
from eli5k.options import MethodLike

DEFAULT = "grad-cam"
RUNS = 1  # of the model by each method
# Methods whose agreement differs by less are equally good: the best known of them is taken.
TIE = 0.01


@dataclass(frozen=True)
class Best:
    """Method that won a ranking.

    Attributes
    ----------
    title : str
    explain : callable
    needs_layer : bool
    why : str
        A sentence on the ranking.
    """

    title: str
    explain: Callable[[Run], Attribution]
    needs_layer: bool
    why: str

    def __call__(self, run: Run) -> Attribution:
        return self.explain(run)


def best_method(
    run: Run,
    methods: Sequence[MethodLike] | None = None,
    halves: Halves | None = None,
    where: str | None = None,
) -> Best:
    """Rank methods on the samples of a run, and take the best.

    Parameters
    ----------
    run : Run
        The model runs 64 times for each sample, and each method explains it.
    methods : sequence of str or callable, optional
        The best known first; None takes all that run the model once.
    halves : Halves, optional
        Halves of this run, if they were measured before.
    where : str, optional
        What its sentence calls the documents; by default, the first ones of many.

    Returns
    -------
    Best
        Grad-CAM, or the first method that can explain the model, if no map can be tested.

    Raises
    ------
    ValueError
        If no method can explain the model.

    Examples
    --------
    >>> import keras
    >>> from eli5k.keras import run
    >>> layers = [keras.Input((14, 14, 1)), keras.layers.Conv2D(4, 3, activation="relu")]
    >>> layers += [keras.layers.GlobalMaxPooling2D(), keras.layers.Dense(3)]
    >>> docs = np.random.default_rng(0).random((2, 14, 14, 1))
    >>> best_method(run(keras.Sequential(layers), docs), ["gradient"]).title
    'Gradient'
    """
    if run.classes is None and not run.target.functions:
        run = run.with_classes(run.scores())
    if halves is None:
        halves = measure_halves(run, PAIRS)
    names = affordable(RUNS) if methods is None else list(methods)
    found = ranked([(str(n), name, run) for n, name in enumerate(names)], halves, ValueError)
    ranks = sorted(found, key=lambda rank: int(rank.name))
    tested = [rank for rank in ranks if np.isfinite(rank.agreement)]
    if tested:
        highest = max(rank.agreement for rank in tested)
        won = next(rank for rank in tested if rank.agreement >= highest - TIE)
    else:
        known = [rank for rank in ranks if names[int(rank.name)] == DEFAULT]
        won = (known or ranks)[0]
    method = find_method(names[int(won.name)])
    if where is None:
        where = "this document" if run.count == 1 else f"the first {run.count} documents"
    return Best(method.title, method.explain, method.needs_layer, _why(won, where, len(ranks)))


def _why(won: Rank, where: str, methods: int) -> str:
    if not won.maps:
        return f"None of {methods} methods could be tested on {where}."
    return (
        f"It agrees best with the model of {methods} methods, ranked on {where} only "
        f"(agreement {won.agreement:.2f})."
    )
