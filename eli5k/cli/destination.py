"""Where a command writes: never over files that eli5k didn't write."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import eli5k
from eli5k.cli import table
from eli5k.cli.errors import UserError, reason_of
from eli5k.formatters.save import MAKER, PAGES, PICTURES
from eli5k.whole_files import written_beside

JSON = ".json"
#: Formats of a file, by the end of its name.
ENDINGS = (*PICTURES, *PAGES, JSON, table.CSV)
FORMATS = ("png", "jpg", "webp", "pdf", "html", "json", "csv", "parquet")
# Formats that can't be written here: a name with such an ending means no folder.
OTHERS = (".bmp", ".eps", ".gif", ".svg", ".tif", ".tiff", ".parquet", ".txt")
# How many bytes of a page are searched for the mark in its head.
HEAD = 2000  # bytes


@dataclass(frozen=True)
class Destination:
    """A folder or file, and the files that must not be overwritten.

    Attributes
    ----------
    path : pathlib.Path
    ending : str
        End of the files' names, such as ``".png"``.
    is_file : bool
        Whether ``path`` is the file, not the folder of the files.
    look : dict
        Keywords of :func:`eli5k.save`.
    taken : set of str
        Absolute paths in lower case: what the command reads, and what it has written so far.
    rows : list
        What is written to a table at the end.
    """

    path: Path
    ending: str
    is_file: bool = False
    look: dict[str, Any] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    rows: list[list[Any]] = field(default_factory=list)

    def save(self, explanations: Sequence[eli5k.Explanation], stem: str) -> Path | None:
        """Save the explanations of a picture under a name of its own.

        Parameters
        ----------
        explanations : sequence of Explanation
        stem : str
            Name without suffix; a number is added if it is taken.

        Returns
        -------
        pathlib.Path or None
            The file; None if they are in the table that :meth:`finish` writes.

        Raises
        ------
        UserError
            If it can't be written.
        """
        if self.ending == table.CSV:
            self.rows.extend(table.rows_of(explanations))
            return None
        path = self._free_path(stem)
        with naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if self.ending == JSON:
                _write_text(path, _as_json(explanations))
            else:
                eli5k.save(explanations, path, **self.look)
        self.taken.add(_identity(path))
        return path

    def finish(self) -> Path | None:
        """Write the table, if one is asked for."""
        if self.ending != table.CSV:
            return None
        path = self._free_path("explanations")
        with naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_text(path, table.as_csv(self.rows))
        return path

    def _free_path(self, stem: str) -> Path:
        if self.is_file:
            return self.path
        names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        paths = (self.path / f"{name}{self.ending}" for name in names)
        return next(path for path in paths if self._may_write(path))

    def _may_write(self, path: Path) -> bool:
        # A broken link belongs to somebody, too.
        is_free = not os.path.lexists(path) or is_ours(path)
        return is_free and _identity(path) not in self.taken


def find_destination(
    out: str | None,
    wanted: str | None,
    look: dict[str, Any],
    keep: Sequence[Path] = (),
) -> Destination:
    """Find out what to write where, and whether that can be.

    Nothing is written yet.

    Parameters
    ----------
    out : str or None
        The name of a folder or a file; None for the working folder.
    wanted : str or None
        One of ``FORMATS``.
    look : dict
        Keywords of :func:`eli5k.save`.
    keep : sequence of pathlib.Path
        The pictures, which must not be overwritten, even if an earlier run of eli5k has written
        them.

    Raises
    ------
    UserError
        If it can't be written there.
    """
    path = Path("." if out is None else out)
    taken = set(map(_identity, keep))
    named = path.suffix.lower()
    if named not in (*ENDINGS, *OTHERS) or path.is_dir():
        check_folder(path)
        ending = f".{wanted or 'png'}"
        return Destination(path, ending, False, _look_of(ending, look), taken)
    if named in OTHERS:
        raise UserError(f"--out {path}: the name of a file ends with {', '.join(ENDINGS)}")
    if wanted is not None and named not in (f".{wanted}", f".{wanted}".replace("jpg", "jpeg")):
        raise UserError(f"--out {path}: the name says another format than --format {wanted}")
    if len(keep) > 1 and named not in (*PAGES, table.CSV):
        raise UserError(
            f"--out {path} is one file, but there are {len(keep)} pictures. Pass a folder, or the "
            "name of a page, such as --out why.html."
        )
    check_file("--out", path, keep)
    return Destination(path, named, True, _look_of(named, look), taken)


def check_file(option: str, path: Path, keep: Iterable[Path] = ()) -> None:
    """Look whether a file can be written.

    Raises
    ------
    UserError
        If it can't, or if something is there that eli5k didn't write.
    """
    _check_link(path)
    if path.is_dir():
        raise UserError(f"{option} {path}: Is a directory")
    if _identity(path) in set(map(_identity, keep)):
        raise UserError(f"{option} {path}: this is one of the pictures to explain")
    if path.exists() and not is_ours(path):
        raise UserError(f"{option} {path}: there is a file that eli5k didn't write")
    check_folder(path.parent)


def check_folder(path: Path) -> None:
    """Check that files can be written to a folder, existing or not.

    Raises
    ------
    UserError
        If they can't.
    """
    _check_link(path)
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise UserError(f"{there}: Not a directory")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"{there}: Permission denied")


def is_ours(path: Path) -> bool:
    """Tell whether eli5k has written a file."""
    from PIL import ExifTags, Image

    ending = path.suffix.lower()
    try:
        if ending in PICTURES and ending != ".pdf":
            with Image.open(path) as picture:
                return str(picture.getexif().get(ExifTags.Base.Software)).startswith(MAKER)
        with path.open("rb") as file:
            head = file.read(HEAD)
            content = head + file.read() if ending == ".pdf" else head
    except (OSError, ValueError, SyntaxError):
        return False
    if ending == ".pdf":
        return any(MAKER.encode(each) in content for each in ("ascii", "utf-16-be"))
    if ending in PAGES:
        return f'name="generator" content="{MAKER}"'.encode() in head
    if ending == JSON:
        return head.lstrip(b"[\n ").startswith(b'{"estimator"')
    return head.startswith(table.HEADER.encode())


def _check_link(path: Path) -> None:
    for part in (path, *path.parents):
        if part.is_symlink() and not part.exists():
            raise UserError(f"{part}: a link to {os.readlink(part)}, which doesn't exist")


def _look_of(ending: str, look: dict[str, Any]) -> dict[str, Any]:
    """Leave out what pages don't take."""
    if ending in PICTURES:
        return look
    if "style" in look:
        raise UserError(f"--style is for pictures, and {ending[1:]} is none")
    return {key: value for key, value in look.items() if key != "caption"}


def _as_json(explanations: Sequence[eli5k.Explanation]) -> str:
    found = list(map(eli5k.format_as_dict, explanations))
    return json.dumps(found[0] if len(found) == 1 else found, ensure_ascii=False) + "\n"


def _write_text(path: Path, text: str) -> None:
    with written_beside(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Say which file a system error is about.

    Raises
    ------
    UserError
        Instead of the system's.
    """
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or reason_of(error)}") from error


def _identity(path: Path) -> str:
    # Two names that differ only in case are one file on some systems.
    return str(path.resolve()).casefold()
