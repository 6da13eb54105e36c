"""Find the picture files of a folder or a pattern."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator

from PIL import Image

# NumPy's file for one array.
ARRAY = ".npy"


def find_pictures(place: str | os.PathLike[str], argument: str = "docs") -> list[str]:
    """List a folder's or pattern's picture files, in order of name.

    Parameters
    ----------
    place : path
        A folder, with all folders in it; a pattern such as ``"photos/**/*.jpg"``; or a file.
    argument : str
        What an error calls it.

    Returns
    -------
    list of str
        In a folder, the files whose names end like those of a format that Pillow reads; if there is
        none, its ``.npy`` files. Hidden ones are left out.

    Raises
    ------
    FileNotFoundError
        If no picture is found.

    Examples
    --------
    >>> from eli5k.demo import PHOTOS
    >>> folder = PHOTOS["both"].parent
    >>> find_pictures(folder) == find_pictures(folder / "*.jpg")
    True
    """
    name = os.fspath(place)
    if os.path.isdir(name):
        Image.init()
        extensions = Image.registered_extensions()
        pictures = {ending for ending, name in extensions.items() if name in Image.OPEN}
        files = list(_files_in(name, pictures)) or list(_files_in(name, {ARRAY}))
        files.sort(key=lambda file: file.split(os.sep))
        reason = "has no picture: no file with a name that ends like .jpg or .png"
    elif os.path.exists(name) or not any(sign in name for sign in "*?["):
        files, reason = [name] if os.path.exists(name) else [], "does not exist"
    else:
        files = sorted(filter(os.path.isfile, glob.glob(name, recursive=True)))
        reason = "fits no file. To look into all folders below one, write ** after it"
    if not files:
        raise FileNotFoundError(f"{argument}: {name!r} {reason}.")
    return files


def _files_in(folder: str, endings: set[str]) -> Iterator[str]:
    # Follow each link once, since it may lead back.
    seen = {os.path.realpath(folder)}
    for path, folders, files in os.walk(folder, followlinks=True):
        visible = sorted(each for each in folders if not each.startswith("."))
        folders.clear()
        for each in visible:
            real = os.path.realpath(os.path.join(path, each))
            if real not in seen:
                seen.add(real)
                folders.append(each)
        for file in files:
            if os.path.splitext(file)[1].lower() in endings and not file.startswith("."):
                yield os.path.join(path, file)
