"""Read a file with the names of a model's classes."""

from __future__ import annotations

from pathlib import Path

from eli5k.class_names import names_by_index
from eli5k.cli.errors import UserError


def read_class_names(file: Path) -> list[str] | dict[int, str]:
    """Read class names from a file, as ``target_names`` takes them.

    Parameters
    ----------
    file : pathlib.Path

    Returns
    -------
    list of str or dict of int to str
        A list if the file has all classes up to the last one: then there must be no more.

    Raises
    ------
    UserError
        If the file cannot be read or holds something else.
    """
    try:
        names = names_by_index(file)
        return (
            [names[i] for i in range(len(names))] if set(names) == {*range(len(names))} else names
        )
    except OSError as error:
        raise UserError(f"--names {file}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"--names {error}") from error
