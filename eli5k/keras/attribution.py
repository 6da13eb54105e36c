"""Scores and maps for a batch: one run of the model a chunk, compiled when asked for again."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np
from tqdm import tqdm

from eli5k.keras.backends import active_backend
from eli5k.keras.hooks import forward_hook
from eli5k.keras.inputs import check_batch
from eli5k.keras.layers import candidate_calls, find_call, layer_at
from eli5k.keras.memory import remember
from eli5k.keras.methods import find_method
from eli5k.keras.methods.evidence import Evidence
from eli5k.keras.survey import Survey, run_model, survey
from eli5k.keras.targets import (
    Scores,
    Selection,
    TargetNames,
    choose_targets,
    find_head,
    select_scores,
)


def attribute(
    model: keras.Model,
    docs: Any,
    targets: Any = None,
    *,
    method: str = "grad-cam",
    layer: str | int | keras.Layer | None = None,
    logits: bool = False,
    output: str | int | None = None,
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
    method, layer, logits, output
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
    function = find_method(method).function
    scores, maps = [], []
    for start in tqdm(range(0, count, batch_size), disable=not progress):
        rows = _rows(start, batch_size, count)
        answer = ask(
            model,
            keras.tree.map_structure(lambda array, rows=rows: array[rows], inputs),
            seen,
            layer=layer,
            method=function,
            selection=selection,
            classes=None if classes is None else classes[rows],
        )
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


class Question(NamedTuple):
    """What is asked of a model, apart from the documents: the key under which it is compiled."""

    layer: str
    channels_first: bool
    method: Callable
    selection: Selection


class Answer(NamedTuple):
    """What one run of a model gave, as arrays.

    Attributes
    ----------
    layer : str
        Path of the layer that was used.
    scores : Scores
        Arrays ``(batch, targets)``.
    maps : numpy.ndarray or structure of them
        ``(targets, batch, *grid)``, float32; whatever the method returns.
    """

    layer: str
    scores: Scores
    maps: Any


class DisconnectedError(ValueError):
    """The explained score does not depend on the layer."""


def ask(
    model: keras.Model,
    inputs: Any,
    seen: Survey,
    *,
    layer: str | int | keras.Layer | None,
    method: Callable,
    selection: Selection,
    classes: np.ndarray | None,
) -> Answer:
    """Run the model on one batch and make a map of each target for each sample.

    Parameters
    ----------
    model : keras.Model
    inputs : array, or list or dict of arrays
        ``(batch, ...)``, as the model takes them.
    seen : Survey
        Of this model on such inputs.
    layer : str, int, keras.Layer or None
        None for the best layer on which the score depends.
    method : callable
        From evidence to maps.
    selection : Selection
    classes : numpy.ndarray or None
        ``(batch, targets)``, int32.

    Raises
    ------
    ValueError
        If no layer has a grid on which the score depends, or the named one has not.
    """
    inputs = keras.tree.map_structure(keras.ops.convert_to_tensor, inputs)
    if classes is not None:
        classes = keras.ops.convert_to_tensor(classes, "int32")
    for path in _layers_to_try(model, seen, layer, selection.head):
        question = Question(path, seen.channels_first, method, selection)
        run = remember(model, question, partial(_compile, model, question))
        try:
            scores, maps = run(inputs, classes)
        except DisconnectedError:
            if layer is not None:
                raise
        else:
            if layer is None and not selection.functions:
                seen.default_layers[selection.head] = path
            to_numpy = keras.ops.convert_to_numpy
            return Answer(
                path,
                Scores(*(None if part is None else to_numpy(part) for part in scores)),
                keras.tree.map_structure(to_numpy, maps),
            )
    raise ValueError(
        "No layer of the model has a grid of more than one pixel on which the score depends. "
        f"It calls: {', '.join(dict.fromkeys(call.path for call in seen.calls))}"
    )


def _layers_to_try(
    model: keras.Model, seen: Survey, layer: str | int | keras.Layer | None, head: int
) -> list[str]:
    if layer is not None:
        return [find_call(model, seen.calls, layer, seen.rank).path]
    if head in seen.default_layers:
        return [seen.default_layers[head]]
    calls = candidate_calls(model, seen.calls, seen.rank, seen.channels_first)
    return [call.path for call in calls]


def _compile(model: keras.Model, question: Question) -> Callable:
    """Make the function that answers a question; it holds the model weakly, as the cache must."""
    backend = active_backend()
    reference = weakref.ref(model)

    def run(inputs: Any, classes: Any) -> tuple[Scores, Any]:
        living = reference()
        scores, evidence = _run_with_gradients(living, question, inputs, classes)
        return scores, question.method(evidence)

    return backend.compiled(run, model)


def _run_with_gradients(
    model: keras.Model, question: Question, inputs: Any, classes: Any
) -> tuple[Scores, Evidence]:
    """Run the model once, and differentiate the scores with respect to the layer's output."""
    layer = layer_at(model, question.layer)

    def forward(tap: Callable) -> tuple[Any, Scores]:
        def fn(output: Any) -> Any:
            # Half precision underflows where gradients are summed: the tap is in single.
            return keras.ops.cast(tap(keras.ops.cast(output, "float32")), output.dtype)

        with forward_hook(layer, fn):
            outputs, heads = run_model(model, inputs)
        scores = select_scores(outputs, heads, question.selection, classes)
        return scores.values, scores

    (_, scores), activations, gradients = active_backend().differentiate(forward)
    connected = [pair for pair in zip(activations, gradients) if pair[1] is not None]
    if not connected:
        raise DisconnectedError(
            f"The explained score does not depend on layer {question.layer!r}. "
            "Pass a layer between the input and this output, or None to have one chosen."
        )
    activation, gradient = connected[-1]
    if question.channels_first:
        activation = keras.ops.moveaxis(activation, 1, -1)
        gradient = keras.ops.moveaxis(gradient, 2, -1)
    return scores, Evidence(activation, gradient)
