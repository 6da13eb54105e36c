"""Format explanations as a page that answers: one file, nothing from a network."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from PIL import Image

from eli5k.base import Explanation, TargetExplanation
from eli5k.formatters.caption import what_was_done
from eli5k.formatters.frame import check_frame
from eli5k.formatters.heatmap import drawable_heatmap, find_colormap
from eli5k.formatters.hot_regions import hot_boxes
from eli5k.formatters.scaling import is_fine, scale
from eli5k.formatters.sheet import LONGEST
from eli5k.formatters.text import format_as_text, label, numbers, place_of_heat

# What a page offers besides the colormap that was asked for.
COLORMAPS = ("inferno", "viridis", "magma", "cividis", "turbo", "Greys")
MOST_REGIONS = 5


def format_as_page(
    explanations: Explanation | Iterable[Explanation],
    *,
    title: str | None = None,
    colormap: str | Callable[[np.ndarray], np.ndarray] = "inferno",
    alpha_limit: float | None = 0.65,
) -> str:
    """Format explanations as a page on which a reader can look further.

    The page shows each picture with its map. A reader can switch target, method and layer, move the
    opacity and the part of the picture that is shown hot, choose the colours, put the original
    beside it, search, and read the value of the cell under the pointer.

    Parameters
    ----------
    explanations : Explanation or iterable of Explanation
        Explanations of the same picture share a card: pass one for each method or layer to compare.
    title : str, optional
        The name of the page.
    colormap : str or callable
        What the page begins with, as in :func:`~eli5k.format_as_image`.
    alpha_limit : float or None
        Maximum opacity that the page begins with, in [0, 1]; None for no limit.

    Returns
    -------
    str
        HTML. It loads nothing, and its policy forbids it to; names and texts can't act.

    Raises
    ------
    TypeError, ValueError
        As :func:`~eli5k.format_as_image`; also if there is no explanation.

    Examples
    --------
    >>> cat = TargetExplanation("cat", heatmap=np.eye(7))
    >>> expl = Explanation("net", targets=[cat], image=Image.new("RGB", (64, 48)))
    >>> page = format_as_page(expl, title="Why a cat?")
    >>> page[:15], "<title>Why a cat?</title>" in page
    ('<!DOCTYPE html>', True)
    """
    found = [explanations] if isinstance(explanations, Explanation) else list(explanations)
    if not found:
        raise ValueError("explanations must have at least one explanation. Received: none")
    limit = 1.0 if alpha_limit is None else float(alpha_limit)
    if not 0 <= limit <= 1:
        raise ValueError(f"alpha_limit must be in [0, 1]. Received: {alpha_limit!r}")
    cards = _by_picture(found)
    style, script = _file("page.css"), _file("page.js")
    page = {"colours": _colours(colormap), "dark": _all_fine(found)}
    return Template(_file("page.html")).substitute(
        policy=_policy(style, script),
        title=escape(title or _title(cards)),
        style=style,
        script=script,
        opacity=round(100 * limit),
        cards="\n".join(_card(number, card) for number, card in enumerate(cards)),
        page=_json(page),
    )


def _by_picture(explanations: Sequence[Explanation]) -> list[list[Explanation]]:
    """Gather the explanations of each picture, in order."""
    cards: dict[Any, list[Explanation]] = {}
    for number, expl in enumerate(explanations):
        key: Any = number
        if expl.image is not None:
            pixels = hashlib.sha256(expl.image.tobytes()).digest()
            key = (expl.source, expl.input, expl.image.mode, expl.image.size, pixels)
        cards.setdefault(key, []).append(expl)
    return list(cards.values())


def _card(number: int, explanations: Sequence[Explanation]) -> str:
    """Return one picture with all its maps; the script draws it when it comes into view."""
    parts = [part for expl in explanations for part in (expl, *expl.others)]
    names = {expl.estimator for expl in explanations}
    pictures: list[dict[str, Any]] = []
    known: dict[bytes, int] = {}
    maps, words = [], []
    for part in parts:
        drawn = [target for target in part.targets or () if _has_picture(part, target)]
        if drawn and part.image is not None:
            key = hashlib.sha256(part.image.tobytes()).digest()
            if key not in known:
                known[key] = len(pictures)
                pictures.append(_picture(part.image))
            maps += [_map(part, target, known[key], len(names) > 1) for target in drawn]
        words += [format_as_text(part, show=["targets"])] if not drawn else []
    name = _name(explanations[0], number)
    alerts = dict.fromkeys(part.error for part in parts if part.error)
    told = dict.fromkeys(str(each) for part in parts for each in part.warnings)
    about = dict.fromkeys(part.description for part in parts if part.description)
    searched = " ".join([name, *names, *(each["name"] for each in maps), *words]).lower()
    lines = [
        f'<article class="card" aria-labelledby="name-{number}" data-words="{escape(searched)}">',
        f'<h2 id="name-{number}">{escape(name)}</h2>',
        *(f'<p class="alert" role="alert">Error: {escape(each)}</p>' for each in alerts),
    ]
    if maps:
        size = f'width="{pictures[0]["width"]}" height="{pictures[0]["height"]}"'
        alt = escape(f"Heatmap for {maps[0]['said']}")
        canvas = f'<canvas {size} role="img" tabindex="0" aria-label="{alt}"></canvas>'
        lines.append(f'<div class="pictures"><div class="stage">{canvas}</div></div>')
        lines.append(f'<p class="said">{escape(maps[0]["said"])}</p>')
    lines += [f'<p class="said">{escape(each)}</p>' for each in words if each]
    lines += [f'<p class="alert">{escape(each)}</p>' for each in told]
    lines += [f'<p class="about">{escape(each)}</p>' for each in about]
    data = {"pictures": pictures, "maps": maps}
    lines += [f'<script type="application/json">{_json(data)}</script>', "</article>"]
    return "\n".join(lines)


def _has_picture(expl: Explanation, target: TargetExplanation) -> bool:
    """Tell whether a target is drawn, and not only told in words."""
    heatmap = target.heatmap
    return expl.image is not None and heatmap is not None and np.ndim(heatmap) == 2


def _map(
    expl: Explanation, target: TargetExplanation, picture: int, names_model: bool
) -> dict[str, Any]:
    heatmap = np.asarray(drawable_heatmap(target), np.float64)
    scaled = scale(expl, target)
    highest = float(heatmap.max())
    low = float(heatmap.min())
    codes = np.rint(255 * (heatmap - low) / ((highest - low) or 1.0)).astype(np.uint8)
    raw = None if target.attribution is None else float(np.nanmax(target.attribution))
    where = place_of_heat(heatmap, expl.frame)
    facts = [", ".join(numbers(target)[::-1]), where, scaled.note if highest else ""]
    done = ", ".join([*what_was_done(expl), *([expl.estimator] if names_model else [])])
    inside = f" in input {expl.input}" if expl.input else ""
    return {
        "name": f"{label(target)}{inside}: {done}" if done else f"{label(target)}{inside}",
        "said": f"{label(target)}{inside}: {'; '.join(filter(None, facts))}",
        "picture": picture,
        "rows": heatmap.shape[0],
        "columns": heatmap.shape[1],
        "cells": _base64(codes.tobytes()),
        "low": low,
        "high": highest,
        # What is shown as cold and as hot, and the raw value of 1.
        "from": scaled.low * highest,
        "to": scaled.high * highest,
        "raw": raw / highest
        if raw is not None and np.isfinite(raw) and raw > 0 < highest
        else None,
        "frame": check_frame(expl.frame),
        "boxes": [box for box, _ in hot_boxes(heatmap, (1, 1), expl.frame)[:MOST_REGIONS]],
    }


def _picture(image: Image.Image) -> dict[str, Any]:
    """Encode a photograph without loss: a JPEG would differ from the overlay by a fifth."""
    image = image.convert("RGBA")
    image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "WEBP", lossless=True, exact=True)
    source = "data:image/webp;base64," + _base64(file.getvalue())
    return {"source": source, "width": image.width, "height": image.height}


def _colours(colormap: str | Callable[[np.ndarray], np.ndarray]) -> list[tuple[str, str]]:
    """Return the tables of 256 colours that the page offers, the chosen one first."""
    chosen = colormap if isinstance(colormap, str) else getattr(colormap, "name", "custom")
    maps = {chosen: find_colormap(colormap), **{each: find_colormap(each) for each in COLORMAPS}}
    maps[chosen] = find_colormap(colormap)
    ramp = (np.arange(256) + 0.5)[np.newaxis] / 256
    tables = {}
    for name, function in maps.items():
        tables[name] = (np.asarray(function(ramp))[0, :, :3] * 255).astype(np.uint8)
    return [(name, _base64(table.tobytes())) for name, table in tables.items()]


def _all_fine(explanations: Sequence[Explanation]) -> bool:
    """Tell whether all maps are maps of pixels, which only a dark photograph lets one see."""
    fine = [
        is_fine(expl, target)
        for expl in explanations
        for target in expl.targets or ()
        if _has_picture(expl, target)
    ]
    return bool(fine) and all(fine)


def _title(cards: Sequence[Sequence[Explanation]]) -> str:
    if len(cards) > 1:
        return f"Explanations of {len(cards)} pictures"
    return f"Explanation of {_name(cards[0][0], 0)}"


def _name(expl: Explanation, number: int) -> str:
    return Path(expl.source).name if expl.source else f"picture {number + 1}"


def _file(name: str) -> str:
    return resources.files("eli5k.formatters").joinpath("viewer", name).read_text("utf-8")


def _policy(style: str, script: str) -> str:
    """Allow this style and this script, and pictures inside the page: no more."""
    hashes = [_base64(hashlib.sha256(text.encode("utf-8")).digest()) for text in (style, script)]
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{hashes[0]}'; "
        f"script-src 'sha256-{hashes[1]}'; base-uri 'none'; form-action 'none'"
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _json(data: Any) -> str:
    """Write JSON that can't end the element it stands in."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text
