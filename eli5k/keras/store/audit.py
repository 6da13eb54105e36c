"""Audit of a store: what its maps have in common."""

from __future__ import annotations

import os
from collections.abc import Callable
from math import ceil
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from eli5k.base import Explanation, TargetExplanation
from eli5k.keras.attribution import run as prepare
from eli5k.keras.inputs import read_document
from eli5k.keras.metrics.audit import LEAST_PICTURES, Audit, audit_maps, audit_run
from eli5k.keras.metrics.effects import check_classes
from eli5k.keras.metrics.halves import cells_of
from eli5k.keras.model.room import rows_at_once
from eli5k.keras.store.folder import QUESTION, Store, read_question
from eli5k.keras.store.question import described, fingerprint
from eli5k.keras.store.reading import read_explanations
from eli5k.keras.store.rows import arrow

# Small maps are enlarged to about so many cells along their shorter axis.
FINE = 56


def is_store(docs: Any) -> bool:
    """Tell whether something is a folder that :func:`eli5k.explain_to` has written.

    Examples
    --------
    >>> is_store("no folder"), is_store(np.ones(3))
    (False, False)
    """
    return isinstance(docs, str | os.PathLike) and (Path(docs) / QUESTION).is_file()


def audit_store(
    model: keras.Model | None,
    path: str | os.PathLike[str],
    *,
    most: int = 500,
    preprocess: Callable[..., Any] | Literal[False] | None = None,
    batch_size: int | None = 32,
    progress: bool | None = False,
) -> Audit:
    """Tell what the maps in a folder of explanations have in common.

    Parameters
    ----------
    model : keras.Model or None
        The model that was explained, to tell whether the place that the maps have in common matters
        to it; None tells only where it is.
    path : path
        A folder that :func:`eli5k.explain_to` has written.
    most : int
        How many documents to take, evenly spread. With a model, these are pictures that are still
        where they were.
    preprocess : callable, False or None
        As :func:`eli5k.explain_to` was given it.
    batch_size, progress
        As in :func:`eli5k.audit`.

    Returns
    -------
    Audit

    Raises
    ------
    ValueError
        If the folder has explanations of another model, or fewer than ten that can be used.

    Examples
    --------
    >>> import tempfile
    >>> import eli5k
    >>> net = [keras.Input((14, 14, 3)), keras.layers.Conv2D(4, 3, activation="relu")]
    >>> net += [keras.layers.GlobalAveragePooling2D()]
    >>> docs = np.random.default_rng(0).random((12, 14, 14, 3))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = eli5k.explain_to(keras.Sequential(net), docs, f"{folder}/out")
    ...     audit_store(None, f"{folder}/out").pictures
    12
    """
    question = read_question(path)
    if model is not None:
        _check(model, question, preprocess)
    wanted = read_explanations(path, _spread(Path(path), most))
    found = [each for each in wanted if each.targets and (model is None or each.image is not None)]
    if len(found) < LEAST_PICTURES:
        needed = "" if model is None else " whose pictures are still where they were"
        hint = "" if model is None else ". You may pass the documents instead of the folder"
        raise ValueError(
            f"docs must have explanations of {LEAST_PICTURES} documents or more{needed}. "
            f"Received: {len(found)} in {os.fspath(path)!r}{hint}"
        )
    told: dict[str, Any] = {"method": found[0].method or ""}
    told["names"] = [each.source or number for number, each in enumerate(found)]
    if model is None:
        shape = _targets(found[0])[0].attribution.shape
        grid = tuple(size * ceil(FINE / min(*shape, FINE)) for size in shape)
        return audit_maps(_maps(found, grid), cells_of(grid), **told)
    inputs = [read_document(model, each.image, preprocess=preprocess).inputs for each in found]
    stacked = keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *inputs)
    asked = prepare(
        model,
        stacked,
        output=question["options"]["output"],
        logits=True,
        batch_size=rows_at_once(model) if batch_size is None else batch_size,
        progress=progress,
    )
    check_classes(asked)
    return audit_run(asked, _maps(found, asked.survey.picture_grid), **told)


def _check(model: keras.Model, question: dict[str, Any], preprocess: Any) -> None:
    """Check that this model, with this preprocessing, was explained."""
    if question["model"] != fingerprint(model):
        raise ValueError(
            f"model must be the one that was explained. Received another one: {model.name!r}"
        )
    if question["options"]["preprocess"] != described(preprocess):
        raise ValueError(
            "preprocess must be the one that the maps were made with: "
            f"{question['options']['preprocess']!r}. Received: {described(preprocess)!r}"
        )


def _spread(folder: Path, most: int) -> list[Any]:
    """Return keys of explained documents, spread evenly over the store."""
    keys: list[Any] = []
    for part in Store(folder, {}).parts():
        with arrow("pyarrow.parquet").ParquetFile(part) as file:
            table = file.read(columns=["key", "number", "error"]).to_pylist()
        keys += [row["key"] for row in table if row["number"] == 0 and row["error"] is None]
    places = np.linspace(0, len(keys) - 1, min(most, len(keys))).round().astype(int)
    return [keys[place] for place in places]


def _targets(explanation: Explanation) -> list[Any]:
    return list(explanation.targets or ())


def _maps(explanations: list[Explanation], grid: tuple[int, ...]) -> np.ndarray:
    """Return each document's mean map over the whole picture."""
    return np.stack([_map(each, grid) for each in explanations])


def _map(explanation: Explanation, grid: tuple[int, ...]) -> np.ndarray:
    maps = [
        TargetExplanation(
            target.target, attribution=target.attribution, size=grid, frame=target.frame
        ).enlarged("attribution")
        for target in _targets(explanation)
    ]
    mean: np.ndarray = np.mean(maps, axis=0)
    return mean
