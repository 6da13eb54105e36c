"""The trained classifier and the labelled pictures in this folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import keras

FOLDER = Path(__file__).parent
MODEL = FOLDER / "digits.keras"


class Sample(NamedTuple):
    """A picture that the classifier has not seen, and what is in it.

    Attributes
    ----------
    path : pathlib.Path
        A PNG of 96x96 pixels.
    labels : tuple of int
        Class of each digit, 0..9.
    boxes : tuple of (int, int, int, int)
        Left, top, right, bottom of each digit in pixels; right and bottom are exclusive.
    """

    path: Path
    labels: tuple[int, ...]
    boxes: tuple[tuple[int, int, int, int], ...]


def load_model() -> keras.Model:
    """Load the classifier: pictures ``(batch, 96, 96, 3)`` in 0..255 to ten probabilities.

    Returns
    -------
    keras.Model

    Examples
    --------
    >>> load_model().output_shape
    (None, 10)
    """
    import keras

    return keras.saving.load_model(MODEL, safe_mode=True, compile=False)


def load_samples(digits: int | None = None) -> list[Sample]:
    """List the sample pictures.

    Parameters
    ----------
    digits : int, optional
        Only those with so many digits.

    Returns
    -------
    list of Sample

    Examples
    --------
    >>> [len(sample.labels) for sample in load_samples(digits=2)]
    [2, 2, 2]
    """
    entries = json.loads((FOLDER / "scenes.json").read_text(encoding="utf-8"))
    samples = [
        Sample(FOLDER / entry["file"], tuple(entry["labels"]), tuple(map(tuple, entry["boxes"])))
        for entry in entries
    ]
    return [sample for sample in samples if digits in (None, len(sample.labels))]
