"""Format an explanation as a table for ``print``."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from eli5k.base import Explanation, TargetExplanation
from eli5k.formatters.caption import what_was_done
from eli5k.formatters.place import place_in
from eli5k.formatters.text import label

# Lines to leave free, and the size to assume without a screen.
SPARE, SCREEN = 2, (100, 24)
TITLES = ("target", "probability", "score", "check", "where")


def format_as_table(expl: Explanation) -> str:
    """Format an explanation as a table of at most a screen's height.

    Parameters
    ----------
    expl : Explanation

    Returns
    -------
    str
        What was done, a line for each target, and the warnings, each cut at the screen's width.

    Examples
    --------
    >>> import numpy as np
    >>> cat = TargetExplanation("cat", score=2.5, proba=0.9, heatmap=np.eye(3)[:, ::-1])
    >>> print(format_as_table(Explanation("net", method="Grad-CAM", targets=[cat], layer="conv")))
    net: Grad-CAM, layer conv
    target  probability  score  where
    y=cat   0.9          2.5    hottest top right, 83% across and 17% down
    """
    width, height = shutil.get_terminal_size(SCREEN)
    parts = [expl, *expl.others]
    warned = list(dict.fromkeys(f"Warning: {each}" for part in parts for each in part.warnings))
    head = [line for part in parts[:1] for line in _head(part)]
    several = len(parts) > 1
    rows = [_row(part, target, several) for part in parts for target in part.targets or ()]
    # At least one target and one warning are always shown.
    left = max(2, height - SPARE - len(head) - 1)
    most_warned = min(len(warned), max(1, left // 3))
    lines = head + _table(_shortened(rows, max(1, left - most_warned)))
    lines += _cut(warned, most_warned, "warnings")
    return "\n".join(_fit(line, width) for line in lines)


def _head(expl: Explanation) -> Iterator[str]:
    words = [Path(expl.source).name] if expl.source else []
    yield f"{expl.estimator}: {', '.join(words + what_was_done(expl))}".removesuffix(": ")
    if expl.error:
        yield f"Error: {expl.error}"


def _row(expl: Explanation, target: TargetExplanation, several: bool) -> list[str]:
    name = label(target)
    for kind in ("output", "input") if several else ():
        own = getattr(expl, kind)
        name += f" in {kind} {own}" if own else ""
    numbers = [f"{each:.4g}" if each is not None else "" for each in (target.proba, target.score)]
    return [name, *numbers, target.check.verdict if target.check else "", place_in(expl, target)]


def _shortened(rows: list[list[str]], most: int) -> list[list[str]]:
    if len(rows) <= most:
        return rows
    return [*rows[: most - 1], [f"… {len(rows) - most + 1} more", *[""] * (len(TITLES) - 1)]]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lay rows out in columns, without the empty ones."""
    if not rows:
        return []
    columns = [column for column in zip(TITLES, *rows) if any(column[1:])]
    widths = [max(map(len, column)) for column in columns]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
        for line in zip(*columns)
    ]


def _cut(lines: list[str], most: int, what: str) -> list[str]:
    if len(lines) <= most:
        return lines
    return [*lines[:most], f"… {len(lines) - most} more {what}"]


def _fit(line: str, width: int) -> str:
    line = " ".join(line.splitlines())
    return line if len(line) <= width else f"{line[: width - 1]}…"
