"""Files of a store: written atomically, by one process at a time."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eli5k.whole_files import written_beside


@contextlib.contextmanager
def only_writer(out: str | os.PathLike[str]) -> Iterator[None]:
    """Claim a folder while explaining into it, at most until exit.

    Raises
    ------
    RuntimeError
        If another process of this machine has claimed it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as out, only_writer(out):
    ...     os.listdir(out)
    []
    """
    os.makedirs(out, exist_ok=True)
    if not importlib.util.find_spec("fcntl"):  # Windows has none.
        yield
        return
    import fcntl

    folder = os.open(out, os.O_RDONLY)
    try:
        # Some file systems of networks have no locks.
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RuntimeError(
                    f"out: another process explains into {os.fspath(out)!r}. Wait until it has "
                    "ended, or pass another folder."
                ) from error
        yield
    finally:
        os.close(folder)


def write_beside(path: Path, data: Any) -> None:
    """Write a file atomically, even if the machine fails.

    Parameters
    ----------
    path : pathlib.Path
    data : bytes-like

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_beside(Path(folder) / "part", b"rows")
    ...     os.listdir(folder)
    ['part']
    """
    with written_beside(path) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
