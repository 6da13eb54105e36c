"""Split the rows of a run into batches of one size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from eli5k.keras.evidence.run import Run
from eli5k.progress import progress_bar


class Chunk(NamedTuple):
    """Chunk of perturbed samples that go through the model together.

    Attributes
    ----------
    samples, numbers : numpy.ndarray
        ``(rows,)``, int: the sample that each row is made from, and the number of the perturbation.
    n_valid : int
        How many rows count. The rest only fills up the last chunk, because each new shape would be
        compiled again.
    """

    samples: np.ndarray
    numbers: np.ndarray
    n_valid: int


def chunks(run: Run, perturbations: int = 1) -> Iterator[Chunk]:
    """Split the perturbations of all samples into chunks of ``batch_size``.

    The chunks are as even as possible, so that hardly any row is wasted on filling up. A model with
    a fixed batch size gets chunks of that size.

    Parameters
    ----------
    run : Run
    perturbations : int
        Number of perturbations of each sample.

    Yields
    ------
    Chunk
        Chunks with equal numbers of rows, ordered by sample and then by perturbation.

    Examples
    --------
    >>> import keras
    >>> from eli5k.keras import run
    >>> model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten()])
    >>> asked = run(model, np.ones((3, 2, 2, 1)), batch_size=4)
    >>> [(chunk.samples.tolist(), chunk.n_valid) for chunk in chunks(asked, 2)]
    [([0, 0, 1], 3), ([1, 2, 2], 3)]
    """
    # All rows count, so that a batch that is already filled up keeps its shape.
    rows = run.rows * perturbations
    size = run.survey.fixed_batch or _ceil(rows, _ceil(rows, run.options.batch_size))
    total = run.count * perturbations
    starts = range(0, total, size)
    for start in progress_bar(starts, progress=run.options.progress, unit="batch"):
        of_chunk = np.minimum(np.arange(start, start + size), total - 1)
        samples, numbers = np.divmod(of_chunk, perturbations)
        yield Chunk(samples, numbers, min(size, total - start))


def _ceil(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)


def add_perturbed(
    total: np.ndarray, chunk: Chunk, parts: np.ndarray, weights: np.ndarray | None = None
) -> None:
    """Add the results of its perturbations to each sample.

    Parameters
    ----------
    total : numpy.ndarray
        ``(targets, batch, ...)``; changed in place.
    chunk : Chunk
    parts : numpy.ndarray
        ``(targets, rows, ...)``, or ``(1, rows, ...)`` if all targets share them.
    weights : numpy.ndarray or None
        ``(rows, targets)`` or ``(rows, 1)``
    """
    # Row by row: after a matrix product the threads of NumPy's linear algebra keep spinning for a
    # while, and the model would have to wait for them.
    for row, sample in enumerate(chunk.samples[: chunk.n_valid]):
        part = parts[:, row]
        if weights is not None:
            part = part * weights[row].reshape(-1, *(1,) * (part.ndim - 1))
        total[:, sample] += part
