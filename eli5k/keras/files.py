"""Tell picture files, and what stands for them, from arrays."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from eli5k.picture_files import ARRAY

KINDS = (str, os.PathLike, bytes, bytearray, memoryview, Image.Image)
# No system has longer names.
LONGEST_PATH = 4096


def path_of(doc: Any) -> str | None:
    """Return the path of the document's first part that is a file.

    Examples
    --------
    >>> path_of({"age": np.ones(1), "photo": "cat.jpg"})
    'cat.jpg'
    """
    parts = doc.values() if isinstance(doc, Mapping) else doc
    parts = parts if isinstance(doc, Mapping | list | tuple) else [doc]
    for part in map(plain, parts):
        name = part if isinstance(part, str | os.PathLike) else getattr(part, "name", None)
        if isinstance(name, str | os.PathLike) and is_picture(part):
            return os.fspath(name)
    return None


def parts_of(doc: Any) -> dict[Any, Any]:
    """Return a document's several inputs by name or position.

    A document of one input has none.

    Examples
    --------
    >>> parts_of(["cat.jpg", 3.0]), parts_of("cat.jpg")
    ({0: 'cat.jpg', 1: 3.0}, {})
    """
    if isinstance(doc, Mapping):
        return dict(doc)
    return dict(enumerate(doc)) if isinstance(doc, list | tuple) else {}


def is_picture(part: Any) -> bool:
    """Tell whether something is a picture, its path or its content.

    Examples
    --------
    >>> is_picture("cat.jpg"), is_picture(b"GIF89a"), is_picture(np.ones((4, 4, 3)))
    (True, True, False)
    """
    is_open = hasattr(part, "read") and not hasattr(part, "__array__")
    return is_open or isinstance(part, KINDS)


def is_text(part: Any) -> bool:
    """Tell whether an array or a tensor holds strings or objects.

    Examples
    --------
    >>> is_text(np.array(["a.jpg", "b.jpg"])), is_text(np.ones(2))
    (True, False)
    """
    dtype = getattr(part, "dtype", None)
    is_tensor = getattr(dtype, "name", "") == "string"
    return is_tensor or getattr(dtype, "kind", "") in ("U", "S", "O", "T")


def plain(part: Any) -> Any:
    """Unwrap a string from a NumPy or TensorFlow array.

    Anything else comes back as it is.

    Examples
    --------
    >>> plain(np.array("cat.jpg")), plain(np.bytes_(b"cat.jpg"))
    ('cat.jpg', 'cat.jpg')
    """
    if is_text(part) and np.size(part) == 1:
        value = part.numpy() if hasattr(part, "numpy") else np.asarray(part)
        # A NumPy array of bytes would lose the zeros at the end of a file.
        value = value.item() if isinstance(value, np.ndarray) else value
        return _path_or_content(value) if isinstance(value, bytes) else value
    return part


def loaded(part: Any) -> Any:
    """Return the array of a ``.npy`` file; anything else as it is.

    Raises
    ------
    OSError
        If the file is missing or holds no array.

    Examples
    --------
    >>> loaded("cat.jpg")
    'cat.jpg'
    """
    is_path = isinstance(part, str | os.PathLike)
    if not is_path or os.path.splitext(os.fspath(part))[1] != ARRAY:
        return part
    try:
        return np.load(part, allow_pickle=False)
    except (EOFError, ValueError) as error:
        raise OSError(f"{os.fspath(part)}: no array of numbers ({error})") from error


def texts_of(tensor: Any) -> list[str | bytes]:
    """Return a TensorFlow tensor's strings: paths, or contents of files."""
    return [_path_or_content(value) for value in tensor.numpy()]


def _path_or_content(value: bytes) -> str | bytes:
    """Decode the path of a file.

    TensorFlow has one kind of string for that and for its content.
    """
    if len(value) > LONGEST_PATH or b"\0" in value:
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
