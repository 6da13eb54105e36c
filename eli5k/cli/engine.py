"""``eli5k explain --engine ray``: the same data set, made by several workers."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from eli5k.cli.errors import FAILURE, UserError, raised_by_others, reason_of
from eli5k.cli.messages import say
from eli5k.cli.picture import Question, keywords

if TYPE_CHECKING:
    from eli5k.cli.store import Results

LOCAL, RAY = "local", "ray"


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add the options of engines to a command."""
    add = parser.add_argument_group("many machines").add_argument
    add(
        "--engine",
        choices=(LOCAL, RAY),
        default=LOCAL,
        help="with 'ray', --workers processes with a model of their own fill the folder --out, on "
        "this machine or on a cluster (default: local)",
    )
    add("--address", metavar="ADDRESS", help="a Ray cluster, such as 'auto' (default: start Ray)")
    add(
        "--gpus-per-worker",
        type=float,
        metavar="SHARE",
        help="such as 0.5 for two workers on each GPU (default: none)",
    )


def check_engine(arguments: argparse.Namespace, results: Results | None) -> None:
    """Check whether the engine can do what is asked for.

    Raises
    ------
    UserError
        If it can't.
    """
    if arguments.engine == LOCAL:
        for option, value in (
            ("--address", arguments.address),
            ("--gpus-per-worker", arguments.gpus_per_worker),
        ):
            if value is not None:
                raise UserError(f"{option} is for --engine ray")
        return
    if results is None:
        raise UserError("--engine ray fills a folder with a data set: add --format parquet")
    if arguments.unsafe or arguments.modules:
        raise UserError(
            "--engine ray loads the model in other processes, without --import and --unsafe: "
            "register its classes with keras.saving, in a module that --preprocess imports"
        )


def explain_on_engine(arguments: argparse.Namespace, results: Results, question: Question) -> int:
    """Explain all documents with several workers, and print a summary.

    Raises
    ------
    UserError
        If it can't be done.
    """
    from eli5k.keras.engines.on_ray import explain_on_ray

    asked = keywords(question.options) | {
        "method": question.methods[0],
        "layer": question.layers[0],
    }
    del asked["batch_size"], asked["progress"]
    try:
        counts = explain_on_ray(
            arguments.model,
            results.source,
            results.out,
            address=arguments.address,
            gpus_per_worker=arguments.gpus_per_worker or 0.0,
            **results.how,
            **asked,
        )
    except raised_by_others() as error:
        raise UserError(reason_of(error)) from error
    say(f"{results.out}: {counts}")
    return FAILURE if counts.errors else 0
