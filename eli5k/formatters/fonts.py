"""Find a font for a text in any script."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable

from PIL import ImageFont

from eli5k.base import ExplanationWarning, warn


def font_for(text: str, size: int) -> ImageFont.FreeTypeFont:
    """Return a font that has all letters of a text.

    Examples
    --------
    >>> font_for("cat", 13).size
    13
    """
    return ImageFont.truetype(_font_file("".join(sorted(set(text)))), size)


@functools.lru_cache(maxsize=1024)
def _font_file(letters: str) -> str:
    """Find a font that has all letters: matplotlib's, or the system's."""
    import matplotlib

    own = os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    if _has_letters(own, letters):
        return own
    from matplotlib import font_manager

    for entry in font_manager.fontManager.ttflist:
        # The fallback font has a glyph for each letter, but mostly the same one.
        if "Last Resort" not in entry.name and _has_letters(entry.fname, letters):
            return entry.fname
    return own


def warn_of_letters(texts: Iterable[str]) -> None:
    """Warn about letters that no font on this machine has.

    Parameters
    ----------
    texts : iterable of str

    Warns
    -----
    ExplanationWarning
        If a text can't be drawn as it is.

    Examples
    --------
    >>> warn_of_letters(["cat", "κατ"])
    """
    for text in texts:
        # No font has unprintable characters, such as a line break.
        letters = "".join(sorted({letter for letter in text if letter.isprintable()}))
        if not _has_letters(_font_file(letters), letters):
            warn(
                f"{text!r} is drawn with boxes for letters: no font on this machine has all of "
                "them. Install one for its script, such as one of the Noto fonts, and delete "
                "matplotlib's list of fonts, which is in matplotlib.get_cachedir().",
                ExplanationWarning,
            )


def _has_letters(file: str, letters: str) -> bool:
    try:
        known = _known_letters(file)
    except (OSError, RuntimeError):  # an unreadable font
        return False
    return all(ord(letter) in known for letter in letters)


@functools.lru_cache(maxsize=1024)
def _known_letters(file: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(file).get_charmap())
