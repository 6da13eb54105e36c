"""Audit a model: find what the maps of many documents share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import keras
import numpy as np

from eli5k.keras.attribution import run as prepare
from eli5k.keras.attribution import warn_of_model
from eli5k.keras.evidence.run import Run
from eli5k.keras.evidence.targets import class_count
from eli5k.keras.gathering import gathered
from eli5k.keras.methods import find_method
from eli5k.keras.methods.registry import BEST
from eli5k.keras.metrics.audit import LEAST_PICTURES, Audit, audit_run
from eli5k.keras.metrics.best import best_method
from eli5k.keras.metrics.effects import check_classes
from eli5k.keras.metrics.explained import explained
from eli5k.keras.model.room import rows_at_once
from eli5k.keras.store.audit import audit_store, is_store
from eli5k.options import MethodLike

METHOD = "grad-cam"
# Number of documents on which methods are ranked.
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
    found = gathered(
        model,
        docs,
        targets,
        preprocess=preprocess,
        least=LEAST_PICTURES,
        most=most,
        progress=progress,
    )
    how["batch_size"] = rows_at_once(model) if batch_size is None else batch_size
    how |= {"layer": layer, "output": output, "logits": True}
    asked = prepare(model, found.inputs, found.targets, **how)
    check_classes(asked)
    if targets is None and class_count(asked.survey.heads[asked.target.output]) == 1:
        # For a single unit, that is the side that the model chooses.
        asked = replace(asked, target=replace(asked.target, binary=True))
    warn_of_model(asked)
    method, note = _best(asked) if method == BEST else (method, "")
    maps = np.moveaxis(np.asarray(explained(asked, method).maps), 0, 1).mean(axis=1)
    return audit_run(asked, maps, method=find_method(method).title, note=note, names=found.names)


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
