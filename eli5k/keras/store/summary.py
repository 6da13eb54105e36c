"""Summary of a store's explanations, from its columns alone."""

from __future__ import annotations

import heapq
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eli5k.keras.store.folder import Store, read_question
from eli5k.keras.store.rows import arrow

# The most doubtful first; what wasn't checked comes last.
VERDICTS = ("contradicted", "not shown", "untestable", "supported")
COLUMNS = ["key", "number", "target", "name", "probability", "verdict", "warnings", "error"]
SHOWN_CLASSES, SHOWN_ERRORS = 20, 5


@dataclass
class OfClass:
    """What is known of the explanations of one class.

    Attributes
    ----------
    name : str
    rows : int
    verdicts : Counter
        How many rows have each verdict.
    warned : int
        How many rows are of documents with a warning.
    """

    name: str
    rows: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    warned: int = 0


@dataclass
class Summary:
    """What a store holds.

    Attributes
    ----------
    documents, rows, errors, warned : int
        How many; ``warned`` are the documents with a warning.
    verdicts : Counter
        How many rows have each verdict; empty if no check was asked for.
    classes : list of OfClass
        The most frequent first.
    doubtful : list
        Keys of the most doubtful documents: by verdict, then those with a warning, then by the
        probability of the explained class.
    failed : list of (key, str)
        The first documents that could not be explained, and why.
    reasons : Counter
        Kinds of errors.
    """

    documents: int = 0
    rows: int = 0
    errors: int = 0
    warned: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    classes: list[OfClass] = field(default_factory=list)
    doubtful: list[Any] = field(default_factory=list)
    failed: list[tuple[Any, str]] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        lines = [self.headline]
        if self.verdicts:
            lines.append(f"Checks: {_shares(self.verdicts)}")
        width = max((len(each.name) for each in self.classes[:SHOWN_CLASSES]), default=0)
        for each in self.classes[:SHOWN_CLASSES]:
            warned = f"{each.warned:,} with a warning" if each.warned else ""
            told = _shares(each.verdicts) or warned
            lines.append(f"  {each.name:{width}}  {each.rows:>9,}  {told}".rstrip())
        if len(self.classes) > SHOWN_CLASSES:
            lines.append(f"  and {len(self.classes) - SHOWN_CLASSES:,} other classes")
        if self.errors:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.reasons.most_common())
            lines.append(f"Errors: {kinds}")
            lines += [f"  {key}: {error}" for key, error in self.failed[:SHOWN_ERRORS]]
        return "\n".join(lines)

    @property
    def headline(self) -> str:
        """The numbers of documents, maps, warnings and errors, in a line."""
        maps = self.rows - self.errors
        return (
            f"{self.documents:,} documents, {maps:,} maps, {self.warned:,} documents with a "
            f"warning, {self.errors:,} errors"
        )


def summarise(path: str | os.PathLike[str], most: int = 50) -> Summary:
    """Summarise the explanations of a store.

    Parameters
    ----------
    path : path
        The folder.
    most : int
        How many doubtful documents to name.

    Returns
    -------
    Summary
        Printed, some lines.

    Raises
    ------
    FileNotFoundError
        If it is no folder of explanations.

    Examples
    --------
    >>> import tempfile
    >>> import keras
    >>> import numpy as np
    >>> import eli5k
    >>> net = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3, kernel_initializer="ones")]
    >>> net += [keras.layers.Flatten(), keras.layers.Dense(3, kernel_initializer="ones")]
    >>> with tempfile.TemporaryDirectory() as out:
    ...     _ = eli5k.explain_to(keras.Sequential(net), np.ones((5, 8, 8, 1)), out, targets=[2])
    ...     print(summarise(out))
    5 documents, 5 maps, 0 documents with a warning, 0 errors
      2          5
    """
    folder = Path(path)
    names = read_question(folder).get("class_names", {})
    found = Summary()
    classes: dict[str, OfClass] = {}
    doubts: list[tuple[Any, ...]] = []
    for rows in _batches(folder):
        for row in rows:
            name = row["name"] or names.get(str(row["target"])) or str(row["target"])
            of_class = classes.setdefault(name, OfClass(name)) if row["error"] is None else None
            _count(found, of_class, row)
        doubts += _doubts(rows)
        doubts = heapq.nsmallest(most, doubts, key=lambda each: each[:3])
    found.classes = sorted(classes.values(), key=lambda each: (-each.rows, each.name))
    found.doubtful = [key for *_, key in doubts]
    return found


def _batches(folder: Path) -> Iterator[list[dict[str, Any]]]:
    """Yield each part's rows; a document's rows are in one part."""
    parquet = arrow("pyarrow.parquet")
    for part in Store(folder, {}).parts():
        with parquet.ParquetFile(part) as file:
            yield file.read(columns=COLUMNS).to_pylist()


def _count(found: Summary, of_class: OfClass | None, row: dict[str, Any]) -> None:
    found.rows += 1
    found.documents += row["number"] == 0
    found.warned += row["number"] == 0 and bool(row["warnings"])
    if of_class is None:
        found.errors += 1
        found.reasons[row["error"].partition(":")[0]] += 1
        if len(found.failed) < SHOWN_ERRORS:
            found.failed.append((row["key"], row["error"]))
        return
    of_class.rows += 1
    of_class.warned += bool(row["warnings"])
    if row["verdict"] is not None:
        of_class.verdicts[row["verdict"]] += 1
        found.verdicts[row["verdict"]] += 1


def _doubts(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Return how doubtful each document is: that of its most doubtful map."""
    found: dict[Any, tuple[Any, ...]] = {}
    for row in rows:
        if row["error"] is None:
            verdict = row["verdict"]
            rank = VERDICTS.index(verdict) if verdict in VERDICTS else len(VERDICTS)
            probability = 1.0 if row["probability"] is None else row["probability"]
            own = (rank, not row["warnings"], probability, row["key"])
            before = found.get(row["key"])
            found[row["key"]] = own if before is None else min(own, before)
    return list(found.values())


def _shares(verdicts: Counter[str]) -> str:
    total = sum(verdicts.values())
    named = [*VERDICTS[::-1], *sorted(set(verdicts) - set(VERDICTS))]
    return ", ".join(
        f"{100 * verdicts[name] / total:.0f} % {name}" for name in named if verdicts[name]
    )
