"""Default layer of an output with places: the coarsest before it.

Such outputs end in fine grids, whose cells see little and only repeat the output. The cells of the
coarsest layer see most of the picture, and all scores depend on them: at the bottleneck of a U-Net
(Vinogradova et al. 2020, https://arxiv.org/abs/2002.11434), at the end of a backbone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import prod

import keras
import numpy as np

from eli5k.keras.backends import Tensor
from eli5k.keras.evidence.asking import DisconnectedError, Question, ask_model
from eli5k.keras.evidence.probes import Evidence, Layer, Layers, Probe
from eli5k.keras.model.noise import noise_like
from eli5k.keras.model.structure import Call, grid_of
from eli5k.keras.model.survey import Survey

# A network on its way down makes cells at most this many times longer at once. What becomes coarser
# by more is a pooled branch beside the way, such as those of a pyramid.
STEEPEST = 4
# How many layers of a grid to measure, and at how many places.
MOST_LAYERS, PLACES = 64, 8
# A layer is on the way if more than this share of the places depends on it: units that are never
# active may cut off some.
MOST = 0.5


def coarsest_first(question: Question, calls: Sequence[Call]) -> list[Call]:
    """Order calls by grid: the last one of the coarsest first.

    Parameters
    ----------
    question : Question
        Its target has a reading.
    calls : sequence of Call
        Those that may be explained.

    Returns
    -------
    list of Call
        Calls on which the scores of all places depend, then the others.
    """
    survey, reading = question.survey, question.target.reading
    assert reading is not None
    own = survey.heads[question.target.output].output
    scores = _score_calls(survey, own, reading.count(own))
    maps = [
        call
        for call in survey.calls[::-1]
        if call in calls and call not in scores and len(call.shape or ()) == survey.rank
    ]
    first: list[Call] = []
    for size in _sizes(survey, maps):
        layers = [call for call in maps if _size(survey, call) == size][:MOST_LAYERS]
        first = _on_the_way(question, layers)
        if first:
            break
    others = [call for call in calls if call not in first]
    return first + sorted(others, key=lambda call: call in scores)


def _score_calls(survey: Survey, head: Sequence[int], classes: int) -> list[Call]:
    """Return the calls that output the scores.

    These are scores before an activation or an enlargement.
    """

    def has_classes(call: Call) -> bool:
        shape = call.shape or ()
        channels = shape[1 if survey.channels_first else -1] if len(shape) == survey.rank else 0
        return channels == classes

    kernels = [
        i for i, call in enumerate(survey.calls) if call.has_kernel and not has_classes(call)
    ]
    last = max(kernels, default=-1)
    return [
        call
        for number, call in enumerate(survey.calls)
        if (number > last and has_classes(call)) or (call.shape and prod(call.shape) == prod(head))
    ]


def _size(survey: Survey, call: Call) -> int:
    return prod(grid_of(call.shape or (), survey.channels_first))


def _sizes(survey: Survey, calls: Sequence[Call]) -> list[int]:
    """Return the sizes of the grids, the coarsest first, without pooled branches."""
    sizes = sorted({_size(survey, call) for call in calls}, reverse=True)
    axes = survey.rank - 2
    steep = (i for i, (a, b) in enumerate(pairwise(sizes), 1) if a > b * STEEPEST**axes)
    return sizes[: next(steep, len(sizes))][::-1]


def _on_the_way(question: Question, calls: Sequence[Call]) -> list[Call]:
    """Keep the calls on which most places of the output depend.

    This is one run on noise, since dependencies are a matter of structure.
    """
    survey, reading = question.survey, question.target.reading
    head = survey.heads[question.target.output]
    assert reading is not None
    count = prod(reading.grid(head.output))
    spread = np.unique(np.linspace(0, count - 1, PLACES).astype(int))
    noise = noise_like(question.inputs, survey.embeddings, survey.fixed_batch)
    rows = len(keras.tree.flatten(noise)[0])
    places = np.broadcast_to(np.arange(count) == spread[:, np.newaxis], (rows, len(spread), count))
    layers = tuple(Layer(call.path, call.number, call.element) for call in calls)
    asked = question._replace(
        inputs=noise,
        target=replace(question.target, logits=True, objective=None),
        classes=np.zeros((rows, len(spread)), np.int32),
        places=places,
        probe=Probe(Layers(layers)),
        patches=(),
        function=_reached,
    )
    try:
        reached = ask_model(asked).maps
    except DisconnectedError:
        return []
    return [call for call, layer in zip(calls, layers) if reached.get(layer.key, 0) > MOST]


def _reached(evidence: dict[str, Evidence]) -> dict[str, Tensor]:
    """Share of the targets that depend on each layer, for any noise."""
    ops = keras.ops
    found = {}
    for key, part in evidence.items():
        axes = tuple(range(1, len(part.gradients.shape)))
        is_reached = ops.max(ops.abs(part.gradients), axis=axes) > 0
        found[key] = ops.mean(ops.cast(is_reached, "float32"))
    return found
