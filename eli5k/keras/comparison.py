"""Explain one document by several methods and layers, sharing runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from eli5k.base import Explanation, ExplanationWarning, warn
from eli5k.keras.explain_prediction import check_keywords, explain_document
from eli5k.keras.methods import METHODS
from eli5k.keras.methods.together import sharing
from eli5k.keras.support import not_supported
from eli5k.options import MethodLike, Options, split_options

ALL = "all"


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

    Methods that look at the same evidence share the run: methods that weight a layer's channels
    need one for each layer, and methods that look at the input's gradient need one. With
    ``check=True``, they also share the halves of the picture.

    Parameters
    ----------
    model : keras.Model
    doc : object
        As in :func:`eli5k.explain_prediction_keras`.
    methods, layers : sequence
        What it takes as ``method`` and as ``layer``; ``"all"`` are all methods that the model can
        have. A method that looks at the input is asked once.
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

    Warns
    -----
    ExplanationWarning
        If ``"all"`` leaves a method out, with the reason.

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
    if ALL in methods:
        found, refused = explain_by_suited(model, doc, list(METHODS), layers, image=image, **kwargs)
        for reason, names in refused.items() if found else ():
            left_out = ", ".join(map(str, names))
            warn(f"methods={ALL!r} leaves out {left_out}: {reason}", ExplanationWarning)
        if found:
            return found
        methods = ["grad-cam"]  # It says what is wrong with all of them.
    options = _options(kwargs)
    return explain_document(model, doc, options, image, list(methods), list(layers))


def explain_by_suited(
    model: keras.Model,
    doc: Any,
    methods: Sequence[MethodLike],
    layers: Sequence[Any] = (None,),
    *,
    image: Any = None,
    **kwargs: Any,
) -> tuple[list[Explanation], dict[str, list[MethodLike]]]:
    """Explain one document by the methods that the model supports.

    Parameters
    ----------
    model, doc, methods, layers, image, **kwargs
        As in :func:`explain_by_methods`; methods share runs here too.

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

    def explain(own: Sequence[MethodLike]) -> tuple[list[Explanation], str]:
        for method in own if image is None else ():
            refusal = not_supported(model, method)
            if refusal is not None:
                return [], str(refusal.error)
        try:
            found = explain_document(model, doc, options, image, list(own), list(layers))
        except ValueError as error:
            return [], str(error)
        return found, found[0].error or ""

    found, reason = explain(methods)
    if not reason:
        return found, {}
    of_methods: dict[int, list[Explanation]] = {}
    refused: dict[str, list[MethodLike]] = {}
    # Those that share a run look at the same evidence: one can have it if all can.
    for numbers, _ in sharing(methods):
        found, reason = explain([methods[number] for number in numbers])
        if reason:
            refused.setdefault(reason, []).extend(methods[number] for number in numbers)
        for place, number in enumerate(() if reason else numbers):
            count = len(found) // len(numbers)
            of_methods[number] = found[place * count : (place + 1) * count]
    return [each for number in sorted(of_methods) for each in of_methods[number]], refused


def _options(kwargs: dict[str, Any]) -> Options:
    known, others = split_options(kwargs)
    check_keywords(others, "compare")
    return Options(**known)
