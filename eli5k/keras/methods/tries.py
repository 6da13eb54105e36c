"""Run a model many times on changed inputs: in chunks of one size, and for settled classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eli5k.keras.progress import progress_bar

if TYPE_CHECKING:
    from eli5k.keras.run import Run
    from eli5k.keras.targets import Scores


class Chunk(NamedTuple):
    """Some of the tries of some of the samples: what goes through the model at a time.

    Attributes
    ----------
    samples, tries : numpy.ndarray
        ``(rows,)``, int: the sample that each row is made from, and the number of the try.
    kept : int
        How many rows are tries. The rest only fills up the last chunk, since each new shape would
        be compiled anew.
    """

    samples: np.ndarray
    tries: np.ndarray
    kept: int


def chunks(run: Run, tries: int) -> Iterator[Chunk]:
    """Split the tries of all samples of a run into chunks of at most ``run.batch_size`` rows.

    The chunks are as even as they can be, so that hardly a row is wasted on filling up.

    Parameters
    ----------
    run : Run
    tries : int
        How many there are for each sample.

    Yields
    ------
    Chunk
        Of the same number of rows each, ordered by sample and then by try.
    """
    total = run.count * tries
    size = _ceil(total, _ceil(total, run.batch_size))
    starts = range(0, total, size)
    for start in progress_bar(starts, progress=run.progress, unit="batch"):
        rows = np.arange(start, start + size)
        samples, numbers = np.divmod(np.minimum(rows, total - 1), tries)
        yield Chunk(samples, numbers, min(size, total - start))


def _ceil(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)


def settle(run: Run, scores: Scores) -> Run:
    """Explain, whatever is tried, the classes that were chosen for the inputs as they are."""
    if run.classes is not None or run.selection.functions:
        return run
    return replace(run, classes=scores.classes)


def ask_again(run: Run, chunk: Chunk, image: np.ndarray) -> Run:
    """Ask the same about each row of a chunk, with another image.

    Parameters
    ----------
    run : Run
        Settled.
    chunk : Chunk
    image : numpy.ndarray
        ``(rows, *grid, channels)``
    """
    classes = None if run.classes is None else run.classes[chunk.samples]
    dtype = run.image.dtype
    if dtype.kind in "iu":
        image = np.clip(np.rint(image), np.iinfo(dtype).min, np.iinfo(dtype).max)
    image = image.astype(dtype, copy=False)
    # One bar is enough where a method that tries is tried itself.
    return replace(run.on(image, chunk.samples, classes), progress=False)


def add_tries(
    total: np.ndarray, chunk: Chunk, parts: np.ndarray, weights: np.ndarray | None = None
) -> None:
    """Add to each sample what came of its tries.

    Parameters
    ----------
    total : numpy.ndarray
        ``(targets, batch, ...)``; changed in place.
    chunk : Chunk
    parts : numpy.ndarray
        ``(targets, rows, ...)``, or ``(1, rows, ...)`` for the same of all targets.
    weights : numpy.ndarray or None
        ``(rows, targets)`` or ``(rows, 1)``
    """
    # Row by row: behind a product of matrices, the threads of NumPy's linear algebra keep on
    # spinning for a while, which the model then has to wait for.
    for row, sample in enumerate(chunk.samples[: chunk.kept]):
        part = parts[:, row]
        if weights is not None:
            part = part * weights[row].reshape(-1, *(1,) * (part.ndim - 1))
        total[:, sample] += part
