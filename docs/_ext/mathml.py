"""Write formulas as MathML, which browsers draw themselves: no script from elsewhere is needed."""

import re
from html import escape

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)
# MathML stretches brackets by itself.
SIZES = re.compile(r"\\[bB]igg?[lrm]?(?![a-z])")


def to_mathml(node: nodes.Element, as_block: bool = False) -> str:
    formula = SIZES.sub("", node.astext()).strip()
    try:
        return latex2mathml.tex2mathml(formula, as_block=as_block)
    except MathError as error:
        logger.warning("formula %r: %s", formula, error, location=node)
        return f"<code>{escape(formula)}</code>"


def visit_math(translator: nodes.NodeVisitor, node: nodes.math) -> None:
    translator.body.append(to_mathml(node))
    raise nodes.SkipNode


def visit_math_block(translator: nodes.NodeVisitor, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="math">{to_mathml(node, as_block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict:
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
