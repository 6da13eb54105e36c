"""Say why a model is not supported, and what to do."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from eli5k.base import Explanation, ExplanationWarning, warn
from eli5k.keras.methods import find_method, names_without_layer
from eli5k.keras.methods.registry import BEST
from eli5k.keras.model.interface import call_arguments, input_specs, may_have_grid, takes_text
from eli5k.options import MethodLike


def not_supported(model: keras.Model, method: MethodLike = "grad-cam") -> Explanation | None:
    """Explain, like eli5, why a model is not supported.

    A method of the input needs no layer with a grid.

    Returns
    -------
    Explanation or None
        With ``error`` set, or None if it is supported.
    """
    arguments = [] if input_specs(model) else call_arguments(model)
    if len(arguments) > 1:
        return refused(model, _how_to_wrap(arguments))
    if takes_text(model):
        return refused(
            model,
            "It takes text, which has no gradient. Explain the part of the model after its "
            "TextVectorization: keras.Sequential(model.layers[1:]), with the tokens as doc.",
        )
    if method != BEST and find_method(method).needs_layer and not may_have_grid(model):
        names = ", ".join(names_without_layer())
        return refused(
            model,
            "None of its layers has a grid of more than one pixel. Methods that need none: "
            f"{names}.",
        )
    return None


def refused(model: keras.Model, reason: str) -> Explanation:
    """Explain that a model is not supported, in eli5's words, and why.

    Examples
    --------
    >>> refused(keras.Sequential(name="net"), "It takes text.").error[-14:]
    'It takes text.'
    """
    return Explanation(
        model.name,
        error=f'model "{model.name}" is not supported, try passing the "image" argument if '
        f"explaining an image model. {reason}",
    )


def warned(refusal: Explanation) -> Explanation:
    """Warn of an empty explanation, which would fail a script later."""
    warn(str(refusal.error), ExplanationWarning)
    return refusal


def _how_to_wrap(arguments: Sequence[str]) -> str:
    names = ", ".join(arguments)
    inputs = ", ".join(["keras.Input(...)"] * len(arguments))
    return (
        f"Its call takes the arguments {names}, of which Keras' own predict fills only the first. "
        f"Wrap it, with the shapes of your inputs:\n    {names} = {inputs}\n"
        f"    wrapped = keras.Model([{names}], model({names}))\n"
        f"    eli5k.explain_prediction(wrapped, [{names}])"
    )
