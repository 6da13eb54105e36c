"""Dispatch on the type of the model."""

from __future__ import annotations

import os
import sys
from functools import singledispatch
from typing import Any

from eli5k.base import Explanation


@singledispatch
def explain_prediction(estimator: Any, doc: Any, **kwargs: Any) -> Explanation:
    """Explain what a model predicts for one document.

    For a Keras model this calls :func:`eli5k.explain_prediction_keras`. Use
    ``explain_prediction.register`` to add handlers for other types.

    Parameters
    ----------
    estimator : object
        The model; must be positional.
    doc : object
        What the model predicts on.
    **kwargs
        Passed to the handler.

    Returns
    -------
    Explanation
        With ``error`` set if there is no handler for the type.

    Examples
    --------
    >>> explain_prediction(None, None).error
    'Expected a keras.Model, got NoneType None.'
    """
    keras = sys.modules.get("keras")
    if keras is not None and isinstance(estimator, keras.Model):
        # Imported only now: it takes seconds, and whoever has a Keras model has imported Keras.
        from eli5k.keras.explain_prediction import explain_prediction_keras

        explain_prediction.register(keras.Model, explain_prediction_keras)
        return explain_prediction(estimator, doc, **kwargs)
    error = f"Expected a keras.Model, got {type(estimator).__name__} {estimator!r}."
    if isinstance(estimator, str | os.PathLike):
        error += f" Load it first: keras.models.load_model({os.fspath(estimator)!r})."
    return Explanation(estimator=repr(estimator), error=error)
