"""Dispatch on the type of the model."""

from __future__ import annotations

import inspect
import sys
from functools import singledispatch
from typing import Any

from eli5k.base import Explanation, ExplanationWarning, warn
from eli5k.estimators import is_keras_model, no_keras_model
from eli5k.options import shows_options

IMAGE = inspect.Parameter("image", inspect.Parameter.KEYWORD_ONLY, default=None)


@shows_options(IMAGE)
@singledispatch
def explain_prediction(estimator: Any, doc: Any, *args: Any, **kwargs: Any) -> Explanation:
    """Explain what a model predicts for one document.

    For a Keras model this calls :func:`eli5k.explain_prediction_keras`. Use
    ``explain_prediction.register`` to add handlers for other types.

    Parameters
    ----------
    estimator : object
        The model; must be positional.
    doc : object
        What the model predicts on.
    *args, **kwargs
        Passed to the handler. The keywords in the signature are those for a Keras model.

    Returns
    -------
    Explanation
        With ``error`` set if there is no handler for the type.

    Warns
    -----
    ExplanationWarning
        If there is no handler for the type.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings(action="ignore"):
    ...     explain_prediction(None, None).error
    'Expected a keras.Model, got NoneType None.'
    """
    if is_keras_model(estimator):
        # Imported only now, since it takes seconds; who has a Keras model has imported Keras.
        from eli5k.keras.explain_prediction import explain_prediction_keras

        explain_prediction.register(sys.modules["keras"].Model, explain_prediction_keras)
        return explain_prediction(estimator, doc, *args, **kwargs)
    error = no_keras_model(estimator, doc)
    # A script would fail two lines later, on targets=None.
    warn(error, ExplanationWarning)
    return Explanation(estimator=repr(estimator), error=error)
