"""Read the names of a model's classes, in all usual forms."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

# "0 cat", "0: cat", "0,cat"
NUMBERED = re.compile(r"(\d+)(?:\s*[:,;=]\s*|\s+)(\S.*)")


def names_by_index(names: Any, argument: str = "target_names") -> dict[int, str]:
    """Return names of classes, or words of tokens, by index.

    Parameters
    ----------
    names : sequence of str, mapping, object with ``classes_``, path, or None
        One name for each class; a mapping of index to name or, like Keras' ``class_indices``, of
        name to index; a fitted ``LabelEncoder``; or a file: one name a line, with or without its
        number, or a JSON list or object, that of ImageNet's class index included.
    argument : str
        What errors call it.

    Raises
    ------
    TypeError
        If it is something else.
    ValueError
        If a file holds something else, or an index is repeated.
    OSError
        If a file can't be read.

    Examples
    --------
    >>> names_by_index(["cat", "dog"]), names_by_index({"cat": 1, "dog": 0})
    ({0: 'cat', 1: 'dog'}, {1: 'cat', 0: 'dog'})
    """
    if names is None:
        return {}
    if hasattr(names, "classes_"):
        names = [str(name) for name in names.classes_]
    if isinstance(names, os.PathLike) or (isinstance(names, str) and os.path.isfile(names)):
        return _read_file(Path(names))
    if isinstance(names, Mapping):
        return _of_mapping(names, argument)
    is_sequence = isinstance(names, Sequence) and not isinstance(names, str | bytes)
    if is_sequence or (isinstance(names, np.ndarray) and names.ndim == 1):
        return {index: _text(name) for index, name in enumerate(names)}
    raise TypeError(
        f"{argument} must be a list of names, a dict of index to name or of name to index, an "
        f"encoder with classes_, the path of a file of names, or None. Received: {names!r}"
    )


def _text(name: Any) -> Any:
    return str(name) if isinstance(name, np.str_) else name


def _of_mapping(names: Mapping[Any, Any], argument: str) -> dict[int, str]:
    if names and not any(_is_index(index) for index in names):
        turned = {index: name for name, index in names.items() if _is_index(index)}
        if len(turned) == len(names):
            return {int(index): _text(name) for index, name in turned.items()}
        if all(str(index).isdecimal() for index in names):
            names = {int(index): name for index, name in names.items()}
    if not all(map(_is_index, names)):
        raise TypeError(
            f"{argument} as a dict maps indices (int) to names, or names to different indices. "
            f"Received: {dict(list(names.items())[:20])}"
        )
    return {int(index): _text(name) for index, name in names.items()}


def _is_index(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _read_file(file: Path) -> dict[int, str]:
    try:
        text = file.read_text(encoding="utf-8-sig")
        is_json = file.suffix.lower() == ".json" or text.lstrip().startswith(("[", "{"))
        if not is_json:
            return _of_lines([line.strip() for line in text.rstrip().splitlines()])
        names = json.loads(text)
        if isinstance(names, list):
            return {index: _name(name) for index, name in enumerate(names)}
        if not isinstance(names, dict):
            raise TypeError("it holds neither a list nor an object")
        if all(isinstance(index, int) for index in names.values()):
            return _of_mapping(names, str(file))
        # ImageNet's class index is {"0": ["n01440764", "tench"], ...}: the last is the name.
        return {
            int(index): _name(name[-1] if isinstance(name, list) and name else name)
            for index, name in names.items()
        }
    except RecursionError:
        reason = "its JSON is nested too deeply"
    except (TypeError, ValueError) as error:
        reason = str(error)
    raise ValueError(f"{file}: expected names, one per line or as JSON ({reason})")


def _name(value: Any) -> str:
    if isinstance(value, dict | list) or value is None:
        raise TypeError(f"a name must be a text, but one is {str(value)[:40]}")
    return str(value)


def _of_lines(lines: Sequence[str]) -> dict[int, str]:
    """Read one name a line, with or without a number.

    Either all lines have a number of their own, or none has.
    """
    numbered = [NUMBERED.fullmatch(line) for line in lines]
    found = {int(match[1]): match[2] for match in numbered if match}
    return found if lines and len(found) == len(lines) else dict(enumerate(lines))
