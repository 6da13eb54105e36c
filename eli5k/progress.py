"""Progress bars for long runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

# Seconds until a bar appears unless it is asked for: one that flashes by is noise.
DELAY = 3


def progress_bar(
    rows: Sequence[Any] | None = None, *, progress: bool | None, **options: Any
) -> tqdm:
    """Show the progress of a loop while it runs.

    If loops are nested, only the bar of the outer one stays on the screen.

    Parameters
    ----------
    rows : sequence, optional
        Items of the loop. A single one gets no bar.
    progress : bool or None
        Whether to show a bar; None shows it on a terminal if the loop takes long.
    **options
        Other arguments of ``tqdm``.

    Examples
    --------
    >>> sum(progress_bar([1, 2, 3], progress=False))
    6
    """
    disable = None if progress is None else not progress
    if rows is not None and len(rows) < 2:
        disable = True
    return tqdm(
        rows, disable=disable, delay=DELAY if progress is None else 0, leave=None, **options
    )
