"""Audit of a store: what its maps have in common."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from eli5k.base import Explanation, TargetExplanation
from eli5k.keras.attribution import run as prepare
from eli5k.keras.evidence.run import Run
from eli5k.keras.inputs import read_document
from eli5k.keras.metrics.audit import LEAST_PICTURES, Audit, audit_run
from eli5k.keras.store.folder import Store, read_question
from eli5k.keras.store.question import fingerprint
from eli5k.keras.store.reading import read_explanations
from eli5k.keras.store.rows import arrow


def audit_explanations(
    model: keras.Model,
    path: str | os.PathLike[str],
    *,
    most: int = 500,
    preprocess: Callable[..., Any] | Literal[False] | None = None,
    batch_size: int = 32,
    progress: bool | None = False,
) -> Audit:
    """Tell what the maps in a folder of explanations have in common.

    As :func:`eli5k.audit`, but the maps are read from the folder; the model only tells whether the
    place that they have in common matters to it.

    Parameters
    ----------
    model : keras.Model
        The model that was explained.
    path : path
        A folder that :func:`eli5k.explain_to` has written.
    most : int
        How many documents to take, evenly spread: those whose pictures are still where they were.
    preprocess : callable, False or None
        As :func:`eli5k.explain_to` was given it.
    batch_size, progress
        As in :func:`eli5k.audit`.

    Returns
    -------
    Audit
        Printed, a sentence or two.

    Raises
    ------
    ValueError
        If the folder has explanations of another model, or fewer than ten of pictures that are
        still where they were.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> import eli5k
    >>> net = [keras.Input((14, 14, 3)), keras.layers.Conv2D(4, 3, kernel_initializer="ones")]
    >>> net += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)]
    >>> model = keras.Sequential(net)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for number in range(12):
    ...         Image.new("L", (14, 14), 20 * number).save(f"{folder}/{number}.png")
    ...     made = eli5k.explain_to(model, folder, f"{folder}/out", preprocess=np.negative)
    ...     audit_explanations(model, f"{folder}/out", preprocess=np.negative).pictures
    12
    """
    if read_question(path)["model"] != fingerprint(model):
        raise ValueError(
            f"model must be the one that was explained. Received another one: {model.name!r}"
        )
    found = [
        explanation
        for explanation in read_explanations(path, _spread(Path(path), most))
        if explanation.image is not None and explanation.targets
    ]
    if len(found) < LEAST_PICTURES:
        raise ValueError(
            f"path must have explanations of {LEAST_PICTURES} pictures or more that are still "
            f"where they were. Received: {len(found)} in {os.fspath(path)!r}"
        )
    inputs = [read_document(model, each.image, preprocess=preprocess).inputs for each in found]
    stacked = keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *inputs)
    output = read_question(path)["options"]["output"]
    more = {"batch_size": batch_size, "progress": progress}
    asked = prepare(model, stacked, output=output, logits=True, **more)
    return audit_run(asked, np.stack([_map(each, asked) for each in found]))


def _spread(folder: Path, most: int) -> list[Any]:
    """Return keys of explained documents, evenly spread over the store."""
    keys: list[Any] = []
    for part in Store(folder, {}).parts():
        with arrow("pyarrow.parquet").ParquetFile(part) as file:
            table = file.read(columns=["key", "number", "error"]).to_pylist()
        keys += [row["key"] for row in table if row["number"] == 0 and row["error"] is None]
    places = np.linspace(0, len(keys) - 1, min(most, len(keys))).round().astype(int)
    return [keys[place] for place in places]


def _map(explanation: Explanation, run: Run) -> np.ndarray:
    """Return a document's mean map over the model's whole input."""
    grid = run.survey.picture_grid
    maps = [
        TargetExplanation(
            target.target, attribution=target.attribution, size=grid, frame=target.frame
        ).enlarged("attribution")
        for target in explanation.targets or ()
    ]
    mean: np.ndarray = np.mean(maps, axis=0)
    return mean
