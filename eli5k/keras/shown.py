"""Fields of an explanation that a format needs to draw its document."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from PIL import Image

from eli5k.keras.evidence.run import Attribution, Run
from eli5k.keras.inputs import Document
from eli5k.keras.model.kinds import TEXT, kind_of
from eli5k.keras.preprocessing import within
from eli5k.keras.words import words_of
from eli5k.maps import frame_of

# Channels of a picture that shows all that the array holds.
COLOURS = (3, 4)


def as_shown(run: Run, answer: Attribution, document: Document) -> dict[str, Any]:
    """Return the fields of an explanation that tell what is drawn.

    Parameters
    ----------
    run : Run
    answer : Attribution
    document : Document

    Returns
    -------
    dict
        Values of ``kind``, ``image``, ``frame``, ``document`` and ``tokens``.
    """
    kind, array = kind_of(run.model, run.survey), explained_array(run, document)
    is_kept = kind is not None or array.shape[-1] not in COLOURS
    return {
        "kind": kind,
        # Other documents have only the picture that the user passed.
        "image": document.image if kind else document.picture(run.survey),
        "frame": within(document.frame, frame_of(answer.frame, answer.maps.ndim - 2)),
        "document": array if is_kept else None,
        "tokens": words_of(array, run.options.token_names) if kind == TEXT else None,
    }


def size_of(run: Run, picture: Image.Image | None) -> tuple[int, ...]:
    """Return a document's size along each axis, or its picture's."""
    grid = run.survey.picture_grid
    if picture is not None and len(grid) == len(picture.size):
        return picture.height, picture.width
    return grid


def explained_array(run: Run, document: Document) -> np.ndarray:
    """Return the explained input of a document: ``(*grid, channels)`` or ``(*grid)``."""
    survey = run.survey
    array: np.ndarray = keras.tree.flatten(document.inputs)[survey.image_index][0]
    has_channels = array.ndim > len(survey.picture_grid)
    array = array.reshape(survey.image_shape[1:])
    array = np.moveaxis(array, 0, -1) if survey.channels_first else array
    return array if has_channels else array[..., 0]
