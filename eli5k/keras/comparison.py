"""Explain one document by several methods, at several layers, with as few runs as can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras

from eli5k.base import Explanation
from eli5k.keras.explain_prediction import check_keywords, explain_document
from eli5k.keras.methods.together import sharing
from eli5k.keras.support import not_supported
from eli5k.options import MethodLike, Options, split_options


def explain_by_methods(
    model: keras.Model,
    doc: Any,
    methods: Sequence[MethodLike],
    layers: Sequence[Any] = (None,),
    *,
    image: Any = None,
    **kwargs: Any,
) -> list[Explanation]:
    """Explain one document by each method at each layer.

    Methods that look at the same evidence share the run: all that weight the channels of a layer
    need one for each layer, and all that look at the gradient of the input need one.

    Parameters
    ----------
    model : keras.Model
    doc : object
        As in :func:`eli5k.explain_prediction_keras`.
    methods, layers : sequence
        What it takes as ``method`` and as ``layer``. A method that looks at the input is asked
        once.
    image : optional
    **kwargs
        Its other keywords.

    Returns
    -------
    list of Explanation
        Method by method.

    Raises
    ------
    TypeError, ValueError
        As :func:`eli5k.explain_prediction_keras`.

    Examples
    --------
    >>> import numpy as np
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3, kernel_initializer="ones")]
    >>> layers += [keras.layers.Flatten(), keras.layers.Dense(3, kernel_initializer="ones")]
    >>> model = keras.Sequential(layers)
    >>> found = explain_by_methods(model, np.ones((8, 8, 1)), ["grad-cam", "gradient"])
    >>> [(each.method, each.targets[0].heatmap.shape) for each in found]
    [('Grad-CAM', (6, 6)), ('Gradient', (8, 8))]
    """
    options = _options(kwargs)
    columns = _columns(model, doc, options, image, methods, layers)
    return [explanation for of_method in columns for explanation in of_method]


def explain_by_suited(
    model: keras.Model,
    doc: Any,
    methods: Sequence[MethodLike],
    layers: Sequence[Any] = (None,),
    *,
    image: Any = None,
    **kwargs: Any,
) -> tuple[list[Explanation], dict[str, list[MethodLike]]]:
    """Explain one document by those of the methods that this model can have.

    Parameters
    ----------
    model, doc, methods, layers, image, **kwargs
        As in :func:`explain_by_methods`, with which it has in common that methods share runs.

    Returns
    -------
    list of Explanation
        Method by method.
    dict
        The other methods, by the reason why the model can't have them.

    Raises
    ------
    TypeError
        As :func:`eli5k.explain_prediction_keras`.

    Examples
    --------
    >>> import numpy as np
    >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)])
    >>> model.add(keras.layers.Flatten())
    >>> found, refused = explain_by_suited(model, np.ones((8, 8, 1)), ["cam", "gradient"])
    >>> [each.method for each in found], list(refused.values())
    (['Gradient'], [['cam']])
    """
    options = _options(kwargs)
    columns: dict[int, list[Explanation]] = {}
    refused: dict[str, list[MethodLike]] = {}
    # Those that share a run look at the same evidence: one can have it if all can.
    for numbers, _ in sharing(methods):
        own = [methods[number] for number in numbers]
        refusal = None if image is not None else not_supported(model, own[0])
        reason, found = "" if refusal is None else refusal.error, []
        try:
            found = [] if reason else _columns(model, doc, options, image, own, layers)
            reason = reason or found[0][0].error
        except ValueError as error:
            reason = str(error)
        if reason:
            refused.setdefault(reason, []).extend(own)
        else:
            columns.update(zip(numbers, found))
    return [each for number in sorted(columns) for each in columns[number]], refused


def _options(kwargs: dict[str, Any]) -> Options:
    known, others = split_options(kwargs)
    check_keywords(others, "compare")
    return Options(**known)


def _columns(
    model: keras.Model,
    doc: Any,
    options: Options,
    image: Any,
    methods: Sequence[MethodLike],
    layers: Sequence[Any],
) -> list[list[Explanation]]:
    """Explain by each method at each layer: a list for each method."""
    columns: list[list[Explanation]] = [[] for _ in methods]
    for layer in layers:
        # What has no layer is the same at each.
        asked = [number for number, own in enumerate(columns) if not own or own[-1].layer]
        if not asked:
            break
        chosen = [methods[number] for number in asked]
        found = explain_document(model, doc, replace(options, layer=layer), image, chosen)
        for number, explanation in zip(asked, found):
            columns[number].append(explanation)
    return columns
