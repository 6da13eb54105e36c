"""Explain any number of documents with workers on Ray Data."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import keras
import numpy as np

from eli5k.estimators import check_keras_model
from eli5k.keras.backends import active_backend
from eli5k.keras.engines.cluster import Demand, connected, default_workers
from eli5k.keras.engines.work import Task, Work, Worker
from eli5k.keras.store.files import only_writer
from eli5k.keras.store.folder import Counts, Store, open_store
from eli5k.keras.store.keys import hashes_of
from eli5k.keras.store.ledger import suspects
from eli5k.keras.store.sources import ARCHIVES, TABLES, Source, files_of, open_source
from eli5k.keras.store.writing import read_question_of, verified
from eli5k.progress import progress_bar


def explain_on_ray(
    model: str | os.PathLike[str],
    source: Any,
    out: str | os.PathLike[str],
    *,
    address: str | None = None,
    workers: int | None = None,
    gpus_per_worker: float = 0.0,
    column: str | Sequence[str] = "image",
    key: str | None = None,
    targets_column: str | None = None,
    batch_size: int | None = 32,
    rows_per_part: int = 256,
    timeout: float = 60.0,
    preprocess: Callable[..., Any] | Literal[False] | None = None,
    progress: bool | None = None,
    **options: Any,
) -> Counts:
    """Explain files with several workers, into the store of :func:`eli5k.explain_to`.

    You may kill a worker, or all of them, at any moment: the same call resumes. A document that
    crashes two workers becomes an error.

    Parameters
    ----------
    model : path
        A saved model, at the same place for each worker.
    source : path or list of paths
        Pictures, Parquet files or WebDataset shards as in :func:`eli5k.explain_to`, at the same
        place for each worker.
    out : path
        A folder that each worker can write to.
    address : str, optional
        Address of a cluster, such as ``"auto"`` or ``"ray://head:10001"``. By default Ray starts on
        this machine, on its loopback alone, and stops at the end.
    workers : int, optional
        Number of processes with a model; by default one for each core of this machine.
    gpus_per_worker : float
        Such as 0.5, for two workers on each GPU. Ray doesn't share its memory out.
    column, key, targets_column
        As in :func:`eli5k.explain_to`.
    batch_size : int or None
        Maximum number of documents that go through the model together; None for as many as have
        room on the worker's share of its graphics card.
    rows_per_part : int
        Number of documents in a file; a killed worker loses at most these.
    timeout : float
        Seconds for each picture to be decoded.
    preprocess, progress, **options
        As in :func:`eli5k.explain_to`; they must be picklable.

    Returns
    -------
    Counts
        What the folder was found to hold at the end.

    Raises
    ------
    ImportError
        If Ray is not installed.
    TypeError, ValueError
        As :func:`eli5k.explain_to`; also if ``model`` or ``source`` is no path.
    RuntimeError
        If Ray can't be started, or has too little for the workers; if documents are missing in the
        end.

    Examples
    --------
    >>> explain_on_ray(keras.Sequential(), "photos", "results")
    Traceback (most recent call last):
    TypeError: model must be the path of a saved model, which each worker loads. ...
    """
    if not isinstance(model, str | os.PathLike):
        raise TypeError(
            "model must be the path of a saved model, which each worker loads. Save it first: "
            f"model.save('model.keras'). Received: {type(model).__name__}"
        )
    count = default_workers() if workers is None else workers
    _check_numbers(timeout, gpus_per_worker, workers=count, rows_per_part=rows_per_part)
    _check_source(source)
    place = _absolute(model)
    net = keras.saving.load_model(place, compile=False)
    check_keras_model(net, source)
    columns: dict[str, Any] = {"column": column, "key": key, "targets": targets_column}
    asked, found, of_each, question = read_question_of(
        net, source, columns, preprocess=preprocess, batch_size=batch_size, **options
    )
    if of_each is not None:
        raise ValueError("targets must be the same for all documents: pass targets_column=.")
    task = Task(
        model=place,
        options=asked,
        columns=columns,
        kind=found.kind,
        rows_per_part=rows_per_part,
        timeout=timeout,
        card=min(1.0, gpus_per_worker or 1.0) if batch_size is None else None,
    )
    demand = Demand(workers=count, gpus_per_worker=gpus_per_worker)
    with only_writer(_absolute(out)):
        store = open_store(_absolute(out), question)
        files = files_of(source, TABLES) or files_of(source, ARCHIVES)
        seen: list[np.ndarray] = []
        works = list(
            _shares(net, files, task, store, seen, 4 * count)
            if files
            else _pictures(found, store, seen, rows_per_part)
        )
        explained = 0
        if works:
            bar = progress_bar(total=found.total, progress=progress, unit="doc")
            with connected(address, demand) as ray, bar:
                for done in _run(ray, works, task, store, demand):
                    explained += done
                    bar.update(done)
        # A part may have been written twice, by a worker that was lost and by the next one.
        store.drop_doubled()
        return verified(store, seen, explained)


def _check_numbers(timeout: float, gpus_per_worker: float, **counts: Any) -> None:
    for name, value in counts.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number, at least 1. Received: {value!r}")
    if timeout <= 0 or gpus_per_worker < 0:
        raise ValueError(
            "timeout must be positive, and gpus_per_worker not negative. Received: "
            f"timeout={timeout}, gpus_per_worker={gpus_per_worker}"
        )


def _check_source(source: Any) -> None:
    places = source if isinstance(source, list | tuple) else [source]
    for place in places:
        if not isinstance(place, str | os.PathLike):
            raise TypeError(
                "source must be paths that each worker can read. Use eli5k.explain_to for what is "
                f"in memory. Received: {type(place).__name__}"
            )


def _absolute(place: str | os.PathLike[str]) -> str:
    path = os.fspath(place)
    return path if "://" in path else os.path.abspath(path)


def _pictures(source: Source, store: Store, seen: list[np.ndarray], size: int) -> Iterator[Work]:
    """Share out the pictures without a row.

    Those that a killed run was at are suspect.
    """
    suspected = suspects(store.folder)
    waiting: dict[bool, list[tuple[str, str]]] = {False: [], True: []}
    for keys, read in source.blocks():
        seen.append(hashes_of(keys))
        for item in read(~store.done(keys)):
            is_suspect = item.key in suspected
            waiting[is_suspect].append((item.key, item.doc))
            if len(waiting[is_suspect]) == size:
                yield Work(pictures=tuple(waiting[is_suspect]), is_suspect=is_suspect)
                waiting[is_suspect] = []
    for is_suspect, left in waiting.items():
        if left:
            yield Work(pictures=tuple(left), is_suspect=is_suspect)


def _shares(
    net: keras.Model,
    files: list[str],
    task: Task,
    store: Store,
    seen: list[np.ndarray],
    wanted: int,
) -> Iterator[Work]:
    """Share out files; split them if there are few."""
    suspected = suspects(store.folder)
    for file in files:
        rows, is_done, is_suspect = 0, True, False
        for keys, _ in open_source(net, file, **task.columns).blocks():
            seen.append(hashes_of(keys))
            rows += len(keys)
            is_done = is_done and bool(store.done(keys).all())
            is_suspect = is_suspect or not suspected.isdisjoint(map(str, keys))
        shares = min(-(-rows // task.rows_per_part), max(1, wanted // len(files)))
        for share in range(0 if is_done else shares):
            yield Work(file=file, share=share, shares=shares, is_suspect=is_suspect)


def _run(ray: Any, works: list[Work], task: Task, store: Store, demand: Demand) -> Iterator[int]:
    """Yield the number of documents of each finished piece of work."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    rows = [{"work": pickle.dumps(work)} for work in works]
    # One block each: a few large blocks would all go to one worker.
    waiting = ray.data.from_items(rows, override_num_blocks=len(rows))
    done = waiting.map_batches(
        _RayWorker,
        fn_constructor_args=(task, store, os.getcwd()),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(demand.workers, len(rows))),
        num_cpus=1,
        num_gpus=demand.gpus_per_worker or None,
    )
    for batch in done.iter_batches(batch_size=None):
        yield int(np.sum(batch["explained"]))


class _RayWorker(Worker):
    """Worker for Ray Data, called with batches of one row."""

    def __init__(self, task: Task, store: Store, folder: str) -> None:
        # Paths stay as they were written, since they are keys.
        if os.path.isdir(folder):
            os.chdir(folder)
        active_backend().limit_threads(1)
        super().__init__(task, store)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        [work] = batch["work"]
        return {"explained": np.array([self.do(pickle.loads(work))])}
