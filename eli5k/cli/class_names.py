"""Read a file with the names of a model's classes."""

from __future__ import annotations

from pathlib import Path

from eli5k.class_names import names_by_class
from eli5k.cli.errors import UserError


def read_class_names(file: Path) -> dict[int, str]:
    """Read the names of the classes from a file, as ``target_names`` takes them.

    Parameters
    ----------
    file : pathlib.Path

    Returns
    -------
    dict of int to str

    Raises
    ------
    UserError
        If the file cannot be read or holds something else.
    """
    try:
        return names_by_class(file)
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(str(error)) from error
