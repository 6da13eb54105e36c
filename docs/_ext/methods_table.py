"""The directive ``methods-table``: every method of the registry, with a picture of its own.

A picture that is not yet in ``images/methods`` is made during the build.
"""

from pathlib import Path

import make_pictures
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from eli5k.keras.methods import METHODS, Method

DOCS = Path(__file__).parent.parent

FAMILIES = {
    "layer": "From a layer",
    "input": "From the input",
    "trying": "From trying",
    "meta": "Around another method",
}


class MethodsTable(SphinxDirective):
    """A table of the methods of one family."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        family = self.arguments[0]
        chosen = {name: each for name, each in METHODS.items() if each.family == family}
        if not chosen:
            return self.parse_text_to_nodes("*None yet.*")
        lines = [".. list-table::", "   :class: methods", "   :widths: 46 54", ""]
        for name, method in chosen.items():
            lines += row(name, method)
        return self.parse_text_to_nodes("\n".join(lines))


def row(name: str, method: Method) -> list[str]:
    paper, _, link = method.paper.partition(", http")
    cited = f"`{paper} <http{link}>`__" if link else method.paper
    return [
        f"   * - **{method.title}**, ``{name}``",
        "",
        f"       {method.what} {method.when}",
        "",
        f"       *Cost:* {method.cost}.",
        "",
        f"       {cited}",
        f"     - .. image:: {picture_of(name)}",
        f"          :alt: the demo's two digits under {method.title}",
    ]


def picture_of(name: str) -> str:
    """Path of a method's picture, for Sphinx."""
    file = make_pictures.method_file(name)
    if not file.exists():
        make_pictures.method_pictures([name])
    return f"/{file.relative_to(DOCS)}"


def setup(app: Sphinx) -> dict:
    unknown = {method.family for method in METHODS.values()} - set(FAMILIES)
    if unknown:
        raise ValueError(f"docs/methods.rst has no section for the families {unknown}")
    app.add_directive("methods-table", MethodsTable)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
