"""Choose the layer to explain, and how to read its output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import keras

from eli5k.keras.backends import Tensor
from eli5k.keras.evidence.asking import DisconnectedError, Question, ask_model
from eli5k.keras.evidence.coarsest import coarsest_first
from eli5k.keras.evidence.probes import Evidence, Input, Layer, Layers, Point, Probe
from eli5k.keras.model.geometry import view_of
from eli5k.keras.model.layers import calls_of, candidate_calls
from eli5k.keras.model.memory import NoKeyError, key_of, remember
from eli5k.keras.model.noise import noise_like
from eli5k.keras.model.structure import Call, input_layer_name
from eli5k.keras.model.view import TOKENS_RANK, View
from eli5k.options import Options

# How many layers to measure that are shaped like ones without places.
MOST_TRIES = 8
# Tokens reach the score if more than this share of them does.
MOST = 0.5


def points_to_try(question: Question, options: Options) -> Iterator[tuple[str, Point]]:
    """Yield points to try: the first connected to the score is explained.

    Parameters
    ----------
    question : Question
    options : Options
        Its ``layer`` and ``reshape``.

    Yields
    ------
    path : str
        Path of the layer.
    point : Point

    Raises
    ------
    TypeError, ValueError
        If the model doesn't call the named layer, or it has no grid.
    """
    model, survey = question.model, question.survey
    name = input_layer_name(model, options.layer, survey.image_index)
    if name is not None:
        yield name, Input()
        return
    if options.layer is not None:
        yield from _points_of_named(question, options)
        return
    if options.reshape is not None:
        raise ValueError("reshape is for the output of one layer: pass layer=. Received: None")
    calls = candidate_calls(model, survey)
    if question.target.reading is not None:
        calls = coarsest_first(question, calls)
    yield from _default_points(question, calls)


def _points_of_named(question: Question, options: Options) -> Iterator[tuple[str, Point]]:
    """Yield the calls of the named layer, those with good maps first."""
    reshaped = options.reshape is not None
    calls = calls_of(question.model, question.survey.calls, options.layer, reshaped)
    if reshaped:
        yield from ((call.path, point_at(call, reshape=options.reshape)) for call in calls)
        return
    views = {call: _view(question, call) for call in calls}
    for call in sorted(calls, key=lambda call: views[call].problem is not None):
        yield call.path, point_at(call, views[call])


def _default_points(question: Question, calls: Sequence[Call]) -> Iterator[tuple[str, Point]]:
    """Yield the layers whose cells look at their own places.

    Layers shaped like one whose cells don't are tried last: a model may have many latents or steps.
    """
    tokens = [call for call in calls if call.shape and len(call.shape) == TOKENS_RANK]
    reached = _tokens_that_reach(question, tokens) if tokens else frozenset()
    wrong: set[Any] = set()
    shared, longer, tries = [], [], 0
    for call in _one_of_each_shape_first(calls, wrong):
        if call in tokens and point_at(call).key not in reached:
            continue
        tries += call.place is None and call.shape in wrong
        if tries > MOST_TRIES:
            break
        view = _view(question, call)
        if not is_map(view):
            wrong.add(call.shape)
        elif len(view.axes) > len(question.survey.picture_grid):
            longer.append((call.path, point_at(call, view)))
        elif view.is_shared:
            shared.append((call.path, point_at(call, view)))
        else:
            yield call.path, point_at(call, view)
    # A layer that sees several images at once shows heat of all of them.
    yield from shared
    # A layer with one axis more than a signal is a spectrogram, or has attention heads.
    yield from longer


def _one_of_each_shape_first(calls: Sequence[Call], wrong: set[Any]) -> Iterator[Call]:
    """Yield calls in order, but those shaped like wrong ones last.

    Only calls that must be measured are put off.
    """
    later = []
    for call in calls:
        if call.place is None and call.shape in wrong:
            later.append(call)
        else:
            yield call
    yield from later


def point_at(
    call: Call, view: View | None = None, reshape: Callable[..., Any] | None = None
) -> Layer:
    """Return the point at the output of a call."""
    return Layer(call.path, call.number, call.element, view, reshape)


def is_map(view: View) -> bool:
    """Tell whether a view is good enough to be a default.

    The steps of a sequence, read as strips of the picture, are not.
    """
    return view.problem is None and not (view.tokens and None in view.axes)


def _view(question: Question, call: Call) -> View:
    return view_of(question.model, question.survey, question.inputs, call)


def _tokens_that_reach(question: Question, calls: Sequence[Call]) -> frozenset[str]:
    """Find the layers most of whose tokens still reach the score.

    After the last attention, only the class token does.

    This is one run on noise with all of them tapped. Dependencies are a matter of structure, which
    the user's document must not decide: it may hold NaN.
    """
    layers = tuple(map(point_at, calls))
    target = replace(question.target, logits=True, objective=None)
    noise = noise_like(question.inputs, question.survey.embeddings, question.survey.fixed_batch)
    asked = question._replace(
        inputs=noise,
        target=target,
        classes=None,
        places=None,
        probe=Probe(Layers(layers)),
        patches=(),
        function=_shares_reached if len(question.survey.picture_grid) > 1 else _inner_reached,
    )

    def find_out() -> frozenset[str]:
        try:
            shares = ask_model(asked).maps
        except DisconnectedError:
            return frozenset()
        return frozenset(key for key, share in shares.items() if share > MOST)

    try:
        key = ("tokens that reach", key_of((target.output, target.functions)))
    except NoKeyError:
        return find_out()
    return remember(question.model, key, question.survey.structure, find_out)


def _inner_reached(evidence: dict[str, Evidence]) -> dict[str, Tensor]:
    """Tell whether any step but the first and last has a gradient.

    A maximum may choose one of the steps, but only a model that reads a single token, as
    transformers do, always takes the same.
    """
    ops = keras.ops
    reached = {}
    for key, part in evidence.items():
        largest = ops.max(ops.abs(part.gradients), axis=(0, 1, -1))
        inner = largest[1:-1] if largest.shape[0] > 2 else largest
        reached[key] = ops.cast(ops.max(inner) != 0, "float32")
    return reached


def _shares_reached(evidence: dict[str, Evidence]) -> dict[str, Tensor]:
    """Share of the tokens with a gradient, for each layer."""
    ops = keras.ops
    shares = {}
    for key, part in evidence.items():
        largest = ops.max(ops.abs(part.gradients), axis=(0, 1, -1))
        shares[key] = ops.mean(ops.cast(largest != 0, "float32"))
    return shares
