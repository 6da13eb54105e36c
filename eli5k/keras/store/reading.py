"""Explanations from the store, with their pictures."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eli5k import base
from eli5k.base import Check, Explanation, ExplanationWarning, TargetExplanation
from eli5k.keras.columns import values_of
from eli5k.keras.gradcam import heatmap_of
from eli5k.keras.pictures import picture_of
from eli5k.keras.store.folder import read_question
from eli5k.keras.store.rows import CHECK_CURVES, CHECK_NUMBERS, arrow
from eli5k.keras.store.sources import ARCHIVES
from eli5k.pixels import open_picture

# Rows held in memory at a time.
ROWS = 256


def read_explanations(
    path: str | os.PathLike[str], keys: Iterable[Any] | None = None
) -> Iterator[Explanation]:
    """Read explanations that :func:`~eli5k.explain_to` has written.

    Parameters
    ----------
    path : path
        The folder, or one of its parts.
    keys : iterable, optional
        Only these documents, in this order.

    Yields
    ------
    Explanation
        With its map in the precision of float16. The picture is read again if its file, archive or
        table is still where it was; otherwise ``image`` is None.

    Raises
    ------
    FileNotFoundError
        If ``path`` is no folder of explanations.
    KeyError
        If one of ``keys`` isn't there.
    ValueError
        If a newer eli5k has written them.

    Examples
    --------
    >>> import tempfile
    >>> import keras
    >>> import eli5k
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3, kernel_initializer="ones")]
    >>> layers += [keras.layers.Flatten(), keras.layers.Dense(3, kernel_initializer="ones")]
    >>> with tempfile.TemporaryDirectory() as out:
    ...     made = eli5k.explain_to(keras.Sequential(layers), np.ones((5, 8, 8, 1)), out)
    ...     [explanation.targets[0].heatmap.shape for explanation in read_explanations(out, [3])]
    [(6, 6)]
    """
    place = Path(path)
    question = read_question(place if place.is_dir() else place.parent)
    column = question.get("column")
    parts = sorted(place.glob("part-*.parquet")) if place.is_dir() else [place]
    if keys is None:
        return (explanation_of(rows, column) for _, rows in _documents(parts))
    return _chosen(parts, list(keys), column)


def _chosen(parts: list[Path], keys: list[Any], column: Any) -> Iterator[Explanation]:
    chosen = set(keys)
    found = dict(_documents(parts, chosen))
    for key in keys:
        if key not in found:
            raise KeyError(f"keys must be those of documents in the store. Received: {key!r}")
        yield explanation_of(found[key], column)


def _documents(
    parts: list[Path], keys: set[Any] | None = None
) -> Iterator[tuple[Any, list[dict[str, Any]]]]:
    """Yield each document's key and rows, which follow each other."""
    rows = (row for part in parts for row in _rows(part, keys))
    for key, own in groupby(rows, lambda row: row["key"]):
        yield key, list(own)


def _rows(part: Path, keys: set[Any] | None) -> Iterator[dict[str, Any]]:
    pa = arrow()
    with arrow("pyarrow.parquet").ParquetFile(part) as file:
        if keys is not None:
            # The other columns are read only if there is something to find.
            own = file.read(["key"])["key"].to_pylist()
            if keys.isdisjoint(own):
                return
        for batch in file.iter_batches(ROWS):
            wanted = [keys is None or key in keys for key in batch["key"].to_pylist()]
            yield from batch.filter(pa.array(wanted, pa.bool_())).to_pylist()


def explanation_of(rows: list[dict[str, Any]], column: Any = None) -> Explanation:
    """Return the explanation that the rows of one document hold.

    Parameters
    ----------
    rows : list of dict
        As :func:`~eli5k.keras.store.rows.schema` names their values.
    column : str or list of str, optional
        That of the pictures, if they are in a table.

    Returns
    -------
    Explanation
    """
    first = rows[0]
    picture = _picture(first["source"], first["kind"], column)
    targets = [_target(row) for row in rows if row["error"] is None]
    if picture is not None:
        # It may have been decoded at the size of the model.
        for target in targets:
            target.size = picture.height, picture.width
    return Explanation(
        first["model"],
        description=first["description"],
        error=first["error"] or "",
        method=first["method"],
        is_regression=bool(first["is_regression"]),
        targets=targets or None,
        image=picture,
        layer=first["layer"],
        output=first["output"],
        source=first["source"],
        warnings=[_warning(**each) for each in first["warnings"] or ()],
        frame=targets[0].frame if targets else base.WHOLE,
        input=first["input"],
        kind=first["kind"],
    )


def _target(row: dict[str, Any]) -> TargetExplanation:
    attribution = _array(row["map"], "float16", row["map_shape"]) * np.float32(row["map_scale"])
    region = row["region"]
    if region is not None:
        size = int(np.prod(row["region_shape"]))
        bits = np.unpackbits(np.frombuffer(region, "uint8"), count=size)
        region = bits.astype(bool).reshape(row["region_shape"])
    return TargetExplanation(
        row["target"] if row["name"] is None else row["name"],
        proba=row["probability"],
        score=row["score"],
        heatmap=heatmap_of(attribution),
        attribution=attribution,
        check=None if row["check"] is None else _check(row["verdict"], row["check"]),
        box=None if row["box"] is None else tuple(row["box"]),
        region=region,
        size=None if row["size"] is None else tuple(row["size"]),
        frame=tuple(row["frame"]),
    )


def _array(data: bytes, dtype: str, shape: list[int]) -> np.ndarray:
    return np.frombuffer(data, dtype).astype("float32").reshape(shape)


def _check(verdict: str, told: dict[str, Any]) -> Check:
    values: dict[str, Any] = {
        name: np.nan if told[name] is None else told[name] for name in CHECK_NUMBERS
    }
    values |= {name: tuple(told[name] or ()) for name in CHECK_CURVES}
    worth = told["worth"]
    return Check(
        verdict,
        told["sentence"],
        **values,
        worth=None if worth is None else _array(worth, "float32", told["worth_shape"]),
        runs=told["runs"],
    )


def _warning(category: str, message: str) -> ExplanationWarning:
    kind = getattr(base, category, ExplanationWarning)
    made: ExplanationWarning = kind(message)
    return made


def _picture(source: str | None, kind: str | None, column: Any) -> Image.Image | None:
    """Read a document's picture again; None if it is gone or none."""
    if source is None or kind is not None:
        return None
    try:
        document = _document(source, column)
        if document is None:
            return None
        if isinstance(document, np.ndarray):
            return picture_of(document) if document.ndim == 3 else None
        return open_picture(document)
    except OSError:
        return None


def _document(source: str, column: Any) -> Any:
    if os.path.isfile(source):
        return source
    for ending in ARCHIVES:
        archive, mark, member = source.rpartition(f"{ending}/")
        if mark and os.path.isfile(f"{archive}{ending}"):
            return _member(f"{archive}{ending}", member)
    table, mark, row = source.rpartition("#")
    if mark and os.path.isfile(table) and isinstance(column, str):
        return _row(table, int(row), column)
    return None


def _member(archive: str, name: str) -> io.BytesIO | None:
    with tarfile.open(archive) as file:
        for member in file:
            if member.name == name and member.isreg():
                found = file.extractfile(member)
                return None if found is None else io.BytesIO(found.read())
    return None


def _row(table: str, row: int, column: str) -> Any:
    with arrow("pyarrow.parquet").ParquetFile(table) as file:
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            if row < count:
                rows = file.read_row_group(group, [column])[column]
                [value] = values_of(rows.slice(row, 1))
                return value
            row -= count
    return None
