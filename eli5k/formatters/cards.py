"""Cards of a page: each picture with all its maps."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from eli5k.base import Check, Explanation, TargetExplanation
from eli5k.formatters.caption import what_was_done
from eli5k.formatters.drawing import is_drawable
from eli5k.formatters.frame import check_frame
from eli5k.formatters.heatmap import drawable_heatmap
from eli5k.formatters.hot_regions import hot_boxes
from eli5k.formatters.image import draw_picture, image_to_data_uri
from eli5k.formatters.outline import outlined
from eli5k.formatters.panels import Look
from eli5k.formatters.place import place_in
from eli5k.formatters.scaling import highest_signed, is_fine, scale
from eli5k.formatters.sheet import LONGEST
from eli5k.formatters.text import format_as_text, label, numbers

MOST_REGIONS = 5
# Levels of a signed map for and against: 0 is in the middle of the 255.
LEVELS = 127


class Card(NamedTuple):
    """One picture with all its maps.

    Attributes
    ----------
    html : str
        What is read without a script; ``$data`` is where the data belongs, ``$shard`` an attribute.
    data : str
        JSON, of which the script draws the card when it comes into view.
    """

    html: str
    data: str

    def whole(self) -> str:
        """Return the card with its data inside."""
        script = f'<script type="application/json">{self.data}</script>'
        return Template(self.html).substitute(data=script, shard="")

    def without_data(self, shard: str, number: int) -> str:
        """Return the card for a page with its data in separate scripts."""
        attribute = f' data-shard="{escape(shard)}" data-number="{number}"'
        return Template(self.html).substitute(data="", shard=attribute)


def by_picture(explanations: Sequence[Explanation]) -> list[list[Explanation]]:
    """Gather the explanations of each picture, in order.

    Examples
    --------
    >>> cat, dog = (Explanation("net", image=Image.new("L", (9, side))) for side in (8, 9))
    >>> [len(card) for card in by_picture([cat, dog, cat])]
    [2, 1]
    """
    cards: dict[Any, list[Explanation]] = {}
    for number, expl in enumerate(explanations):
        key: Any = number
        if expl.image is not None:
            key = (expl.source, expl.input, _fingerprint(expl.image))
        elif expl.document is not None:
            key = (expl.source, expl.input, hashlib.sha256(expl.document.tobytes()).digest())
        cards.setdefault(key, []).append(expl)
    return list(cards.values())


def card_of(number: int, explanations: Sequence[Explanation]) -> Card:
    """Make the card of one picture.

    Parameters
    ----------
    number : int
    explanations : sequence of Explanation
        All of the same picture.

    Examples
    --------
    >>> card_of(0, [Explanation("net", error="not supported")]).data
    '{"pictures":[],"maps":[]}'
    """
    parts = [part for expl in explanations for part in (expl, *expl.others)]
    models = {expl.estimator for expl in explanations}
    pictures, maps = _pictures_and_maps(parts, names_model=len(models) > 1)
    words = [_words(part) for part in parts]
    drawn = _drawn(parts)
    words += [format_as_text(each, show=["targets"]) for each in drawn]
    name = name_of(explanations[0], number)
    searched = " ".join([name, *models, *(each["name"] for each in maps), *words]).lower()
    lines = [
        f'<article class="card" aria-labelledby="name-{number}" data-words="{escape(searched)}"',
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
    html = [line.replace("$", "$$") for line in lines]
    html[0] += "$shard>"
    return Card(
        "\n".join([*html, "$data</article>"]), json_of({"pictures": pictures, "maps": maps})
    )


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
    """Tell whether a target is drawn over a photograph."""
    is_picture = expl.image is not None and expl.kind is None
    return is_picture and target.heatmap is not None and np.ndim(target.heatmap) == 2


def has_drawing(expl: Explanation, target: TargetExplanation) -> bool:
    """Tell whether a target's map can be drawn over its document.

    Examples
    --------
    >>> has_drawing(Explanation("net"), TargetExplanation("cat"))
    False
    """
    if target.heatmap is None or not is_drawable(expl):
        return False
    return expl.kind is not None or np.ndim(target.heatmap) == 2


def _drawn(parts: Sequence[Explanation]) -> list[Explanation]:
    """Return an explanation for each map that isn't drawn over a photograph."""
    return [
        replace(part, targets=[target], others=[], error=None)
        for part in parts
        for target in part.targets or ()
        if has_drawing(part, target) and not _has_picture(part, target)
    ]


def _still(expl: Explanation) -> str:
    """Return a drawing and its text.

    The viewer itself draws only maps over photographs.
    """
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
        "cells": base64_of(codes.tobytes()),
        "low": low,
        "high": highest,
        # The values shown as cold and as hot, and the raw value of 1.
        "from": scaled.low,
        "to": scaled.high,
        "raw": None if target.attribution is None else scaled.unit,
        **_signed(expl, target),
        "frame": check_frame(expl.frame),
        "boxes": [box for box, _ in hot_boxes(heatmap, (1, 1), expl.frame)[:MOST_REGIONS]],
    }


def _signed(expl: Explanation, target: TargetExplanation) -> dict[str, Any]:
    """Return the raw map on a symmetric scale; None without negative values."""
    raw, highest = target.attribution, highest_signed(expl, target)
    if raw is None or target.heatmap is None or not highest or raw.shape != target.heatmap.shape:
        return {"signed": None}
    values = np.nan_to_num(np.asarray(raw, np.float64), posinf=0.0, neginf=0.0)
    if not values.min() < 0:
        return {"signed": None}
    codes = LEVELS + np.rint(LEVELS * np.clip(values / highest, -1, 1))
    return {"signed": base64_of(codes.astype(np.uint8).tobytes()), "strongest": highest}


def _check(check: Check | None) -> dict[str, Any] | None:
    """Return a check's verdict, and the worth of each place."""
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
    """Encode a photograph losslessly.

    As a JPEG it would differ from the overlay by a fifth.
    """
    image = image.convert("RGBA")
    image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    # An eighth larger than the smallest, in a hundredth of the time.
    image.save(file, "WEBP", lossless=True, exact=True, method=0, quality=20)
    source = "data:image/webp;base64," + base64_of(file.getvalue())
    return {"source": source, "width": image.width, "height": image.height}


def name_of(expl: Explanation, number: int) -> str:
    """Name a card by its file, or by its kind and number.

    Examples
    --------
    >>> name_of(Explanation("net", source="/photos/cat.jpg"), 0), name_of(Explanation("net"), 1)
    ('cat.jpg', 'picture 2')
    """
    return Path(expl.source).name if expl.source else f"{expl.kind or 'picture'} {number + 1}"


def base64_of(data: bytes) -> str:
    """Encode bytes as text.

    Examples
    --------
    >>> base64_of(b"cat")
    'Y2F0'
    """
    return base64.b64encode(data).decode("ascii")


def json_of(data: Any) -> str:
    r"""Write JSON that can't end the element it stands in.

    Examples
    --------
    >>> json_of(["</script>"])
    '["\\u003c/script\\u003e"]'
    """
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text
