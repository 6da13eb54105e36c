"""The folder that pictures are written to, without overwriting a file that is not ours."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import eli5k
from eli5k.cli.errors import UserError, reason_of

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class OutputFolder:
    """A folder, and the files that a command must not overwrite.

    Attributes
    ----------
    path : pathlib.Path
    taken : set of str
        Absolute paths in lower case: what the command reads, and what it has written so far.
    """

    path: Path
    taken: set[str]

    def save(self, picture: Image.Image, stem: str) -> Path:
        """Save a picture as a PNG under a name of its own.

        Parameters
        ----------
        picture : PIL.Image.Image
        stem : str
            Name without suffix; a number is added if it is taken.

        Returns
        -------
        pathlib.Path
            Of the file.

        Raises
        ------
        UserError
            If it cannot be written.
        """
        from PIL.PngImagePlugin import PngInfo

        path = self._free_path(stem)
        mark = PngInfo()
        mark.add_text("Software", f"eli5k {eli5k.__version__}")
        try:
            picture.save(path, pnginfo=mark)
        except OSError as error:
            raise UserError(f"{path}: {error.strerror or reason_of(error)}") from error
        self.taken.add(_identity(path))
        return path

    def _free_path(self, stem: str) -> Path:
        names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        paths = (self.path / f"{name}.png" for name in names)
        return next(path for path in paths if self._may_write(path))

    def _may_write(self, path: Path) -> bool:
        return _identity(path) not in self.taken and (not path.exists() or _is_ours(path))


def make_output_folder(name: str, keep: Iterable[Path] = ()) -> OutputFolder:
    """Make the folder, unless it is there.

    Parameters
    ----------
    name : str
    keep : iterable of pathlib.Path
        Files that must not be overwritten, even if an earlier run of eli5k has written them.

    Raises
    ------
    UserError
        If it cannot be made.
    """
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}") from error
    return OutputFolder(folder, set(map(_identity, keep)))


def _identity(path: Path) -> str:
    # Two names that differ only in case are one file on some systems.
    return str(path.resolve()).casefold()


def _is_ours(path: Path) -> bool:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return str(picture.info.get("Software")).startswith("eli5k ")
    except OSError:
        return False
