"""``eli5k explain``: explain pictures with a saved model."""

from __future__ import annotations

import argparse
import webbrowser
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import eli5k
from eli5k.cli.backend import import_library
from eli5k.cli.destination import FORMATS, naming
from eli5k.cli.engine import RAY, add_engine, check_engine, explain_on_engine
from eli5k.cli.errors import FAILURE, UserError, raised_by_others, reason_of
from eli5k.cli.look import add_look
from eli5k.cli.messages import complain, say, summed_up, warnings_as_lines
from eli5k.cli.model import LOADING, add_model_arguments, load_model
from eli5k.cli.options import add_options, with_function
from eli5k.cli.picture import best_classes, explain_picture, report, summary
from eli5k.cli.plan import Plan, make_plan
from eli5k.cli.store import add_how_many, explain_into
from eli5k.progress import progress_bar

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    import keras


def add_to(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command and its arguments."""
    parser = commands.add_parser(
        "explain",
        usage="%(prog)s MODEL IMAGE [IMAGE ...] [options]",
        help="explain what a model sees in images",
        epilog=LOADING,
    )
    add_model_arguments(parser)
    parser.add_argument(
        "images",
        nargs="*",
        metavar="IMAGE",
        help="image files in any format that Pillow can read, folders, or patterns such as "
        "'photos/**/*.jpg'",
    )
    add_options(parser)
    add_look(parser)
    _add_output(parser)
    add_how_many(parser)
    add_engine(parser)
    parser.set_defaults(command=explain)


def _add_output(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--out",
        metavar="PATH",
        help="folder for what is written (default: the current one), or a file, such as why.jpg "
        "for one picture or why.html for a page of all",
    )
    add("--format", choices=FORMATS, metavar="FORMAT", help=f"one of {', '.join(FORMATS)}")
    add("--report", metavar="FILE", help="also make one page of all pictures, such as report.html")
    add("--open", action="store_true", help="show what was written in the browser")


def explain(arguments: argparse.Namespace) -> int:
    """Explain each picture; go on after broken ones."""
    plan = make_plan(arguments)
    check_engine(arguments, plan.results)
    import_library()
    options = with_function(plan.question.options, arguments.preprocess)
    plan = replace(plan, question=replace(plan.question, options=options))
    if plan.results is not None and arguments.engine == RAY:
        return explain_on_engine(arguments, plan.results, plan.question)
    model = load_model(arguments)
    if plan.results is not None:
        return explain_into(model, plan.results, plan.question)
    done, written = _explain_files(model, plan)
    if arguments.open and written:
        webbrowser.open(written[-1].resolve().as_uri())
    return 0 if done == len(plan.files) and not plan.missing else FAILURE


def _explain_files(model: keras.Model, plan: Plan) -> tuple[int, list[Path]]:
    """Explain the files; return how many could be, and what was written."""
    is_only = len(plan.files) == 1
    done, written, shown = 0, [], []
    with nullcontext() if is_only else summed_up(len(plan.files)):
        for file in progress_bar(plan.files, progress=None, unit="picture"):
            try:
                found = explain_picture(model, file, plan.question)
                best = best_classes(model, file, plan.question.options) if is_only else None
            except raised_by_others() as error:
                if not done and isinstance(error, TypeError | ValueError):
                    # An error of the first readable picture would be that of each.
                    raise UserError(reason_of(error)) from error
                complain(f"{file}: {reason_of(error)}")
                continue
            path = None
            if plan.destination is not None:
                with warnings_as_lines(file):
                    path = plan.destination.save(found, file.stem)
            if is_only:
                report(file, found, best, path)
            else:
                say(summary(file, found, path))
            done += 1
            written += [path] if path else []
            shown += found if plan.pages else []
    if not is_only:
        say(f"{done} of {len(plan.files)} pictures explained")
    return done, written + _finish(plan, shown)


def _finish(plan: Plan, shown: list[eli5k.Explanation]) -> list[Path]:
    """Write what tells of all pictures, and say where."""
    made = []
    for page in plan.pages if shown else ():
        with naming(page), warnings_as_lines(page):
            page.parent.mkdir(parents=True, exist_ok=True)
            made.append(eli5k.save(shown, page, **plan.look))
    table = None if plan.destination is None else plan.destination.finish()
    made += [table] if table else []
    say(*(f"  {'table' if file == table else 'page ':9}{file}" for file in made))
    return made
