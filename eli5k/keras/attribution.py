"""Scores and maps for a batch: one run of the model a chunk, compiled when asked for again."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np

from eli5k.keras.backends import active_backend
from eli5k.keras.hooks import forward_hook
from eli5k.keras.layers import candidate_calls, find_call, layer_at
from eli5k.keras.memory import remember
from eli5k.keras.methods.evidence import Evidence
from eli5k.keras.survey import Survey, run_model
from eli5k.keras.targets import Scores, Selection, select_scores


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
