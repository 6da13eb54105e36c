"""Rows of a column: array, list, pyarrow or pandas table."""

from __future__ import annotations

from typing import Any

import numpy as np


def values_of(column: Any) -> list[Any]:
    """Return the rows of any column: paths, bytes, numbers or arrays.

    Examples
    --------
    >>> values_of([{"bytes": None, "path": "cat.jpg"}, "dog.jpg"])
    ['cat.jpg', 'dog.jpg']
    """
    if hasattr(column, "combine_chunks"):
        column = column.combine_chunks()
    if hasattr(column, "to_numpy_ndarray"):
        return list(column.to_numpy_ndarray())
    rows = column.to_pylist() if hasattr(column, "to_pylist") else list(column)
    return [_value(row) for row in rows]


def _value(row: Any) -> Any:
    if isinstance(row, dict) and set(row) == {"bytes", "path"}:
        # The form in which a Hugging Face table holds a picture.
        return row["path"] if row["bytes"] is None else row["bytes"]
    return np.asarray(row) if isinstance(row, list) else row


def listed(targets: Any) -> list[Any] | None:
    """Return a document's targets as a list; None for its best class.

    Examples
    --------
    >>> listed(3), listed(None)
    ([3], None)
    """
    if targets is None:
        return None
    return list(targets) if isinstance(targets, np.ndarray | list | tuple) else [targets]
