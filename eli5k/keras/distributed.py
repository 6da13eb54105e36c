"""Explain a batch of columns: what engines run on many machines."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import keras

from eli5k.keras.columns import listed, values_of
from eli5k.keras.files import path_of
from eli5k.keras.sources import Rows
from eli5k.keras.store_rows import numbered, table_of
from eli5k.keras.stream import Shapes, explain_documents
from eli5k.options import Options

if TYPE_CHECKING:
    import pyarrow

_loading = threading.Lock()


class ExplainBatch:
    """Explain the rows of a batch of columns, as a table.

    A function for the batches of Ray Data, Spark or Dask, which it doesn't need itself. Each worker
    loads the model once, at its first batch: what travels there is the path of the model and the
    options.

    Parameters
    ----------
    model : path
        A saved model, at the same place for each worker.
    options : Options, optional
        What to explain, picklable: functions by name, layers by path.
    column : str or list of str
        The column of the documents: paths, contents of files, or arrays. Several for a model of
        several inputs, in its order.
    key : str, optional
        The column that tells the rows apart; by default their key is the path of the document.
    targets : str, optional
        A column with the target of each row, such as its true class: a class, or a list of them.

    Raises
    ------
    TypeError
        If ``model`` is no path.
    ValueError
        If targets are given twice, or ``options`` asks for all inputs or outputs.

    Examples
    --------
    >>> import tempfile
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3, kernel_initializer="ones")]
    >>> layers += [keras.layers.Flatten(), keras.layers.Dense(3, kernel_initializer="ones")]
    >>> file = os.path.join(tempfile.mkdtemp(), "model.keras")
    >>> keras.Sequential(layers).save(file)
    >>> explain = ExplainBatch(file, Options(targets=[2]), key="id")
    >>> table = explain({"id": [7, 8], "image": np.ones((2, 8, 8, 1))})
    >>> table.select(["key", "target", "map_shape"]).to_pylist()[1]
    {'key': 8, 'target': 2, 'map_shape': [6, 6]}
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        options: Options | None = None,
        *,
        column: str | Sequence[str] = "image",
        key: str | None = None,
        targets: str | None = None,
    ) -> None:
        if not isinstance(model, str | os.PathLike):
            raise TypeError(
                "model must be the path of a saved model, which each worker loads. Save it first: "
                f"model.save('model.keras'). Received: {type(model).__name__}"
            )
        asked = options or Options()
        if targets is not None and (asked.targets is not None or asked.top_targets is not None):
            raise ValueError("Pass targets either in options or as a column. Received both.")
        if "all" in (asked.input, asked.output):
            raise ValueError(
                "ExplainBatch explains one input and one output. Received: "
                f"input={asked.input!r}, output={asked.output!r}"
            )
        self.model = os.fspath(model)
        self.options = replace(asked, progress=False, target_names=numbered(asked.target_names))
        self.column, self.key, self.targets = column, key, targets
        # The largest batch so far: a smaller one is filled up, not compiled again.
        self._largest: Counter[Shapes] = Counter()

    def __call__(self, batch: Any) -> pyarrow.Table:
        """Explain a batch.

        Parameters
        ----------
        batch : dict of str to array or list, pyarrow.Table, pyarrow.RecordBatch or DataFrame

        Returns
        -------
        pyarrow.Table
            A row for each document and target, as :func:`~eli5k.keras.store_rows.schema` says. A
            document that can't be explained has one row, with ``error`` set.
        """
        docs = self._documents(batch)
        keys = list(map(path_of, docs)) if self.key is None else values_of(batch[self.key])
        rows = Rows(docs, None if self.key is None else list(map(str, keys)))
        own = None if self.targets is None else list(map(listed, values_of(batch[self.targets])))
        explanations = explain_documents(
            _loaded(self.model), rows, self.options, self._largest, own
        )
        kind = getattr(batch[self.key], "type", None) if self.key is not None else None
        return table_of(keys, kind, explanations)

    def _documents(self, batch: Any) -> list[Any]:
        if isinstance(self.column, str):
            return values_of(batch[self.column])
        return [list(row) for row in zip(*(values_of(batch[name]) for name in self.column))]


def _loaded(path: str) -> keras.Model:
    """Load a model once in each process, also if several threads ask for it."""
    with _loading:
        return _load(path)


# A few, so that a process which explains one model after another doesn't keep them all.
@lru_cache(maxsize=4)
def _load(path: str) -> keras.Model:
    return keras.saving.load_model(path, compile=False)
