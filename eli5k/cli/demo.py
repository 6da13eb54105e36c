"""``eli5k demo``: explain the photographs that ship with eli5k."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from eli5k.cli.backend import import_library
from eli5k.cli.destination import find_destination
from eli5k.cli.messages import say
from eli5k.cli.picture import Question, best_classes, explain_picture, report
from eli5k.options import Options

if TYPE_CHECKING:
    from argparse import _SubParsersAction

BEGINNING = "EfficientNet-Lite0, trained to name 1,000 kinds of things, looks at photographs.\n"
IN_PYTHON = """
    import eli5k
    from eli5k.demo import NAMES, PHOTOS, load_model, preprocess

    question = {"targets": ["Egyptian cat", "espresso"], "logits": True, "target_names": NAMES}
    eli5k.show_prediction(load_model(), PHOTOS["both"], preprocess=preprocess, **question)\
"""


def add_to(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command and its arguments."""
    parser = commands.add_parser("demo", help="explain photographs with a real net, offline")
    parser.add_argument(
        "--out",
        default="eli5k-demo",
        metavar="DIR",
        help="folder for the heatmaps (default: %(default)s)",
    )
    parser.set_defaults(command=show_demo)


def show_demo(arguments: argparse.Namespace) -> int:
    """Explain three photographs, and print the Python for the first one."""
    started = time.perf_counter()
    out = find_destination(arguments.out, "png", {"caption": False})
    import_library()
    from eli5k.demo import load_model

    model = load_model()
    say(*BEGINNING.split("\n"))
    for text, photo, options in _questions():
        say(*text.split("\n"))
        found = explain_picture(model, photo, Question(options))
        best = best_classes(model, photo, options)
        report(photo, found, best, out.save(found, photo.stem))
    seconds = time.perf_counter() - started
    say(f"That took {seconds:.1f} s. To see the first picture again, run in a notebook:")
    say(*IN_PYTHON.split("\n"))
    return 0


def _questions() -> Iterator[tuple[str, Path, Options]]:
    """Yield heading, file and question for each photograph."""
    from eli5k.demo import NAMES, PHOTOS, preprocess

    yield (
        "A cat and a cup: why Egyptian cat, and why espresso? Each map lies on its own half.",
        PHOTOS["both"],
        Options(
            targets=["Egyptian cat", "espresso"],
            logits=True,
            target_names=NAMES,
            preprocess=preprocess,
        ),
    )
    yield (
        "The cup alone: the three best classes.",
        PHOTOS["cup"],
        Options(top_targets=3, logits=True, target_names=NAMES, preprocess=preprocess),
    )
    yield (
        "A mistake that no map shows: the net wants pixels from -1 to 1, and gets 0 to 255 here.\n"
        "The map looks as good as the others, but it explains nonsense: add\n"
        "preprocess=eli5k.demo.preprocess, and the net sees an Egyptian cat.",
        PHOTOS["cat"],
        Options(logits=True, target_names=NAMES),
    )
