"""Explain one document by several methods and layers, sharing runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from eli5k.base import Explanation
from eli5k.keras.explain_prediction import check_keywords, explain_document
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
    need one for each layer, and all that look at the gradient of the input need one. With
    ``check=True``, they also share the halves of the picture.

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
    known, others = split_options(kwargs)
    check_keywords(others, "compare")
    options = Options(**known)
    return explain_document(model, doc, options, image, list(methods), list(layers))
