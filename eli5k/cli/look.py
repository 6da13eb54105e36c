"""The options that say how pictures look."""

from __future__ import annotations

import argparse
from typing import Any

from eli5k.cli.errors import UserError
from eli5k.formatters.heatmap import find_colormap
from eli5k.formatters.styles import STYLES, find_style


def add_look(parser: argparse.ArgumentParser) -> None:
    """Add the options that :func:`read_look` reads to a command."""
    add = parser.add_argument
    add(
        "--style",
        metavar="NAME",
        help=f"how heat is drawn: {', '.join(STYLES)} (default: dim for maps of the input, else "
        "overlay)",
    )
    add("--colormap", metavar="NAME", help="one of matplotlib's colormaps (default: viridis)")
    add(
        "--alpha",
        type=float,
        metavar="A",
        help="greatest opacity of the heat, from 0 to 1 (default: 0.65)",
    )
    add(
        "--caption",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="tell name, score, method and layer below the picture (default: yes)",
    )


def read_look(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the keywords of :func:`eli5k.save` that were asked for.

    Raises
    ------
    UserError
        If a value can't be used.
    """
    try:
        if arguments.style is not None:
            find_style(arguments.style)
        if arguments.colormap is not None:
            find_colormap(arguments.colormap)
    except ValueError as error:
        raise UserError(str(error)) from error
    if arguments.alpha is not None and not 0 <= arguments.alpha <= 1:
        raise UserError(f"--alpha must be from 0 to 1. Received: {arguments.alpha}")
    asked = {
        "style": arguments.style,
        "colormap": arguments.colormap,
        "alpha_limit": arguments.alpha,
        "caption": arguments.caption,
    }
    return {key: value for key, value in asked.items() if value is not None}
