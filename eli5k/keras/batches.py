"""Read documents in batches, and collect the results in arrays."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import keras
import numpy as np

from eli5k.base import ExplanationWarning, warn, warnings_name
from eli5k.keras.inputs import read_document
from eli5k.keras.sources import Documents, Sample
from eli5k.options import Options
from eli5k.progress import progress_bar

# Errors of a single document; any other error concerns all of them.
BAD_DOCUMENT = (OSError, TypeError, ValueError, MemoryError)


class Attributed(tuple[np.ndarray, Any]):
    """The pair ``scores, maps``, which knows the classes that were explained.

    Attributes
    ----------
    scores : numpy.ndarray
        ``(batch,)`` or ``(batch, targets)``
    maps : numpy.ndarray
        ``(batch, *grid)`` or ``(batch, targets, *grid)``
    classes : numpy.ndarray or None
        int, in the scores' shape: the class of each; -1 for a document that can't be read.
        None if a callable was explained.

    Examples
    --------
    >>> found = Attributed(np.ones(1), np.ones((1, 2, 2)), np.array([7]))
    >>> scores, maps = found
    >>> found.classes
    array([7])
    """

    classes: np.ndarray | None

    def __new__(cls, scores: np.ndarray, maps: Any, classes: np.ndarray | None) -> Attributed:
        made = super().__new__(cls, (scores, maps))
        made.classes = classes
        return made

    def __getnewargs__(self) -> tuple[np.ndarray, Any, np.ndarray | None]:
        return self.scores, self.maps, self.classes

    @property
    def scores(self) -> np.ndarray:
        return self[0]

    @property
    def maps(self) -> Any:
        return self[1]

    def first(self) -> Attributed:
        """Return the results for the first target, without the targets' axis."""
        return Attributed(
            self.scores[:, 0],
            keras.tree.map_structure(lambda of_all: of_all[:, 0], self.maps),
            None if self.classes is None else self.classes[:, 0],
        )


# From inputs (rows, ...), targets and the number of rows that count to scores (rows, targets) and
# maps (rows, targets, *grid).
Explain = Callable[[Any, Any, int], Attributed]


def explain_in_batches(
    model: keras.Model, documents: Documents, options: Options, explain: Explain
) -> Attributed:
    """Explain documents of one size, holding only one batch.

    Parameters
    ----------
    model : keras.Model
    documents : Documents
    options : Options
    explain : callable
        Function from a batch of inputs, its targets and the number of rows that count to scores
        and maps ``(batch, targets, ...)``.

    Returns
    -------
    Attributed
        ``(documents, targets)`` scores and ``(documents, targets, *grid)`` maps, float32; NaN for a
        document that can't be read.

    Raises
    ------
    ValueError
        If no document can be read, if they differ in size, or if there aren't as many targets.

    Warns
    -----
    ExplanationWarning
        If a document can't be read.
    """
    targets, remaining = options.targets, iter(enumerate(documents))
    is_of_each = targets is not None and not callable(targets) and np.ndim(targets) > 0
    of_each = np.asarray(targets) if is_of_each else None
    answers: list[Attributed] = []
    good: list[int] = []
    count = size = 0
    with progress_bar(total=documents.total, progress=options.progress, unit="doc") as bar:
        while samples := list(islice(remaining, options.batch_size)):
            count += len(samples)
            if of_each is not None and len(of_each) < count:
                break
            read = _read(model, samples, options)
            if read:
                size = max(size, len(read))
                # Fill up the batch, since each new size would be compiled again.
                rows = [*read, *[list(read)[-1]] * (size - len(read))]
                own = targets if of_each is None else of_each[rows]
                answers.append(explain(_stacked(read, rows), own, len(read)))
                good += read
            bar.total = documents.total
            bar.update(len(samples))
    if of_each is not None and len(of_each) != count:
        more = " or more" if len(of_each) < count else ""
        raise ValueError(
            f"targets must have one row for each of the {count}{more} samples, or be one class for "
            f"all. Received {len(of_each)} rows."
        )
    return _laid_out(answers, good, count)


def _read(
    model: keras.Model, samples: list[tuple[int, Sample]], options: Options
) -> dict[int, Any]:
    """Return the inputs of each document that can be read."""
    read = {}
    for number, sample in samples:
        place = sample.path or f"document {number}"
        with warnings_name(place):
            try:
                document = read_document(model, sample.doc, preprocess=options.preprocess)
                read[number] = document.inputs
            except BAD_DOCUMENT as error:
                reason = f"{type(error).__name__}: {error}"
                warn(f"{place}: NaN, because it can't be read ({reason})", ExplanationWarning)
    return read


def _stacked(read: dict[int, Any], rows: list[int]) -> Any:
    shapes = {
        number: [array.shape[1:] for array in keras.tree.flatten(inputs)]
        for number, inputs in read.items()
    }
    first = next(iter(shapes))
    for number, shape in shapes.items():
        if shape != shapes[first]:
            raise ValueError(
                f"docs must have one size. Document {first} has {shapes[first]}, document {number} "
                f"has {shape}. For documents of several sizes use explain_predictions."
            )
    return keras.tree.map_structure(
        lambda *arrays: np.concatenate(arrays), *(read[number] for number in rows)
    )


def _laid_out(answers: list[Attributed], good: list[int], count: int) -> Attributed:
    """Put the results of the good documents into arrays for all."""
    if not answers:
        raise ValueError(f"docs must have samples that can be read. Received: {count} samples")

    def laid_out(*batches: np.ndarray) -> np.ndarray:
        grids = {batch.shape[1:] for batch in batches}
        if len(grids) > 1:
            raise ValueError(
                f"docs must have one size. Received some whose maps have the shapes {grids}. "
                "For documents of several sizes use explain_predictions."
            )
        is_real = batches[0].dtype.kind == "f"
        of_all = np.full((count, *grids.pop()), np.nan if is_real else -1, batches[0].dtype)
        of_all[good] = np.concatenate(batches)
        return of_all

    scores, maps = zip(*answers)
    classes = [answer.classes for answer in answers if answer.classes is not None]
    return Attributed(
        laid_out(*scores),
        keras.tree.map_structure(laid_out, *maps),
        laid_out(*classes) if classes else None,
    )
