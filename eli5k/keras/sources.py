"""Take single documents from whatever holds many: folders, data sets, batches, columns."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, NamedTuple

import keras

from eli5k.keras.files import is_picture, is_text, path_of, plain, texts_of
from eli5k.keras.model.interface import IMAGE_RANK, input_specs
from eli5k.keras.model.shared import shared_inputs
from eli5k.picture_files import find_pictures

# Shape of an input: (batch, ...).
Shape = tuple[int | None, ...]


class Sample(NamedTuple):
    """A document among many.

    Attributes
    ----------
    doc : object
        As :func:`eli5k.explain_prediction_keras` takes it.
    path : str or None
        Its file, if that is known.
    """

    doc: Any
    path: str | None


class Documents:
    """The single documents in what a user passes as ``docs``.

    The rank of the model's input tells a batch from a document: an array of four axes is a batch of
    pictures, or one volume of a model that takes ``(batch, depth, height, width, channels)``.

    Parameters
    ----------
    model : keras.Model
    docs : object
        As in :func:`eli5k.explain_predictions`.

    Attributes
    ----------
    total : int or None
        How many documents there are, as far as is known; exact when the last one was given.

    Raises
    ------
    FileNotFoundError
        If ``docs`` is a path or a pattern without a picture.
    TypeError
        If ``docs`` can't be iterated over.
    ValueError
        If its columns differ in length, or it could mean two things.

    Examples
    --------
    >>> import numpy as np
    >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    >>> batches = iter([(np.ones((2, 8, 8, 1)), np.zeros(2)), (np.ones((3, 8, 8, 1)), np.zeros(3))])
    >>> len([sample.doc for sample in Documents(model, batches)])
    5
    """

    def __init__(self, model: keras.Model, docs: Any) -> None:
        self._shapes = _input_shapes(model)
        self._takes_one = len(self._shapes) <= 1
        # Shared inputs are known by position and by name.
        shared = shared_inputs(model)
        self._shared = {*shared, *(list(self._shapes)[index] for index in shared)}
        self._items, self._count = self._opened(docs)
        self.total = self._count

    @property
    def known_count(self) -> int | None:
        """How many documents there are, if known before reading them."""
        items = self._items
        if isinstance(items, _Numbered) or not hasattr(items, "__getitem__") or not self._count:
            return None
        return self._count if self._split(self._without_labels(plain(items[0]))) is None else None

    def __iter__(self) -> Iterator[Sample]:
        read, largest = 0, 1
        for number, item in enumerate(self._items):
            inputs = self._without_labels(plain(item))
            rows = self._split(inputs)
            rows = [inputs] if rows is None else rows
            read, largest = read + len(rows), max(largest, len(rows))
            if self._count is not None:
                self.total = read + largest * max(self._count - number - 1, 0)
            paths = _paths_of_batch(self._items, number)
            for row in range(len(rows)):
                doc = plain(rows[row])
                yield Sample(doc, path_of(doc) or (paths[row] if row < len(paths) else None))
        self.total = read

    def _opened(self, docs: Any) -> tuple[Iterable[Any], int | None]:
        """Return what to iterate over, and its length if that is known."""
        docs = plain(docs)
        if isinstance(docs, str | os.PathLike):
            docs = find_pictures(docs)
        elif is_picture(docs) or (not isinstance(docs, list | tuple) and self._is_sample(docs)):
            docs = [docs]
        elif isinstance(docs, Mapping | tuple) or self._is_columns(docs):
            docs = self._opened_whole(docs)
        if isinstance(docs, keras.utils.PyDataset) or _goes_by_index(docs):
            docs = _Numbered(docs)
        if not hasattr(docs, "__iter__"):
            raise TypeError(
                "docs must be an array, a folder, a pattern such as 'photos/*.jpg', or an iterable "
                f"of documents or batches. Received: {docs!r} of type {type(docs).__name__}"
            )
        return docs, _length(docs)

    def _is_columns(self, docs: Any) -> bool:
        """Tell whether a list has an array for each input.

        ``model.predict`` takes such a list.
        """
        fits = isinstance(docs, list) and not self._takes_one and len(docs) == len(self._shapes)
        return fits and all(hasattr(part, "shape") for part in docs)

    def _opened_whole(self, docs: Any) -> Any:
        """Split ``(x, y)`` or columns of all documents; keep other tuples."""
        inputs = self._without_labels(docs)
        rows = self._split(inputs)
        if rows is None:
            return docs if isinstance(docs, tuple) else [docs]
        labels = docs[1:] if inputs is not docs else ()
        if self._takes_one and any(self._split(part) is not None for part in labels):
            shapes = [_shape(part) for part in docs]
            raise ValueError(
                "docs is a tuple of arrays that each could be a batch of documents. If it is "
                "(x, y), pass x alone; if each is a batch, pass a list of them. "
                f"Received the shapes: {shapes}"
            )
        return rows

    def _without_labels(self, item: Any) -> Any:
        """Return x of ``(x,)``, ``(x, y)`` or ``(x, y, weights)``, like Keras.

        PyTorch's loader makes lists of such tuples, so a list of arrays is one too; a list of paths
        is a batch.
        """
        if not isinstance(item, tuple | list) or not item:
            return item
        first = item[0]
        if isinstance(item, list) and all(is_picture(plain(part)) for part in item):
            return item
        are_columns = self._are_columns(item)
        if isinstance(item, list) and len(item) > 1 and all(map(self._is_sample, item)):
            if are_columns or (self._takes_one and not isinstance(first, Mapping)):
                raise ValueError(
                    f"docs has an item that is a list of {len(item)} possible documents. If it is "
                    "a batch, make it one array with np.stack, or a dict of the batches of each "
                    "input; if it is (x, y), make it a tuple, or pass x alone."
                )
            return item
        if self._takes_one:
            return first
        return first if isinstance(first, Mapping | tuple | list) and not are_columns else item

    def _are_columns(self, item: Sequence[Any]) -> bool:
        """Tell whether a list has a batch for each of several inputs."""
        if self._takes_one or len(item) != len(self._shapes):
            return False
        for index, part in enumerate(item):
            expected = self._shape_of(index) or ()
            if isinstance(part, list | tuple):
                fit = (is_picture(plain(row)) or _fits(_shape(row), expected[1:]) for row in part)
                if not all(fit):
                    return False
            elif not self._is_batch(part, expected):
                return False
        return len({len(part) for part in item}) == 1

    def _split(self, inputs: Any) -> Sequence[Any] | None:
        """Return the documents of a batch; None for a single document."""
        if isinstance(inputs, list | tuple):
            if self._takes_one or all(map(self._is_sample, inputs)):
                return inputs
            parts = dict(enumerate(inputs))
        elif isinstance(inputs, Mapping):
            parts = dict(inputs)
        else:
            return _column(inputs) if self._is_batch(inputs, self._shape_of(0)) else None
        if any(is_picture(plain(part)) for part in parts.values()):
            return None
        own = {name: part for name, part in parts.items() if name not in self._shared}
        expected = {name: self._shape_of(name) for name in own}
        # If the model doesn't declare its inputs, only things that look like pictures decide.
        known = {
            name: part
            for name, part in own.items()
            if expected[name] or len(_shape(part)) >= IMAGE_RANK - 1 or self._is_batch(part, None)
        }
        batches = [name for name, part in known.items() if self._is_batch(part, expected[name])]
        if len(batches) < len(known) or not known:
            if all(len(parts[name]) == 1 for name in batches):
                return None
            raise ValueError(
                f"docs has a batch for the inputs {batches}, and a single sample for the others. "
                f"Received the shapes: { {name: _shape(part) for name, part in parts.items()} }"
            )
        return _rows(parts, own, isinstance(inputs, Mapping))

    def _shape_of(self, name: Any) -> Shape | None:
        """Return an input's shape by name or position; None if unknown."""
        shapes = list(self._shapes.values())
        if isinstance(name, int) and name < len(shapes):
            return shapes[name]
        return self._shapes.get(str(name))

    def _is_batch(self, part: Any, expected: Shape | None) -> bool:
        """Tell an array of samples from one sample."""
        if is_picture(part):
            return False
        shape, expected = _shape(part), expected or (None,) * IMAGE_RANK
        first = part[0] if isinstance(part, list | tuple) and part else None
        if is_text(part) or is_picture(plain(first)):
            return len(shape) > 0
        if len(shape) == len(expected) - 1:
            # Samples may lack a channel axis of length 1, as pictures of digits do.
            bare = [size for size in expected[1:] if size != 1]
            return not _fits(shape, expected[1:]) and bool(shape) and _fits(shape[1:], bare)
        return len(shape) >= len(expected)

    def _is_sample(self, doc: Any) -> bool:
        """Tell whether something is shaped like one document, without batch axis."""
        if isinstance(doc, Mapping):
            parts = dict(doc)
        elif isinstance(doc, list | tuple) and not self._takes_one:
            parts = dict(enumerate(doc))
        elif self._takes_one:
            parts = {0: doc}
        else:
            return False
        shapes = {name: self._shape_of(name) for name in parts}
        return len(parts) == len(self._shapes) and all(
            is_picture(plain(part)) or _fits(_shape(part), (shapes[name] or (None,))[1:])
            for name, part in parts.items()
        )


class Rows:
    """Documents that are single already, such as a table's rows.

    Parameters
    ----------
    docs : iterable
        A sequence, if it has no names.
    names : sequence of str or None
        What warnings call each; by default its path.

    Attributes
    ----------
    total : int

    Examples
    --------
    >>> [sample.path for sample in Rows(["a.jpg", "b.jpg"])]
    ['a.jpg', 'b.jpg']
    """

    def __init__(self, docs: Iterable[Any], names: Sequence[str | None] | None = None) -> None:
        self._docs = docs
        self._names = [path_of(doc) for doc in docs] if names is None else names
        self.total = len(self._names)

    def __iter__(self) -> Iterator[Sample]:
        return map(Sample, self._docs, self._names)


class _Numbered:
    """Batches by number, each once, even if their owner never stops."""

    def __init__(self, batches: Any) -> None:
        self.batches = batches

    def __len__(self) -> int:
        count = _length(self.batches)
        if count is None:
            raise TypeError("The data set has no end.")
        return count

    def __iter__(self) -> Iterator[Any]:
        count, number = _length(self.batches), 0
        while count is None or number < count:
            yield self.batches[number]
            number += 1


def _input_shapes(model: keras.Model) -> dict[str, Shape]:
    """Return the shape of each input, as far as the model tells.

    One that declares no inputs was built for arrays of some rank.
    """
    specs = input_specs(model)
    if specs is not None:
        return {name: tuple(spec.shape) for name, spec in specs.items()}
    built = (model.get_build_config() or {}).get("input_shape")
    if isinstance(built, Mapping):
        return {str(name): (None,) * len(shape) for name, shape in built.items()}
    if not isinstance(built, list | tuple):
        return {}
    shapes = built if built and isinstance(built[0], list | tuple) else [built]
    return {str(number): (None,) * len(shape) for number, shape in enumerate(shapes)}


def _shape(part: Any) -> tuple[int, ...]:
    """Return the shape of an array or of nested lists."""
    if isinstance(part, list | tuple):
        return (len(part), *(_shape(part[0]) if part else ()))
    return tuple(getattr(part, "shape", ()))


def _fits(shape: Sequence[int], expected: Sequence[int | None]) -> bool:
    return len(shape) == len(expected) and all(
        want is None or want == have for want, have in zip(expected, shape)
    )


def _rows(parts: Mapping[Any, Any], own: Mapping[Any, Any], by_name: bool) -> Sequence[Any]:
    """Return the rows of several columns.

    What isn't a document's own is whole in each.
    """
    columns = {name: _column(part) for name, part in own.items()}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"docs must have the same number of documents for each input. Received: {lengths}"
        )
    rows = zip(*(columns.get(name, repeat(part)) for name, part in parts.items()))
    return [dict(zip(parts, row)) if by_name else list(row) for row in rows]


def _column(part: Any) -> Any:
    """Return what yields the rows of a batch by index."""
    return texts_of(part) if is_text(part) and hasattr(part, "numpy") else part


def _goes_by_index(docs: Any) -> bool:
    """Tell whether to take items by index, since iterating never ends.

    That holds for data sets with ``__getitem__`` alone, and for the older iterators of Keras.
    """
    has_index = hasattr(docs, "__len__") and hasattr(docs, "__getitem__")
    return has_index and (not hasattr(docs, "__iter__") or hasattr(docs, "__next__"))


def _length(docs: Any) -> int | None:
    if isinstance(docs, keras.utils.PyDataset):
        count: int | None = docs.num_batches
        return count
    try:
        return len(docs)
    except TypeError:
        return None


def _paths_of_batch(items: Any, number: int) -> Sequence[str]:
    """Return the files in a batch of Keras' older iterators.

    They shuffle their files.
    """
    batches = getattr(items, "batches", None)
    paths, order = getattr(batches, "filepaths", None), getattr(batches, "index_array", None)
    if batches is None or paths is None or order is None:
        return ()
    start = number * batches.batch_size
    return [paths[index] for index in order[start : start + batches.batch_size]]
