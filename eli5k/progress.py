"""Progress bars for long runs."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from typing import Any

from tqdm import TqdmWarning, tqdm

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
        Whether to show a bar; None shows it on a terminal or in a notebook if the loop takes long.
    **options
        Other arguments of ``tqdm``.

    Examples
    --------
    >>> sum(progress_bar([1, 2, 3], progress=False))
    6
    """
    bar = _bar_of_here()
    disable = None if progress is None else not progress
    if disable is None and bar is not tqdm:
        # tqdm would take a notebook for a file, which gets no bar.
        disable = False
    if rows is not None and len(rows) < 2:
        disable = True
    return bar(rows, disable=disable, delay=DELAY if progress is None else 0, leave=None, **options)


@functools.cache
def _bar_of_here() -> type[tqdm]:
    """Return a notebook's bar if it shows widgets, else a terminal's."""
    with warnings.catch_warnings():
        # A notebook without ipywidgets gets a terminal's bar, without tqdm's warning.
        warnings.simplefilter("ignore", TqdmWarning)
        from tqdm import auto
    shows_widgets = any(base.__module__ == "tqdm.notebook" for base in auto.tqdm.__mro__)
    return auto.tqdm if shows_widgets else tqdm
