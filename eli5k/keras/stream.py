"""Explain many documents in constant memory, skipping the bad ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any, Literal

import keras
from PIL import Image
from tqdm import tqdm

from eli5k.base import Explanation
from eli5k.estimators import check_keras_model
from eli5k.keras.explain_prediction import (
    check_keywords,
    explain_batch,
)
from eli5k.keras.inputs import Document, input_count, read_document
from eli5k.keras.model.interface import IMAGE_RANK
from eli5k.keras.support import not_supported
from eli5k.options import Options
from eli5k.progress import progress_bar

# Shape of each input of a document.
Shapes = tuple[tuple[int, ...], ...]


def explain_predictions(
    model: keras.Model,
    docs: Iterable[Any],
    batch_size: int = 32,
    *,
    preprocess: Callable[..., Any] | Literal[False] | None = None,
    progress: bool | None = None,
    **kwargs: Any,
) -> Iterator[Explanation]:
    """Explain what a Keras image model predicts for each of many documents.

    Parameters
    ----------
    model : keras.Model
    docs : iterable
        An array ``(batch, ...)``, an iterable of documents as
        :func:`~eli5k.explain_prediction_keras` takes them (paths, pictures, arrays), or an iterable
        of batches, such as a ``tf.data.Dataset``. Labels in ``(inputs, labels)`` are ignored.
    batch_size : int
        Maximum number of documents that are in memory and go through the model together.
    preprocess : callable, False or None
        Preprocessing of each image array, as in :func:`~eli5k.explain_prediction_keras`.
    progress : bool or None
        Show a progress bar; None shows it on a terminal if the run takes long.
    **kwargs
        Other arguments of :func:`~eli5k.explain_prediction_keras`.

    Yields
    ------
    Explanation
        In the order of ``docs``. A document that can't be read, or doesn't have the model's shape,
        comes back with ``error`` set, and the run goes on.

    Raises
    ------
    TypeError, ValueError
        As :func:`~eli5k.explain_prediction_keras`, for arguments that concern every document.

    Examples
    --------
    >>> import numpy as np
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3, kernel_initializer="ones")]
    >>> layers += [keras.layers.Flatten(), keras.layers.Dense(3, kernel_initializer="ones")]
    >>> model = keras.Sequential(layers)
    >>> explanations = explain_predictions(model, np.ones((5, 8, 8, 1)), targets=[2])
    >>> [explanation.targets[0].target for explanation in explanations]
    [2, 2, 2, 2, 2]
    """
    check_keras_model(model, docs)
    known = {field.name for field in fields(Options)}
    asked = {key: kwargs.pop(key) for key in known & kwargs.keys()}
    check_keywords(kwargs)
    options = Options(**asked, preprocess=preprocess, batch_size=batch_size, progress=progress)
    return _explain_all(model, docs, options)


def _explain_all(
    model: keras.Model,
    docs: Iterable[Any],
    options: Options,
) -> Iterator[Explanation]:
    waiting: list[Document | Explanation] = []
    largest: Counter[Shapes] = Counter()
    with _progress_bar(docs, options.progress) as bar:
        for number, doc in enumerate(_one_by_one(model, docs)):
            item = _read(model, doc, number, options)
            documents = [other for other in waiting if isinstance(other, Document)]
            other_shape = (
                isinstance(item, Document)
                and bool(documents)
                and _shapes(item) != _shapes(documents[0])
            )
            if len(waiting) == options.batch_size or other_shape:
                yield from _flush(model, waiting, options, largest)
                bar.update(len(waiting))
                waiting = []
            waiting.append(item)
        yield from _flush(model, waiting, options, largest)
        bar.update(len(waiting))


def _progress_bar(docs: Iterable[Any], progress: bool | None) -> tqdm:
    try:
        total = len(docs)  # type: ignore[arg-type]
    except TypeError:
        total = None
    return progress_bar(total=total, progress=progress)


def _read(model: keras.Model, doc: Any, number: int, options: Options) -> Document | Explanation:
    refusal = not_supported(model, options.method)
    if refusal is not None:
        return refusal
    try:
        document = read_document(model, doc, preprocess=options.preprocess)
        return replace(document, number=number)
    except (OSError, TypeError, ValueError, Image.DecompressionBombError) as error:
        return Explanation(model.name, error=f"{type(error).__name__}: {error}")


def _flush(
    model: keras.Model,
    waiting: list[Document | Explanation],
    options: Options,
    largest: Counter[Shapes],
) -> Iterator[Explanation]:
    """Explain the waiting documents, in their order among the failed ones.

    They are filled up to the ``largest`` batch of their shape, since each new size would be
    compiled again.
    """
    documents = [item for item in waiting if isinstance(item, Document)]
    explained: Iterator[Explanation] = iter(())
    if documents:
        shapes = _shapes(documents[0])
        largest[shapes] = max(largest[shapes], len(documents))
        rows = documents + documents[-1:] * (largest[shapes] - len(documents))
        explained = iter(explain_batch(model, rows, options, len(documents)))
    for item in waiting:
        yield next(explained) if isinstance(item, Document) else item


def _shapes(document: Document) -> Shapes:
    return tuple(array.shape for array in keras.tree.flatten(document.inputs))


def _one_by_one(model: keras.Model, docs: Iterable[Any]) -> Iterator[Any]:
    """Split batches into documents, without labels."""
    single_input = input_count(model) == 1
    for given in _rows_of(docs) if isinstance(docs, Mapping) else docs:
        labelled = isinstance(given, tuple | list) and (
            single_input or isinstance(given[0], Mapping | list)
        )
        item = given[0] if labelled else given
        parts = item.values() if isinstance(item, Mapping) else item
        parts = parts if isinstance(item, Mapping | list | tuple) else [item]
        if any(len(getattr(part, "shape", ())) == IMAGE_RANK for part in parts):
            yield from _rows_of(item)
        else:
            yield item


def _rows_of(batch: Any) -> Iterator[Any]:
    """Yield the samples of a batch, or of several inputs."""
    if isinstance(batch, Mapping):
        for row in zip(*batch.values()):
            yield dict(zip(batch, row))
    elif isinstance(batch, list | tuple):
        for row in zip(*batch):
            yield list(row)
    else:
        yield from batch
