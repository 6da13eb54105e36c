"""Read a file with the names of a model's classes."""

from __future__ import annotations

import json
from pathlib import Path

from eli5k.cli.errors import UserError


def read_class_names(file: Path) -> list[str] | dict[int, str]:
    """Read the names of the classes: lines, or a JSON list or dict in one of its usual forms.

    Parameters
    ----------
    file : pathlib.Path

    Returns
    -------
    list of str or dict of int to str
        As ``target_names`` takes them.

    Raises
    ------
    UserError
        If the file cannot be read or holds something else.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
        if not text.lstrip().startswith(("[", "{")):
            return [line.strip() for line in text.rstrip().splitlines()]
        names = json.loads(text)
        if isinstance(names, list):
            return [str(name) for name in names]
        if all(isinstance(index, int) for index in names.values()):
            return {index: name for name, index in names.items()}
        # ImageNet's class index is {"0": ["n01440764", "tench"], ...}: the last is the name.
        return {int(k): str(v[-1] if isinstance(v, list) else v) for k, v in names.items()}
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{file}: expected names, one per line or as JSON ({error})") from error
