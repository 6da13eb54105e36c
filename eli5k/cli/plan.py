"""Plan ``eli5k explain``: check all that needs no model, before Keras loads."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eli5k.cli.class_names import read_class_names
from eli5k.cli.destination import Destination, check_file, find_destination
from eli5k.cli.errors import UserError
from eli5k.cli.files import find_files, split_targets
from eli5k.cli.look import read_look
from eli5k.cli.model import check_model_arguments
from eli5k.cli.options import ALL, number_or_name, read_methods, read_options
from eli5k.cli.picture import Question
from eli5k.cli.store import Results, find_results
from eli5k.formatters.save import PAGES


@dataclass(frozen=True)
class Plan:
    """What a command is to do.

    Attributes
    ----------
    files : list of pathlib.Path
    missing : int
        How many words mean no picture.
    question : Question
    destination : Destination or None
        Where each picture's files go; None if only pages are asked for.
    pages : tuple of pathlib.Path
        Each shows all pictures.
    look : dict
        Keywords of :func:`eli5k.format_as_page`.
    results : Results or None
        If the answers become a data set instead.
    """

    files: list[Path]
    missing: int
    question: Question
    destination: Destination | None
    pages: tuple[Path, ...]
    look: dict[str, Any]
    results: Results | None = None


def make_plan(arguments: argparse.Namespace) -> Plan:
    """Check the arguments, and look for what they name.

    Parameters
    ----------
    arguments : argparse.Namespace
        The arguments of ``eli5k explain``.

    Returns
    -------
    Plan

    Raises
    ------
    UserError
        If something is wrong with them.
    """
    check_model_arguments(arguments)
    names = None if arguments.names is None else read_class_names(Path(arguments.names))
    words = _pictures(arguments, names)
    question = _question(arguments, names)
    look = read_look(arguments)
    results = find_results(arguments, words, question)
    if results is not None:
        return Plan([], 0, question, None, (), {}, results)
    files, missing = find_files(words)
    pages = [] if arguments.report is None else [_report(arguments.report, files)]
    destination = None
    if not pages or arguments.out is not None or arguments.format is not None:
        destination = find_destination(arguments.out, arguments.format, look, files)
        if destination.is_file and destination.ending in PAGES:
            pages.append(destination.path)
            destination = None
    of_page = {key: look[key] for key in look if key in ("colormap", "alpha_limit")}
    return Plan(files, missing, question, destination, tuple(pages), of_page)


def _pictures(arguments: argparse.Namespace, names: Any) -> list[str]:
    """Return the words that mean pictures, before and after the targets."""
    words = list(arguments.images)
    if arguments.targets is not None:
        known = list(names.values() if isinstance(names, dict) else names or ())
        arguments.targets, files = split_targets(arguments.targets, known)
        words += files
    if not words:
        raise UserError("which picture? Usage: eli5k explain MODEL IMAGE [IMAGE ...] [options]")
    if arguments.targets == []:
        raise UserError(f"--targets takes classes, and {words[-1]} is a file")
    return words


def _question(arguments: argparse.Namespace, names: Any) -> Question:
    methods = read_methods(arguments.method, arguments.modules)
    options = read_options(arguments, names)
    layers: list[Any] = list(map(number_or_name, arguments.layer or [None]))
    if methods == ["fuse"] and len(layers) > 1:
        layers = [layers]
    return Question(options, tuple(methods), tuple(layers), ALL in (arguments.method or ()))


def _report(name: str, files: list[Path]) -> Path:
    page = Path(name)
    if page.suffix.lower() not in PAGES:
        raise UserError(f"--report {page}: the name of a page ends with .html")
    check_file("--report", page, files)
    return page
