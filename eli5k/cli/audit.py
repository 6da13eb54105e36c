"""``eli5k audit``: find what the maps of a folder have in common."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import eli5k
from eli5k.cli.backend import import_library
from eli5k.cli.destination import naming
from eli5k.cli.errors import FAILURE, UserError, raised_by_others, reason_of
from eli5k.cli.messages import complain, say
from eli5k.cli.model import LOADING, add_model_arguments, check_model_arguments, load_model
from eli5k.cli.options import (
    add_how,
    number_or_name,
    read_methods,
    read_options,
    with_function,
)

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from eli5k.keras.metrics import Audit

MOST = 500


def add_to(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Describe the command and its arguments."""
    parser = commands.add_parser(
        "audit",
        usage="%(prog)s [MODEL] FOLDER [options]",
        help="tell what the maps of many pictures have in common, such as a tag in a corner",
        epilog=LOADING,
    )
    add_model_arguments(parser)
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        nargs="?",
        help="folder of ten pictures or more, as the model sees in use; or what 'eli5k explain "
        "--out RESULTS' has written, for which MODEL may be left out",
    )
    add_how(parser)
    parser.add_argument(
        "--most",
        type=int,
        default=MOST,
        metavar="N",
        help="how many pictures to take, evenly spread (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="page with the mean map and the groups of maps, such as a.html",
    )
    parser.set_defaults(
        command=audit,
        targets=None,
        top_targets=None,
        threshold=None,
        logits=True,
        input=None,
        region=None,
        check=False,
    )


def audit(arguments: argparse.Namespace) -> int:
    """Audit the pictures of a folder; skip broken ones.

    The exit code tells whether there were any.
    """
    has_model = arguments.folder is not None
    folder = Path(arguments.folder if has_model else arguments.model)
    if has_model:
        check_model_arguments(arguments)
    [method, *more] = read_methods(arguments.method, arguments.modules)
    [layer, *further] = list(map(number_or_name, arguments.layer or [None]))
    if more or further:
        raise UserError("an audit takes one --method and one --layer")
    options = read_options(arguments, None)
    if arguments.out is not None and not arguments.out.lower().endswith((".html", ".htm")):
        raise UserError(f"--out must name a page, such as audit.html. Received: {arguments.out}")
    if not folder.is_dir():
        raise UserError(
            f"{folder} is not a folder"
            if has_model
            else f"{folder}: name the folder of pictures after the model"
        )
    import_library()
    from eli5k.keras.store.audit import is_store

    if not has_model and not is_store(folder):
        raise UserError(
            f"{folder} has no explanations. Name the model first: eli5k audit MODEL {folder}"
        )
    model = load_model(arguments) if has_model else None
    options = with_function(options, arguments.preprocess)
    how: dict[str, Any] = {"method": method} if arguments.method else {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", eli5k.ExplanationWarning)
        try:
            found = eli5k.audit(
                model,
                folder,
                layer=layer,
                output=options.output,
                preprocess=options.preprocess,
                most=arguments.most,
                progress=None,
                **how,
            )
        except raised_by_others() as error:
            raise UserError(reason_of(error)) from error
    for warning in caught:
        complain(str(warning.message))
    _report(found)
    if arguments.out is not None:
        _save(found, Path(arguments.out))
    # Others warn of the model.
    return FAILURE if any(each.category is eli5k.ExplanationWarning for each in caught) else 0


def _save(found: Audit, path: Path) -> None:
    from eli5k.keras.metrics.audit_page import page_of

    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page_of(found._repr_html_(), "What the maps have in common"), "utf-8")


def _report(found: Audit) -> None:
    say(f"{found.pictures} pictures: {found}")
    for group in found.groups:
        say(
            f"  {100 * group.share:3.0f} %  peak {group.place}, alike to {group.likeness:.2f} "
            "(correlation)"
        )
