"""Work of one worker: explain a share of the documents.

It needs no engine. A worker may die at any moment; the engine gives its work to another one, and
the ledger tells that one what the first died of.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from eli5k.base import Explanation, ExplanationWarning
from eli5k.keras.decoding import Decoder, form_of
from eli5k.keras.model.room import rows_at_once
from eli5k.keras.store.folder import Store
from eli5k.keras.store.keys import hashes_of, is_first
from eli5k.keras.store.ledger import ALONE, BEGUN, EXPLAINED, Ledger
from eli5k.keras.store.rows import arrow, numbered, table_of
from eli5k.keras.store.sources import Item, open_source
from eli5k.keras.store.writing import decoded_items, explain_items
from eli5k.keras.stream import Shapes
from eli5k.options import Options

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True, kw_only=True)
class Work:
    """Share of the documents: some pictures, or rows of a file.

    Attributes
    ----------
    pictures : list of (str, str)
        Keys and paths.
    file : str or None
        A table or an archive.
    share, shares : int
        Number of the share, and how many shares the file has.
    is_suspect : bool
        An earlier run was killed while it did this: explain each document alone.

    Examples
    --------
    >>> Work(pictures=[("cat.jpg", "photos/cat.jpg")]).is_suspect
    False
    """

    pictures: tuple[tuple[str, str], ...] = ()
    file: str | None = None
    share: int = 0
    shares: int = 1
    is_suspect: bool = False


@dataclass(frozen=True, kw_only=True)
class Task:
    """What all workers are told alike; picklable if its options are.

    Attributes
    ----------
    model : str
        The path of a saved model.
    options : Options
    columns : dict
        Columns of the source: ``column``, ``key`` and ``targets`` of
        :func:`~eli5k.keras.store.sources.open_source`.
    kind : pyarrow.DataType
        Type of the keys.
    rows_per_part : int
    timeout : float
        Seconds to decode a picture.
    card : float or None
        The worker's share of a graphics card, whose memory decides the batch size; None for that of
        the options.
    """

    model: str
    options: Options
    columns: dict[str, Any]
    kind: pyarrow.DataType
    rows_per_part: int
    timeout: float
    card: float | None = None


class Worker:
    """Explain one share after another; a context manager.

    Parameters
    ----------
    task : Task
    store : Store
    """

    def __init__(self, task: Task, store: Store) -> None:
        self.task, self.store = task, store
        self._model = keras.saving.load_model(task.model, compile=False)
        self._decoder = Decoder(form_of(self._model), workers=1, timeout=task.timeout)
        self._largest: Counter[Shapes] = Counter()
        names = numbered(task.options.target_names)
        own = {"target_names": names, "progress": False, "batch_size": self._batch_size()}
        self.options = Options(**(vars(task.options) | own))

    def _batch_size(self) -> int:
        if self.task.card is None:
            return self.task.options.batch_size
        # The card's other workers ask at the same time, while all memory is free.
        return max(1, int(rows_at_once(self._model) * self.task.card))

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._decoder.close()

    def do(self, work: Work) -> int:
        """Explain the documents without a row, in parts.

        Returns
        -------
        int
            How many documents.
        """
        explained = 0
        begun = Ledger(self.store.folder, work)
        if begun.was_begun:
            # This process doesn't know what the worker wrote before it died.
            self.store = Store(self.store.folder, self.store.question)
        begun.write(BEGUN)
        decoded = decoded_items(self._decoder, self._documents(work))
        while (first := next(decoded, None)) is not None:
            part = chain([first], islice(decoded, self.task.rows_per_part - 1))
            ledger = Ledger(self.store.folder, first.key)
            alone = work.is_suspect or ledger.was_begun
            table, count = self._alone(part, ledger) if alone else self._together(part, ledger)
            self.store.write(table)
            ledger.close()
            explained += count
        begun.close()
        return explained

    def _documents(self, work: Work) -> Iterator[Item]:
        if work.file is None:
            done = self.store.done([key for key, _ in work.pictures])
            left = (pair for pair, is_done in zip(work.pictures, done) if not is_done)
            yield from (Item(key, path, path) for key, path in left)
            return
        source = open_source(self._model, work.file, **self.task.columns)
        row = 0
        for keys, read in source.blocks():
            # Give each share in turn as many rows as a part has.
            turns = np.arange(row, row + len(keys)) // self.task.rows_per_part % work.shares
            row += len(keys)
            # An archive may hold a name twice.
            yield from read(
                (turns == work.share) & ~self.store.done(keys) & is_first(hashes_of(keys))
            )

    def _together(self, part: Iterator[Item], ledger: Ledger) -> tuple[pyarrow.Table, int]:
        tables, count = [], 0
        while batch := list(islice(part, self.options.batch_size)):
            ledger.note(*(item.key for item in batch))
            tables.append(self._explained(batch))
            count += len(batch)
        return arrow().concat_tables(tables), count

    def _alone(self, part: Iterator[Item], ledger: Ledger) -> tuple[pyarrow.Table, int]:
        """Explain documents one by one, so that a crash names its document."""
        culprits = ledger.culprits()
        ledger.write(ALONE)
        tables = []
        for item in part:
            if str(item.key) in culprits:
                error = "ChildProcessError: two workers ended while they explained this document."
                failed = Explanation(self._model.name, error=error, source=item.path)
                tables.append(table_of([item.key], self.task.kind, [failed]))
            else:
                ledger.note(item.key)
                tables.append(self._explained([item]))
        ledger.write(EXPLAINED)
        return arrow().concat_tables(tables), len(tables)

    def _explained(self, batch: list[Item]) -> pyarrow.Table:
        # The rows have them.
        with warnings.catch_warnings(action="ignore", category=ExplanationWarning):
            explanations = explain_items(self._model, batch, self.options, self._largest)
            return table_of([item.key for item in batch], self.task.kind, explanations)
