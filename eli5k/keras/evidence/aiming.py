"""Aim at places of an output, over which scores are averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from eli5k.base import ExplanationWarning
from eli5k.keras.evidence.batching import chunks
from eli5k.keras.evidence.boxes import Detections, corners_of, find_boxes, overlap_with
from eli5k.keras.evidence.readings import SIDES, Boxes, Given
from eli5k.keras.evidence.regions import Canvas, centres_of, in_region
from eli5k.keras.evidence.run import Run
from eli5k.keras.evidence.scores import Reads
from eli5k.keras.evidence.targets import TargetNames, is_index

# Usual names of the background class.
BACKGROUNDS = frozenset({"background", "__background__", "bg", "void", "unlabeled", "unlabelled"})
# How many boxes are explained by default.
MOST_BOXES = 4
# Boxes that overlap another by nearly as much as the best one does are compared by their scores.
NEARLY = 0.9


class Aim(NamedTuple):
    """What is explained of one document.

    Attributes
    ----------
    classes : list of int
        One for each target.
    places : list of numpy.ndarray
        ``(places,)``, bool, for each target.
    boxes : list of numpy.ndarray
        Left, top, right and bottom in shares of the model's input, for each target; empty if the
        places are cells of a grid.
    warnings : list of ExplanationWarning
    """

    classes: list[int]
    places: list[np.ndarray]
    boxes: list[np.ndarray]
    warnings: list[ExplanationWarning]


@dataclass(frozen=True)
class Wish:
    """The user's request, and the facts about the output.

    Attributes
    ----------
    targets : list or None
        Classes, names or boxes.
    top : int or None
        How many targets, if none are named; the last ones if negative.
    names : TargetNames
    count : int
        How many classes there are.
    background : int or None
        The class that is left out if others are there.
    """

    targets: list[Any] | None
    top: int | None
    names: TargetNames
    count: int
    background: int | None

    def index(self, target: Any) -> int:
        """Return the class that a target names."""
        if isinstance(target, str):
            target = self.names.index(target)
        if not is_index(target):
            raise TypeError(
                "targets must hold classes (int) and names from target_names (str), or boxes if "
                "the model is a detector. "
                f"Received: {target!r} of type {type(target).__name__}"
            )
        if not 0 <= target < self.count:
            raise ValueError(f"targets must be in [0, {self.count}). Received: {target}")
        return int(target)

    def some(self, ordered: Sequence[Any], most: int) -> list[Any]:
        """Return the first ones, or the last ones in reverse."""
        number = most if self.top is None else self.top
        return list(ordered[:number]) if number > 0 else list(ordered[::-1][:-number])


def background_in(run: Run, names: TargetNames) -> int | None:
    """Tell which class is the background.

    It is the one that ``target_names`` call so. Without names, it is class 0, as in most data sets,
    if exactly one class is given to each place; for a single unit, it is the other side.
    """
    known = {str(name).lower(): index for index, name in names.by_class.items()}
    if known:
        called = next((known[name] for name in sorted(BACKGROUNDS & known.keys())), None)
        return 0 if called is None and _is_binary(run) else called
    head, reading = run.survey.heads[run.target.output], run.target.reading
    activation = head.activation or head.hidden
    one_of_many = reading is not None and reading.count(head.output) > 1
    is_given = activation == "softmax" or (activation is None and not _has_boxes(run))
    return 0 if _is_binary(run) or (one_of_many and is_given) else None


def _has_boxes(run: Run) -> bool:
    return run.target.reading is not None and run.target.reading.boxes is not None


def _is_binary(run: Run) -> bool:
    """Tell whether one unit at each place stands for two classes."""
    head, reading = run.survey.heads[run.target.output], run.target.reading
    is_unit = reading is not None and reading.count(head.output) == 1 and reading.boxes is None
    return is_unit and (head.activation or head.hidden) == "sigmoid"


def aim(
    run: Run, wanted: Sequence[list[Any] | None], names: TargetNames, canvases: Sequence[Canvas]
) -> tuple[Run, list[Aim]]:
    """Choose the targets of each document, and the places of each target.

    The model runs forward once.

    Parameters
    ----------
    run : Run
        Its target has a reading.
    wanted : sequence of list or None
        The targets of each row; None for the largest classes or the best boxes.
    names : TargetNames
    canvases : sequence of Canvas
        What the user sees of each row.

    Returns
    -------
    run : Run
        With classes and places; a document with fewer targets than others repeats its last one.
    aims : list of Aim
    """
    reading, head = run.target.reading, run.survey.heads[run.target.output]
    assert reading is not None
    binary = _is_binary(run)
    run = replace(run, target=replace(run.target, binary=binary))
    count = 2 if binary else reading.count(head.output)
    top, background = run.options.top_targets, background_in(run, names)
    wishes = [Wish(each, top, names, count, background) for each in wanted]
    if reading.boxes is None:
        aims = _aim_at_pixels(run, reading, wishes, canvases)
    else:
        aims = _aim_at_boxes(run, reading, wishes, canvases)
    most = max(len(each.classes) for each in aims)
    classes = [each.classes + each.classes[-1:] * (most - len(each.classes)) for each in aims]
    places = [each.places + each.places[-1:] * (most - len(each.places)) for each in aims]
    return replace(run, classes=np.array(classes, np.int32), places=np.array(places)), aims


def _looked_at(run: Run, function: Callable[..., Any]) -> list[Any]:
    """Return what ``function`` makes of the model's outputs for each row."""
    plain = replace(run, target=replace(run.target, logits=False), options=_silent(run))
    rows: list[Any] = []
    for chunk in chunks(replace(plain, n_valid=None)):
        found = plain.part(chunk.samples).look(function)
        parts = zip(*found) if isinstance(found, tuple) else found
        rows += [row for row, _ in zip(parts, range(chunk.n_valid))]
    return rows


def _silent(run: Run) -> Any:
    return replace(run.options, progress=False)


def _aim_at_pixels(
    run: Run, reading: Reads, wishes: Sequence[Wish], canvases: Sequence[Canvas]
) -> list[Aim]:
    grid = reading.grid(run.survey.heads[run.target.output].output)
    labels = _looked_at(run, Given(reading, run.target))
    return [
        _pixels_of(each, wish, _allowed(run, centres_of(grid), canvas, grid))
        for each, wish, canvas in zip(labels, wishes, canvases)
    ]


def _allowed(
    run: Run, points: np.ndarray, canvas: Canvas, grid: Sequence[int]
) -> np.ndarray | None:
    """Tell which places lie in the options' region; None without any."""
    region = run.options.region
    if region is None:
        return None
    if points.shape[1] != len(canvas.size):
        raise ValueError(
            "region= is for outputs with the axes of the picture. "
            f"Received: an output with the grid {tuple(grid)}"
        )
    return in_region(region, points, canvas, [run.survey.picture_grid, grid])


def _pixels_of(labels: np.ndarray, wish: Wish, region: np.ndarray | None) -> Aim:
    """Choose the largest classes, and the pixels of each class."""
    allowed = np.ones(len(labels), bool) if region is None else region
    is_number = wish.count == 1 and labels.ndim == 1

    def given_to(index: int) -> np.ndarray:
        return labels[:, index] if labels.ndim == 2 else labels == index

    if wish.targets is not None:
        classes = [wish.index(target) for target in wish.targets]
    else:
        if labels.ndim == 2:
            areas = labels[allowed].sum(axis=0)
        else:
            areas = np.bincount(labels[allowed], minlength=wish.count)
        order = [int(each) for each in np.argsort(-areas, kind="stable") if areas[each]]
        others = [each for each in order if each != wish.background]
        classes = wish.some(others or order or [0], 1)
    places, told = [], []
    for each in classes:
        pixels = allowed if is_number or region is not None else given_to(each)
        if not pixels.any():
            told.append(
                ExplanationWarning(
                    f"The model gives no pixel to {wish.names.name(each)!r}: its mean score over "
                    "all pixels is explained. To ask why not at some place, pass region=."
                )
            )
            pixels = allowed
        places.append(pixels)
    return Aim(classes, places, [], told)


def _aim_at_boxes(
    run: Run, reading: Reads, wishes: Sequence[Wish], canvases: Sequence[Canvas]
) -> list[Aim]:
    head = run.survey.heads[run.target.output]
    grid = run.survey.picture_grid
    aims = []
    rows = _looked_at(run, Boxes(reading, run.target))
    for (raw, boxes), wish, canvas in zip(rows, wishes, canvases):
        # As KerasHub's decoder does with scores that have no activation.
        scores = raw if head.activation or head.hidden else 1 / (1 + np.exp(-raw))
        corners = corners_of(run.model, boxes[np.newaxis], grid)[0]
        centres = (corners[:, [1, 0]] + corners[:, [3, 2]]) / 2
        allowed = _allowed(run, centres, canvas, centres.shape[:1])
        # A box of the background doesn't count.
        of_things = np.where(np.arange(wish.count) == wish.background, 0, scores)
        found = find_boxes(corners, of_things, run.model, allowed)
        aims.append(_boxes_of(of_things, corners, found, wish, canvas))
    return aims


def _boxes_of(
    scores: np.ndarray, corners: np.ndarray, found: Detections, wish: Wish, canvas: Canvas
) -> Aim:
    """Choose the best boxes, or those that the targets mean."""
    if wish.targets is None:
        pairs = list(zip(found.places, found.classes))
        chosen = wish.some(pairs[: max(1, found.confident)], MOST_BOXES)
    else:
        chosen = [_box_of(each, scores, corners, found, wish, canvas) for each in wish.targets]
    places = [np.arange(len(scores)) == place for place, _ in chosen]
    classes = [int(each) for _, each in chosen]
    return Aim(classes, places, [corners[place] for place, _ in chosen], [])


def _box_of(
    target: Any,
    scores: np.ndarray,
    corners: np.ndarray,
    found: Detections,
    wish: Wish,
    canvas: Canvas,
) -> tuple[int, int]:
    """Find place and class that a target of a detector means."""
    if isinstance(target, str):
        index = wish.names.index(target)
        own = found.places[found.classes == index]
        return int(own[0] if len(own) else scores[:, index].argmax()), index
    if is_index(target):
        if not 0 <= target < len(found.places):
            raise ValueError(
                "targets must hold numbers of boxes, of which there are "
                f"{len(found.places)}, class names or boxes (left, top, right, bottom). "
                f"Received: {target}"
            )
        return int(found.places[target]), int(found.classes[target])
    box = np.asarray(target, float) if np.size(target) == SIDES else None
    if box is None:
        raise TypeError(
            "targets must hold numbers of boxes (int), class names (str) or boxes (left, top, "
            f"right, bottom) in pixels of the picture. Received: {target!r}"
        )
    overlaps = overlap_with(_in_shares(box, canvas), corners)
    if not overlaps.any():
        raise ValueError(
            f"targets has a box that no box of the model overlaps, in a picture of size "
            f"{canvas.size[::-1]}. Received: {target!r}"
        )
    near = np.flatnonzero(overlaps >= NEARLY * overlaps.max())
    place = near[scores[near].max(axis=-1).argmax()]
    return int(place), int(scores[place].argmax())


def _in_shares(box: np.ndarray, canvas: Canvas) -> np.ndarray:
    """Turn pixels of the picture into shares of the model's input."""
    (top, left), (bottom, right) = canvas.span
    height, width = canvas.size
    shares = box / [width, height, width, height]
    start = np.array([left, top, left, top])
    return (shares - start) / [right - left, bottom - top, right - left, bottom - top]
