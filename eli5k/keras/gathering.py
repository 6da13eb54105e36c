"""Gather documents from wherever they come, to hold them in memory together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import keras
import numpy as np

from eli5k.base import ExplanationWarning, warn, warnings_name
from eli5k.estimators import check_keras_model
from eli5k.keras.batches import BAD_DOCUMENT
from eli5k.keras.inputs import read_document
from eli5k.keras.sources import Documents
from eli5k.progress import progress_bar


class Gathered(NamedTuple):
    """Documents that could be read.

    Attributes
    ----------
    inputs : numpy.ndarray, or list or dict of them
        ``(batch, ...)``, as the model takes them.
    names : list of str or int
        Path of each, or its number.
    targets : object
        What is explained of these documents.
    """

    inputs: Any
    names: list[str | int]
    targets: Any


def gathered(
    model: keras.Model,
    docs: Any,
    targets: Any = None,
    *,
    preprocess: Callable[..., Any] | Literal[False] | None = None,
    least: int = 1,
    most: int = 500,
    progress: bool | None = False,
) -> Gathered:
    """Read documents of one size.

    Parameters
    ----------
    model : keras.Model
    docs : object
        What :func:`eli5k.explain_predictions` takes.
    targets : object
        One for all documents, or a row for each.
    preprocess : callable, False or None
        As in :func:`eli5k.explain_prediction`.
    least, most : int
        How many documents to take: evenly spread if it is known how many there are, otherwise the
        first ones.
    progress : bool or None

    Raises
    ------
    ValueError
        If fewer than ``least`` documents can be read, if they differ in size, or if there aren't as
        many targets.

    Warns
    -----
    ExplanationWarning
        If a document can't be read: it is passed over.

    Examples
    --------
    >>> model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten()])
    >>> found = gathered(model, np.ones((9, 2, 2, 1)), range(9), most=3)
    >>> found.inputs.shape, found.names, found.targets.tolist()
    ((3, 2, 2, 1), [0, 4, 8], [0, 4, 8])
    """
    check_keras_model(model, docs)
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
    if len(read) < least:
        needed = "a document" if least == 1 else f"{least} documents or more"
        raise ValueError(
            f"docs must have {needed}. Received: {len(read)}"
            + (f" that can be read; {reasons[0]}" if reasons else "")
        )
    for reason in reasons:
        warn(reason, ExplanationWarning)
    return Gathered(_stacked(read), names, _of_each(targets, list(read), seen, is_enough))


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
                "docs must have one size: resize them, or pass those of each size alone. "
                f"Document {first} has {shapes[first]}, document {number} has {shape}."
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
