"""Texts that anybody may have written, made harmless for terminals and fonts."""

from __future__ import annotations

import unicodedata

# Control characters, invisible marks such as those of direction, parts of broken characters, and
# the ends of lines and paragraphs.
NOT_SHOWN = ("Cc", "Cf", "Cs", "Zl", "Zp")


def printable(text: str) -> str:
    r"""Escape the characters of one line that act instead of being seen.

    Examples
    --------
    >>> printable("cat \x1b[31m")
    'cat \\x1b[31m'
    """
    return "".join(
        each.encode("unicode_escape").decode("ascii")
        if unicodedata.category(each) in NOT_SHOWN
        else each
        for each in text
    )
