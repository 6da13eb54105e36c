"""Count each document's labels, and keep only that many targets."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np

from eli5k.keras.evidence.batching import chunks
from eli5k.keras.evidence.run import Attribution, Run
from eli5k.keras.evidence.scores import Scores
from eli5k.keras.evidence.targets import class_count


def count_labels(run: Run, threshold: float) -> np.ndarray:
    """Count each sample's classes above a threshold, in one forward pass.

    Parameters
    ----------
    run : Run
        Its target must be chosen already, and be classes.
    threshold : float
        In units of the probability if the output has one, else of the score.

    Returns
    -------
    numpy.ndarray
        ``(batch,)``, int, for the samples that are asked about.

    Examples
    --------
    >>> from eli5k.keras import run
    >>> model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten()])
    >>> docs = np.array([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 9.0]]).reshape(2, 2, 2, 1)
    >>> count_labels(run(model, docs), 2.5).tolist()
    [2, 1]
    """
    target = replace(run.target, best=columns_of(run), objective=None)
    options = replace(run.options, progress=False)
    every = replace(run, target=target, classes=None, options=options)
    counts = []
    for chunk in chunks(every):
        scores = every.part(chunk.samples, n_valid=chunk.n_valid).scores()
        judged = scores.values if scores.probabilities is None else scores.probabilities
        counts.append((judged >= threshold).sum(axis=1)[: chunk.n_valid])
    return np.concatenate(counts)


def columns_of(run: Run) -> int:
    """Return the output's number of classes; two for a named unit."""
    return 2 if run.target.binary else class_count(run.survey.heads[run.target.output]) or 1


def with_room_for(run: Run, labels: np.ndarray) -> Run:
    """Ask for as many best classes as any sample has labels.

    Each number of targets is compiled anew, so this is a power of two.

    Parameters
    ----------
    run : Run
    labels : numpy.ndarray
        ``(batch,)``, int.
    """
    most = max(1, int(labels.max()))
    room = min(columns_of(run), 1 << (most - 1).bit_length())
    return replace(run, target=replace(run.target, best=room))


def first_targets(answer: Attribution, count: int) -> Attribution:
    """Keep the first targets of an answer."""
    scores = Scores(*(None if part is None else part[:, :count] for part in answer.scores))
    maps = keras.tree.map_structure(lambda each: each[:count], answer.maps)
    peaks = answer.peaks
    if peaks is not None:
        peaks = peaks._replace(gradients=peaks.gradients[:count])
    return answer._replace(scores=scores, maps=maps, peaks=peaks)
