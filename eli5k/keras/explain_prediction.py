"""Explain the prediction of a Keras model for a document."""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import keras
import numpy as np
from PIL import Image

from eli5k.base import (
    WHOLE,
    Check,
    Explanation,
    ExplanationWarning,
    TargetExplanation,
    collected_warnings,
    warn,
)
from eli5k.keras.attribution import ask, explain_samples
from eli5k.keras.description import description_of
from eli5k.keras.diagnosis import hidden_logits, warnings_about, with_too_few
from eli5k.keras.each import ALL, explain_each
from eli5k.keras.evidence.labels import count_labels, first_targets, with_room_for
from eli5k.keras.evidence.run import Attribution, Run, on_whole_picture
from eli5k.keras.evidence.scores import Target, name_of
from eli5k.keras.evidence.targets import TargetNames, choose_targets, class_count
from eli5k.keras.gradcam import heatmap_of
from eli5k.keras.inputs import Document, read_document
from eli5k.keras.methods import Method, find_method, names_without_layer
from eli5k.keras.metrics.check import check_run, with_checks, with_contradictions
from eli5k.keras.model.interface import image_inputs, is_image_model, takes_images
from eli5k.keras.model.shared import is_alike
from eli5k.keras.preprocessing import within
from eli5k.keras.scaling import warnings_of_scale
from eli5k.keras.sides import is_regression, with_sides
from eli5k.options import MethodLike, Options

# eli5 documents these for every estimator; they mean nothing for an image.
IGNORED_KEYWORDS = ("top", "feature_names", "feature_re", "feature_filter", "vec")
PICTURE_AXES = 2
COPY = (
    "The probability is explained; to explain the logits, pass a copy of the model that ends there."
)


def explain_prediction_keras(
    model: keras.Model,
    doc: Any,
    targets: list[Any] | Callable[..., Any] | None = None,
    layer: str | int | keras.Layer | list[Any] | None = None,
    image: Image.Image | str | os.PathLike[str] | None = None,
    *,
    method: MethodLike = "grad-cam",
    logits: bool = False,
    output: str | int | None = None,
    input: str | int | None = None,
    top_targets: int | None = None,
    threshold: float | None = None,
    target_names: Sequence[str] | Mapping[int, str] | None = None,
    preprocess: Callable[..., Any] | Literal[False] | None = None,
    reshape: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    check: bool = False,
    **ignored: Any,
) -> Explanation:
    """Explain what a Keras image model predicts for one document.

    Parameters
    ----------
    model : keras.Model
        Functional, sequential or subclassed, of any nesting.
    doc : numpy.ndarray, tensor, PIL.Image.Image, path, or list or dict of these
        ``(1, height, width, channels)`` or, without the batch axis, ``(height, width, channels)``,
        as the model takes it. A picture is resized to the model's input. Several inputs come as a
        list in the model's order or a dict by name.
    targets : list, callable or None
        Classes by index or by name, all computed in one run of the model; or callables from the
        model's outputs to ``(batch,)``. None explains the class with the highest score.
    layer : str, int, keras.Layer, list of these or None
        Name (at any depth, if unique), path such as ``"mobilenetv2_1.00_224/Conv_1"``, index into
        ``model.layers`` or instance. None chooses the last layer that has a grid and on which the
        score depends. A list is for ``method="fuse"``. Methods that look at the input ignore it.
    image : PIL.Image.Image or path, optional
        The picture to lay the heatmap over, instead of the explained input's.
    method : str or callable
        A key of :data:`eli5k.keras.methods.METHODS`, or an object with parameters such as
        ``eli5k.keras.methods.IntegratedGradients(steps=20)``.
    logits : bool
        Explain the score before the final softmax or sigmoid.
    output : str, int or None
        Which of several outputs to explain. ``"all"`` explains each of them: the others are in
        ``.others``; ``targets`` and ``target_names`` may then be dicts by output.
    input : str, int or None
        Which of several image inputs to explain and to show, by name or index; None for the first.
        ``"all"`` explains each of them: the others are in ``.others``.
    top_targets : int, optional
        Explain the N best classes, or the N worst if negative.
    threshold : float, optional
        Explain all classes with at least this probability, or this score if the output has no
        probabilities; if there is none, the best one, with a warning.
    target_names : list of str or dict of int to str, optional
        Names of the classes. Two names for a single unit make it a binary classifier.
    preprocess : callable, False or None
        Preprocessing of the image array. The picture is made before it. None applies the
        ``preprocessor`` of a KerasHub task, as its ``predict`` does; False takes ``doc`` as it is.
    reshape : callable, optional
        Function from the output of ``layer`` to ``(batch, *grid, channels)``, if eli5k can't guess
        that. The tokens of a vision transformer need none if they are its patches, after any class
        or register tokens.
    batch_size : int
        Batch size for methods that run the model many times.
    progress : bool or None
        Show the progress bar of such a method; None shows it on a terminal if the run takes long.
    check : bool
        Check whether each map is faithful to the model, with 80 further runs of the model and 8 for
        each further target: see :class:`~eli5k.Check`.

    Returns
    -------
    Explanation
        With ``error`` set if the model is not an image model.

    Raises
    ------
    TypeError
        If ``doc``, ``targets``, ``layer`` or ``output`` has the wrong type, or a keyword is
        unknown.
    ValueError
        If a class, layer, input or output does not exist, if ``doc`` doesn't have the model's
        shape, or if the layer has no grid on which the score depends.

    References
    ----------
    Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391

    Examples
    --------
    >>> conv = keras.layers.Conv2D(2, 3, kernel_initializer="ones", name="conv")
    >>> dense = keras.layers.Dense(3, kernel_initializer="ones")
    >>> pool = keras.layers.GlobalAveragePooling2D()
    >>> model = keras.Sequential([keras.Input((8, 8, 1)), conv, pool, dense])
    >>> explanation = explain_prediction_keras(model, np.ones((1, 8, 8, 1)), targets=[2])
    >>> explanation.layer, explanation.targets[0].heatmap.shape
    ('conv', (6, 6))
    """
    check_keywords(ignored)
    options = Options(
        method=method,
        layer=layer,
        targets=targets,
        top_targets=top_targets,
        threshold=threshold,
        target_names=target_names,
        output=output,
        input=input,
        logits=logits,
        preprocess=preprocess,
        reshape=reshape,
        batch_size=batch_size,
        progress=progress,
        check=check,
    )
    if image is not None and input == ALL:
        raise ValueError('image= is the picture of one input. Leave it out with input="all".')
    refusal = None if image is not None else not_supported(model, doc, method)
    if refusal is not None:
        return refusal
    document = read_document(model, doc, image=image, preprocess=preprocess)
    [explanation] = explain_batch(model, [document], options)
    return explanation


def explain_batch(
    model: keras.Model,
    documents: Sequence[Document],
    options: Options,
    n_valid: int | None = None,
) -> list[Explanation]:
    """Explain documents of one shape, in one run if possible.

    Parameters
    ----------
    model : keras.Model
    documents : sequence of Document
    options : Options
    n_valid : int or None
        How many are explained, if not all: the rest only fills the batch up.

    Returns
    -------
    list of Explanation
        One for each of the ``n_valid`` documents.

    Raises
    ------
    TypeError, ValueError
        As :func:`explain_prediction_keras`.
    """
    if ALL in (options.input, options.output):
        return explain_each(
            model, documents, options, lambda each: explain_batch(model, documents, each, n_valid)
        )
    if not is_alike(model, [document.inputs for document in documents]):
        found = (explain_batch(model, [document], options) for document in documents[:n_valid])
        return [explanation for [explanation] in found]
    run, names = _asked(model, documents, options, n_valid)
    labels = None if options.threshold is None else count_labels(run, options.threshold)
    run = run if labels is None else with_room_for(run, labels)
    with collected_warnings() as about_all:
        answer = explain_samples(run, options.method)
        hidden = hidden_logits(run, answer.scores)
        if hidden:
            warn(f"logits=True has no effect: {hidden}. {COPY}", ExplanationWarning)
    called = _called(answer, run.target, names)
    if labels is not None:
        answer = first_targets(answer, max(1, labels.max()))
        called = [row[: max(1, count)] for row, count in zip(called, labels)]
    is_scaled = options.preprocess is not None or documents[0].is_preprocessed
    unscaled = [None] * run.count if is_scaled else warnings_of_scale(run)
    about_each = warnings_about(run, answer, called, unscaled)
    about_each = with_sides(about_each, run, answer, names)
    if labels is not None:
        about_each = with_too_few(about_each, answer.scores, labels, options.threshold)
    checks = _checked(run, answer) if options.check else []
    about_each = with_contradictions(about_each, checks, called)
    common = _common(run, answer, find_method(options.method), hidden)
    explanations = []
    for row, document in enumerate(documents[:n_valid]):
        own = [type(each)(f"{_place(document)}{each}") for each in about_each[row]]
        for each in own:
            warn(str(each), type(each))
        explanations.append(
            Explanation(
                **common,
                targets=with_checks(_target_explanations(answer, row, called[row]), checks, row),
                image=document.picture(run.survey.image_index),
                frame=within(document.frame, _frame(answer)),
                source=document.source,
                warnings=[*document.warnings, *about_all, *own],
            )
        )
    return explanations


def _asked(
    model: keras.Model, documents: Sequence[Document], options: Options, n_valid: int | None
) -> tuple[Run, TargetNames]:
    """Put the question about a batch, and name its classes."""
    run = ask(model, _stack([document.inputs for document in documents]), options)
    head = run.survey.heads[run.target.output]
    names = TargetNames(options.target_names, class_count(head))
    target, classes = choose_targets(
        head, options.targets, options.top_targets, names, target=run.target
    )
    rows = None if classes is None else np.tile(np.array(classes, np.int32), (len(documents), 1))
    return replace(run, target=target, classes=rows, n_valid=n_valid), names


def _checked(run: Run, answer: Attribution) -> list[list[Check]]:
    asked = replace(run, classes=answer.scores.classes)
    return check_run(asked, on_whole_picture(answer, run.survey.picture_grid).maps)


def _frame(answer: Attribution) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of the maps, in shares of the model's input."""
    if answer.frame is None or len(answer.frame[0]) != PICTURE_AXES:
        return WHOLE
    (top, left), (bottom, right) = answer.frame
    return left, top, right, bottom


def _common(run: Run, answer: Attribution, method: Method, hidden: str | None) -> dict[str, Any]:
    """Return the fields that the explanations of a batch have in common."""
    heads, images = run.survey.heads, image_inputs(run.model, run.inputs)
    names = {index: name for name, index in images.items()}
    return {
        "estimator": run.model.name,
        "description": description_of(method, answer.layer, run, hidden),
        "error": "",
        "method": method.title,
        "is_regression": is_regression(run),
        "layer": answer.layer,
        "output": heads[run.target.output].name if len(heads) > 1 else None,
        "input": names.get(run.survey.image_index) if len(names) > 1 else None,
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
    answer: Attribution, row: int, called: Sequence[int | str]
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


def not_supported(
    model: keras.Model, doc: Any, method: MethodLike = "grad-cam"
) -> Explanation | None:
    """Explain, like eli5, why a model or a document is not supported.

    A method of the input needs no image layers.

    Returns
    -------
    Explanation or None
        With ``error`` set, or None if it is supported.
    """
    parts = list(doc.values()) if isinstance(doc, Mapping) else doc
    parts = parts if isinstance(parts, list | tuple) else [parts]
    ranks = [len(part.shape) for part in parts if hasattr(part, "shape")]
    may_be_image = not ranks or any(rank in (3, 4) for rank in ranks)
    if may_be_image and (not find_method(method).needs_layer or is_image_model(model)):
        return None
    error = (
        f'model "{model.name}" is not supported, '
        'try passing the "image" argument if explaining an image model.'
    )
    if may_be_image and takes_images(model):
        error += (
            " None of its layers has a grid of more than one pixel. Methods that need none: "
            f"{', '.join(names_without_layer())}."
        )
    return Explanation(model.name, error=error)


def check_keywords(keywords: Iterable[str]) -> None:
    """Accept eli5's other keywords; refuse unknown ones with a suggestion."""
    parameters = inspect.signature(explain_prediction_keras).parameters
    known = [*list(parameters)[2:-1], *IGNORED_KEYWORDS]
    for keyword in keywords:
        if keyword not in IGNORED_KEYWORDS:
            near = difflib.get_close_matches(keyword, known, n=1)
            raise TypeError(
                f"explain_prediction got an unexpected keyword argument {keyword!r}."
                + (f" Did you mean {near[0]!r}?" if near else f" It takes: {', '.join(known)}")
            )
