"""Explain many documents in constant memory, skipping the bad ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import keras
import numpy as np

from eli5k.base import Explanation, warnings_name
from eli5k.estimators import check_keras_model
from eli5k.keras.aims import names_of
from eli5k.keras.attribution import ask
from eli5k.keras.batches import BAD_DOCUMENT
from eli5k.keras.decoding_process import DecodingError
from eli5k.keras.each import ALL
from eli5k.keras.evidence.targets import choose_targets
from eli5k.keras.explain_batch import best_on, explain_batch
from eli5k.keras.explain_prediction import check_keywords
from eli5k.keras.inputs import Document, read_document
from eli5k.keras.methods.registry import BEST
from eli5k.keras.model.room import rows_at_once
from eli5k.keras.model.shared import is_alike
from eli5k.keras.sources import Documents, Rows
from eli5k.keras.support import not_supported
from eli5k.options import Options, shows_options, split_options
from eli5k.progress import progress_bar

# Shape of each input of a document.
Shapes = tuple[tuple[int, ...], ...]


@shows_options(closed=True)
def explain_predictions(
    model: keras.Model,
    docs: Any,
    batch_size: int | None = 32,
    *,
    preprocess: Callable[..., Any] | Literal[False] | None = None,
    progress: bool | None = None,
    **kwargs: Any,
) -> Iterator[Explanation]:
    """Explain what a Keras image model predicts for each of many documents.

    Parameters
    ----------
    model : keras.Model
    docs : array, path, iterable or data set
        An array or a list of documents as :func:`~eli5k.explain_prediction_keras` takes them; a
        folder, with all pictures in it, or a pattern such as ``"photos/**/*.jpg"``; columns, as a
        dict of arrays; or anything that yields documents or batches: a generator, ``tf.data``, a
        PyTorch ``DataLoader``, a ``keras.utils.PyDataset``. Labels and weights in ``(x, y)`` and
        ``(x, y, weights)`` are ignored. The rank of the model's input tells a batch from a
        document.
    batch_size : int or None
        Maximum number of documents that are in memory and go through the model together; None for
        as many as have room on the graphics card, 32 without one.
    targets : list, callable, array or None
        A flat list, as in :func:`~eli5k.explain_prediction_keras`, is for all documents. An array
        ``(documents,)`` or ``(documents, targets)``, or a list of lists, has the targets of each;
        an entry None explains its best class.
    preprocess : callable, False or None
        Preprocessing of each image array, as in :func:`~eli5k.explain_prediction_keras`.
    progress : bool or None
        Show a progress bar; None shows it on a terminal if the run takes long.
    **kwargs
        Other arguments of :func:`~eli5k.explain_prediction_keras`.

    Yields
    ------
    Explanation
        In the order of ``docs``, with the path of its file in ``source``. A document that can't be
        read, or doesn't have the model's shape, or whose own target doesn't exist, comes back with
        ``error`` set, and the run goes on.

    Raises
    ------
    FileNotFoundError
        If ``docs`` is a folder or a pattern without a picture.
    TypeError, ValueError
        As :func:`~eli5k.explain_prediction_keras`, for arguments that concern every document; also
        if ``docs`` or ``targets`` could mean two things, or differ in length. What ``docs`` itself
        raises comes after the explanations of all documents before it.

    Examples
    --------
    >>> import numpy as np
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3, kernel_initializer="ones")]
    >>> layers += [keras.layers.Flatten(), keras.layers.Dense(3, kernel_initializer="ones")]
    >>> model = keras.Sequential(layers)
    >>> explanations = explain_predictions(model, np.ones((5, 8, 8, 1)), targets=[2])
    >>> [explanation.targets[0].target for explanation in explanations]
    [2, 2, 2, 2, 2]
    """
    check_keras_model(model, docs)
    asked, others = split_options(kwargs)
    check_keywords(others, "explain_predictions")
    size = rows_at_once(model) if batch_size is None else batch_size
    options = Options(**asked, preprocess=preprocess, batch_size=size, progress=progress)
    documents = Documents(model, docs)
    of_each = targets_of_each(options.targets, documents.known_count)
    if of_each is not None:
        options = replace(options, targets=None)
    return explain_documents(model, documents, options, Counter(), of_each)


class _Item(NamedTuple):
    """Document or the error in reading it, and its own targets."""

    content: Document | Explanation
    targets: Any

    @property
    def kind(self) -> tuple[Any, ...]:
        """What documents must share to go through the model together."""
        shapes = _shapes(self.content) if isinstance(self.content, Document) else ()
        targets = self.targets
        if targets and all(map(callable, targets)):
            return shapes, tuple(targets)
        return shapes, None if targets is None else len(targets)


def explain_documents(
    model: keras.Model,
    documents: Documents | Rows,
    options: Options,
    largest: Counter[Shapes],
    of_each: Sequence[Any] | None = None,
) -> Iterator[Explanation]:
    """Explain documents, one batch after another.

    Parameters
    ----------
    model : keras.Model
    documents : Documents or Rows
    options : Options
    largest : Counter
        The largest batch of each shape so far; updated. Batches are filled up to it, since each new
        size would be compiled again.
    of_each : sequence or None
        The targets of each document, if they have targets of their own.

    Yields
    ------
    Explanation
    """
    items = _read_all(model, documents, options, of_each)
    ahead: list[_Item] = []
    more = True
    with progress_bar(total=documents.total, progress=options.progress, unit="doc") as bar:
        while more:
            waiting: list[_Item] = []
            try:
                more = _fill(waiting, ahead, items, options.batch_size)
            finally:
                # Also if the source failed, to keep what came before.
                options = _with_best(model, waiting, options)
                explanations = _explain(model, waiting, options, largest)
                bar.total = documents.total
                bar.update(len(explanations))
                yield from explanations


def _fill(waiting: list[_Item], ahead: list[_Item], items: Iterator[_Item], size: int) -> bool:
    """Collect a batch of one kind; tell whether more may come.

    An item of another kind waits in ``ahead``.
    """
    waiting += ahead
    ahead.clear()
    kind = next((each.kind for each in waiting if isinstance(each.content, Document)), None)
    for item in items:
        if isinstance(item.content, Document):
            if kind not in (None, item.kind):
                ahead.append(item)
                return True
            kind = item.kind
        waiting.append(item)
        if len(waiting) >= size:
            return True
    return False


def _read_all(
    model: keras.Model, documents: Documents | Rows, options: Options, of_each: Sequence[Any] | None
) -> Iterator[_Item]:
    number = -1
    refusal = not_supported(model, options.method)
    for number, sample in enumerate(documents):
        if refusal is not None:
            yield _Item(replace(refusal, source=sample.path), None)
            continue
        if of_each is None:
            yield _Item(_read(model, sample.doc, sample.path, number, options), None)
            continue
        if number == len(of_each):
            raise ValueError(
                f"targets must have one entry for each document. Received {len(of_each)} entries, "
                "and more documents."
            )
        content = _read(model, sample.doc, sample.path, number, options)
        targets = _entry(of_each[number])
        if isinstance(content, Document):
            content = _with_targets(model, content, options, targets)
        yield _Item(content, targets)
    if of_each is not None and number + 1 < len(of_each):
        raise ValueError(
            f"targets must have one entry for each document. Received {len(of_each)} entries for "
            f"{number + 1} documents."
        )


def _read(
    model: keras.Model, doc: Any, path: str | None, number: int, options: Options
) -> Document | Explanation:
    if isinstance(doc, DecodingError):
        return Explanation(model.name, error=str(doc), source=path)
    try:
        with warnings_name(path or f"document {number}"):
            document = read_document(model, doc, preprocess=options.preprocess)
        return replace(document, number=number, source=path)
    except BAD_DOCUMENT as error:
        return _failed(model, path, error)


def _failed(model: keras.Model, path: str | None, error: Exception) -> Explanation:
    return Explanation(model.name, error=f"{type(error).__name__}: {error}", source=path)


def _with_targets(
    model: keras.Model, document: Document, options: Options, targets: list[Any] | None
) -> Document | Explanation:
    """Check a document's own targets: mistakes are this document's error."""
    asked = ask(model, document.inputs, options)
    if asked.target.reading is not None:  # Only a run shows which boxes there are.
        return document
    head, names = asked.survey.heads[asked.target.output], names_of(asked)
    try:
        choose_targets(head, targets, None, names, target=asked.target)
    except ValueError as error:
        return _failed(model, document.source, error)
    return document


def targets_of_each(targets: Any, count: int | None) -> Sequence[Any] | None:
    """Return each document's targets; None if all share them.

    Parameters
    ----------
    targets : object
        As in :func:`explain_predictions`.
    count : int or None
        How many documents there are, if that is known.

    Raises
    ------
    ValueError
        If a list could mean both, or there are too many entries, or too few.

    Examples
    --------
    >>> targets_of_each([3, 5], 7), targets_of_each([[3], [5]], 2)
    (None, [[3], [5]])
    """
    is_list = isinstance(targets, list | tuple)
    is_array = np.ndim(targets) > 0 if hasattr(targets, "shape") else False
    is_nested = is_list and any(
        each is None or isinstance(each, list | tuple | np.ndarray) for each in targets
    )
    if is_array or is_nested:
        if count is not None and len(targets) != count:
            raise ValueError(
                f"targets must have one entry for each of the {count} documents. Received "
                f"{len(targets)} entries."
            )
        return targets if is_list else np.asarray(targets).tolist()
    if is_list and count == len(targets) > 1:
        raise ValueError(
            f"targets is a list as long as docs, of {count} entries. For one target of each "
            "document pass an array, np.array(targets); to explain all of them for each document, "
            f"pass [targets] * {count}."
        )
    return None


def _entry(targets: Any) -> list[Any] | None:
    """Return the targets of one document as a list."""
    if targets is None or isinstance(targets, list):
        return targets
    return list(targets) if isinstance(targets, tuple | np.ndarray) else [targets]


def _explain(
    model: keras.Model, waiting: list[_Item], options: Options, largest: Counter[Shapes]
) -> list[Explanation]:
    """Explain the waiting documents, in their order among the failed ones."""
    items = [item for item in waiting if isinstance(item.content, Document)]
    explained: Iterator[Explanation] = iter(())
    if items:
        documents = [item.content for item in items if isinstance(item.content, Document)]
        shapes = _shapes(documents[0])
        largest[shapes] = max(largest[shapes], len(documents))
        missing = largest[shapes] - len(documents)
        rows = documents + documents[-1:] * missing
        targets = [item.targets for item in items + items[-1:] * missing]
        given = None if targets[0] is None else targets
        explained = iter(explain_batch(model, rows, options, len(documents), given))
    return [
        next(explained) if isinstance(item.content, Document) else item.content for item in waiting
    ]


def _with_best(model: keras.Model, waiting: list[_Item], options: Options) -> Options:
    """Rank methods on the first documents, if asked to.

    All others are explained like these.
    """
    items = [(each.content, each.targets) for each in waiting if isinstance(each.content, Document)]
    if options.method != BEST or not items or ALL in (options.input, options.output):
        return options
    documents = [document for document, _ in items]
    targets = [options.targets if own is None else own for _, own in items]
    # Shared inputs are the same for all documents of a batch.
    count = len(items) if is_alike(model, [each.inputs for each in documents]) else 1
    best = best_on(model, documents[:count], options, targets[:count])
    return replace(options, method=best)


def _shapes(document: Document) -> Shapes:
    return tuple(array.shape for array in keras.tree.flatten(document.inputs))
