"""Explain each image input and each output of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import keras

from eli5k.base import Explanation
from eli5k.keras.inputs import Document
from eli5k.keras.model.interface import image_inputs
from eli5k.keras.model.survey import survey
from eli5k.options import Options

# Value of ``input=`` and ``output=`` besides a name or an index.
ALL = "all"


def explain_each(
    model: keras.Model,
    documents: Sequence[Document],
    options: Options,
    explain: Callable[[Options], list[Explanation]],
) -> list[Explanation]:
    """Explain all that ``input="all"`` and ``output="all"`` ask for.

    Parameters
    ----------
    model : keras.Model
    documents : sequence of Document
    options : Options
    explain : callable
        From options with one input and one output to an explanation of each document.

    Returns
    -------
    list of Explanation
        One for each document: that of the first output and input, with the others in ``.others``.
    """
    of_each = [explain(question) for question in _questions(model, documents[0].inputs, options)]
    for first, *others in zip(*of_each):
        first.others = others
    return of_each[0]


def _questions(model: keras.Model, inputs: Any, options: Options) -> Iterator[Options]:
    """Yield options with one input and one output, for each of them."""
    images: list[Any] = [options.input]
    outputs: list[Any] = [options.output]
    if options.input == ALL:
        images = list(image_inputs(model, inputs, survey(model, inputs).image_indices))
    heads = survey(model, inputs).heads
    names = [head.name for head in heads]
    if options.output == ALL:
        usable = (head.output is not None and head.per_sample for head in heads)
        outputs = [index for index, is_usable in enumerate(usable) if is_usable]
    for output, image in product(outputs, images):
        asked = replace(options, input=image, output=output)
        if options.output == ALL:
            asked = replace(
                asked,
                targets=_own(options.targets, names, output),
                target_names=_own(options.target_names, names, output),
            )
        yield asked


def _own(value: Any, names: Sequence[str], output: int) -> Any:
    """Return the value for one output.

    A dict has one for each output; anything else is for all of them.
    """
    if isinstance(value, Mapping) and value and set(value) <= set(names):
        return value.get(names[output])
    return value
