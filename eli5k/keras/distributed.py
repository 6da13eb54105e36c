"""Explain a batch of columns: what engines run on many machines."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
import threading
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import keras

from eli5k.decoder import Form
from eli5k.keras.backends import SUPPORTED, active_backend, backend_name
from eli5k.keras.columns import listed, values_of
from eli5k.keras.decoding import Decoder, form_of
from eli5k.keras.files import path_of
from eli5k.keras.sources import Rows
from eli5k.keras.store.rows import numbered, table_of
from eli5k.keras.stream import Shapes, explain_documents
from eli5k.options import Options
from eli5k.worker import unpickled

if TYPE_CHECKING:
    import pyarrow

ADDRESSES = ("http", "https", "file")
# Seconds without a byte from an address.
QUIET = 60
_loading = threading.Lock()


class ExplainBatch:
    """Explain the rows of a batch of columns, as a table.

    A function for the batches of Ray Data, Spark or Dask, none of which it needs itself. Only the
    model's path and the options are sent to a worker, which loads the model once, at its first
    batch. Pictures are decoded in separate processes: one that hangs or crashes its process becomes
    an error in its row.

    Parameters
    ----------
    model : path or URL
        A saved model, at the same place for each worker; or its address (http, https or file),
        from which each worker gets it.
    options : Options, optional
        What to explain, picklable: functions by name, layers by path.
    column : str or list of str
        The column of the documents: paths, contents of files, or arrays. Several for a model of
        several inputs, in its order.
    key : str, optional
        The column that tells the rows apart; by default their key is the path of the document.
    targets : str, optional
        A column with the target of each row, such as its true class: a class, or a list of them.
    batch_size : int, optional
        Maximum number of rows that go through the model together, instead of that of ``options``.
    threads : int, optional
        Number of cores that a worker may use, for the model and to decode pictures; by default all.
        Set it if several workers share a machine.
    timeout : float
        Seconds to decode a picture.
    backend : {"tensorflow", "torch", "jax"}, optional
        What Keras runs on in the workers. It is set there before Keras is imported.

    Raises
    ------
    TypeError
        If ``model`` is no path.
    ValueError
        If targets are given twice, or ``options`` asks for all inputs or outputs, or a number isn't
        positive, or there is no such backend.

    Examples
    --------
    >>> import numpy as np
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
        batch_size: int | None = None,
        threads: int | None = None,
        timeout: float = 60.0,
        backend: str | None = None,
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
        if (threads is not None and threads < 1) or timeout <= 0:
            raise ValueError(
                "threads and timeout must be greater than 0. Received: "
                f"threads={threads}, timeout={timeout}"
            )
        if backend not in (None, *SUPPORTED):
            raise ValueError(f"backend must be one of {SUPPORTED}. Received: {backend!r}")
        self.model = os.fspath(model)
        self.options = replace(
            asked,
            progress=False,
            target_names=numbered(asked.target_names),
            batch_size=asked.batch_size if batch_size is None else batch_size,
        )
        self.column, self.key, self.targets = column, key, targets
        self.threads, self.timeout, self.backend = threads, timeout, backend
        # The largest batch so far: fill up smaller ones rather than compile again.
        self._largest: Counter[Shapes] = Counter()

    def __reduce__(self) -> tuple[Any, ...]:
        # The attributes are unpickled later, and may import Keras.
        return unpickled, (self.backend, __name__, type(self).__name__), self.__dict__

    def __call__(self, batch: Any) -> pyarrow.Table:
        """Explain a batch.

        Parameters
        ----------
        batch : dict of str to array or list, pyarrow.Table, pyarrow.RecordBatch or DataFrame

        Returns
        -------
        pyarrow.Table
            A row for each document and target, as :func:`~eli5k.keras.store.rows.schema` says. A
            document that can't be explained has one row, with ``error`` set.
        """
        docs = self._documents(batch)
        keys = list(map(path_of, docs)) if self.key is None else values_of(batch[self.key])
        names = [path_of(doc) if key is None else str(key) for doc, key in zip(docs, keys)]
        model = _loaded(self.model, self.threads, self.backend)
        decoder = _decoder(form_of(model), self.threads, self.timeout)
        rows = Rows((picture for _, picture in decoder.decode(docs)), names)
        own = None if self.targets is None else list(map(listed, values_of(batch[self.targets])))
        explanations = explain_documents(model, rows, self.options, self._largest, own)
        kind = getattr(batch[self.key], "type", None) if self.key is not None else None
        return table_of(keys, kind, explanations)

    def _documents(self, batch: Any) -> list[Any]:
        if isinstance(self.column, str):
            return values_of(batch[self.column])
        return [list(row) for row in zip(*(values_of(batch[name]) for name in self.column))]


def _loaded(place: str, threads: int | None, backend: str | None) -> keras.Model:
    """Load a model once in each process, even from several threads."""
    with _loading:
        return _load(place, threads, backend)


# Only a few, so that a process with many models doesn't keep them all.
@lru_cache(maxsize=4)
def _load(place: str, threads: int | None, backend: str | None) -> keras.Model:
    running = backend_name()
    if backend not in (None, running):
        raise RuntimeError(
            f"backend={backend!r} came too late: Keras runs on {running!r} in this process. Set "
            "KERAS_BACKEND in the environment of the workers, or send them an ExplainBatch that "
            "was made before Keras started, not the class."
        )
    if threads is not None:
        active_backend().limit_threads(threads)
    address = urllib.parse.urlsplit(place)
    if address.scheme not in ADDRESSES:
        return keras.saving.load_model(place, compile=False)
    # The end of the name tells the format.
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, os.path.basename(address.path))
        with urllib.request.urlopen(place, timeout=QUIET) as found, open(file, "wb") as copy:
            shutil.copyfileobj(found, copy)
        return keras.saving.load_model(file, compile=False)


@lru_cache(maxsize=4)
def _decoder(form: Form | None, workers: int | None, timeout: float) -> Decoder:
    """Start the processes that decode once in each process."""
    decoder = Decoder(form, workers=workers, timeout=timeout)
    atexit.register(decoder.close)
    return decoder
