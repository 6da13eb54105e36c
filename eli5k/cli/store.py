"""``eli5k explain ... --out RESULTS``: explain documents into Parquet files."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import eli5k
from eli5k.cli.destination import ENDINGS, check_folder
from eli5k.cli.errors import FAILURE, UserError, raised_by_others, reason_of
from eli5k.cli.files import find_files
from eli5k.cli.messages import say
from eli5k.cli.picture import Question, keywords

if TYPE_CHECKING:
    import keras

PARQUET = "parquet"
# Tables of pictures, or of their paths, and archives of pictures.
SOURCES = (".parquet", ".pq", ".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True)
class Results:
    """What is explained into which folder.

    Attributes
    ----------
    source : str or list of str
        As :func:`eli5k.explain_to` takes it.
    out : pathlib.Path
    how : dict
        Its keywords that the user gave.
    """

    source: str | list[str]
    out: Path
    how: dict[str, Any]


def add_how_many(parser: argparse.ArgumentParser) -> None:
    """Add the options for many pictures to a command."""
    group = parser.add_argument_group(
        "many pictures",
        "With a folder, Parquet files or WebDataset archives as IMAGE, and a folder as --out (or "
        "with --format parquet), the answers become a data set, for which the same command goes on "
        "after it was stopped. 'eli5k report' sums it up.",
    )
    add = group.add_argument
    add("--column", metavar="NAME", help="column of the pictures in Parquet files (default: image)")
    add("--key", metavar="NAME", help="column that tells the rows of Parquet files apart")
    add("--workers", type=int, metavar="N", help="processes that decode pictures")
    add("--timeout", type=float, metavar="S", help="seconds to decode a picture (default: 60)")


def find_results(
    arguments: argparse.Namespace, words: Sequence[str], question: Question
) -> Results | None:
    """Tell whether to write a folder that can be resumed.

    Parameters
    ----------
    arguments : argparse.Namespace
        The arguments of ``eli5k explain``.
    words : sequence of str
        The pictures, as they were written.
    question : Question

    Returns
    -------
    Results or None
        None if pictures are asked for.

    Raises
    ------
    UserError
        If it can't be done as asked.
    """
    how = {
        name: getattr(arguments, name)
        for name in ("column", "key", "workers", "timeout")
        if getattr(arguments, name) is not None
    }
    is_many = any(Path(word).is_dir() or word.endswith(SOURCES) for word in words)
    names_file = arguments.out is not None and arguments.out.lower().endswith(ENDINGS)
    is_asked = is_many and arguments.out is not None and not names_file
    if arguments.format != PARQUET and not (is_asked and arguments.format is None):
        if how:
            raise UserError(f"--{next(iter(how))} is for a data set: add --format parquet")
        if any(word.endswith(SOURCES) for word in words):
            raise UserError("tables and archives are explained into a folder: add --out RESULTS")
        return None
    _check(arguments, question, names_file)
    check_folder(Path(arguments.out))
    return Results(_source(words), Path(arguments.out), how)


def explain_into(model: keras.Model, results: Results, question: Question) -> int:
    """Explain all documents that aren't in the folder yet; report.

    Raises
    ------
    UserError
        If the folder holds answers to another question, or it can't be done.
    """
    asked = keywords(question.options) | {
        "method": question.methods[0],
        "layer": question.layers[0],
    }
    del asked["batch_size"], asked["progress"]
    try:
        counts = eli5k.explain_to(model, results.source, results.out, **results.how, **asked)
    except raised_by_others() as error:
        raise UserError(reason_of(error)) from error
    say(f"{results.out}: {counts}")
    return FAILURE if counts.errors else 0


def _check(arguments: argparse.Namespace, question: Question, names_file: bool) -> None:
    if arguments.out is None or names_file:
        raise UserError("--format parquet fills a folder: add --out RESULTS")
    for name in ("style", "colormap", "alpha"):
        if getattr(arguments, name) is not None:
            raise UserError(f"--{name} is for pictures: add --format png")
    if arguments.report is not None:
        raise UserError(f"make the page afterwards: eli5k report {arguments.out}")
    if len(question.methods) > 1 or len(question.layers) > 1:
        raise UserError("a data set takes one --method and one --layer: add --format png")


def _source(words: Sequence[str]) -> str | list[str]:
    if len(words) == 1:
        if not any(sign in words[0] for sign in "*?[") and not Path(words[0]).exists():
            raise UserError(f"{words[0]}: No such file or directory")
        return words[0]
    if all(word.endswith(SOURCES) for word in words):
        return list(words)
    files, missing = find_files(words)
    if missing:
        raise UserError("a data set needs all of its files")
    return list(map(str, files))
