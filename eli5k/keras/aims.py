"""Choose what is explained of each document, for any output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from eli5k.base import WHOLE, ExplanationWarning, TargetExplanation, warn
from eli5k.keras.evidence.aiming import Aim, aim, background_in
from eli5k.keras.evidence.regions import Canvas
from eli5k.keras.evidence.run import Run
from eli5k.keras.evidence.scores import Target
from eli5k.keras.evidence.targets import TargetNames, as_list, choose_for_each, class_count
from eli5k.keras.inputs import Document
from eli5k.keras.preprocessing import Frame, within

PICTURE_AXES = 2


def names_of(run: Run) -> TargetNames:
    """Return the names of the classes of the explained output."""
    head, reading = run.survey.heads[run.target.output], run.target.reading
    count = class_count(head) if reading is None else reading.count(head.output)
    return TargetNames(run.options.target_names, count)


def aimed(
    run: Run, documents: Sequence[Document], names: TargetNames, targets: Sequence[Any]
) -> tuple[Run, list[Aim]]:
    """Choose the targets of each document.

    Parameters
    ----------
    run : Run
        As :func:`~eli5k.keras.attribution.ask` made it, with the options.
    documents : sequence of Document
        One for each row.
    names : TargetNames
    targets : sequence
        What is explained of each document.

    Returns
    -------
    run : Run
    aims : list of Aim
        One for each row; empty if the output is a vector of classes, or callables are explained.
    """
    if run.target.reading is not None and not any(map(has_callables, targets)):
        _check_no_threshold(run)
        _warn_of_picture(run)
        canvases = [_canvas_of(run, document) for document in documents]
        return aim(run, [as_list(each) for each in targets], names, canvases)
    check_no_region(run)
    target, rows = choose_for_each(
        run.survey.heads[run.target.output],
        targets,
        run.options.top_targets,
        names,
        target=without_reading(run),
    )
    return replace(run, target=target, classes=rows), []


def without_reading(run: Run) -> Target:
    """Return the target for a vector of classes, or for callables."""
    return replace(run.target, reading=None, by_logits=False)


def has_callables(targets: object) -> bool:
    """Tell whether targets are functions of the model's outputs.

    Examples
    --------
    >>> has_callables([len]), has_callables([3]), has_callables(None)
    (True, False, False)
    """
    return callable(targets) or (isinstance(targets, list | tuple) and any(map(callable, targets)))


def _check_no_threshold(run: Run) -> None:
    if run.options.threshold is not None:
        raise ValueError(
            "threshold= is for an output with one score for each class. Pass top_targets= to "
            f"explain more. Received: threshold={run.options.threshold} and the output "
            f"{run.survey.heads[run.target.output].name!r}"
        )


def _warn_of_picture(run: Run) -> None:
    """Warn if an output may be a picture, as an autoencoder's is."""
    head = run.survey.heads[run.target.output]
    is_like_input = head.output is not None and head.output[1:] == run.survey.image_shape[1:]
    if is_like_input and "softmax" not in (head.activation, head.hidden):
        warn(
            f"The output {head.name!r} has the shape of the picture, {head.output[1:]}, and its "
            "channels are read as classes of pixels. If it is a picture, as an autoencoder's is, "
            "pass targets=[callable]: a function from the outputs to one number for each sample.",
            ExplanationWarning,
        )


def check_no_region(run: Run) -> None:
    """Raise ValueError if the user asks about a region that can't matter."""
    if run.options.region is not None:
        head = run.survey.heads[run.target.output]
        raise ValueError(
            "region= is for an output with a score for each pixel or box, and classes as targets. "
            f"Received: targets={run.options.targets!r} and the output {head.name!r} of shape "
            f"{head.output}"
        )


def _canvas_of(run: Run, document: Document) -> Canvas:
    picture, grid = document.picture(run.survey), run.survey.picture_grid
    if picture is None or len(grid) != PICTURE_AXES:
        return Canvas(tuple(grid), ((0.0,) * len(grid), (1.0,) * len(grid)))
    left, top, right, bottom = document.frame
    return Canvas((picture.height, picture.width), ((top, left), (bottom, right)))


def with_places(
    run: Run, explained: list[TargetExplanation], chosen: Aim | None, frame: Frame
) -> list[TargetExplanation]:
    """Add box or region to a document's targets; drop fillers."""
    if chosen is None:
        return explained
    reading, shape = run.target.reading, run.survey.heads[run.target.output].output
    assert reading is not None
    own = explained[: len(chosen.classes)]
    for number, target in enumerate(own):
        if chosen.boxes:
            left, top, right, bottom = map(float, chosen.boxes[number])
            left, top, right, bottom = within(frame, (left, top, right, bottom))
            target.box = left, top, right, bottom
        else:
            region = chosen.places[number].reshape(reading.grid(shape))
            target.region = _over_picture(region, frame)
    return own


def _over_picture(region: np.ndarray, frame: Frame) -> np.ndarray:
    """Enlarge a mask of the model's input to the whole picture.

    Its cells keep their size.
    """
    if frame == WHOLE or region.ndim != PICTURE_AXES:
        return region
    left, top, right, bottom = frame
    cells = []
    for length, low, high in zip(region.shape, (top, left), (bottom, right)):
        count = max(1, round(length / (high - low)))
        shares = (np.arange(count) + 0.5) / count
        cells.append(np.floor((shares - low) / (high - low) * length).astype(int))
    rows, columns = (each[:, np.newaxis] if axis == 0 else each for axis, each in enumerate(cells))
    height, width = region.shape
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return inside & region[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)]


def told_of_places(run: Run, names: TargetNames) -> tuple[str, str]:
    """Describe what is explained, and what is left out.

    The first is half a sentence, the second a sentence or empty.
    """
    reading, options = run.target.reading, run.options
    if reading is None:
        return "", ""
    if reading.boxes is not None:
        where = " whose centre lies in the region" if options.region is not None else ""
        return f"the class of each box{where}, at its own place", ""
    where = "the region asked about" if options.region is not None else "the pixels given to it"
    background = background_in(run, names) if options.targets is None else None
    if background is None:
        return f"each class, as its mean over {where}", ""
    name = names.name(background)
    why = "" if isinstance(name, str) else " (class 0, since target_names don't name it)"
    return (
        f"each class, as its mean over {where}",
        f" The background, {name!r}, is left out{why}.",
    )
