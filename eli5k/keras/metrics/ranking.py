"""Rank methods and layers by agreement with a model on your pictures."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np

from eli5k.base import ExplanationWarning, warn
from eli5k.keras.attribution import run as prepare
from eli5k.keras.evidence.asking import DisconnectedError
from eli5k.keras.evidence.choice import is_map
from eli5k.keras.evidence.run import Run
from eli5k.keras.gathering import Gathered, gathered
from eli5k.keras.methods import METHODS, find_method
from eli5k.keras.methods.registry import Cost
from eli5k.keras.metrics.agreement import agreement, on_cells
from eli5k.keras.metrics.bars import bars_of, png_of
from eli5k.keras.metrics.explained import explained
from eli5k.keras.metrics.halves import Halves, measure_halves
from eli5k.keras.metrics.verdict import SUPPORTED, is_testable, verdict_on
from eli5k.keras.model.geometry import view_of
from eli5k.keras.model.layers import candidate_calls
from eli5k.options import MethodLike

# Methods with more runs take part only if they are named.
MOST_RUNS = 64
BAR = 20  # characters


@dataclass(frozen=True, slots=True)
class Rank:
    """Standing of one method or layer.

    Attributes
    ----------
    name : str
        Name of the method, or path of the layer.
    agreement : float
        Mean agreement of its maps with the model, in [-1, 1]; a blank map counts as 0.
    supported : float
        Share of its maps that a check would call supported.
    seconds : float
        Time for one document, once everything is compiled.
    maps : int
        How many maps could be tested.
    """

    name: str
    agreement: float
    supported: float
    seconds: float
    maps: int


class Ranking(list[Rank]):
    """Ranks, the best first; shown as a table or a picture."""

    def __str__(self) -> str:
        width = max((len(rank.name) for rank in self), default=0)
        lines = [f"{'':{width}}  agreement  supported   ms"]
        for rank in self:
            # Not a number, if no document could test a map.
            bar = "" if math.isnan(rank.agreement) else "█" * round(BAR * max(rank.agreement, 0))
            lines.append(
                f"{rank.name:{width}}  {rank.agreement:9.2f}  {100 * rank.supported:7.0f} %  "
                f"{1000 * rank.seconds:3.0f}  {bar}".rstrip()
            )
        return "\n".join(lines)

    def _repr_png_(self) -> bytes | None:
        if not self:
            return None
        columns = zip(*((each.name, each.agreement, each.supported, each.seconds) for each in self))
        return png_of(bars_of(*columns))


def rank_methods(
    model: keras.Model,
    docs: Any,
    targets: Any = None,
    *,
    methods: Iterable[MethodLike] | None = None,
    layer: Any = None,
    output: str | int | None = None,
    preprocess: Callable[..., Any] | Literal[False] | None = None,
    most: int = 100,
    pairs: int = 32,
    batch_size: int = 32,
    progress: bool | None = False,
) -> Ranking:
    """Rank methods by how well their maps agree with the model.

    Random halves of each document go through the model, 66 runs for each document, and all methods
    are judged by the same runs. No labels and no boxes are needed. Ten documents are enough to tell
    most methods apart.

    Parameters
    ----------
    model : keras.Model
    docs, targets, layer, output, preprocess, batch_size, progress
        As in :func:`eli5k.keras.attribute`. The score before a softmax or sigmoid is explained.
    most : int
        How many documents to take, evenly spread if it is known how many there are.
    methods : iterable of str or callable, optional
        None takes all that run the model at most 64 times.
    pairs : int
        Number of pairs of halves.

    Returns
    -------
    Ranking
        A list of :class:`Rank`, the best first. A method that can't explain the model is left out.

    Raises
    ------
    TypeError, ValueError
        As :func:`eli5k.keras.attribute`; also if no method can explain the model.

    Warns
    -----
    ExplanationWarning
        If a method that you named is left out.

    Examples
    --------
    >>> layers = [keras.Input((14, 14, 1)), keras.layers.Conv2D(4, 3, activation="relu")]
    >>> layers += [keras.layers.GlobalMaxPooling2D(), keras.layers.Dense(3)]
    >>> docs = np.random.default_rng(0).random((2, 14, 14, 1))
    >>> found = rank_methods(keras.Sequential(layers), docs, methods=["grad-cam", "gradient"])
    >>> sorted(rank.name for rank in found)
    ['grad-cam', 'gradient']
    """
    chosen = affordable() if methods is None else list(methods)
    names = [name_of(method) for method in chosen]
    found = gathered(model, docs, targets, preprocess=preprocess, most=most, progress=progress)
    asked = _prepared(model, found, layer, output, batch_size, progress)
    halves = measure_halves(asked, pairs)
    named = [(name, method, asked) for name, method in zip(names, chosen)]
    return ranked(named, halves, ValueError, warns=methods is not None)


def rank_layers(
    model: keras.Model,
    docs: Any,
    targets: Any = None,
    *,
    layers: Sequence[Any] | None = None,
    method: MethodLike = "grad-cam",
    output: str | int | None = None,
    preprocess: Callable[..., Any] | Literal[False] | None = None,
    most: int = 100,
    pairs: int = 32,
    batch_size: int = 32,
    progress: bool | None = False,
) -> Ranking:
    """Rank layers by how well their maps agree with the model.

    Parameters
    ----------
    model : keras.Model
    docs, targets, output, preprocess, most, pairs, batch_size, progress
        As in :func:`rank_methods`.
    layers : sequence of str, int or keras.Layer, optional
        None takes the last layer of each size of grid.
    method : str or callable

    Returns
    -------
    Ranking

    Raises
    ------
    TypeError, ValueError
        As :func:`rank_methods`.

    Examples
    --------
    >>> layers = [keras.Input((14, 14, 1)), keras.layers.Conv2D(4, 3, activation="relu")]
    >>> layers += [keras.layers.MaxPooling2D(), keras.layers.Conv2D(4, 3, name="last")]
    >>> layers += [keras.layers.GlobalMaxPooling2D(), keras.layers.Dense(3)]
    >>> docs = np.random.default_rng(0).random((2, 14, 14, 1))
    >>> len(rank_layers(keras.Sequential(layers), docs))
    3
    """
    find_method(method)
    found = gathered(model, docs, targets, preprocess=preprocess, most=most, progress=progress)
    asked = _prepared(model, found, None, output, batch_size, progress)
    halves = measure_halves(asked, pairs)
    chosen = _last_of_each_grid(asked) if layers is None else layers
    named = [
        (str(getattr(layer, "name", layer)), method, asked.at_layer(layer)) for layer in chosen
    ]
    # Layers that the user did not name may have no map of the picture.
    return ranked(named, halves, ValueError if layers is None else DisconnectedError)


def _prepared(
    model: keras.Model,
    found: Gathered,
    layer: Any,
    output: str | int | None,
    batch_size: int,
    progress: bool | None,
) -> Run:
    asked = prepare(
        model,
        found.inputs,
        found.targets,
        layer=layer,
        output=output,
        logits=True,
        batch_size=batch_size,
        progress=progress,
    )
    if asked.classes is not None or asked.target.functions:
        return asked
    return asked.with_classes(asked.scores())


def affordable(most: int = MOST_RUNS) -> list[str]:
    """Names of the methods that run the model at most ``most`` times.

    Examples
    --------
    >>> "integrated-gradients" in affordable(), "integrated-gradients" in affordable(1)
    (True, False)
    """
    return [name for name, method in METHODS.items() if _runs(method.cost) <= most]


def _runs(cost: Cost) -> float:
    if cost.each is None:
        return 1
    return float("inf") if cost.count is None else 1 + cost.count


def name_of(method: MethodLike) -> str:
    """Return the name under which a user knows a method."""
    title = find_method(method).title
    return method if isinstance(method, str) else title


def _last_of_each_grid(run: Run) -> list[str]:
    chosen: dict[tuple[int, ...], str] = {}
    shapes = set()
    for call in candidate_calls(run.model, run.survey):
        if call.shape is None or call.shape in shapes:
            continue
        view = view_of(run.model, run.survey, run.inputs, call)
        if is_map(view):
            shapes.add(call.shape)
            chosen.setdefault(view.grid(call.shape), call.path)
    return list(chosen.values())


def ranked(
    named: Sequence[tuple[str, MethodLike, Run]],
    halves: Halves,
    passed_over: type[ValueError],
    warns: bool = False,
) -> Ranking:
    """Rank the maps of runs with halves that were measured before.

    Parameters
    ----------
    named : sequence of (str, str or callable, Run)
        A name for the table, the method and the run that it explains.
    halves : Halves
    passed_over : type of ValueError
        Errors that leave out what raises them.
    warns : bool
        Whether to warn about methods or layers that are left out.

    Raises
    ------
    ValueError
        If nothing is left.
    """
    ranks, errors = Ranking(), list[tuple[str, str]]()
    for name, method, asked in named:
        try:
            maps, seconds = _timed(asked, method)
        except passed_over as error:
            errors.append((name, str(error)))
            continue
        ranks.append(rank_of(name, maps, halves, seconds))
    if not ranks:
        raise ValueError(
            f"Nothing could be ranked: {errors[0][1] if errors else 'no method given'}"
        )
    for name, reason in errors if warns else ():
        warn(f"{name} is left out of the ranking: {reason}", ExplanationWarning)
    ranks.sort(key=lambda rank: -np.nan_to_num(rank.agreement, nan=-2))
    return ranks


def _timed(asked: Run, method: MethodLike) -> tuple[np.ndarray, float]:
    """Explain; then the first document again, as first calls are slower."""
    maps = np.asarray(explained(asked, method).maps)
    first = asked.part(np.arange(1))
    explained(first, method)
    start = time.perf_counter()
    explained(first, method)
    return maps, time.perf_counter() - start


def rank_of(name: str, maps: np.ndarray, halves: Halves, seconds: float = 0.0) -> Rank:
    """Rank maps with halves that were measured before.

    Parameters
    ----------
    name : str
    maps : numpy.ndarray
        ``(targets, batch, *grid)``
    halves : Halves
    seconds : float
    """
    on_grid = on_cells(maps, halves.signs.shape[1:])
    values, supported = [], []
    for target, sample in np.ndindex(on_grid.shape[:2]):
        scores = halves.first[:, sample, target], halves.second[:, sample, target]
        gain = float(halves.plain[sample, target] - halves.blurred[sample, target])
        worth = halves.worth[:, sample, target]
        found = agreement(on_grid[target, sample], halves.signs, worth)
        blank = found._replace(value=0.0, copies=1)
        if is_testable(blank if np.isnan(found.value) else found, scores, gain):
            values.append(0.0 if np.isnan(found.value) else found.value)
            supported.append(verdict_on(found, scores, gain) == SUPPORTED)
    if not values:
        return Rank(name, float("nan"), 0.0, seconds, 0)
    return Rank(name, float(np.mean(values)), float(np.mean(supported)), seconds, len(values))
