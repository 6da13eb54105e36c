"""Say what came instead of a Keras model, and what to do."""

from __future__ import annotations

import os
import sys
from typing import Any

LONGEST_REPR = 200
ABOUT_KERAS_2 = (
    "It is a model of Keras 2. Save it with model.save('model.h5'), and load that file with "
    "keras.saving.load_model('model.h5') of Keras 3."
)
ABOUT_SAVED_MODEL = (
    "A SavedModel holds no Keras layers to make a map of. Load the model from its .keras or .h5 "
    "file, or build it again and load its weights."
)
# Advice for objects with a class, or a base class, from a module of this name.
ADVICE = {
    "tf_keras.": ABOUT_KERAS_2,
    "tensorflow.python.keras.": ABOUT_KERAS_2,
    "tensorflow.python.saved_model.": ABOUT_SAVED_MODEL,
    "torch.nn.": (
        "It is a module of PyTorch. With the torch backend of Keras, "
        "keras.layers.TorchModuleWrapper(module) makes it a layer of a keras.Model."
    ),
}


def is_keras_model(estimator: Any) -> bool:
    """Tell whether something is a Keras model, without importing Keras.

    Examples
    --------
    >>> is_keras_model("model.keras")
    False
    """
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(estimator, keras.Model)


def check_keras_model(estimator: Any, doc: Any = None) -> None:
    """Raise TypeError unless ``estimator`` is a Keras model.

    Examples
    --------
    >>> check_keras_model(3)
    Traceback (most recent call last):
    TypeError: Expected a keras.Model, got int 3.
    """
    if not is_keras_model(estimator):
        raise TypeError(no_keras_model(estimator, doc))


def no_keras_model(estimator: Any, doc: Any = None) -> str:
    """Say what came instead of a Keras model, and what to do.

    Parameters
    ----------
    estimator : object
        What came as the model.
    doc : object
        What came as the document: it may be the model.

    Examples
    --------
    >>> no_keras_model(3)
    'Expected a keras.Model, got int 3.'
    """
    text = repr(estimator)
    text = text if len(text) < LONGEST_REPR else f"{text[:LONGEST_REPR]}..."
    advice = _advice(estimator, doc)
    return f"Expected a keras.Model, got {type(estimator).__name__} {text}." + (
        f" {advice}" if advice else ""
    )


def _advice(estimator: Any, doc: Any) -> str | None:
    if is_keras_model(doc):
        return "The model comes first: explain_prediction(model, doc)."
    if isinstance(estimator, str | os.PathLike):
        path = os.fspath(estimator)
        if os.path.isfile(os.path.join(path, "saved_model.pb")):
            return ABOUT_SAVED_MODEL
        return f"Load it first: keras.models.load_model({path!r})."
    if isinstance(estimator, type):
        return "It is a class: call it to make a model."
    keras = sys.modules.get("keras")
    if keras is not None and isinstance(estimator, keras.Layer):
        return "It is a layer: put it into keras.Sequential([layer])."
    modules = [kind.__module__ for kind in type(estimator).__mro__]
    advice = (text for start, text in ADVICE.items() if any(m.startswith(start) for m in modules))
    return next(advice, None)
