"""The options that say what is explained, and :class:`eli5k.options.Options` made of them.

Mistakes that can be found without Keras are reported before it is imported, which takes long.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from eli5k.cli.errors import UserError
from eli5k.cli.functions import check_function, find_function
from eli5k.method_names import NAMES, find_name
from eli5k.options import Options

ALL, BEST = "all", "best"
# Value of --preprocess that turns off the model's own preprocessing.
NONE = "none"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that :func:`read_options` reads to a command."""
    add = parser.add_argument
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--targets",
        nargs="+",
        metavar="CLASS",
        help="classes to explain, by number or name (default: the one with the highest score)",
    )
    which.add_argument(
        "--top-targets",
        type=int,
        metavar="N",
        help="explain the N best classes, or the N worst if negative",
    )
    which.add_argument(
        "--threshold",
        type=float,
        metavar="P",
        help="explain all classes with at least this probability",
    )
    add(
        "--names",
        metavar="FILE",
        help="names of the classes: one per line, or a JSON list or dict such as ImageNet's "
        "class index",
    )
    add_how(parser)
    add(
        "--input",
        metavar="NAME",
        help="input to explain if the model takes several pictures, by name or index, or 'all'",
    )
    add(
        "--region",
        nargs=4,
        type=int,
        metavar=("LEFT", "TOP", "RIGHT", "BOTTOM"),
        help="for a segmenter or a detector: explain what it says in this box, in pixels",
    )
    add(
        "--logits",
        action="store_true",
        default=None,
        help="explain the score before the softmax or sigmoid",
    )
    add(
        "--check",
        action="store_true",
        help="check whether each map is faithful to the model, with 80 further runs of it",
    )


def add_how(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how a model is explained."""
    add = parser.add_argument
    add(
        "--method",
        action="append",
        metavar="NAME",
        help="how to explain, see 'eli5k methods' (default: grad-cam); 'best' ranks them on your "
        "pictures first",
    )
    add(
        "--layer",
        action="append",
        help="name, path or index, see 'eli5k layers' (default: the last suitable layer)",
    )
    add(
        "--preprocess",
        metavar="MODULE:FUNCTION",
        help="function to apply to each image array before the model, e.g. "
        "keras.applications.mobilenet_v2:preprocess_input; 'none' for pictures as they are",
    )
    add(
        "--output",
        metavar="NAME",
        help="output to explain if the model has several, by name or index, or 'all' (default: "
        "the first)",
    )


def read_methods(words: list[str] | None, modules: list[str]) -> list[str]:
    """Return the names of the methods that were asked for.

    Parameters
    ----------
    words : list of str or None
        As they were written; ``"all"`` is each, and ``"best"`` is chosen by a ranking.
    modules : list of str
        What is imported, which may register other methods.

    Raises
    ------
    UserError
        If there is no such method.

    Examples
    --------
    >>> read_methods(["GradCAM", "ig"], [])
    ['grad-cam', 'integrated-gradients']
    """
    words = words or ["grad-cam"]
    if ALL in words:
        return list(NAMES)
    try:
        known = (word if modules or word == BEST else find_name(word) for word in words)
        return list(dict.fromkeys(known))
    except ValueError as error:
        raise UserError(str(error)) from error


def read_options(
    arguments: argparse.Namespace, names: list[str] | dict[int, str] | None
) -> Options:
    """Translate the shell's options that need no import to keywords.

    Method and layer are left out: there may be several.

    Parameters
    ----------
    arguments : argparse.Namespace
        With those of :func:`add_options`.
    names : list of str, dict of int to str, or None
        Names of the classes.

    Raises
    ------
    UserError
        If a value can't be used, as far as no model is needed to know.
    """
    if arguments.preprocess not in (None, NONE):
        check_function("--preprocess", arguments.preprocess)
    try:
        return Options(
            targets=_targets(arguments.targets, names),
            top_targets=arguments.top_targets,
            threshold=arguments.threshold,
            target_names=names,
            preprocess=False if arguments.preprocess == NONE else None,
            logits=arguments.logits,
            check=arguments.check,
            output=number_or_name(arguments.output),
            input=number_or_name(arguments.input),
            region=None if arguments.region is None else tuple(arguments.region),
        )
    except ValueError as error:
        raise UserError(str(error)) from error


def with_function(options: Options, name: str | None) -> Options:
    """Import the function of ``--preprocess``, which may import Keras.

    Raises
    ------
    UserError
        If that fails.
    """
    if name in (None, NONE):
        return options
    return replace(options, preprocess=find_function("--preprocess", str(name)))


def number_or_name(text: str | None) -> int | str | None:
    """Return a number, if a word is one.

    Examples
    --------
    >>> number_or_name("-3"), number_or_name("conv")
    (-3, 'conv')
    """
    try:
        return text if text is None else int(text)
    except ValueError:
        return text


def _targets(words: list[str] | None, names: list[str] | dict[int, str] | None) -> Any:
    if words is None:
        return None
    known = names.values() if isinstance(names, dict) else names or ()
    # A name may look like a number.
    targets = [word if word in known else number_or_name(word) for word in words]
    unnamed = [target for target in targets if isinstance(target, str)]
    if unnamed and names is None:
        raise UserError(f"To use the class name {unnamed[0]!r}, pass --names.")
    return targets
