"""Documents with keys, from pictures, tables, archives or iterables."""

from __future__ import annotations

import glob
import gzip
import os
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
from PIL import Image

from eli5k.base import ExplanationWarning
from eli5k.keras.columns import listed, values_of
from eli5k.keras.files import parts_of, path_of
from eli5k.keras.sources import Documents, Sample
from eli5k.keras.store.folder import QUESTION
from eli5k.keras.store.keys import hashes_of
from eli5k.keras.store.rows import arrow, text_of
from eli5k.picture_files import find_pictures

if TYPE_CHECKING:
    import pyarrow

COMPRESSED = (".tar.gz", ".tgz")
TABLES, ARCHIVES = (".parquet", ".pq"), (".tar", *COMPRESSED)
# How many keys are looked up at a time, and how many rows of a table are read.
BLOCK, ROWS = 1024, 256
BUFFER = 1 << 20
TOO_MANY = 5
LEAVE_OUT = "Replace it, or leave it out."


class Item(NamedTuple):
    """A document of a source.

    Attributes
    ----------
    key : object
        Tells it from the others.
    doc : object
        As :func:`eli5k.explain_prediction_keras` takes it.
    path : str or None
        Where it can be read again: a file, a member of an archive, or a row of a table.
    targets : list or None
        Its own targets.
    warnings : tuple of ExplanationWarning
        What was noticed when it was decoded.
    """

    key: Any
    doc: Any
    path: str | None = None
    targets: list[Any] | None = None
    warnings: tuple[ExplanationWarning, ...] = ()


# Keys, and a function from the wanted ones (keys,) of bool to their items.
Block = tuple[Sequence[Any], Callable[[np.ndarray], Iterable[Item]]]


@dataclass(frozen=True)
class Source:
    """Documents with keys, which can be read once or again.

    Attributes
    ----------
    blocks : callable
        Returns an iterator over some keys at a time, each with a function that reads the wanted
        ones.
    kind : pyarrow.DataType
        Type of the keys.
    total : int or None
        How many there are, if that is known.
    is_cheap : bool
        Whether to go through all keys takes little time.
    """

    blocks: Callable[[], Iterator[Block]]
    kind: pyarrow.DataType
    total: int | None = None
    is_cheap: bool = False


def open_source(
    model: keras.Model,
    source: Any,
    *,
    column: str | Sequence[str] = "image",
    key: str | None = None,
    targets: str | None = None,
) -> Source:
    """Open what a user passes as the source of documents.

    Parameters
    ----------
    model : keras.Model
    source, column, key, targets
        As in :func:`eli5k.explain_to`; ``targets`` is its ``targets_column``.

    Returns
    -------
    Source

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a column is missing, or two documents have one key.

    Examples
    --------
    >>> from eli5k.demo import PHOTOS
    >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()])
    >>> open_source(model, PHOTOS["both"].parent).total
    3
    """
    tables, archives = files_of(source, TABLES), files_of(source, ARCHIVES)
    if tables:
        found = _tables(tables, column, key, targets)
    elif key is not None or column != "image":
        raise ValueError(
            "key= and column= name columns of a Parquet file. Leave them out for other sources, "
            f"whose keys are paths or positions. Received: key={key!r}, column={column!r} and "
            f"{source!r}"
        )
    elif archives:
        text = arrow().string()
        found = Source(lambda: _archived(archives, targets), text)
    elif targets is not None:
        raise ValueError(
            "targets_column= names a column of a Parquet file, or an ending of files in an "
            "archive. For other sources pass targets=, with an entry for each document. "
            f"Received: targets_column={targets!r}"
        )
    elif isinstance(source, str | os.PathLike):
        found = _pictures(find_pictures(source, "source"))
    elif isinstance(source, list | tuple) and all(map(_is_path, source)):
        found = _pictures([os.fspath(path) for path in source])
    else:
        found = _stream(model, source)
    if found.is_cheap:
        _refuse_twins(found)
    return found


def _is_path(part: Any) -> bool:
    return isinstance(part, str | os.PathLike)


def files_of(source: Any, endings: tuple[str, ...]) -> list[str]:
    """List the tables or archives that a user means; none for others."""
    places = [source] if _is_path(source) else source
    if not isinstance(places, list | tuple) or not places or not all(map(_is_path, places)):
        return []
    files: list[str] = []
    for place in map(os.fspath, places):
        if os.path.isdir(place):
            files += _inside(place, endings)
        elif not place.lower().endswith(endings):
            continue
        elif any(sign in place for sign in "*?[") and not os.path.exists(place):
            files += sorted(glob.glob(place, recursive=True))
        else:
            files.append(place)
    return files


def _inside(folder: str, endings: tuple[str, ...]) -> Iterator[str]:
    for path, folders, files in os.walk(folder):
        folders[:] = sorted(each for each in folders if not each.startswith((".", "_")))
        if QUESTION in files:
            # An earlier result, inside the folder that is explained now.
            folders.clear()
            continue
        for file in sorted(files):
            if file.lower().endswith(endings) and not file.startswith((".", "_")):
                yield os.path.join(path, file)


def _refuse_twins(source: Source) -> None:
    hashes = [hashes_of(keys) for keys, _ in source.blocks()]
    every = np.concatenate([np.empty(0, "S16"), *hashes])
    distinct, counts = np.unique(every, return_counts=True)
    if len(distinct) == len(every):
        return
    twins = set(distinct[counts > 1].tolist())
    named = (
        key
        for (keys, _), own in zip(source.blocks(), hashes)
        for key, each in zip(keys, own.tolist())
        if each in twins
    )
    first = list(islice(dict.fromkeys(named), TOO_MANY))
    raise ValueError(
        f"source must have one document for each key. Received {len(every) - len(distinct):,} "
        f"more than once, such as {', '.join(map(repr, first))}. Pass each once, or another key=."
    )


def _pictures(files: list[str]) -> Source:
    def blocks() -> Iterator[Block]:
        for start in range(0, len(files), BLOCK):
            own = files[start : start + BLOCK]
            keys = [text_of(file) for file in own]
            yield keys, _reader([Item(*pair, pair[1]) for pair in zip(keys, own)])

    return Source(blocks, arrow().string(), len(files), is_cheap=True)


def _reader(items: Sequence[Item]) -> Callable[[np.ndarray], Iterable[Item]]:
    return lambda wanted: (item for item, is_wanted in zip(items, wanted) if is_wanted)


def _tables(
    files: list[str], column: str | Sequence[str], key: str | None, targets: str | None
) -> Source:
    pa = arrow()
    columns = [column] if isinstance(column, str) else list(column)
    total, kind = 0, pa.string()
    for file in files:
        found, rows = _head(file)
        for name in [*columns, *filter(None, [key, targets])]:
            if name not in found.names:
                raise ValueError(
                    f"{file} has no column {name!r}. Its columns: {', '.join(found.names)}. Name "
                    "the one of the documents with column=, that of their keys with key=."
                )
        total += rows
        kind = kind if key is None else found.field(key).type
    # A column of paths tells the rows apart.
    is_text = len(columns) == 1 and pa.types.is_string(found.field(columns[0]).type)
    named = key or (columns[0] if is_text else None)

    def blocks() -> Iterator[Block]:
        for file in files:
            yield from _groups(file, columns, named, targets)

    return Source(blocks, kind, total, is_cheap=named is not None)


def _head(file: str) -> tuple[pyarrow.Schema, int]:
    """Return the schema of a table, and the number of its rows."""
    try:
        with arrow("pyarrow.parquet").ParquetFile(file) as table:
            return table.schema_arrow, table.metadata.num_rows
    except arrow().ArrowInvalid as error:
        raise OSError(f"source: {file!r} is a broken table ({error}). {LEAVE_OUT}") from error


def _groups(file: str, columns: list[str], key: str | None, targets: str | None) -> Iterator[Block]:
    """Yield each row group's keys; read more only for wanted ones."""
    # Without a buffer, a column of a group is in memory as a whole.
    with arrow("pyarrow.parquet").ParquetFile(file, buffer_size=BUFFER) as table:
        start = 0
        for group in range(table.num_row_groups):
            count = table.metadata.row_group(group).num_rows
            places = [f"{file}#{row}" for row in range(start, start + count)]
            own = places if key is None else _keys(table.read_row_group(group, [key])[key], file)
            start += count

            def read(
                wanted: np.ndarray,
                group: int = group,
                keys: Sequence[Any] = own,
                places: Sequence[str] = places,
            ) -> Iterator[Item]:
                if not wanted.any():
                    return
                names = list(dict.fromkeys([*columns, *([targets] if targets else [])]))
                row = 0
                for batch in table.iter_batches(ROWS, row_groups=[group], columns=names):
                    mask = wanted[row : row + len(batch)]
                    yield from _rows(
                        batch.filter(arrow().array(mask)),
                        [key for key, is_wanted in zip(keys[row:], mask) if is_wanted],
                        [place for place, is_wanted in zip(places[row:], mask) if is_wanted],
                        columns,
                        targets,
                    )
                    row += len(batch)

            yield own, read


def _keys(column: pyarrow.ChunkedArray, file: str) -> list[Any]:
    if column.null_count:
        raise ValueError(f"{file}: {column.null_count:,} rows have no key. Give each row its own.")
    keys: list[Any] = column.to_pylist()
    return keys


def _rows(
    batch: pyarrow.RecordBatch,
    keys: Sequence[Any],
    places: Sequence[str],
    columns: list[str],
    targets: str | None,
) -> Iterator[Item]:
    docs = [values_of(batch[name]) for name in columns]
    parts: Iterable[Any] = docs[0] if len(columns) == 1 else map(list, zip(*docs))
    own = [None] * len(keys) if targets is None else list(map(listed, values_of(batch[targets])))
    for key, doc, place, each in zip(keys, parts, places, own):
        yield Item(key, doc, path_of(doc) or place, each)


def _archived(files: list[str], targets: str | None) -> Iterator[Block]:
    """Yield each archive's pictures, after reading only its members' headers."""
    Image.init()
    endings = tuple(Image.registered_extensions())
    for file in files:
        pictures, labels = [], {}
        for archive, member in _members(file):
            if member.name.lower().endswith(endings):
                pictures.append((member.name, member.offset_data, member.size))
            elif targets is not None and member.name.endswith(f".{targets}"):
                labels[_stem(member.name)] = _label(archive, member)
        keys = [text_of(f"{file}/{name}") for name, _, _ in pictures]

        def read(
            wanted: np.ndarray,
            file: str = file,
            keys: list[str] = keys,
            pictures: list[tuple[str, int, int]] = pictures,
            labels: dict[str, int | str] = labels,
        ) -> Iterator[Item]:
            with _opened(file) as archive:
                # In the order of the archive: a compressed one can't go back.
                for number in np.flatnonzero(wanted):
                    name, offset, size = pictures[number]
                    label = labels.get(_stem(name))
                    own = None if label is None else [label]
                    archive.seek(offset)
                    yield Item(keys[number], archive.read(size), keys[number], own)

        yield keys, read


def _members(file: str) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    try:
        with tarfile.open(file, "r:gz" if file.lower().endswith(COMPRESSED) else "r:") as archive:
            while (member := archive.next()) is not None:
                # Otherwise the archive keeps them all.
                archive.members = []  # type: ignore[attr-defined]
                if member.isreg():
                    yield archive, member
    except (tarfile.ReadError, EOFError, zlib.error) as error:
        raise OSError(f"source: {file!r} is a broken archive ({error}). {LEAVE_OUT}") from error


def _stem(name: str) -> str:
    """Return a sample's common name: its path up to the first dot."""
    folder, _, file = name.rpartition("/")
    return f"{folder}/{file.partition('.')[0]}"


def _opened(file: str) -> Any:
    return gzip.open(file) if file.lower().endswith(COMPRESSED) else Path(file).open("rb")


def _label(archive: tarfile.TarFile, member: tarfile.TarInfo) -> int | str:
    content = archive.extractfile(member)
    text = "" if content is None else content.read().decode("utf-8").strip()
    return int(text) if text.lstrip("-").isdecimal() else text


def _stream(model: keras.Model, source: Any) -> Source:
    documents = Documents(model, source)
    samples = iter(documents)
    first = next(samples, None)
    has_paths = first is not None and first.path is not None
    pa = arrow()

    def blocks() -> Iterator[Block]:
        numbers = iter(range(1 << 62))
        held = [] if first is None else [first]
        while chunk := held + list(islice(samples, ROWS - len(held))):
            held = []
            items = [_sampled(sample, next(numbers), has_paths) for sample in chunk]
            yield [item.key for item in items], _reader(items)

    return Source(blocks, pa.string() if has_paths else pa.int64(), documents.known_count)


def _sampled(sample: Sample, number: int, has_paths: bool) -> Item:
    if not has_paths:
        return Item(number, sample.doc, sample.path)
    # With several inputs, another document may have the same first picture.
    paths = [path for part in parts_of(sample.doc).values() if (path := path_of(part))]
    name = " + ".join(paths) or sample.path or f"document {number}"
    return Item(text_of(name), sample.doc, sample.path)
