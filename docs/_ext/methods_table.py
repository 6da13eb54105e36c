"""The directive ``methods-table``: the methods of a family, each with its picture.

A picture that is not yet in ``images/methods`` is made during the build.
"""

from pathlib import Path

import make_pictures
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from eli5k.keras.methods import METHODS, Method

DOCS = Path(__file__).parent.parent


class MethodsTable(SphinxDirective):
    """The methods of one family."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        family = self.arguments[0]
        chosen = {name: each for name, each in METHODS.items() if each.family == family}
        if not chosen:
            raise self.error(f"no method is of the family {family!r}")
        lines = [line for name, method in chosen.items() for line in entry(name, method)]
        return self.parse_text_to_nodes("\n".join(lines))


def entry(name: str, method: Method) -> list[str]:
    """Lines of one method: its picture; title, sentence, when to use it, cost and paper."""
    return [
        ".. container:: method",
        "",
        f"   .. image:: {picture_of(name)}",
        f"      :alt: the cat and the cup of the demo under {method.title}",
        "",
        "   .. container:: said",
        "",
        f"      .. rubric:: {method.title}",
        f"         :name: method-{slug(name)}",
        "",
        f'      ``method="{name}"``',
        "",
        f"      {method.what} {method.when}",
        "",
        f"      *Cost:* {method.cost}.",
        "",
        f"      {cited(method.paper)}",
        "",
    ]


def slug(name: str) -> str:
    """Name of a method as the anchor of its entry."""
    return make_pictures.method_file(name).stem


def cited(paper: str) -> str:
    """Link a paper, ``Authors year, https://...``."""
    authors, _, address = paper.partition(", http")
    return f"`{authors} <http{address}>`__" if address else authors


def picture_of(name: str) -> str:
    """Path of a method's picture, for Sphinx."""
    file = make_pictures.method_file(name)
    if not file.exists():
        make_pictures.method_pictures([name])
    return f"/{file.relative_to(DOCS)}"


def check_families(_: Sphinx) -> None:
    """Raise an error if docs/methods.rst has no section for the family of a method."""
    page = (DOCS / "methods.rst").read_text(encoding="utf-8")
    missing = {m.family for m in METHODS.values() if f"methods-table:: {m.family}\n" not in page}
    if missing:
        raise ValueError(f"docs/methods.rst has no table for the families {sorted(missing)}")


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("methods-table", MethodsTable)
    app.connect("builder-inited", check_families)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
