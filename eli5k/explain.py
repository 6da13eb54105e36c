"""Dispatch on the type of the model."""

from __future__ import annotations

import sys
from functools import singledispatch
from typing import Any

from eli5k.base import Explanation


@singledispatch
def explain_prediction(estimator: Any, doc: Any, **kwargs: Any) -> Explanation:
    """Explain what a model predicts for one document.

    For a Keras model, see :func:`eli5k.explain_prediction_keras`, to which this goes. Handlers of
    other types may be added with ``explain_prediction.register``.

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
        With ``error`` set where no handler is known for the type.

    Examples
    --------
    >>> explain_prediction("no model", None).error
    "estimator 'no model' is not supported"
    """
    keras = sys.modules.get("keras")
    if keras is not None and isinstance(estimator, keras.Model):
        # Imported now: it takes seconds, and whoever has a Keras model has imported Keras.
        from eli5k.keras.explain_prediction import explain_prediction_keras

        explain_prediction.register(keras.Model, explain_prediction_keras)
        return explain_prediction(estimator, doc, **kwargs)
    return Explanation(
        estimator=repr(estimator),
        error=f"estimator {estimator!r} is not supported",
    )
