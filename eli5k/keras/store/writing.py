"""Explain any number of documents into a folder that can be resumed."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import fields, replace
from inspect import signature
from itertools import islice
from typing import Any, Literal, NamedTuple

import keras
import numpy as np

from eli5k.base import Explanation, ExplanationWarning, collected_warnings
from eli5k.estimators import check_keras_model
from eli5k.keras.columns import listed
from eli5k.keras.decoding import Decoder, form_of
from eli5k.keras.each import ALL
from eli5k.keras.explain_prediction import check_keywords
from eli5k.keras.model.room import rows_at_once
from eli5k.keras.sources import Rows
from eli5k.keras.store.files import only_writer
from eli5k.keras.store.folder import Counts, Store, open_store
from eli5k.keras.store.keys import HASH, Keys, hashes_of, is_first
from eli5k.keras.store.ledger import attempted
from eli5k.keras.store.question import question_of
from eli5k.keras.store.rows import arrow, numbered, table_of
from eli5k.keras.store.sources import Item, Source, open_source
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
    batch_size: int | None = 32,
    rows_per_part: int = 1024,
    workers: int | None = None,
    timeout: float = 60.0,
    preprocess: Callable[..., Any] | Literal[False] | None = None,
    progress: bool | None = None,
    **options: Any,
) -> Counts:
    """Explain any number of documents into a folder of Parquet files.

    You may kill it at any moment: the same call resumes, explains at most one part again, and ends
    with exactly one row for each document and target.

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
    batch_size : int or None
        Maximum number of documents that go through the model together; None for as many as have
        room on the graphics card, 32 without one.
    rows_per_part : int
        Number of documents in a file; after a kill, at most these are explained again.
    workers : int, optional
        How many processes decode pictures; by default one for each core. 0 decodes them in
        this process: faster for small pictures, but one that hangs or crashes stops the whole run.
    timeout : float
        Seconds to decode one picture; then it is an error.
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
        If another process explains into ``out``; or if a document has no row in the end, because
        something else deleted files.

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
    for name, value, least in (("rows_per_part", rows_per_part, 1), ("workers", workers or 0, 0)):
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{name} must be a whole number from {least} on. Received: {value!r}")
    columns = {"column": column, "key": key, "targets": targets_column}
    asked, found, of_each, question = read_question_of(
        model, source, columns, preprocess=preprocess, batch_size=batch_size, **options
    )
    with only_writer(out):
        store = open_store(out, question)
        with progress_bar(total=found.total, progress=progress, unit="doc") as bar:
            todo = _Todo(found, store, of_each, bar.update)
            with closing(_decoded(model, todo, store, workers, timeout)) as items:
                _explain_all(model, items, store, asked, rows_per_part, found.kind, bar)
        return todo.verified()


class Asked(NamedTuple):
    """Question to a store: the options, and the targets of each document."""

    options: Options
    source: Source
    targets_of_each: Sequence[Any] | None
    question: dict[str, Any]


def read_question_of(
    model: keras.Model, source: Any, columns: dict[str, Any], **options: Any
) -> Asked:
    """Read what a user asks, alike for all who write into stores.

    Parameters
    ----------
    model : keras.Model
    source : object
        As in :func:`explain_to`.
    columns : dict
        ``column``, ``key`` and ``targets``, its ``targets_column``.
    **options
        Its other keywords.

    Raises
    ------
    TypeError, ValueError
        As :func:`explain_to`.
    """
    asked = _options_of(model, options)
    refusal = not_supported(model, asked.method)
    if refusal is not None:
        raise ValueError(str(refusal.error))
    if columns["targets"] is not None and (asked.targets, asked.top_targets) != (None, None):
        raise ValueError("Pass either targets, top_targets or targets_column. Received two.")
    found = open_source(model, source, **columns)
    of_each = targets_of_each(asked.targets, found.total)
    # Targets of single documents belong to them, not to the question.
    common = asked if of_each is None else replace(asked, targets=None)
    more = {"key_type": str(found.kind), "column": columns["column"], "key": columns["key"]}
    return Asked(common, found, of_each, question_of(model, common, **more))


def _options_of(model: keras.Model, options: dict[str, Any]) -> Options:
    """Check the keywords that a store can answer."""
    if options["batch_size"] is None:
        options = options | {"batch_size": rows_at_once(model)}
    known = {field.name for field in fields(Options)}
    own = list(signature(explain_to).parameters)[3:-1]
    check_keywords(options.keys() - known, "explain_to", own)
    made = {name: value for name, value in options.items() if name in known}
    asked = Options(**made, progress=False)
    if ALL in (asked.input, asked.output):
        raise ValueError(
            "explain_to explains one input and one output. Call it once for each, with folders of "
            f"their own. Received: input={asked.input!r}, output={asked.output!r}"
        )
    return asked


class _Todo:
    """The documents of a source without a row, each key once."""

    def __init__(
        self,
        source: Source,
        store: Store,
        of_each: Sequence[Any] | None,
        pass_over: Callable[[int], Any],
    ) -> None:
        self._source, self._store, self._of_each = source, store, of_each
        self._pass_over = pass_over
        self._seen: list[np.ndarray] = []
        self._wanted = 0

    def __iter__(self) -> Iterator[Item]:
        position, before = 0, Keys()
        for keys, read in self._source.blocks():
            hashes = hashes_of(keys)
            wanted = ~self._store.done(keys)
            if not self._source.is_cheap:
                # The keys of a stream are known only as they come.
                wanted &= is_first(hashes) & ~before.have(hashes)
                before.add(hashes)
            self._seen.append(hashes)
            numbers = position + np.flatnonzero(wanted)
            position += len(keys)
            self._pass_over(len(keys) - len(numbers))
            self._wanted += len(numbers)
            self._check_length(position)
            for number, item in zip(numbers.tolist(), read(wanted)):
                yield item if self._of_each is None else self._with_targets(item, number)

    def _with_targets(self, item: Item, number: int) -> Item:
        assert self._of_each is not None
        return item._replace(targets=listed(self._of_each[number]))

    def _check_length(self, position: int) -> None:
        if self._of_each is not None and position > len(self._of_each):
            raise ValueError(
                "targets must have one entry for each document. Received "
                f"{len(self._of_each):,} entries, and more documents."
            )

    def verified(self) -> Counts:
        """Count the store's documents and rows, as :func:`verified` does."""
        return verified(self._store, self._seen, self._wanted)


def verified(store: Store, seen: Sequence[np.ndarray], explained: int) -> Counts:
    """Count the documents and rows of a finished store.

    Parameters
    ----------
    store : Store
    seen : sequence of numpy.ndarray
        The :func:`~eli5k.keras.store.keys.hashes_of` all keys of the source.
    explained : int
        How many documents were explained.

    Raises
    ------
    RuntimeError
        If a document has no row, or one too many.
    """
    keys = np.concatenate([np.empty(0, HASH), *seen])
    repeated = len(keys) - len(np.unique(keys))
    counts = replace(store.verify(keys), explained=explained, repeated=repeated)
    if counts.missing or counts.doubled:
        raise RuntimeError(f"{store.folder}: {counts}. Does something else write there? Run again.")
    return counts


def _decoded(
    model: keras.Model, todo: Iterable[Item], store: Store, workers: int | None, timeout: float
) -> Generator[Item, None, None]:
    """Decode pictures ahead of the model; failures become errors."""
    if workers == 0:
        yield from todo
        return

    def ledger(item: Item) -> int:
        return attempted(store.folder, item.key)

    with Decoder(form_of(model), workers=workers, timeout=timeout) as decoder:
        yield from decoded_items(decoder, todo, ledger)


def decoded_items(
    decoder: Decoder, items: Iterable[Item], ledger: Callable[[Item], int] | None = None
) -> Iterator[Item]:
    """Decode items ahead of who takes them, with the warnings about each.

    Parameters
    ----------
    decoder : Decoder
    items : iterable of Item
    ledger : callable, optional
        As in :meth:`~eli5k.keras.decoding.Decoder.decode_items`.

    Yields
    ------
    Item
    """
    decoded = decoder.decode_items(items, lambda item: item.doc, ledger)
    while True:
        with collected_warnings() as found:
            item, doc = next(decoded, (None, None))
        if item is None:
            return
        yield item._replace(doc=doc, warnings=tuple(found))


def _explain_all(
    model: keras.Model,
    items: Iterator[Item],
    store: Store,
    options: Options,
    rows_per_part: int,
    kind: Any,
    bar: Any,
) -> None:
    named = replace(options, target_names=numbered(options.target_names))
    largest: Counter[Shapes] = Counter()
    tables: list[Any] = []
    waiting = 0
    # The rows have them; a line for each of a million wouldn't help.
    with warnings.catch_warnings(action="ignore", category=ExplanationWarning):
        while batch := list(islice(items, min(options.batch_size, rows_per_part - waiting))):
            explanations = explain_items(model, batch, named, largest)
            tables.append(table_of([item.key for item in batch], kind, explanations))
            waiting += len(batch)
            bar.update(len(batch))
            if waiting >= rows_per_part:
                store.write(arrow().concat_tables(tables))
                tables, waiting = [], 0
    if tables:
        store.write(arrow().concat_tables(tables))


def explain_items(
    model: keras.Model, batch: Sequence[Item], options: Options, largest: Counter[Shapes]
) -> Iterator[Explanation]:
    """Explain items, with the warnings from decoding them."""
    rows = Rows([item.doc for item in batch], [item.path or str(item.key) for item in batch])
    own = [item.targets for item in batch]
    of_each = None if all(each is None for each in own) else own
    explanations = explain_documents(model, rows, options, largest, of_each)
    for item, explanation in zip(batch, explanations):
        explanation.source = item.path
        explanation.warnings[:0] = item.warnings
        yield explanation
