"""Run a model many times on changed inputs: in chunks of one size, and for settled classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tqdm import tqdm

if TYPE_CHECKING:
    from eli5k.keras.run import Run
    from eli5k.keras.targets import Scores


class Chunk(NamedTuple):
    """Some of the tries of some of the samples: what goes through the model at a time.

    Attributes
    ----------
    samples, tries : numpy.ndarray
        ``(rows,)``, int: the sample that each row is made from, and the number of the try.
    share : numpy.ndarray
        ``(batch, rows)``, float32: 1 where a row is a try of a sample. Rows that only fill up the
        last chunk, since each new shape would be compiled anew, are none of any.
    """

    samples: np.ndarray
    tries: np.ndarray
    share: np.ndarray


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
    batch = len(run.image)
    total = batch * tries
    size = _ceil(total, _ceil(total, run.batch_size))
    for start in tqdm(range(0, total, size), unit="batch", disable=not run.progress):
        rows = np.arange(start, start + size)
        samples, numbers = np.divmod(np.minimum(rows, total - 1), tries)
        share = (samples == np.arange(batch)[:, np.newaxis]) & (rows < total)
        yield Chunk(samples, numbers, share.astype("float32"))


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


def sum_over_tries(chunk: Chunk, weights: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Add up the masks of each sample, with a weight for each target.

    Parameters
    ----------
    chunk : Chunk
    weights : numpy.ndarray
        ``(rows, targets)``
    masks : numpy.ndarray
        ``(rows, *grid)``

    Returns
    -------
    numpy.ndarray
        ``(targets, batch, *grid)``, float32.
    """
    shares = weights.T[:, np.newaxis] * chunk.share
    return np.tensordot(shares.astype("float32"), masks.astype("float32", copy=False), 1)
