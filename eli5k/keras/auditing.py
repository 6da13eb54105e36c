"""Audit a model: explain many documents, and tell what their maps have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import keras
import numpy as np

from eli5k.base import ExplanationWarning, warn, warnings_name
from eli5k.estimators import check_keras_model
from eli5k.keras.attribution import run as prepare
from eli5k.keras.attribution import warn_of_model
from eli5k.keras.batches import BAD_DOCUMENT
from eli5k.keras.evidence.run import Run
from eli5k.keras.evidence.targets import class_count
from eli5k.keras.inputs import read_document
from eli5k.keras.methods import find_method
from eli5k.keras.methods.registry import BEST
from eli5k.keras.metrics.audit import LEAST_PICTURES, Audit, audit_run
from eli5k.keras.metrics.best import best_method
from eli5k.keras.metrics.effects import check_classes
from eli5k.keras.metrics.explained import explained
from eli5k.keras.model.room import rows_at_once
from eli5k.keras.sources import Documents
from eli5k.keras.store.audit import audit_store, is_store
from eli5k.options import MethodLike
from eli5k.progress import progress_bar

METHOD = "grad-cam"
# How many documents methods are ranked on.
RANKED = 16


def audit(
    model: keras.Model | None,
    docs: Any,
    targets: Any = None,
    *,
    method: MethodLike = METHOD,
    layer: Any = None,
    output: str | int | None = None,
    preprocess: Callable[..., Any] | Literal[False] | None = None,
    most: int = 500,
    batch_size: int | None = 32,
    progress: bool | None = False,
) -> Audit:
    """Explain many documents, and tell what their maps have in common.

    A map of a single picture can't betray a shortcut such as a tag in a corner: it is faithful to
    the model. That the maps of different pictures meet at the same place can. The place, and the
    border, are covered and exchanged between pictures: does the class change, or go along?
    Shortcuts without a place, such as a blur or a colour cast, are out of reach.

    Parameters
    ----------
    model : keras.Model or None
        None only for a folder of explanations: then the audit tells where the maps meet, and not
        whether the place matters to the model.
    docs : object
        Ten documents or more, of as many kinds as the model is used for: arrays or anything else
        that :func:`eli5k.explain_predictions` takes, all of one size. Or a folder that
        :func:`eli5k.explain_to` has written, whose maps are taken as they are.
    targets, layer, output, preprocess, batch_size, progress
        As in :func:`eli5k.keras.attribute`. None as targets explains the predicted classes. The
        score before a softmax or sigmoid is explained.
    method : str or callable
        As in :func:`eli5k.keras.attribute`. ``"best"`` ranks the methods that run the model once on
        16 of the documents, and takes the winner.
    most : int
        How many documents to take: evenly spread if it is known how many there are, otherwise the
        first ones. They are held in memory.

    Returns
    -------
    Audit
        Printed, a sentence or two; in a notebook, with a picture.

    Raises
    ------
    TypeError, ValueError
        As :func:`eli5k.keras.attribute`; also if there are fewer than ten documents, or all maps
        are blank.

    Warns
    -----
    ExplanationWarning
        If a document can't be read: it is passed over.

    Examples
    --------
    >>> layers = [keras.Input((14, 14, 1)), keras.layers.Conv2D(4, 3, activation="relu")]
    >>> layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)]
    >>> docs = np.random.default_rng(0).random((12, 14, 14, 1))
    >>> audit(keras.Sequential(layers), docs).pictures
    12
    """
    if most < LEAST_PICTURES:
        raise ValueError(f"most must be {LEAST_PICTURES} or more. Received: {most}")
    how: dict[str, Any] = {"batch_size": batch_size, "progress": progress}
    if is_store(docs):
        _check_nothing_to_explain(targets=targets, layer=layer, output=output)
        if method != METHOD:
            _check_nothing_to_explain(method=method)
        return audit_store(model, docs, most=most, preprocess=preprocess, **how)
    check_keras_model(model, docs)
    how["batch_size"] = rows_at_once(model) if batch_size is None else batch_size
    inputs, names, own = _read(model, docs, targets, preprocess, most, progress)
    asked = prepare(model, inputs, own, layer=layer, output=output, logits=True, **how)
    check_classes(asked)
    if targets is None and class_count(asked.survey.heads[asked.target.output]) == 1:
        # Of a single unit, that is the side which the model takes.
        asked = replace(asked, target=replace(asked.target, binary=True))
    warn_of_model(asked)
    method, note = _best(asked) if method == BEST else (method, "")
    maps = np.moveaxis(np.asarray(explained(asked, method).maps), 0, 1).mean(axis=1)
    return audit_run(asked, maps, method=find_method(method).title, note=note, names=names)


def _check_nothing_to_explain(**arguments: Any) -> None:
    for name, value in arguments.items():
        if value is not None:
            raise ValueError(
                f"{name} must not be passed with a folder of explanations, whose maps are there "
                f"already. Received: {value!r}"
            )


def _best(asked: Run) -> tuple[MethodLike, str]:
    """Rank methods on some of the documents, evenly spread."""
    rows = np.unique(np.linspace(0, asked.count - 1, min(RANKED, asked.count)).round().astype(int))
    best = best_method(asked.part(rows), where=f"{len(rows)} of these documents")
    return best, f"The maps are by {best.title}. {best.why}"


def _read(
    model: Any, docs: Any, targets: Any, preprocess: Any, most: int, progress: bool | None
) -> tuple[Any, list[str | int], Any]:
    """Return the inputs of documents, their paths or numbers, and their targets."""
    documents = Documents(model, docs)
    count = documents.known_count
    wanted = range(count or 0)
    if count is not None and count > most:
        wanted = np.linspace(0, count - 1, most).round().astype(int).tolist()
    chosen = set(wanted)
    read: dict[int, Any] = {}
    names: list[str | int] = []
    reasons: list[str] = []
    seen, is_enough = 0, False
    with progress_bar(total=documents.total, progress=progress, unit="doc") as bar:
        for number, sample in enumerate(documents):
            seen += 1
            bar.update(1)
            if count is not None and number not in chosen:
                continue
            place = sample.path or f"document {number}"
            with warnings_name(place):
                try:
                    inputs = read_document(model, sample.doc, preprocess=preprocess).inputs
                    _check_finite(inputs)
                    read[number] = inputs
                    names.append(sample.path or number)
                except BAD_DOCUMENT as error:
                    reasons.append(f"{place}: passed over, because {_told(error)}")
            is_enough = count is None and len(read) == most
            if is_enough:
                break
    if len(read) < LEAST_PICTURES:
        raise ValueError(
            f"docs must have {LEAST_PICTURES} documents or more to have something in common. "
            f"Received: {len(read)}" + (f" that can be read; {reasons[0]}" if reasons else "")
        )
    for reason in reasons:
        warn(reason, ExplanationWarning)
    return _stacked(read), names, _of_each(targets, list(read), seen, is_enough)


def _told(error: Exception) -> str:
    return f"it can't be read ({type(error).__name__}: {error})"


def _check_finite(inputs: Any) -> None:
    for array in keras.tree.flatten(inputs):
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError("it holds NaN or infinity")


def _stacked(read: dict[int, Any]) -> Any:
    shapes = {number: _shapes(inputs) for number, inputs in read.items()}
    first = next(iter(shapes))
    for number, shape in shapes.items():
        if shape != shapes[first]:
            raise ValueError(
                "docs must have one size, so that places can be compared: resize them, or audit "
                f"those of each size alone. Document {first} has {shapes[first]}, document "
                f"{number} has {shape}."
            )
    return keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *read.values())


def _shapes(inputs: Any) -> list[tuple[int, ...]]:
    return [array.shape[1:] for array in keras.tree.flatten(inputs)]


def _of_each(targets: Any, numbers: list[int], seen: int, is_part: bool) -> Any:
    """Return the targets of the documents that could be read."""
    if targets is None or callable(targets) or np.ndim(targets) == 0:
        return targets
    if len(targets) != seen and not (is_part and len(targets) > seen):
        raise ValueError(
            f"targets must have one row for each of the {seen} documents, or be one class for all. "
            f"Received: {len(targets)} rows"
        )
    return np.asarray(targets)[numbers]
