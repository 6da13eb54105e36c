"""Show where a Keras image model looked.

If a heatmap can't be trusted, a warning says so.

``import eli5k as eli5`` runs code that was written for eli5's Keras explainer.
"""

import importlib
from typing import TYPE_CHECKING, Any

from eli5k.base import (
    AmbiguousOutputWarning,
    BlankMapWarning,
    Check,
    Explanation,
    ExplanationWarning,
    MisplacedMapWarning,
    TargetExplanation,
    UnscaledInputWarning,
)
from eli5k.explain import explain_prediction
from eli5k.formatters import (
    Explanations,
    HotRegion,
    format_as_dict,
    format_as_html,
    format_as_image,
    format_as_page,
    format_as_text,
    format_html_styles,
    hot_regions,
    plot,
    save,
)
from eli5k.ipython import compare, show_prediction

if TYPE_CHECKING:
    from eli5k import keras
    from eli5k.keras import (
        audit,
        explain_prediction_keras,
        explain_predictions,
        explain_to,
        rank_layers,
        rank_methods,
        read_explanations,
    )
    from eli5k.keras.methods.table import methods

__version__ = "0.1.0"

__all__ = [
    "AmbiguousOutputWarning",
    "BlankMapWarning",
    "Check",
    "Explanation",
    "ExplanationWarning",
    "Explanations",
    "HotRegion",
    "MisplacedMapWarning",
    "TargetExplanation",
    "UnscaledInputWarning",
    "audit",
    "compare",
    "explain_prediction",
    "explain_prediction_keras",
    "explain_predictions",
    "explain_to",
    "format_as_dict",
    "format_as_html",
    "format_as_image",
    "format_as_page",
    "format_as_text",
    "format_html_styles",
    "hot_regions",
    "keras",
    "methods",
    "plot",
    "rank_layers",
    "rank_methods",
    "read_explanations",
    "save",
    "show_prediction",
]

OF_KERAS = (
    "audit",
    "explain_prediction_keras",
    "explain_predictions",
    "explain_to",
    "rank_layers",
    "rank_methods",
    "read_explanations",
)


def __getattr__(name: str) -> Any:
    # Keras and its backend take seconds to import: they wait until they are needed.
    if name == "keras":
        return importlib.import_module("eli5k.keras")
    if name == "methods":
        return importlib.import_module("eli5k.keras.methods.table").methods
    if name in OF_KERAS:
        return getattr(importlib.import_module("eli5k.keras"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    # Names that are imported late are public, too.
    return sorted({*__all__, "__version__", "__doc__", "__name__", "__file__", "__path__"})
