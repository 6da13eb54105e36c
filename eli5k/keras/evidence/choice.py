"""Choose the layer to explain if the user named none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from eli5k.keras.evidence.asking import DisconnectedError, Question, ask_model
from eli5k.keras.evidence.probes import Input, Layer, Layers, Point, Probe
from eli5k.keras.model.layers import candidate_calls, find_call
from eli5k.keras.model.memory import NoKeyError, key_of, remember
from eli5k.keras.model.structure import Call, input_layer_name
from eli5k.options import Options

# Scales of the noise that shows what depends on what in a model: it may expect numbers around zero,
# from 0 to 1 or from 0 to 255, and all of its units may be dead for others.
NOISE_SCALES = (1.0, 0.1, 128.0)


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
        rank = survey.rank if options.reshape is None else None
        yield _point(find_call(model, survey.calls, options.layer, rank), options)
        return
    if options.reshape is not None:
        raise ValueError("reshape is for the output of one layer: pass layer=. Received: None")
    calls = candidate_calls(model, survey.calls, survey.rank, survey.channels_first)
    if not any(call.tokens for call in calls):
        yield from (_point(call, options) for call in calls)
        return
    reached = _tokens_that_reach(question, [call for call in calls if call.tokens])
    yield from (_point(call, options) for call in calls if not call.tokens or call.path in reached)
    yield from (_point(call, options) for call in calls if call.tokens)


def _point(call: Call, options: Options) -> tuple[str, Layer]:
    return call.path, Layer(call.path, call.tokens, options.reshape)


def _tokens_that_reach(question: Question, calls: list[Call]) -> frozenset[str]:
    """Find the transformer layers whose patches still reach the score.

    This is one run on noise with all of them tapped. What depends on what is a matter of structure:
    the user's document, which may hold NaN, must not decide it.
    """
    layers = tuple({call.path: Layer(call.path, call.tokens) for call in calls}.values())
    target = replace(question.target, logits=True, objective=None)
    noise = noise_like(question.inputs, question.survey.fixed_batch)
    asked = question._replace(
        inputs=noise,
        target=target,
        classes=None,
        probe=Probe(Layers(layers)),
        patches=(),
        function=_largest_gradients,
    )

    def find_out() -> frozenset[str]:
        try:
            largest = ask_model(asked).maps
        except DisconnectedError:
            return frozenset()
        return frozenset(path for path, peak in largest.items() if peak != 0)

    try:
        key = ("tokens that reach", key_of((target.output, target.functions)))
    except NoKeyError:
        return find_out()
    return remember(question.model, key, question.survey.structure, find_out)


def _largest_gradients(evidence: dict[str, Any]) -> dict[str, Any]:
    ops = keras.ops
    return {path: ops.max(ops.abs(part.gradients)) for path, part in evidence.items()}


def noise_like(inputs: Any, rows: int | None = None) -> Any:
    """Make noise shaped like a model's inputs, the same at each call.

    Parameters
    ----------
    inputs : numpy.ndarray, or list or dict of them
        ``(batch, ...)``: only their shapes and dtypes matter.
    rows : int or None
        How many samples; None for one with each of ``NOISE_SCALES``.

    Returns
    -------
    numpy.ndarray, or list or dict of them
    """
    random = np.random.default_rng(0)
    count = rows or len(NOISE_SCALES)
    scales = np.resize(NOISE_SCALES, count)

    def draw(like: np.ndarray) -> np.ndarray:
        shape = (count, *like.shape[1:])
        if like.dtype.kind not in "f":
            # Tokens of a vocabulary of unknown size, or a mask: small whole numbers.
            return random.integers(0, 2, shape).astype(like.dtype)
        noise = random.standard_normal(shape)
        return (noise * scales.reshape(-1, *(1,) * (like.ndim - 1))).astype(like.dtype)

    return keras.tree.map_structure(draw, inputs)
