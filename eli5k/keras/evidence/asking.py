"""Put one question to a model, compiled when it is asked again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import keras
import numpy as np

from eli5k.keras.backends import Tensor, active_backend
from eli5k.keras.evidence.probes import Biases, Evidence, Input, Probe, Tap
from eli5k.keras.evidence.scores import Scores, Target, call_functions, select_scores
from eli5k.keras.model.memory import NoKeyError, forget, key_of, recall, remember
from eli5k.keras.model.state import compiled, stateless
from eli5k.keras.model.structure import Head
from eli5k.keras.model.survey import Survey, run_model

# A compiled score and the same one computed eagerly differ only by rounding.
ROUNDING = {"rtol": 1e-3, "atol": 1e-5}
# That tolerance hides changes of small scores, such as those of improbable classes.
SMALL = {"rtol": 1e-3, "atol": 0.0}
# After this many changes a callable is no longer compiled.
PATIENCE = 2
RANDOM = "draws random numbers"


class DisconnectedError(ValueError):
    """Error: the explained score doesn't depend on the probe's point."""


class Peaks(NamedTuple):
    """Largest activations and gradients, which tell why a map is blank.

    Attributes
    ----------
    activations : numpy.ndarray
        ``(batch,)``
    gradients : numpy.ndarray
        ``(targets, batch)``
    """

    activations: Tensor
    gradients: Tensor


class Question(NamedTuple):
    """Question to a model, without the operands of the patches.

    ``function`` makes maps of the evidence at the probe or, without a probe, of the outputs.
    """

    model: keras.Model
    survey: Survey
    inputs: Any
    target: Target
    classes: np.ndarray | None
    probe: Probe | None
    patches: tuple[Any, ...]
    function: Callable[..., Any] | None
    places: np.ndarray | None = None


class Answer(NamedTuple):
    """Answer to a question: tensors during a run, arrays afterwards.

    ``outputs`` are the model's, with the logits of each head, if the target has functions.
    """

    scores: Scores
    maps: Any
    peaks: Peaks | None
    outputs: Any


# A compiled function outlives the question that it was made for, and must not keep it alive. It
# finds the question to trace here.
_asking = threading.local()


def ask_model(question: Question, operands: Sequence[Any] = ()) -> Answer:
    """Run the model to answer a question.

    Parameters
    ----------
    question : Question
    operands : sequence of numpy.ndarray or None
        One for each patch.

    Returns
    -------
    Answer
        With NumPy arrays.

    Raises
    ------
    DisconnectedError
        If the explained score does not depend on the probe's point.
    """
    model, structure = question.model, question.survey.structure
    key = _key(question)
    if key is None or recall(model, ("changes", key), structure, 0) >= PATIENCE:
        return _to_numpy(_run(_compiled(question), question, operands))
    function = remember(model, key, structure, lambda: _compiled(question))
    answer = _run(function, question, operands)
    if active_backend().draws_random_numbers(function):
        remember(model, RANDOM, structure, lambda: True)
    if question.target.functions and not _agrees(question, answer, SMALL):
        if not _agrees(question, answer, ROUNDING):
            forget(model, key, structure)
            times = recall(model, ("changes", key), structure, 0)
            forget(model, ("changes", key), structure)
            remember(model, ("changes", key), structure, lambda: times + 1)
        answer = _run(_compiled(question), question, operands)
    return _to_numpy(answer)


def _key(question: Question) -> Hashable | None:
    """Return the key of a compiled function.

    None if that can't be compared later.
    """
    survey, classes = question.survey, question.classes
    # One graph for each number of targets: a variable number could not be traced.
    columns = None if classes is None else classes.shape[1:]
    asked = (question.probe, question.patches, question.target, question.function)
    has_places = question.places is not None
    try:
        return (key_of(asked), columns, has_places, survey.channels_first, survey.image_index)
    except NoKeyError:
        return None


def _compiled(question: Question) -> Callable[..., Any]:
    # A lambda or a closure of the user's method is another one at each call.
    is_fresh = "<" in getattr(question.function, "__qualname__", "")
    return compiled(_answer, question.model, is_new=is_fresh or bool(question.target.functions))


def _run(function: Callable[..., Any], question: Question, operands: Sequence[Any]) -> Answer:
    before = getattr(_asking, "question", None)
    _asking.question = question
    try:
        classes = question.classes
        classes = None if classes is None else classes.astype("int32", copy=False)
        return Answer(*function(question.inputs, classes, question.places, *operands))
    finally:
        _asking.question = before


def _agrees(question: Question, answer: Answer, tolerance: dict[str, float]) -> bool:
    """Tell whether a callable target gives the same scores as when compiled."""
    outputs, logits = answer.outputs
    heads = _heads(question.survey, outputs, logits)
    now = keras.ops.convert_to_numpy(call_functions(outputs, heads, question.target))
    then = keras.ops.convert_to_numpy(answer.scores.values)
    return np.allclose(now, then, equal_nan=True, **tolerance)


def _heads(survey: Survey, outputs: Any, logits: Sequence[Any]) -> list[Head]:
    flat = keras.tree.flatten(outputs)
    return [
        head._replace(output=output, logits=logit)
        for head, output, logit in zip(survey.heads, flat, logits)
    ]


def _to_numpy(answer: Answer) -> Answer:
    def convert(structure: Any) -> Any:
        return keras.tree.map_structure(
            lambda part: None if part is None else keras.ops.convert_to_numpy(part), structure
        )

    scores = Scores(*(convert(part) for part in answer.scores))
    peaks = None if answer.peaks is None else Peaks(*map(convert, answer.peaks))
    return Answer(scores, convert(answer.maps), peaks, None)


def _answer(inputs: Any, classes: Tensor, places: Tensor, *operands: Any) -> tuple[Any, ...]:
    """Run the model: this is the function that is compiled.

    The question is that of the current thread.
    """
    question: Question = _asking.question
    with ExitStack() as patches:
        for patch, operand in zip(question.patches, operands or [None] * len(question.patches)):
            patches.enter_context(patch(question.model, question.survey, operand))
        if question.probe is None:
            outputs, heads = run_model(question.model, inputs)
            _check_columns(question, heads)
            scores = select_scores(outputs, heads, question.target, classes, places)
            seen = None if question.function is None else question.function(heads)
            return scores, seen, None, _kept(question, outputs, heads)
        return _answer_with_gradients(question, question.probe, inputs, (classes, places))


def _check_columns(question: Question, heads: Sequence[Head]) -> None:
    """Refuse an output whose number of classes depends on the batch."""
    position = question.target.output
    alone, now = question.survey.heads[position].output, heads[position].output.shape
    if question.target.functions or alone is None or len(alone) != 2 or len(now) != 2:
        return
    if None not in now and now[1] != alone[1]:
        raise ValueError(
            f"The output {heads[position].name!r} has {alone[1]} columns for one document and "
            f"{now[1]} for a batch of {now[0]}: its documents depend on each other. Explain one at "
            "a time (batch_size=1), with a method that runs the model once."
        )


def _kept(question: Question, outputs: Any, heads: list[Head]) -> Any:
    return (outputs, [head.logits for head in heads]) if question.target.functions else None


def _answer_with_gradients(
    question: Question, probe: Probe, inputs: Any, chosen: tuple[Tensor, Tensor]
) -> tuple[Any, ...]:
    """Run the model once and differentiate the scores at the taps."""
    abouts: list[Tap] = []

    def forward(tap: Callable[[Tensor], Tensor]) -> tuple[Any, tuple[Any, ...]]:
        abouts.clear()

        def tap_and_note(tensor: Tensor, about: Tap) -> Tensor:
            abouts.append(about)
            # In single precision: sums of gradients underflow in half precision.
            return keras.ops.cast(tap(keras.ops.cast(tensor, "float32")), tensor.dtype)

        point = probe.point
        with point.tapping(question.model, question.survey, tap_and_note) as with_taps:
            flat = with_taps(keras.tree.flatten(inputs))
            packed = keras.tree.pack_sequence_as(inputs, flat)
            outputs, heads = run_model(question.model, packed)
            _check_columns(question, heads)
        scores = select_scores(outputs, heads, question.target, *chosen)
        constants = [about.constant for about in abouts]
        return scores.explained, (scores, constants, _kept(question, outputs, heads))

    (_, (scores, constants, kept)), activations, gradients = active_backend().differentiate(
        stateless(forward)
    )
    found = [
        (about, _evidence(about, constant, activation, gradient))
        for about, constant, activation, gradient in zip(abouts, constants, activations, gradients)
        if gradient is not None
    ]
    evidence = probe.point.gather(found)
    if evidence is None:
        raise DisconnectedError(_disconnected(probe))
    # If a layer is called several times, its last call is explained; biases follow the input.
    peaks = _peaks(found[0 if isinstance(probe.point, Biases) else -1][1])
    assert question.function is not None
    return scores, question.function(evidence), peaks, kept


def _evidence(about: Tap, constant: Tensor, activation: Tensor, gradient: Tensor) -> Evidence:
    if constant is None:
        return Evidence(about.to_grid(activation, 1), about.to_grid(gradient, 2))
    return Evidence(constant, about.to_grid(gradient, 2))


def _peaks(evidence: Evidence) -> Peaks:
    ops = keras.ops
    axes = tuple(range(1, len(evidence.activations.shape)))
    return Peaks(
        ops.max(ops.abs(evidence.activations), axis=axes),
        ops.max(ops.abs(evidence.gradients), axis=tuple(axis + 1 for axis in axes)),
    )


def _disconnected(probe: Probe) -> str:
    if isinstance(probe.point, Input | Biases):
        return (
            "The explained score has no gradient at the input: the model takes integers, or "
            "doesn't use this input."
        )
    name = getattr(probe.point, "path", None)
    where = f"layer {name!r}" if name else f"{probe.point}"
    return (
        f"The explained score does not depend on {where}. "
        "Pass a layer between the input and this output, or leave layer=None to let eli5k choose."
    )
