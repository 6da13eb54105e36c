"""Write files that are whole or not there."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def written_beside(path: Path) -> Iterator[IO[bytes]]:
    """Write a file beside another, and replace that one when complete.

    Nobody ever sees half a file: not even after an error or on a full disk.

    Parameters
    ----------
    path : pathlib.Path

    Yields
    ------
    binary file

    Raises
    ------
    OSError
        If the file can't be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with written_beside(Path(folder) / "page.html") as file:
    ...         _ = file.write(b"<p>")
    ...     [each.name for each in Path(folder).iterdir()]
    ['page.html']
    """
    # The name may be as long as a name can be.
    beside = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with beside.open("xb") as file:
            yield file
        os.replace(beside, path)
    except OSError as error:
        # If a disk is full, Python doesn't name the file.
        if error.filename is None and error.errno is not None:
            error.filename = os.fspath(path)
        raise
    finally:
        beside.unlink(missing_ok=True)
