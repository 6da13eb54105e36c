"""Explain many documents, one chunk at a time: in constant memory, and past the bad ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import keras
from PIL import Image
from tqdm import tqdm

from eli5k.base import Explanation
from eli5k.keras.explain_prediction import (
    Request,
    check_keywords,
    explain_batch,
    is_about_images,
    not_supported,
)
from eli5k.keras.inputs import Document, input_count, read_document

# A bar that would flash by is noise: it appears after so many seconds.
PROGRESS_DELAY = 3
# (batch, height, width, channels), in whatever order.
IMAGE_BATCH_RANK = 4


def explain_predictions(
    model: keras.Model,
    docs: Iterable,
    batch_size: int = 32,
    *,
    preprocess: Callable | None = None,
    progress: bool | None = None,
    **kwargs: Any,
) -> Iterator[Explanation]:
    """Explain what a Keras image model predicts for each of many documents.

    Parameters
    ----------
    model : keras.Model
    docs : iterable
        An array ``(batch, ...)``, an iterable of documents as
        :func:`~eli5k.explain_prediction_keras` takes them (paths, pictures, arrays), or one of
        batches, such as a ``tf.data.Dataset``. Of ``(inputs, labels)`` the inputs are taken.
    batch_size : int
        How many documents go through the model, and are held in memory, at a time.
    preprocess : callable, optional
        Applied to each image array before the model.
    progress : bool or None
        Show a progress bar; None shows it on a terminal where the run takes long.
    **kwargs
        Other arguments of :func:`~eli5k.explain_prediction_keras`.

    Yields
    ------
    Explanation
        In the order of ``docs``. A document that cannot be read, or is not of the model's shape,
        comes back with ``error`` set, and does not end the run.

    Raises
    ------
    TypeError, ValueError
        As :func:`~eli5k.explain_prediction_keras`, for arguments that concern every document.

    Examples
    --------
    >>> import numpy as np
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)]
    >>> layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)]
    >>> model = keras.Sequential(layers)
    >>> explanations = explain_predictions(model, np.ones((5, 8, 8, 1)), targets=[2])
    >>> [explanation.targets[0].target for explanation in explanations]
    [2, 2, 2, 2, 2]
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1. Received: {batch_size}")
    asked = {key: kwargs.pop(key) for key in Request._fields if key in kwargs}
    check_keywords(kwargs)
    return _explain_all(model, docs, batch_size, preprocess, progress, Request(**asked))


def _explain_all(
    model: keras.Model,
    docs: Iterable,
    batch_size: int,
    preprocess: Callable | None,
    progress: bool | None,
    request: Request,
) -> Iterator[Explanation]:
    waiting: list[Document | Explanation] = []
    full = False
    with _progress_bar(docs, progress) as bar:
        for doc in _one_by_one(model, docs):
            item = _read(model, doc, preprocess, request.method)
            documents = [other for other in waiting if isinstance(other, Document)]
            other_shape = (
                isinstance(item, Document)
                and bool(documents)
                and _shapes(item) != _shapes(documents[0])
            )
            if len(waiting) == batch_size or other_shape:
                full = full or len(documents) == batch_size
                yield from _flush(model, waiting, request, batch_size if full else 0)
                bar.update(len(waiting))
                waiting = []
            waiting.append(item)
        yield from _flush(model, waiting, request, batch_size if full else 0)
        bar.update(len(waiting))


def _progress_bar(docs: Iterable, progress: bool | None) -> tqdm:
    try:
        total = len(docs)  # type: ignore[arg-type]
    except TypeError:
        total = None
    disable = None if progress is None else not progress
    return tqdm(total=total, disable=disable, delay=PROGRESS_DELAY if progress is None else 0)


def _read(
    model: keras.Model, doc: Any, preprocess: Callable | None, method: str | Callable
) -> Document | Explanation:
    if not is_about_images(model, doc, method):
        return not_supported(model)
    try:
        return read_document(model, doc, preprocess=preprocess)
    except (OSError, TypeError, ValueError, Image.DecompressionBombError) as error:
        return Explanation(model.name, error=f"{type(error).__name__}: {error}")


def _flush(
    model: keras.Model, waiting: list[Document | Explanation], request: Request, at_least: int
) -> Iterator[Explanation]:
    """Explain the documents that wait, in their order among the failed ones."""
    documents = [item for item in waiting if isinstance(item, Document)]
    # Each new shape would be compiled anew, so a last chunk is filled up to the size of the others.
    padding = documents[-1:] * (at_least - len(documents)) if documents else []
    explained = iter(explain_batch(model, documents, request, padding) if documents else ())
    for item in waiting:
        yield next(explained) if isinstance(item, Document) else item


def _shapes(document: Document) -> list[tuple[int, ...]]:
    return [array.shape for array in keras.tree.flatten(document.inputs)]


def _one_by_one(model: keras.Model, docs: Iterable) -> Iterator[Any]:
    """Take batches apart, and leave labels out."""
    single_input = input_count(model) == 1
    for item in _rows_of(docs) if isinstance(docs, Mapping) else docs:
        if isinstance(item, tuple | list) and (single_input or isinstance(item[0], Mapping | list)):
            item = item[0]
        parts = item.values() if isinstance(item, Mapping) else item
        parts = parts if isinstance(item, Mapping | list | tuple) else [item]
        if any(len(getattr(part, "shape", ())) == IMAGE_BATCH_RANK for part in parts):
            yield from _rows_of(item)
        else:
            yield item


def _rows_of(batch: Any) -> Iterator[Any]:
    """Samples of a batch, or of a list or dict of batches."""
    if isinstance(batch, Mapping):
        for row in zip(*batch.values()):
            yield dict(zip(batch, row))
    elif isinstance(batch, list | tuple):
        for row in zip(*batch):
            yield list(row)
    else:
        yield from batch
