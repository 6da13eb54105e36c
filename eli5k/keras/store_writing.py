"""Explain any number of documents into a folder, and go on after a kill."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from itertools import islice
from typing import Any, Literal

import keras
import numpy as np

from eli5k.base import ExplanationWarning
from eli5k.estimators import check_keras_model
from eli5k.keras.each import ALL
from eli5k.keras.explain_prediction import check_keywords
from eli5k.keras.sources import Rows
from eli5k.keras.store import Counts, Store, open_store
from eli5k.keras.store_keys import HASH, Keys, hashes_of
from eli5k.keras.store_question import question_of
from eli5k.keras.store_rows import numbered, table_of
from eli5k.keras.store_sources import Item, Source, open_source
from eli5k.keras.stream import Shapes, explain_documents, targets_of_each
from eli5k.keras.support import not_supported
from eli5k.options import Options
from eli5k.progress import progress_bar


def explain_to(
    model: keras.Model | str | os.PathLike[str],
    source: Any,
    out: str | os.PathLike[str],
    *,
    column: str | Sequence[str] = "image",
    key: str | None = None,
    targets_column: str | None = None,
    batch_size: int = 32,
    rows_per_part: int = 1024,
    preprocess: Callable[..., Any] | Literal[False] | None = None,
    progress: bool | None = None,
    **options: Any,
) -> Counts:
    """Explain any number of documents into a folder of Parquet files.

    Kill it at any moment: the same call goes on, explains at most one part again, and ends with
    exactly one row for each document and target.

    Parameters
    ----------
    model : keras.Model or path
    source : path, list, or anything that yields documents
        A folder of pictures, a pattern such as ``"photos/**/*.jpg"``, or a list of paths, which are
        their keys; Parquet files or a folder of them; WebDataset shards (``.tar``), or a pattern of
        them; or what :func:`~eli5k.explain_predictions` takes, whose keys are paths if it has them,
        and positions if not: it must come in the same order each time.
    out : path
        A new folder, or the one of the same question to the same model.
    column : str or list of str
        The column of the documents in Parquet files: paths, contents of files, or arrays. Several
        for a model of several inputs, in its order.
    key : str, optional
        The column that tells the rows apart. By default it is the path of the document, or its file
        and row.
    targets_column : str, optional
        A column with the targets of each row; in an archive the ending of files, such as ``"cls"``.
    batch_size : int
        Maximum number of documents that go through the model together.
    rows_per_part : int
        Number of documents in a file: what a kill can cost.
    preprocess, progress
        As in :func:`~eli5k.explain_predictions`.
    **options
        Other arguments of :func:`~eli5k.explain_prediction_keras`, such as ``targets``,
        ``top_targets``, ``layer`` and ``check``.

    Returns
    -------
    Counts
        What the folder was found to hold at the end; printed, a sentence.

    Raises
    ------
    FileNotFoundError
        If the source has no document.
    TypeError, ValueError
        As :func:`~eli5k.explain_predictions`; also if ``out`` holds answers to another question or
        of another model, if two documents have one key, or a column is missing.
    RuntimeError
        If a document has no row in the end, because something else deleted files.

    Examples
    --------
    >>> import tempfile
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3, kernel_initializer="ones")]
    >>> layers += [keras.layers.Flatten(), keras.layers.Dense(3, kernel_initializer="ones")]
    >>> model = keras.Sequential(layers)
    >>> with tempfile.TemporaryDirectory() as out:
    ...     print(explain_to(model, np.ones((5, 8, 8, 1)), out, top_targets=2))
    5 documents (5 of them new), 10 rows (0 of them errors): each document and target once
    """
    if isinstance(model, str | os.PathLike):
        model = keras.saving.load_model(model, compile=False)
    check_keras_model(model, source)
    asked = _asked(options, preprocess, batch_size)
    refusal = not_supported(model, asked.method)
    if refusal is not None:
        raise ValueError(str(refusal.error))
    if targets_column is not None and (asked.targets, asked.top_targets) != (None, None):
        raise ValueError("Pass either targets, top_targets or targets_column. Received two.")
    found = open_source(model, source, column=column, key=key, targets=targets_column)
    of_each = targets_of_each(asked.targets, found.total)
    # Targets of each document belong to it, as its pixels do, not to the question.
    common = asked if of_each is None else replace(asked, targets=None)
    more = {"key_type": str(found.kind), "column": column, "key": key}
    store = open_store(out, question_of(model, common, **more))
    return _explain_all(model, found, store, common, of_each, rows_per_part, progress)


def _asked(options: dict[str, Any], preprocess: Any, batch_size: int) -> Options:
    known = {field.name for field in fields(Options)}
    check_keywords(options.keys() - known)
    made = {name: value for name, value in options.items() if name in known}
    asked = Options(**made, preprocess=preprocess, batch_size=batch_size, progress=False)
    if ALL in (asked.input, asked.output):
        raise ValueError(
            "explain_to explains one input and one output. Call it once for each, with folders of "
            f"their own. Received: input={asked.input!r}, output={asked.output!r}"
        )
    return asked


def _explain_all(
    model: keras.Model,
    source: Source,
    store: Store,
    options: Options,
    of_each: Sequence[Any] | None,
    rows_per_part: int,
    progress: bool | None,
) -> Counts:
    named = replace(options, target_names=numbered(options.target_names))
    largest: Counter[Shapes] = Counter()
    seen: list[np.ndarray] = []
    explained = 0
    with progress_bar(total=source.total, progress=progress, unit="doc") as bar:
        todo = _todo(source, store, seen, of_each, bar.update)
        while part := list(islice(todo, rows_per_part)):
            store.write(_table(model, part, source, named, largest))
            explained += len(part)
            bar.update(len(part))
    keys = np.concatenate([np.empty(0, HASH), *seen])
    counts = replace(
        store.verify(keys), explained=explained, repeated=len(keys) - len(np.unique(keys))
    )
    if counts.missing or counts.doubled:
        raise RuntimeError(f"{store.folder}: {counts}. Does something else write there? Run again.")
    return counts


def _todo(
    source: Source,
    store: Store,
    seen: list[np.ndarray],
    of_each: Sequence[Any] | None,
    pass_over: Callable[[int], Any],
) -> Iterator[Item]:
    """Yield the documents without a row, each key once."""
    position, before = 0, Keys()
    for keys, read in source.blocks():
        hashes = hashes_of(keys)
        wanted = ~store.done(keys)
        if not source.is_cheap:
            # Only as they come are the keys of a stream known.
            wanted &= _is_first(hashes) & ~before.have(hashes)
            before.add(hashes)
        seen.append(hashes)
        pass_over(int((~wanted).sum()))
        numbers = position + np.flatnonzero(wanted)
        position += len(keys)
        if of_each is not None and position > len(of_each):
            raise ValueError(
                f"targets must have one entry for each document. Received {len(of_each):,} "
                "entries, and more documents."
            )
        for number, item in zip(numbers.tolist(), read(wanted)):
            yield item if of_each is None else item._replace(targets=of_each[number])


def _is_first(hashes: np.ndarray) -> np.ndarray:
    _, places = np.unique(hashes, return_index=True)
    is_first = np.zeros(len(hashes), bool)
    is_first[places] = True
    return is_first


def _table(
    model: keras.Model,
    part: Sequence[Item],
    source: Source,
    options: Options,
    largest: Counter[Shapes],
) -> Any:
    rows = Rows([item.doc for item in part], [item.path or str(item.key) for item in part])
    own = [item.targets for item in part]
    of_each = None if all(each is None for each in own) else own
    with warnings.catch_warnings():
        # They are in the rows: a line for each of a million would help nobody.
        warnings.simplefilter("ignore", ExplanationWarning)
        explanations = explain_documents(model, rows, options, largest, of_each)
        return table_of([item.key for item in part], source.kind, explanations)
