"""Explain a batch of documents of one shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import keras
import numpy as np

from eli5k.base import (
    Check,
    Explanation,
    ExplanationWarning,
    TargetExplanation,
    collected_warnings,
    warn,
)
from eli5k.keras.aims import aimed, names_of, with_places
from eli5k.keras.attribution import ask, explain_samples
from eli5k.keras.description import description_of
from eli5k.keras.diagnosis import hidden_logits, warnings_about, with_too_few
from eli5k.keras.each import ALL, explain_each
from eli5k.keras.evidence.labels import count_labels, first_targets, with_room_for
from eli5k.keras.evidence.run import Attribution, Run, on_whole_picture
from eli5k.keras.evidence.scores import Target, name_of
from eli5k.keras.evidence.targets import TargetNames
from eli5k.keras.gradcam import heatmap_of
from eli5k.keras.inputs import Document
from eli5k.keras.methods import Method, find_method
from eli5k.keras.methods.registry import BEST
from eli5k.keras.methods.together import answers_of, sharing
from eli5k.keras.metrics.best import Best, best_method
from eli5k.keras.metrics.check import PAIRS, check_together, with_checks, with_contradictions
from eli5k.keras.metrics.halves import Halves, measure_halves
from eli5k.keras.model.interface import image_inputs
from eli5k.keras.model.shared import is_alike
from eli5k.keras.scaling import warnings_of_scale
from eli5k.keras.shown import as_shown, size_of
from eli5k.keras.sides import is_regression, with_sides
from eli5k.options import MethodLike, Options

COPY = (
    "The probability is explained; to explain the logits, pass a copy of the model that ends there."
)


def explain_batch(
    model: keras.Model,
    documents: Sequence[Document],
    options: Options,
    n_valid: int | None = None,
    targets: Sequence[Any] | None = None,
    methods: Sequence[MethodLike] | None = None,
    layers: Sequence[Any] | None = None,
) -> list[Explanation]:
    """Explain documents of one shape, in one run if possible.

    Parameters
    ----------
    model : keras.Model
    documents : sequence of Document
    options : Options
    n_valid : int or None
        How many are explained, if not all: the rest only fills the batch up.
    targets : sequence or None
        The targets of each document, if they differ: as many for each.
    methods : sequence or None
        Several methods instead of that of the options. Those that look at the same evidence share
        the run, and all share the halves of the pictures that a check takes.
    layers : sequence or None
        Several layers instead of that of the options. A method that looks at the input is asked
        once.

    Returns
    -------
    list of Explanation
        One for each of the ``n_valid`` documents, method by method and layer by layer.

    Raises
    ------
    TypeError, ValueError
        As :func:`explain_prediction_keras`.
    """
    if ALL in (options.input, options.output):
        return explain_each(
            model,
            documents,
            options,
            lambda each: explain_batch(model, documents, each, n_valid, targets, methods, layers),
        )
    asked = [options.method] if methods is None else methods
    of_each = [options.targets] * len(documents) if targets is None else targets
    if not is_alike(model, [document.inputs for document in documents]):
        one_by_one = [
            explain_batch(model, [each], options, targets=[own], methods=asked, layers=layers)
            for each, own in zip(documents[:n_valid], of_each)
        ]
        return [explanation for of_method in zip(*one_by_one) for explanation in of_method]
    at = [options.layer] if layers is None else layers
    return _explain_together(model, documents, options, n_valid, of_each, asked, at)


class _Asked(NamedTuple):
    """What is asked about documents, whatever the method."""

    run: Run
    aims: Any
    names: TargetNames
    labels: np.ndarray | None
    documents: Sequence[Document]


def best_on(
    model: keras.Model,
    documents: Sequence[Document],
    options: Options,
    targets: Sequence[Any],
) -> Best:
    """Choose the method that is best on documents of one shape.

    Parameters
    ----------
    model, documents, options, targets
        As in :func:`explain_batch`; the targets of each document.
    """
    run = ask(model, _stack([document.inputs for document in documents]), options)
    run, _ = aimed(run, documents, names_of(run), targets)
    return best_method(run)


def _explain_together(
    model: keras.Model,
    documents: Sequence[Document],
    options: Options,
    n_valid: int | None,
    targets: Sequence[Any],
    methods: Sequence[MethodLike],
    layers: Sequence[Any],
) -> list[Explanation]:
    run = ask(model, _stack([document.inputs for document in documents]), options)
    names = names_of(run)
    run, aims = aimed(run, documents, names, targets)
    run = replace(run, n_valid=n_valid)
    ranking = (run, measure_halves(run, PAIRS)) if BEST in methods else None
    labels = None if options.threshold is None else count_labels(run, options.threshold)
    run = run if labels is None else with_room_for(run, labels)
    asked = _Asked(run, aims, names, labels, documents[:n_valid])
    answers = list(_answers(run, methods, layers, labels, ranking))
    checks = (
        _checked(asked, answers, ranking and ranking[1]) if options.check else [[]] * len(answers)
    )
    explained = [_explanations(asked, *each) for each in zip(answers, checks)]
    return [explanation for of_answer in explained for explanation in of_answer]


class _Answer(NamedTuple):
    """Answer of a method, why logits are hidden, and warnings."""

    method: Method
    found: Attribution
    hidden: str | None
    about_all: Sequence[ExplanationWarning]


def _answers(
    run: Run,
    methods: Sequence[MethodLike],
    layers: Sequence[Any],
    labels: np.ndarray | None,
    ranking: tuple[Run, Halves] | None,
) -> Iterator[_Answer]:
    """Yield the answers by method; methods of the input run once."""
    columns: list[list[_Answer]] = [[] for _ in methods]
    for layer in layers:
        numbers = [n for n, own in enumerate(columns) if not own or own[-1].found.layer]
        at = run.at_layer(layer)
        chosen = [methods[number] for number in numbers]
        if ranking and BEST in chosen:
            best = best_method(ranking[0].at_layer(layer), halves=ranking[1])
            chosen = [best if each == BEST else each for each in chosen]
        for places, shared in sharing(chosen):
            with collected_warnings() as about_all:
                answer = explain_samples(at, shared)
                hidden = hidden_logits(at, answer.scores)
                if hidden and run.options.logits:
                    warn(f"logits=True has no effect: {hidden}. {COPY}", ExplanationWarning)
            for place, own in zip(places, answers_of(shared, answer)):
                found = own if labels is None else first_targets(own, max(1, labels.max()))
                method = find_method(chosen[place])
                columns[numbers[place]].append(_Answer(method, found, hidden, about_all))
    for column in columns:
        yield from column


def _explanations(
    asked: _Asked, answered: _Answer, checks: Sequence[Sequence[Check]]
) -> list[Explanation]:
    """Make an explanation of each document from a method's answer."""
    run, aims, names, labels, documents = asked
    method, answer, hidden, about_all = answered
    called = _called(answer, run.target, names)
    if labels is not None:
        called = [row[: max(1, count)] for row, count in zip(called, labels)]
    is_scaled = run.options.preprocess is not None or documents[0].is_preprocessed
    unscaled = [None] * run.count if is_scaled else warnings_of_scale(run)
    about_each = warnings_about(run, answer, called, unscaled)
    about_each = with_sides(about_each, run, answer, names)
    if labels is not None:
        about_each = with_too_few(about_each, answer.scores, labels, run.options.threshold)
    about_each = with_contradictions(about_each, checks, called)
    common = _common(run, answer, method, hidden, names)
    explanations = []
    for row, document in enumerate(documents):
        aim = aims[row] if aims else None
        own = _warned(document, [*(aim.warnings if aim else ()), *about_each[row]])
        shown = as_shown(run, answer, document)
        explained = with_checks(_target_explanations(answer, row, called[row]), checks, row)
        size = size_of(run, shown["image"])
        for each in explained:
            each.size, each.frame = size, shown["frame"]
        explanations.append(
            Explanation(
                **common,
                targets=with_places(run, explained, aim, document.frame),
                **shown,
                source=document.source,
                warnings=[*document.warnings, *about_all, *own],
            )
        )
    return explanations


def _warned(document: Document, about: Sequence[ExplanationWarning]) -> list[ExplanationWarning]:
    """Warn about a document by name, once for each message."""
    # A target that only fills up repeats the last one.
    unique = {str(each): each for each in about}.values()
    own = [type(each)(f"{_place(document)}{each}") for each in unique]
    for each in own:
        warn(str(each), type(each))
    return own


def _checked(
    asked: _Asked, answers: Sequence[_Answer], halves: Halves | None
) -> list[list[list[Check]]]:
    """Check all answers with the same runs of the model."""
    classes = answers[0].found.scores.classes
    run = replace(asked.run, classes=classes)
    if halves is not None and not np.array_equal(halves.classes, classes):
        halves = None  # These warnings are about other targets.
    maps = [on_whole_picture(each.found, run.survey.picture_grid).maps for each in answers]
    frames, is_quick = [each.frame for each in asked.documents], run.options.check == "quick"
    return check_together(run, maps, halves, frames=frames, quick=is_quick)


def _common(
    run: Run, answer: Attribution, method: Method, hidden: str | None, names: TargetNames
) -> dict[str, Any]:
    """Return the fields that the explanations of a batch have in common."""
    head = run.survey.heads[run.target.output]
    images = image_inputs(run.model, run.inputs, run.survey.image_indices)
    inputs = {index: name for name, index in images.items()}
    return {
        "estimator": run.model.name,
        "description": description_of(method, answer.layer, run, hidden, names)
        + (f" {why}" if (why := getattr(method.explain, "why", "")) else ""),
        "error": "",
        "method": method.title,
        "is_regression": is_regression(run),
        "layer": answer.layer,
        "output": head.name if len(run.survey.output_names) > 1 else None,
        "input": inputs.get(run.survey.image_index) if len(inputs) > 1 else None,
    }


def _place(document: Document) -> str:
    """Name the document that a warning is about."""
    if document.number is None:
        return ""
    return f"{document.source}: " if document.source else f"document {document.number}: "


def _called(answer: Attribution, target: Target, names: TargetNames) -> list[list[int | str]]:
    """Return the name of each target of each document."""
    if target.functions:
        return [list(map(name_of, target.functions))] * len(answer.scores.values)
    return [[names.name(int(each)) for each in row] for row in answer.scores.classes]


def _target_explanations(
    answer: Attribution,
    row: int,
    called: Sequence[int | str],
) -> list[TargetExplanation]:
    scores = answer.scores
    explanations = []
    for column, target in enumerate(called):
        attribution = answer.maps[column, row]
        probabilities = scores.probabilities
        explanations.append(
            TargetExplanation(
                target,
                score=float(scores.values[row, column]),
                proba=None if probabilities is None else float(probabilities[row, column]),
                heatmap=heatmap_of(attribution),
                attribution=attribution,
            )
        )
    return explanations


def _stack(batches: Sequence[Any]) -> Any:
    if len(batches) == 1:
        return batches[0]
    return keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *batches)
