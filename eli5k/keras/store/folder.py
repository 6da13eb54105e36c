"""Store of explanations: Parquet files that survive a kill."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eli5k.keras.store.files import write_beside
from eli5k.keras.store.keys import HASH, Keys, hashes_of, is_in
from eli5k.keras.store.rows import SCHEMA_VERSION, arrow

if TYPE_CHECKING:
    import pyarrow

# Parquet readers leave out names that begin with an underscore.
QUESTION = "_eli5k.json"
# Columns that are worth a dictionary: maps and other numbers hardly repeat.
REPEATED = ["layer", "method", "name", "model", "description", "output", "input", "kind", "verdict"]
# Keys of a question that are compared separately, or not at all.
NOT_COMPARED = ("options", "model", "model_name", "eli5k")


@dataclass(frozen=True, slots=True)
class Counts:
    """What a store was found to hold.

    Attributes
    ----------
    documents, rows, errors : int
        Different documents, their rows, and how many of these are errors.
    doubled : int
        Rows of a document and target beyond the first.
    missing : int
        Documents of the source without a row.
    others : int
        Documents that aren't in the source, such as those of an earlier one.
    explained : int
        Documents that the last run explained.
    repeated : int
        Documents that it passed over, since the source had their key before.

    Examples
    --------
    >>> print(Counts(documents=3, rows=5, errors=1, explained=2))
    3 documents (2 of them new), 5 rows (1 of them an error): each document and target once
    >>> print(Counts(documents=1, rows=1, others=1))
    1 document (0 of them new), 1 row (0 of them errors): each document and target once. 1 document
    is not in this source
    """

    documents: int
    rows: int
    errors: int = 0
    doubled: int = 0
    missing: int = 0
    others: int = 0
    explained: int = 0
    repeated: int = 0

    def __str__(self) -> str:
        found = (
            f"{_counted(self.documents, 'document')} ({self.explained:,} of them new), "
            f"{_counted(self.rows, 'row')} "
            f"({self.errors:,} of them {'an error' if self.errors == 1 else 'errors'})"
        )
        wrong = [
            f"{count:,} {what}"
            for count, what in ((self.doubled, "doubled"), (self.missing, "missing"))
            if count
        ]
        told = f"{found}: {', '.join(wrong) or 'each document and target once'}"
        if self.others:
            is_or_are = "is" if self.others == 1 else "are"
            told += f". {_counted(self.others, 'document')} {is_or_are} not in this source"
        if self.repeated:
            told += f". {_counted(self.repeated, 'document')} had the key of another: passed over"
        return told


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


class Store:
    """Folder of explanations: Parquet parts, and the question they answer.

    :func:`open_store` makes one. Several processes may write into it, each its own parts.

    Attributes
    ----------
    folder : pathlib.Path
    question : dict
        As in ``_eli5k.json``.
    """

    def __init__(self, folder: Path, question: dict[str, Any]) -> None:
        self.folder, self.question = folder, question
        self._done: Keys | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        # All that a worker needs; it reads the rest from the folder.
        return Store, (self.folder, self.question)

    def done(self, keys: Sequence[Any]) -> np.ndarray:
        """Tell which keys have rows, written earlier or by now.

        Only keys are read, part by part, and kept as hashes of 16 bytes.

        Returns
        -------
        numpy.ndarray
            ``(keys,)``, bool.
        """
        if self._done is None:
            self._done = Keys()
            for table in self._tables(["key"]):
                self._done.add(hashes_of(table["key"].unique()))
        return self._done.have(hashes_of(keys))

    def write(self, table: pyarrow.Table) -> Path:
        """Write a part: beside, down to the disk, and then renamed.

        Parameters
        ----------
        table : pyarrow.Table
            All rows of each of its documents.

        Returns
        -------
        pathlib.Path
            The part.
        """
        told = {name: value for name, value in self.question.items() if name != "class_names"}
        metadata = {
            **(table.schema.metadata or {}),
            "eli5k.version": version("eli5k"),
            "eli5k.question": json.dumps(told),
        }
        table = table.replace_schema_metadata(metadata)
        part = self.folder / f"part-{time.time_ns():020d}-{secrets.token_hex(4)}.parquet"
        _write_part(table, part)
        if self._done is not None:
            self._done.add(hashes_of(table["key"].unique()))
        return part

    def parts(self) -> list[Path]:
        """Return the files with rows, in the order of their creation."""
        return sorted(self.folder.glob("part-*.parquet"))

    def verify(self, expected: np.ndarray | None = None) -> Counts:
        """Count documents and rows in the files.

        Parameters
        ----------
        expected : numpy.ndarray or None
            The :func:`hashes_of` all keys of the source.

        Returns
        -------
        Counts
        """
        rows = errors = doubled = 0
        found = [np.empty(0, HASH)]
        for table in self._tables(["key", "number", "error"]):
            rows += len(table)
            errors += len(table) - table["error"].null_count
            found.append(hashes_of(table["key"].unique()))
            doubled += len(table) - len(table.group_by(["key", "number"]).aggregate([]))
        every = np.concatenate(found)
        distinct = np.unique(every)
        doubled += len(every) - len(distinct)
        missing = others = 0
        if expected is not None:
            wanted = np.unique(expected)
            missing = int((~is_in(wanted, distinct)).sum())
            others = int((~is_in(distinct, wanted)).sum())
        return Counts(len(distinct), rows, errors, doubled, missing, others)

    def drop_doubled(self) -> int:
        """Drop a document's rows from the later of two parts.

        That happens if a worker is lost after it wrote, and another does its work again.

        Returns
        -------
        int
            How many rows.
        """
        seen, dropped = Keys(), 0
        pa, parquet = arrow(), arrow("pyarrow.parquet")
        for part in self.parts():
            keys = hashes_of(_read(part, ["key"])["key"])
            again = seen.have(keys)
            seen.add(keys)
            if again.any():
                table = parquet.read_table(part, partitioning=None)
                _write_part(table.filter(pa.array(~again)), part)
                dropped += int(again.sum())
        self._done = seen
        return dropped

    def _tables(self, columns: list[str]) -> Iterator[Any]:
        return (_read(part, columns) for part in self.parts())


def open_store(out: str | os.PathLike[str], question: dict[str, Any]) -> Store:
    """Open the store in a folder, or begin one.

    Half-written files of a killed process are removed, and rows that two workers have both written
    are kept once.

    Parameters
    ----------
    out : path
    question : dict
        As :func:`~eli5k.keras.store.question.question_of` returns it.

    Returns
    -------
    Store

    Raises
    ------
    ValueError
        If the folder holds other files, or answers to another question.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as out:
    ...     store = open_store(out, {"schema": "1", "options": {"method": "grad-cam"}})
    ...     store.done(["cat.jpg"])
    array([False])
    """
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / QUESTION
    if file.exists():
        _check_same(folder, read_question(folder), question)
    else:
        others = sorted(each.name for each in folder.iterdir() if not each.name.startswith("."))
        if others:
            raise ValueError(
                f"out must be a new folder, an empty one, or one that eli5k has begun. Received: "
                f"{str(folder)!r}, which holds {others[0]!r} and no {QUESTION}."
            )
        told = {**question, "eli5k": version("eli5k")}
        write_beside(file, json.dumps(told, indent=1).encode())
    for left in (*folder.glob(".part-*"), *folder.glob(f".{QUESTION}*")):
        left.unlink(missing_ok=True)
    store = Store(folder, question)
    store.drop_doubled()
    return store


def read_question(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the question that a store answers.

    Raises
    ------
    FileNotFoundError
        If the folder is no store.
    ValueError
        If a newer eli5k has written it.
    """
    file = Path(folder) / QUESTION
    if not file.is_file():
        raise FileNotFoundError(
            f"{os.fspath(folder)!r} is no folder of explanations: it has no {QUESTION}. "
            "eli5k.explain_to(model, source, out) makes one."
        )
    try:
        question: dict[str, Any] = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise OSError(f"{file}: broken ({error}). Explain into another folder.") from error
    if question.get("schema") != SCHEMA_VERSION:
        raise ValueError(
            f"{os.fspath(folder)!r} has the schema {question.get('schema')!r}; this eli5k reads "
            f"{SCHEMA_VERSION!r}. Use the version of eli5k that wrote it: {question.get('eli5k')}"
        )
    return question


def _check_same(folder: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to mix the answers to two questions."""
    # As in JSON, where tuples become lists.
    now = json.loads(json.dumps(now))
    hint = "Take another folder, or delete this one."
    if before.get("model") != now.get("model"):
        raise ValueError(
            f"out: {str(folder)!r} holds explanations of another model, "
            f"{before.get('model_name')!r} with the fingerprint {before.get('model')}. Received: "
            f"{now.get('model_name')!r} with {now.get('model')}. {hint}"
        )
    old, new = (
        {**each.get("options", {}), **{k: v for k, v in each.items() if k not in NOT_COMPARED}}
        for each in (before, now)
    )
    for name in {**old, **new}:
        if old.get(name) != new.get(name):
            raise ValueError(
                f"out: {str(folder)!r} holds answers to another question: {name} was "
                f"{_short(old.get(name))}. Received: {_short(new.get(name))}. {hint}"
            )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _read(part: Path, columns: list[str]) -> Any:
    pa, parquet = arrow(), arrow("pyarrow.parquet")
    try:
        with parquet.ParquetFile(part) as file:
            return file.read(columns=columns)
    except pa.ArrowInvalid as error:
        raise OSError(f"{part}: broken ({error}). Delete it, and run again.") from error


def _write_part(table: pyarrow.Table, part: Path) -> None:
    sink = arrow().BufferOutputStream()
    # Maps and other numbers never repeat.
    arrow("pyarrow.parquet").write_table(table, sink, compression="zstd", use_dictionary=REPEATED)
    write_beside(part, sink.getvalue())
