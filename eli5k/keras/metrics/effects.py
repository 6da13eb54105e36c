"""Effects of covering or exchanging a place on the pictures' classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from eli5k.keras.evidence.run import Run
from eli5k.keras.evidence.scores import Scores
from eli5k.keras.evidence.targets import class_count
from eli5k.keras.metrics.halves import scores_of_masks
from eli5k.keras.sides import is_regression
from eli5k.maps import resize


def check_classes(run: Run) -> None:
    """Refuse models without classes, and inputs that can't be covered.

    Parameters
    ----------
    run : Run

    Raises
    ------
    ValueError
    """
    if run.survey.image_index in run.survey.embeddings:
        raise ValueError(
            "docs must be pictures, signals or volumes, of which a place can be covered. Received: "
            "texts, whose tokens can't be covered."
        )
    if is_regression(run):
        raise ValueError(
            "model must tell classes apart, since an audit asks whether the class changes. "
            f"Received: {run.model.name!r}, which was trained on numbers."
        )


def predicted(run: Run) -> np.ndarray:
    """Return the class that the model gives each picture: ``(batch,)``.

    Parameters
    ----------
    run : Run
    """
    whole = np.ones((1, *run.image.shape[1:-1]), "float32")
    given: np.ndarray = scores_of_masks(_for_classes(run), [whole], _classes)[0, :, 0]
    return given


def changes(run: Run, given: np.ndarray, regions: Sequence[np.ndarray]) -> list[float]:
    """Return for each region how often covering it changes the class.

    Parameters
    ----------
    run : Run
    given : numpy.ndarray
        As :func:`predicted` returns it.
    regions : sequence of numpy.ndarray
        ``(*cells)``: 1 where the picture is covered, 0 where it is kept.
    """
    masks = [(1 - region)[np.newaxis] for region in regions]
    found = scores_of_masks(_for_classes(run), masks, _classes, "mean")
    return [float(np.mean(covered[:, 0] != given)) for covered in found]


def follows(run: Run, given: np.ndarray, regions: Sequence[np.ndarray]) -> list[float]:
    """Return for each region how often the class moves along with it.

    Each picture gets the region of the next one that has another class.

    Parameters
    ----------
    run : Run
    given : numpy.ndarray
        As :func:`predicted` returns it.
    regions : sequence of numpy.ndarray
        ``(*cells)``: 1 where the other picture is pasted.

    Returns
    -------
    list of float
        Share of the pictures that are then given the class of the other one; 0 if all pictures are
        of one class.
    """
    grid = run.image.shape[1:-1]
    others = [np.flatnonzero(np.roll(given, -row) != given[row]) for row in range(len(given))]
    rows = [row for row, other in enumerate(others) if len(other)]
    if not rows:
        return [0.0] * len(regions)
    givers = np.array([(row + others[row][0]) % len(given) for row in rows])
    # Sharp edges: of a thin border, nothing must be left.
    masks = [(resize(1 - region, grid) > 0.5).astype("float32")[np.newaxis] for region in regions]
    taking = replace(_for_classes(run).part(np.array(rows)), n_valid=None)
    pasted = run.image[givers]
    found = scores_of_masks(taking, masks, _classes, lambda _: pasted)
    return [float(np.mean(classes[:, 0] == given[givers])) for classes in found]


def _for_classes(run: Run) -> Run:
    """Ask for the predicted class."""
    head = run.survey.heads[run.target.output]
    target = replace(
        run.target, functions=(), objective=None, best=1, binary=class_count(head) == 1
    )
    return replace(run, target=target, classes=None)


def _classes(scores: Scores) -> np.ndarray:
    classes: np.ndarray = scores.classes
    return classes
