"""Explain Keras models."""

try:
    import keras as _keras  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"Keras could not load its backend ({error}). Install one of the extras, such as "
        "pip install 'eli5k[tensorflow]', and set KERAS_BACKEND to it."
    ) from error

from eli5k.keras.attribution import attribute, run
from eli5k.keras.auditing import audit
from eli5k.keras.callback import ExplainCallback
from eli5k.keras.distributed import ExplainBatch
from eli5k.keras.explain_prediction import explain_prediction_keras
from eli5k.keras.gradcam import gradcam, gradcam_backend
from eli5k.keras.metrics import check_maps, rank_layers, rank_methods
from eli5k.keras.similarity import Similarity, similar_to
from eli5k.keras.store.reading import read_explanations
from eli5k.keras.store.writing import explain_to
from eli5k.keras.stream import explain_predictions

__all__ = [
    "ExplainBatch",
    "ExplainCallback",
    "Similarity",
    "attribute",
    "audit",
    "check_maps",
    "explain_prediction_keras",
    "explain_predictions",
    "explain_to",
    "gradcam",
    "gradcam_backend",
    "rank_layers",
    "rank_methods",
    "read_explanations",
    "run",
    "similar_to",
]
