"""Table of the methods: purpose, cost, needs; pictures in a notebook."""

from __future__ import annotations

import base64
import textwrap
from html import escape
from importlib import resources

from eli5k.keras.methods.registry import METHODS, Method

FAMILIES = {
    "layer": "From a layer",
    "input": "From the input",
    "perturbation": "By perturbing the input",
    "meta": "Around another method",
}
WIDTH, INDENT = 100, "    "
NEEDS_LAYER, NEEDS_NONE = "a layer that has a grid", "nothing but the input"
CELL = "vertical-align: top; text-align: left; padding: 0.3em 0.6em; min-width: {}em;"
PICTURE = "width: 200px; max-width: 40vw; height: auto; display: block;"


class MethodTable(dict[str, Method]):
    """Methods by name; shown as a table, in notebooks with pictures."""

    def __str__(self) -> str:
        parts = []
        for family in dict.fromkeys(method.family for method in self.values()):
            lines = [FAMILIES.get(family, family)]
            for name, method in self.items():
                if method.family == family:
                    lines += _lines(name, method)
            parts.append("\n".join(lines))
        return "\n\n".join(parts)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = [_row(name, method) for name, method in self.items()]
        titles = ("method", "", "what it does, and when to use it", "runs of the model", "needs")
        head = "".join(f'<th style="{CELL.format(0)}">{title}</th>' for title in titles)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        return f'<div style="overflow-x: auto;">{table}</div>'


def methods() -> MethodTable:
    """List the methods that ``method=`` takes: what each does, costs and needs.

    Returns
    -------
    MethodTable
        A dict of :class:`~eli5k.keras.methods.Method`. In a notebook it is a table with a picture
        of each: why the demo's net sees a cat beside the cup.

    Examples
    --------
    >>> found = methods()
    >>> found["grad-cam"].title, found["grad-cam"].needs_layer
    ('Grad-CAM', True)
    >>> print(found)
    From a layer
      cam: CAM
        ...
      grad-cam: Grad-CAM
        Weights channels by the mean of their gradient. The default: class-specific, robust and
        known to most readers.
        Cost: 1 forward and 1 backward to the layer. Needs a layer that has a grid.
    ...
    """
    return MethodTable(METHODS)


def _needs(method: Method) -> str:
    return NEEDS_LAYER if method.needs_layer else NEEDS_NONE


def _lines(name: str, method: Method) -> list[str]:
    """Return the lines about one method."""
    lines = [f"  {name}: {method.title}"]
    cost = f"Cost: {method.cost}. Needs {_needs(method)}."
    for text in filter(None, (f"{method.what} {method.when}".strip(), cost)):
        lines += textwrap.wrap(text, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT)
    return lines


def _row(name: str, method: Method) -> str:
    cells = [
        (f"<b>{escape(name)}</b><br>{escape(method.title)}", 8),
        (_picture(name, method), 0),
        (escape(f"{method.what} {method.when}"), 14),
        (escape(str(method.cost)), 10),
        (escape(_needs(method)), 6),
    ]
    inner = "".join(f'<td style="{CELL.format(width)}">{cell}</td>' for cell, width in cells)
    return f"<tr>{inner}</tr>"


def _picture(name: str, method: Method) -> str:
    """Return a method's picture; None for one that a user registered."""
    file = resources.files("eli5k.keras.methods").joinpath("pictures", f"{name}.webp")
    if not file.is_file():
        return ""
    source = f"data:image/webp;base64,{base64.b64encode(file.read_bytes()).decode('ascii')}"
    alt = escape(f"{method.title} for the class cat, over a cat and a cup")
    return f'<img src="{source}" alt="{alt}" width="200" style="{PICTURE}">'
