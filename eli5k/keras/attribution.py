"""Scores and maps for a batch: one run of the model a chunk, compiled when asked for again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from eli5k.keras.inputs import check_batch
from eli5k.keras.methods import find_method
from eli5k.keras.run import Run
from eli5k.keras.survey import Survey, survey
from eli5k.keras.targets import Selection, TargetNames, choose_targets, find_head


def attribute(
    model: keras.Model,
    docs: Any,
    targets: Any = None,
    *,
    method: str | Callable = "grad-cam",
    layer: str | int | keras.Layer | None = None,
    logits: bool = False,
    output: str | int | None = None,
    reshape: Callable | None = None,
    batch_size: int = 32,
    progress: bool = False,
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
    progress : bool
        Show a progress bar.

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

    Examples
    --------
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)]
    >>> layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)]
    >>> scores, maps = attribute(keras.Sequential(layers), np.ones((5, 8, 8, 1)), targets=2)
    >>> scores.shape, maps.shape
    ((5,), (5, 6, 6))
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1. Received: {batch_size}")
    inputs = check_batch(model, docs)
    count = len(keras.tree.flatten(inputs)[0])
    seen = survey(model, inputs)
    position = find_head(seen.heads, output)
    selection, classes = _targets_of_samples(
        targets, count, seen, Selection(head=position, logits=bool(logits))
    )
    explain = find_method(method).explain
    scores, maps = [], []
    for start in tqdm(range(0, count, batch_size), disable=not progress):
        rows = _rows(start, batch_size, count)
        run = Run(
            model,
            seen,
            keras.tree.map_structure(lambda array, rows=rows: array[rows], inputs),
            selection,
            classes=None if classes is None else classes[rows],
            layer=layer,
            reshape=reshape,
            batch_size=batch_size,
        )
        answer = explain(run)
        kept = min(batch_size, count - start)
        scores.append(answer.scores.values[:kept])
        maps.append(np.moveaxis(answer.maps, 0, 1)[:kept])
    several = classes is not None and np.ndim(targets) == 2
    all_scores, all_maps = np.concatenate(scores), np.concatenate(maps)
    return (all_scores, all_maps) if several else (all_scores[:, 0], all_maps[:, 0])


def _rows(start: int, batch_size: int, count: int) -> np.ndarray:
    """Rows of one chunk; the last is filled up, since each new shape would be compiled anew."""
    stop = start + min(batch_size, count)
    return np.minimum(np.arange(start, stop), count - 1)


def _targets_of_samples(
    targets: Any, count: int, seen: Survey, selection: Selection
) -> tuple[Selection, np.ndarray | None]:
    """Check the targets of a batch; classes come back as ``(batch, targets)``."""
    head = seen.heads[selection.head]
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
