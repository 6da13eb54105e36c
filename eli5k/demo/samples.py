"""Photographs, class names and preprocessing of the demo."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

FOLDER = Path(__file__).parent
#: Photographs by name: ``"cat"``, ``"cup"``, and ``"both"`` of them side by side.
PHOTOS = MappingProxyType(
    {"cat": FOLDER / "cat.jpg", "cup": FOLDER / "cup.jpg", "both": FOLDER / "cat-and-cup.jpg"}
)
#: Short names of ImageNet's classes, in the order of the net's output.
NAMES = tuple((FOLDER / "names.txt").read_text(encoding="utf-8").splitlines())


def preprocess(pixels: Any) -> Any:
    """Scale pixels as the net was trained on them.

    Parameters
    ----------
    pixels : numpy.ndarray or tensor
        From 0 to 255.

    Returns
    -------
    numpy.ndarray or tensor
        From -0.992 to 1.

    Examples
    --------
    >>> preprocess(255.0)
    1.0
    """
    return (pixels - 127) / 128
