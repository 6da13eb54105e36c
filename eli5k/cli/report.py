"""``eli5k report``: sum up a folder; show its most doubtful explanations."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import eli5k
from eli5k.cli.backend import import_library
from eli5k.cli.errors import UserError, reason_of
from eli5k.cli.messages import say

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from eli5k.keras.store.summary import Summary

MOST = 50


def add_to(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command and its arguments."""
    parser = commands.add_parser(
        "report", help="sum up what 'eli5k explain --out RESULTS' has written, and show it"
    )
    parser.add_argument("results", metavar="RESULTS", help="folder of explanations")
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="page (.html) or picture (.png, .jpg, .webp, .pdf) of the most doubtful explanations "
        "(default: a page beside the folder, with its name)",
    )
    parser.add_argument(
        "--most",
        type=int,
        default=MOST,
        metavar="N",
        help="how many of them to show (default: %(default)s; 0 writes no page)",
    )
    parser.set_defaults(command=report)


def report(arguments: argparse.Namespace) -> int:
    """Print a summary, and save the most doubtful explanations."""
    import_library()
    from eli5k.keras.store.summary import summarise

    if arguments.most < 0:
        raise UserError(f"--most must not be negative. Received: {arguments.most}")
    folder = Path(arguments.results)
    try:
        summary = summarise(folder, arguments.most)
        say(*str(summary).splitlines())
        if summary.doubtful:
            say(f"page: {_save(folder, summary, arguments.out)}")
    except (OSError, ValueError, ImportError) as error:
        raise UserError(reason_of(error)) from error
    return 0


def _save(folder: Path, summary: Summary, out: str | None) -> Path:
    # Beside the folder: Parquet readers take every file inside for a part.
    place = folder if folder.name else folder.resolve()
    path = place.with_name(f"{place.name}.html") if out is None else Path(out)
    explanations = list(eli5k.read_explanations(folder, summary.doubtful))
    if path.suffix.lower() not in (".html", ".htm"):
        shown = [each for each in explanations if each.image is not None]
        if not shown:
            raise UserError("none of the pictures is where it was; pass a page, --out report.html")
        return eli5k.save(shown, path)
    title = f"{summary.headline}. The most doubtful first"
    return eli5k.save(explanations, path, title=title)
