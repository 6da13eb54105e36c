"""Format explanations as a page that answers: one file, nothing from a network."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any, Literal

import numpy as np
from PIL import Image

from eli5k.base import Check, Explanation, TargetExplanation
from eli5k.formatters.caption import what_was_done
from eli5k.formatters.drawing import is_drawable
from eli5k.formatters.frame import check_frame
from eli5k.formatters.heatmap import drawable_heatmap, find_colormap
from eli5k.formatters.hot_regions import hot_boxes
from eli5k.formatters.image import draw_picture, image_to_data_uri
from eli5k.formatters.orientation import turned
from eli5k.formatters.outline import outlined
from eli5k.formatters.panels import Look
from eli5k.formatters.place import place_in
from eli5k.formatters.scaling import is_fine, scale
from eli5k.formatters.sheet import LONGEST
from eli5k.formatters.text import format_as_text, label, numbers

# What a page offers besides the colormap that was asked for.
COLORMAPS = ("viridis", "inferno", "magma", "cividis", "turbo", "Greys")
MOST_REGIONS = 5


def format_as_page(
    explanations: Explanation | Iterable[Explanation],
    *,
    title: str | None = None,
    colormap: str | Callable[[np.ndarray], np.ndarray] = "viridis",
    alpha_limit: float | None = 0.65,
    origin: Literal["upper", "lower"] = "upper",
    transpose: bool = False,
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
    origin, transpose
        How pictures are turned, as in :func:`~eli5k.format_as_image`.

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
    cards = _by_picture([turned(expl, origin, transpose) for expl in found])
    title = title or _title(cards)
    style, script = _file("viewer.css"), _script() + "start(document);\n"
    text = Template(_file("page.html")).substitute(
        policy=_policy(style, script),
        title=escape(title),
        style=style,
        script=script,
        viewer=_viewer(cards, title, colormap, alpha_limit),
    )
    return _encodable(text)


def viewer_over(
    still: str,
    expl: Explanation,
    colormap: str | Callable[[np.ndarray], np.ndarray] = "viridis",
    alpha_limit: float | None = 0.65,
) -> str:
    """Put a viewer over a still picture, inside somebody else's page.

    Where scripts don't run, such as in a notebook that isn't trusted, the still picture is seen.

    Parameters
    ----------
    still : str
        HTML.
    expl : Explanation
    colormap, alpha_limit
        As in :func:`format_as_page`.

    Returns
    -------
    str
        HTML. Its styles don't reach the page around it, nor the page's the viewer.

    Examples
    --------
    >>> print(viewer_over("<p>cat</p>", Explanation("net", error="not supported")))
    <div class="eli5k-viewer">
    <p>cat</p>
    <template>...</template>
    <script>
    ...
    </div>
    """
    cards = _by_picture([expl])
    text = Template(_file("fragment.html")).substitute(
        still=still,
        style=_file("viewer.css"),
        script=_script(),
        viewer=_viewer(cards, _title(cards), colormap, alpha_limit),
    )
    return _encodable(text)


def _viewer(
    cards: Sequence[Sequence[Explanation]],
    title: str,
    colormap: str | Callable[[np.ndarray], np.ndarray],
    alpha_limit: float | None,
) -> str:
    limit = 1.0 if alpha_limit is None else float(alpha_limit)
    if not 0 <= limit <= 1:
        raise ValueError(f"alpha_limit must be in [0, 1]. Received: {alpha_limit!r}")
    return Template(_file("viewer.html")).substitute(
        title=escape(title),
        opacity=round(100 * limit),
        cards="\n".join(_card(number, card) for number, card in enumerate(cards)),
        page=_json({"colours": _colours(colormap)}),
    )


def _encodable(text: str) -> str:
    """Replace letters that no encoding has: a name from a file system may have some."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _by_picture(explanations: Sequence[Explanation]) -> list[list[Explanation]]:
    """Gather the explanations of each picture, in order."""
    cards: dict[Any, list[Explanation]] = {}
    for number, expl in enumerate(explanations):
        key: Any = number
        if expl.image is not None:
            key = (expl.source, expl.input, _fingerprint(expl.image))
        elif expl.document is not None:
            key = (expl.source, expl.input, hashlib.sha256(expl.document.tobytes()).digest())
        cards.setdefault(key, []).append(expl)
    return list(cards.values())


def _card(number: int, explanations: Sequence[Explanation]) -> str:
    """Return one picture with all its maps; the script draws it when it comes into view."""
    parts = [part for expl in explanations for part in (expl, *expl.others)]
    models = {expl.estimator for expl in explanations}
    pictures, maps = _pictures_and_maps(parts, names_model=len(models) > 1)
    words = [_words(part) for part in parts]
    drawn = _drawn(parts)
    words += [format_as_text(each, show=["targets"]) for each in drawn]
    name = _name(explanations[0], number)
    searched = " ".join([name, *models, *(each["name"] for each in maps), *words]).lower()
    lines = [
        f'<article class="card" aria-labelledby="name-{number}" data-words="{escape(searched)}">',
        f'<h2 id="name-{number}">{escape(name)}</h2>',
    ]
    lines += _paragraphs("alert", (f"Error: {part.error}" for part in parts if part.error))
    lines += _paragraphs("alert", (str(each) for part in parts for each in part.warnings))
    if maps:
        size = f'width="{pictures[0]["width"]}" height="{pictures[0]["height"]}"'
        said = escape(maps[0]["said"])
        canvas = f'<canvas {size} role="img" tabindex="0" aria-label="Heatmap for {said}"></canvas>'
        lines.append(f'<div class="pictures"><div class="stage">{canvas}</div></div>')
        lines.append(f'<p class="said first">{said}</p>')
    lines += map(_still, drawn)
    lines += _paragraphs("said", words[: len(parts)])
    data = _json({"pictures": pictures, "maps": maps})
    return "\n".join([*lines, f'<script type="application/json">{data}</script>', "</article>"])


def _paragraphs(kind: str, texts: Iterable[str]) -> list[str]:
    """Return texts as paragraphs, each once."""
    return [f'<p class="{kind}">{escape(text)}</p>' for text in dict.fromkeys(texts) if text]


def _words(expl: Explanation) -> str:
    """Tell what can't be drawn."""
    targets = [
        target
        for target in expl.targets or ()
        if not (_has_picture(expl, target) or has_drawing(expl, target))
    ]
    return format_as_text(replace(expl, targets=targets, others=[], error=None), show=["targets"])


def _pictures_and_maps(
    parts: Sequence[Explanation], names_model: bool
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return each picture once, and the maps over it."""
    pictures: dict[bytes, dict[str, Any]] = {}
    maps = []
    for part in parts:
        drawn = [target for target in part.targets or () if _has_picture(part, target)]
        if not drawn or part.image is None:
            continue
        own = _fingerprint(part.image)
        for target in drawn:
            image = outlined(part.image, target)
            key = own if image is part.image else _fingerprint(image)
            if key not in pictures:
                pictures[key] = _picture(image)
            number = list(pictures).index(key)
            maps.append(_map(part, target, number, names_model))
    return list(pictures.values()), maps


def _fingerprint(image: Image.Image) -> bytes:
    told = f"{image.mode} {image.size}".encode()
    return hashlib.sha256(told + image.tobytes()).digest()


def _has_picture(expl: Explanation, target: TargetExplanation) -> bool:
    """Tell whether a target is drawn over a photograph, and not only told in words."""
    is_picture = expl.image is not None and expl.kind is None
    return is_picture and target.heatmap is not None and np.ndim(target.heatmap) == 2


def has_drawing(expl: Explanation, target: TargetExplanation) -> bool:
    """Tell whether the map of a target can be drawn over its document.

    Examples
    --------
    >>> has_drawing(Explanation("net"), TargetExplanation("cat"))
    False
    """
    if target.heatmap is None or not is_drawable(expl):
        return False
    return expl.kind is not None or np.ndim(target.heatmap) == 2


def _drawn(parts: Sequence[Explanation]) -> list[Explanation]:
    """Return an explanation of each map that is drawn, but not over a photograph."""
    return [
        replace(part, targets=[target], others=[], error=None)
        for part in parts
        for target in part.targets or ()
        if has_drawing(part, target) and not _has_picture(part, target)
    ]


def _still(expl: Explanation) -> str:
    """Return a drawing with what there is to say: the viewer lays maps over photographs alone."""
    picture = draw_picture([expl], Look())
    said = escape(format_as_text(expl, show=["targets"]))
    size = f'width="{picture.width}" height="{picture.height}"'
    image = f'<img src="{image_to_data_uri(picture)}" {size} alt="Heatmap for {said}">'
    return f'<div class="still">{image}<p class="said">{said}</p></div>'


def _map(
    expl: Explanation, target: TargetExplanation, picture: int, names_model: bool
) -> dict[str, Any]:
    heatmap = np.asarray(drawable_heatmap(target), np.float64)
    scaled = scale(expl, target)
    highest = float(heatmap.max())
    low = float(heatmap.min())
    codes = np.rint(255 * (heatmap - low) / ((highest - low) or 1.0)).astype(np.uint8)
    where = place_in(expl, target)
    facts = [", ".join(numbers(target)[::-1]), where, scaled.note if highest else ""]
    done = ", ".join([*what_was_done(expl), *([expl.estimator] if names_model else [])])
    inside = f" in input {expl.input}" if expl.input else ""
    return {
        "name": f"{label(target)}{inside}: {done}" if done else f"{label(target)}{inside}",
        "said": f"{label(target)}{inside}: {'; '.join(filter(None, facts))}",
        "about": expl.description or "",
        "check": _check(target.check),
        "fine": is_fine(expl, target),
        "picture": picture,
        "rows": heatmap.shape[0],
        "columns": heatmap.shape[1],
        "cells": _base64(codes.tobytes()),
        "low": low,
        "high": highest,
        # What is shown as cold and as hot, and the raw value of 1.
        "from": scaled.low,
        "to": scaled.high,
        "raw": None if target.attribution is None else scaled.unit,
        "frame": check_frame(expl.frame),
        "boxes": [box for box, _ in hot_boxes(heatmap, (1, 1), expl.frame)[:MOST_REGIONS]],
    }


def _check(check: Check | None) -> dict[str, Any] | None:
    """Return what a check says, and what it found each place to be worth."""
    if check is None:
        return None
    told = {"verdict": check.verdict, "sentence": check.sentence, "worth": None}
    worth = check.worth
    if worth is None or worth.ndim != 2 or not np.isfinite([*worth.ravel(), check.score]).all():
        return told
    return told | {
        "rows": worth.shape[0],
        "columns": worth.shape[1],
        "worth": [float(f"{value:.4g}") for value in worth.ravel()],
        "score": check.score,
        "runs": check.runs,
    }


def _picture(image: Image.Image) -> dict[str, Any]:
    """Encode a photograph without loss: a JPEG would differ from the overlay by a fifth."""
    image = image.convert("RGBA")
    image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    # A twentieth larger than the smallest, in a fifth of the time.
    image.save(file, "WEBP", lossless=True, exact=True, method=1, quality=20)
    source = "data:image/webp;base64," + _base64(file.getvalue())
    return {"source": source, "width": image.width, "height": image.height}


def _colours(colormap: str | Callable[[np.ndarray], np.ndarray]) -> list[tuple[str, str]]:
    """Return the tables of 256 colours that the page offers, the chosen one first."""
    chosen = colormap if isinstance(colormap, str) else getattr(colormap, "name", "custom")
    others = {each: find_colormap(each) for each in COLORMAPS if each != chosen}
    maps = {chosen: find_colormap(colormap), **others}
    ramp = (np.arange(256) + 0.5)[np.newaxis] / 256
    tables = {}
    for name, function in maps.items():
        tables[name] = (np.asarray(function(ramp))[0, :, :3] * 255).astype(np.uint8)
    return [(name, _base64(table.tobytes())) for name, table in tables.items()]


def _title(cards: Sequence[Sequence[Explanation]]) -> str:
    if len(cards) > 1:
        return f"Explanations of {len(cards)} pictures"
    return f"Explanation of {_name(cards[0][0], 0)}"


def _name(expl: Explanation, number: int) -> str:
    return Path(expl.source).name if expl.source else f"{expl.kind or 'picture'} {number + 1}"


def _script() -> str:
    return _file("numbers.js") + _file("viewer.js")


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
