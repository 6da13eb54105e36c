"""Format an explanation as a fragment of HTML, for Jupyter and elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape
from typing import Literal

from eli5k.base import Explanation, TargetExplanation
from eli5k.formatters import fields
from eli5k.formatters.cards import has_drawing
from eli5k.formatters.curve import curve_of
from eli5k.formatters.drawing import TEXT
from eli5k.formatters.heatmap import colourise, drawable_heatmap, overlay
from eli5k.formatters.image import draw_picture, image_to_data_uri
from eli5k.formatters.orientation import turned
from eli5k.formatters.page import viewer_over
from eli5k.formatters.panels import Look
from eli5k.formatters.place import place_in
from eli5k.formatters.sheet import SHORTEST, fit
from eli5k.formatters.styles import Heat
from eli5k.formatters.text import check_of, label, numbers
from eli5k.formatters.words import colours_of_words, heat_of_words, html_of_words, words_shown

STYLES = """\
<style>
.eli5k { font-family: sans-serif; line-height: 1.4; }
.eli5k p { margin: 0.3em 0; }
.eli5k-targets { display: flex; gap: 1em; align-items: flex-start; }
.eli5k figure { margin: 0.5em 0; max-width: 100%; }
.eli5k figcaption { overflow-wrap: anywhere; }
.eli5k img { display: block; max-width: 100%; height: auto; margin: 0; }
.eli5k figcaption span { display: inline-block; }
.eli5k-text { line-height: 2; max-width: 42em; }
.eli5k small { display: block; opacity: 0.75; }
</style>
"""


def format_as_html(
    explanation: Explanation,
    include_styles: bool = True,
    force_weights: bool = True,
    show: Sequence[str] = fields.ALL,
    preserve_density: bool | None = None,
    highlight_spaces: bool | None = None,
    horizontal_layout: bool = True,
    show_feature_values: bool = False,
    *,
    interactive: bool = False,
    origin: Literal["upper", "lower"] = "upper",
    transpose: bool = False,
    cuts: bool = False,
) -> str:
    """Format an explanation as a fragment of HTML.

    Parameters
    ----------
    explanation : Explanation
        If it has a picture, each target is shown as a heatmap over it; a picture whose longer side
        exceeds 1024 pixels is reduced.
    include_styles : bool
        Whether to include the ``<style>``; see :func:`format_html_styles`.
    show : sequence of str
        Which of "method", "description" and "targets" to show, in this order. Other names, such as
        those of eli5's other estimators, add nothing. The error is always shown.
        See :mod:`eli5k.formatters.fields`.
    horizontal_layout : bool
        Show the targets side by side instead of one below the other.
    interactive : bool
        Put the viewer of :func:`~eli5k.format_as_page` over the pictures. It needs no kernel and no
        network. The pictures stay for notebooks that run no scripts.
    origin, transpose, cuts
        As in :func:`~eli5k.format_as_image`.
    force_weights, preserve_density, highlight_spaces, show_feature_values
        Accepted for compatibility with eli5; they mean nothing for an image.

    Returns
    -------
    str
        HTML with all names and texts escaped and all pictures embedded.

    Raises
    ------
    TypeError
        If a heatmap over a picture is not a NumPy array.
    ValueError
        If a heatmap over a picture is not in [0, 1].

    Examples
    --------
    >>> html = format_as_html(Explanation("net", method="CAM", error="<b>"), include_styles=False)
    >>> print(html)  # doctest: +NORMALIZE_WHITESPACE
    <div class="eli5k mathjax_ignore tex2jax_ignore">
    <div role="alert" style="...">Error: &lt;b&gt;</div>
    <p>Explained as: CAM</p>
    </div>
    """
    explanation = turned(explanation, origin, transpose)
    # Without these classes Jupyter would take a dollar in a name for mathematics.
    parts = ['<div class="eli5k mathjax_ignore tex2jax_ignore">']
    each_input = [explanation, *explanation.others]
    parts += dict.fromkeys(_error_box(each.error) for each in each_input if each.error)
    for section in show:
        if section == "method":
            found = [
                f"<p>Explained as: {escape(each.method)}</p>" for each in each_input if each.method
            ]
            parts += dict.fromkeys(found)
        elif section == "description":
            found = [
                f"<p>{escape(each.description)}</p>" for each in each_input if each.description
            ]
            parts += dict.fromkeys(found)
        elif section == "targets":
            figures = [
                _figure(target, each, cuts) for each in each_input for target in each.targets or ()
            ]
            parts += _targets(figures, horizontal_layout)
    parts.append("</div>\n")
    html = (format_html_styles() if include_styles else "") + "\n".join(parts)
    return viewer_over(html, explanation) if interactive else html


def format_html_styles() -> str:
    r"""Return the ``<style>`` that ``format_as_html(..., include_styles=False)`` leaves out.

    Examples
    --------
    >>> format_html_styles()
    '<style>...</style>\n'
    """
    return STYLES


def _error_box(error: str) -> str:
    # In the element itself, so that an error also stands out on a page without the styles.
    style = "background: #fdd; color: #600; padding: 0.5em; white-space: pre-wrap;"
    return f'<div role="alert" style="{style}">Error: {escape(error)}</div>'


def _targets(figures: Sequence[str], horizontal_layout: bool) -> list[str]:
    if not figures:
        return []
    direction = "flex-wrap: wrap" if horizontal_layout else "flex-direction: column"
    return [f'<div class="eli5k-targets" style="{direction};">', *figures, "</div>"]


def _figure(target: TargetExplanation, explanation: Explanation, cuts: bool) -> str:
    header = f"<b>{escape(label(target))}</b>"
    if numbers(target):
        header += f" <span>({', '.join(numbers(target))})</span>"
    where = place_in(explanation, target)
    if explanation.input:
        where += f"; input {explanation.input}"
    if explanation.layer:
        where += f"; layer {explanation.layer}"
    if explanation.output:
        where += f"; output {explanation.output}"
    picture, width = _picture(target, explanation, cuts)
    lines = [where, *filter(None, [". ".join(check_of(target))])]
    told = "".join(f"<small>{escape(line)}</small>" for line in lines)
    curve = curve_of(target.check) if target.check else ""
    caption = f"<figcaption>{header}{told}{curve}</figcaption>"
    return f"<figure{width}>{picture}{caption}</figure>"


def _picture(target: TargetExplanation, explanation: Explanation, cuts: bool) -> tuple[str, str]:
    """Return a target's overlay and its width in the figure.

    Both are missing if there is no picture.
    """
    if not has_drawing(explanation, target):
        return "", ""
    try:
        if explanation.image is None:
            if explanation.kind == TEXT:
                return _words(target, explanation), ""
            one = replace(explanation, targets=[target], others=[])
            picture = draw_picture([one], Look(cuts=cuts))
        else:
            coloured = colourise(drawable_heatmap(target))
            picture = overlay(coloured, fit(explanation.image), frame=explanation.frame)
    except ImportError:  # without matplotlib, text is all there is
        return "", ""
    where = place_in(explanation, target)
    alt = escape(f"Heatmap for {label(target)}: {where}")
    source = image_to_data_uri(picture)
    width = f' style="width: {max(picture.width, SHORTEST)}px;"'
    return f'<img src="{source}" width="{picture.width}" alt="{alt}">', width


def _words(target: TargetExplanation, explanation: Explanation) -> str:
    """Return the words of a text on the colours of their heat."""
    words = explanation.tokens or []
    heat = Heat(drawable_heatmap(target, TEXT), frame=explanation.frame)
    of_words = heat_of_words(heat, len(words))
    count = words_shown(words, explanation.document, of_words.heatmap)
    colours = colours_of_words(of_words, "overlay")
    return html_of_words(words[:count], of_words.heatmap, colours)
