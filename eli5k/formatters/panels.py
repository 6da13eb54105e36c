"""Make the panels of a picture: one a target and document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from eli5k.base import Explanation, TargetExplanation
from eli5k.formatters.caption import long_caption, short_caption, what_was_done
from eli5k.formatters.drawing import (
    SIGNAL,
    can_be_lines,
    draw_alone,
    draw_document,
    in_size,
    is_drawable,
)
from eli5k.formatters.heatmap import colourise, drawable_heatmap
from eli5k.formatters.lines import row_behind
from eli5k.formatters.orientation import turned
from eli5k.formatters.outline import outlined
from eli5k.formatters.scaling import (
    BLANK,
    BY_PERCENTILE,
    Scaled,
    as_it_is,
    highest_signed,
    is_fine,
    scale,
    scale_alike,
)
from eli5k.formatters.sheet import Bar, Panel
from eli5k.formatters.styles import AGAINST, FOR, Heat, find_style


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a picture looks: the keywords of :func:`eli5k.format_as_image`.

    Attributes
    ----------
    resampling_filter, colormap, alpha_limit, style, caption, colorbar, same_scale
        As there.
    lines, cuts, origin, transpose
        As there.
    on_paper : bool
        Whether captions are black on white, as in a file; a window may be dark.

    Examples
    --------
    >>> Look(style="dim").caption
    False
    """

    resampling_filter: int | None = Image.Resampling.LANCZOS
    colormap: str | Callable[[np.ndarray], np.ndarray] = "viridis"
    alpha_limit: float | None = 0.65
    style: str | None = None
    caption: bool = False
    colorbar: bool = False
    same_scale: bool = False
    lines: bool = False
    cuts: bool = False
    origin: str = "upper"
    transpose: bool = False
    on_paper: bool = True

    def style_of(self, expl: Explanation, target: TargetExplanation) -> str:
        """Choose the style; pixel maps with captions need a dark photograph."""
        if self.style is not None:
            return self.style
        is_photograph = expl.kind is None
        return "dim" if is_photograph and self.caption and is_fine(expl, target) else "overlay"


class Layout(NamedTuple):
    """What a sheet shows.

    Attributes
    ----------
    panels : list of Panel
    footer : list of str
        What holds for all panels, if there are several.
    columns : int or None
        How many panels stand side by side; None leaves that to the sheet.
    """

    panels: list[Panel]
    footer: list[str]
    columns: int | None


def panels_of(explanations: Sequence[Explanation], look: Look) -> Layout:
    """Make the panels of a picture.

    Parameters
    ----------
    explanations : sequence of Explanation
        Each with a picture. Explanations of the same picture and targets, such as those of several
        methods, become columns, and the targets rows.
    look : Look

    Returns
    -------
    Layout

    Raises
    ------
    TypeError, ValueError
        If a map can't be drawn in this way.

    Examples
    --------
    >>> cat = TargetExplanation("cat", heatmap=np.ones((7, 7)))
    >>> expl = Explanation("net", targets=[cat], image=Image.new("L", (64, 64)))
    >>> panels_of([expl], Look()).panels[0].caption
    [['y=cat']]
    """
    parts = [part for expl in explanations for part in (expl, *expl.others)]
    if look.transpose or look.origin != "upper":
        parts = [turned(part, look.origin, look.transpose) for part in parts]
    pairs = [(part, target) for part in parts for target in part.targets or ()]
    columns = None if look.style == "side" else _columns(parts)
    if columns == len(parts):
        pairs = [pair for row in zip(*_targets(parts)) for pair in row]
    scaled = _scaled(pairs, look)
    shared = _shared([part for part, _ in pairs]) if look.caption else []
    several_outputs = len({part.output for part, _ in pairs}) > 1
    panels: list[Panel] = []
    shown: list[int] = []
    for (part, target), map_, most in zip(pairs, scaled, _highest(pairs, look)):
        if look.style == "side" and id(part) not in shown:
            shown.append(id(part))
            panels.append(_original(part, look))
        panel = _panel(part, target, map_, most, look, shared)
        if several_outputs and not look.caption:
            panel = replace(panel, caption=[[f"output {part.output}"], *panel.caption])
        panels.append(panel)
    if look.caption and len(pairs) > 1:
        note = "all maps on one scale" if look.same_scale else "each map on its own scale"
        return Layout(panels, [*shared, note], columns)
    return Layout(panels, shared, columns)


def _targets(parts: Sequence[Explanation]) -> list[list[tuple[Explanation, TargetExplanation]]]:
    return [[(part, target) for target in part.targets or ()] for part in parts]


def _columns(parts: Sequence[Explanation]) -> int | None:
    """Return how many columns compare explanations of the same picture and targets.

    A column for each explanation and a row for each target; with one target, a column for each
    layer and a row for each method.
    """
    first = parts[0]
    names = [target.target for target in first.targets or ()]
    if len(parts) < 2 or not names:
        return None
    for part in parts[1:]:
        of_part = [target.target for target in part.targets or ()]
        if of_part != names or part.image != first.image or not _same_document(part, first):
            return None
    if len(names) > 1:
        return len(parts)
    methods, layers = {part.method for part in parts}, {part.layer for part in parts}
    is_grid = min(len(methods), len(layers)) > 1 and len(parts) == len(methods) * len(layers)
    return len(layers) if is_grid else None


def _same_document(one: Explanation, other: Explanation) -> bool:
    if one.document is None or other.document is None:
        return one.document is other.document
    return np.array_equal(one.document, other.document, equal_nan=one.document.dtype.kind == "f")


def picture_of(expl: Explanation) -> Image.Image:
    """Return an explanation's picture, or a drawing of its document.

    Parameters
    ----------
    expl : Explanation

    Returns
    -------
    PIL.Image.Image

    Raises
    ------
    TypeError
        If it has none.

    Examples
    --------
    >>> picture_of(Explanation("net", image=Image.new("L", (64, 48)))).size
    (64, 48)
    """
    if expl.image is None and is_drawable(expl):
        return draw_alone(expl)
    if not isinstance(expl.image, Image.Image):
        raise TypeError(f"The explanation's image must be a Pillow image. Received: {expl.image!r}")
    return expl.image


def _scaled(pairs: Sequence[tuple[Explanation, TargetExplanation]], look: Look) -> list[Scaled]:
    if look.same_scale:
        for part, target in pairs:
            drawable_heatmap(target, part.kind)
        return scale_alike([target for _, target in pairs])
    if look.caption or look.style not in (None, "overlay"):
        return [scale(expl, target) for expl, target in pairs]
    # eli5's own scaling: the uncaptioned overlay has eli5's pixels.
    return [as_it_is(target, part.kind) for part, target in pairs]


def _highest(
    pairs: Sequence[tuple[Explanation, TargetExplanation]], look: Look
) -> list[float | None]:
    """Return the magnitude at which each signed map has its full colours."""
    if look.style != "signed":
        return [None] * len(pairs)
    found = [highest_signed(expl, target) for expl, target in pairs]
    if look.same_scale:
        found = [max((each for each in found if each is not None), default=None)] * len(pairs)
    return found


def _shared(parts: Sequence[Explanation]) -> list[str]:
    """Return the facts that several panels share, to be told once."""
    if len(parts) < 2:
        return []
    words = [
        ([Path(part.source).name] if part.source else []) + what_was_done(part) for part in parts
    ]
    return [word for word in words[0] if all(word in each for each in words)]


def _panel(
    expl: Explanation,
    target: TargetExplanation,
    scaled: Scaled,
    highest: float | None,
    look: Look,
    shared: Sequence[str],
) -> Panel:
    name = look.style_of(expl, target)
    heat = Heat(
        scaled.heatmap,
        target.attribution,
        expl.frame,
        look.colormap,
        look.alpha_limit,
        look.resampling_filter,
        highest,
        cuts=look.cuts,
    )
    caption = short_caption(expl, target)
    if look.caption:
        note = scaled.note if not look.same_scale or scaled.note == BLANK else ""
        if name == "signed" and note != BLANK:
            note = BY_PERCENTILE if is_fine(expl, target) and not look.same_scale else ""
        caption = long_caption(expl, target, note, shared)
    elif not scaled.heatmap.any():
        caption.append([BLANK])
    bar = _bar(look, name, scaled, highest) if look.colorbar else None
    if look.lines and can_be_lines(expl):
        heat = replace(heat, of_rows=True)
    elif expl.image is not None or not is_drawable(expl):
        style = find_style(name)
        heat = row_behind(heat) if expl.kind == SIGNAL else heat

        def lay_over(picture: Image.Image) -> Image.Image:
            return outlined(style(picture, heat), target)

        return Panel(picture_of(expl), lay_over, caption, bar)

    def draw(picture: Image.Image) -> Image.Image:
        return in_size(draw_document(expl, name, heat), picture.size)

    return Panel(draw_document(expl, None, heat), draw, caption, bar)


def _original(expl: Explanation, look: Look) -> Panel:
    caption = [["original"]] if look.caption else []
    if look.caption and expl.input:
        caption.append([f"input {expl.input}"])
    return Panel(picture_of(expl), lambda picture: picture.convert("RGBA"), caption)


def _bar(look: Look, style: str, scaled: Scaled, highest: float | None) -> Bar:
    """Return the colour scale with the raw values at its ends."""
    if style == "signed" and highest is not None:
        ramp = np.linspace(-1, 1, 256)[np.newaxis]
        colours = np.empty((1, 256, 4))
        colours[..., :3] = np.where(ramp[..., np.newaxis] > 0, FOR, AGAINST) / np.array(255)
        colours[..., 3] = np.abs(ramp) * (1 if look.alpha_limit is None else look.alpha_limit)
        return Bar(colours, f"{-highest:.3g}", f"{highest:.3g}")
    limit = None if style == "dim" else look.alpha_limit
    colours = colourise(np.linspace(0, 1, 256)[np.newaxis], look.colormap, limit)
    low, high = (each * scaled.unit for each in (scaled.low, scaled.high))
    return Bar(colours, f"{low:.3g}", f"{high:.3g}")
