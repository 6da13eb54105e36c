"""Scores and maps for a batch: one run of the model a chunk, compiled when asked for again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np

from eli5k.base import AmbiguousOutputWarning, warn
from eli5k.keras.inputs import check_batch
from eli5k.keras.methods import find_method
from eli5k.keras.progress import progress_bar
from eli5k.keras.run import Answer, Run
from eli5k.keras.survey import Head, survey
from eli5k.keras.targets import Scores, Selection, TargetNames, choose_targets, find_head


def attribute(
    model: keras.Model,
    docs: Any,
    targets: Any = None,
    *,
    method: str | Callable = "grad-cam",
    layer: str | int | keras.Layer | list | None = None,
    logits: bool = False,
    output: str | int | None = None,
    reshape: Callable | None = None,
    batch_size: int = 32,
    progress: bool | None = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Explain many samples: the scores and the raw maps, one row for each.

    Parameters
    ----------
    model : keras.Model
    docs : numpy.ndarray or tensor, or list or dict of these
        ``(batch, *grid, channels)``, as the model takes it; of several inputs, each.
    targets : None, int, callable or array-like of int
        None for the best class of each sample; a class, or a callable from the model's outputs to
        ``(batch,)``, for all; ``(batch,)`` for one class a sample, ``(batch, targets)`` for more.
    method, layer, logits, output, reshape
        As :func:`eli5k.explain_prediction_keras` has them.
    batch_size : int
        How many samples go through the model at a time.
    progress : bool or None
        Show a progress bar, also of what a method tries; None shows it on a terminal where the run
        takes long.

    Returns
    -------
    scores : numpy.ndarray
        ``(batch,)``, float32, or ``(batch, targets)`` where ``targets`` has two axes.
    maps : numpy.ndarray
        ``(batch, *grid)`` or ``(batch, targets, *grid)``, float32: signed where the method is, and
        not scaled.

    Raises
    ------
    TypeError, ValueError
        As :func:`eli5k.explain_prediction_keras`; also where ``targets`` is not as long as
        ``docs``.

    Warns
    -----
    AmbiguousOutputWarning
        Where the model has several outputs and ``output`` is None.

    Examples
    --------
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)]
    >>> layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)]
    >>> scores, maps = attribute(keras.Sequential(layers), np.ones((5, 8, 8, 1)), targets=2)
    >>> scores.shape, maps.shape
    ((5,), (5, 6, 6))
    """
    check_batch_size(batch_size)
    inputs = check_batch(model, docs)
    run = ask(
        model,
        inputs,
        partial(_targets_of_samples, targets, len(keras.tree.flatten(inputs)[0])),
        output=output,
        logits=logits,
        layer=layer,
        reshape=reshape,
        batch_size=batch_size,
        progress=progress,
    )
    answer = explain_samples(run, method)
    scores = answer.scores.values
    maps = keras.tree.map_structure(lambda of_all: np.moveaxis(of_all, 0, 1), answer.maps)
    if run.classes is not None and np.ndim(targets) == 2:
        return scores, maps
    return scores[:, 0], keras.tree.map_structure(lambda of_all: of_all[:, 0], maps)


def check_batch_size(batch_size: int) -> None:
    """Raise a ValueError if no sample would go through the model at a time."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1. Received: {batch_size}")


def ask(
    model: keras.Model,
    inputs: Any,
    choose: Callable[[Head, Selection], tuple[Selection, np.ndarray | None]],
    *,
    output: str | int | None,
    logits: bool,
    **options: Any,
) -> Run:
    """Look at what the model does, and put down what is asked of it.

    Parameters
    ----------
    model : keras.Model
    inputs : numpy.ndarray, or list or dict of them
        ``(batch, ...)``, as the model takes them.
    choose : callable
        ``choose(head, selection)`` completes the selection, and gives the classes
        ``(batch, targets)`` or None.
    output, logits
        As :func:`eli5k.explain_prediction_keras` has them.
    **options
        Other fields of :class:`Run`.

    Warns
    -----
    AmbiguousOutputWarning
        Where the model has several outputs, and none was asked for.
    """
    seen = survey(model, inputs)
    position = find_head(seen.heads, output)
    selection, classes = choose(seen.heads[position], Selection(position, bool(logits)))
    if output is None and len(seen.heads) > 1 and not selection.functions:
        warn(
            f"The model has the outputs {[head.name for head in seen.heads]}, and the first one is "
            "explained. Pass output= a name or an index to choose.",
            AmbiguousOutputWarning,
        )
    return Run(model, seen, inputs, selection, classes=classes, **options)


def explain_samples(run: Run, method: str | Callable, fill_up: bool = False) -> Answer:
    """Explain the samples of a run, ``run.batch_size`` at a time.

    Parameters
    ----------
    run : Run
    method : str or callable
        As :func:`~eli5k.keras.methods.find_method` takes it.
    fill_up : bool
        Send a whole batch through the model even if there are fewer samples.

    Returns
    -------
    Answer
        About all samples.
    """
    explain = find_method(method).explain
    size = run.batch_size if fill_up else min(run.count, run.batch_size)
    answers = []
    for start in progress_bar(range(0, run.count, size), progress=run.progress, unit="batch"):
        part = _part(run, start, size)
        answers.append(_about_samples(explain(part), part.count))
    return _joined(answers)


def _part(run: Run, start: int, size: int) -> Run:
    """Ask about one batch; the last one is filled up, since each new shape is compiled anew."""
    stop = min(start + size, run.count)
    if stop - start == size:
        return run if size == run.count else run.part(slice(start, stop))
    return run.part(np.minimum(np.arange(start, start + size), stop - 1), kept=stop - start)


def _about_samples(answer: Answer, count: int) -> Answer:
    """Leave out what is said about rows that only fill the batch up."""
    scores = Scores(*(None if part is None else part[:count] for part in answer.scores))
    maps = keras.tree.map_structure(lambda of_all: of_all[:, :count], answer.maps)
    return answer._replace(scores=scores, maps=maps)


def _joined(answers: list[Answer]) -> Answer:
    """Put the answers about all batches together, in arrays that are the user's own."""
    by_part = zip(*(answer.scores for answer in answers))
    scores = Scores(*(None if parts[0] is None else np.concatenate(parts) for parts in by_part))
    maps = keras.tree.map_structure(
        lambda *batches: np.concatenate(batches, axis=1), *(answer.maps for answer in answers)
    )
    return Answer(answers[0].layer, scores, maps)


def _targets_of_samples(
    targets: Any, count: int, head: Head, selection: Selection
) -> tuple[Selection, np.ndarray | None]:
    """Check the targets of a batch; classes come back as ``(batch, targets)``."""
    names = TargetNames(None, None)
    if targets is None or callable(targets):
        selection, _ = choose_targets(head, targets, None, names, selection=selection)
        return selection, None
    classes = np.asarray(targets)
    if classes.dtype.kind not in "iu" or classes.ndim > 2 or classes.size == 0:
        raise TypeError(
            "targets must be None, a class, a callable, one class for each sample or a list of "
            f"as many classes for each. Received: {targets!r}"
        )
    if classes.ndim and len(classes) != count:
        raise ValueError(
            f"targets must have one row for each of the {count} samples, or be a single class for "
            f"all. Received {len(classes)} rows."
        )
    asked = [int(target) for target in np.unique(classes)]
    selection, _ = choose_targets(head, asked, None, names, selection=selection)
    columns = 1 if classes.ndim < 2 else classes.shape[1]
    rows = classes[:, np.newaxis] if classes.ndim == 1 else classes
    return selection, np.broadcast_to(rows, (count, columns)).astype("int32")
