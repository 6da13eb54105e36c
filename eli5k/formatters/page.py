"""Format explanations as one interactive page that loads nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from html import escape
from importlib import resources
from string import Template
from typing import Literal
from urllib.parse import quote

import numpy as np

from eli5k.base import Explanation
from eli5k.formatters.cards import base64_of, by_picture, card_of, json_of, name_of
from eli5k.formatters.heatmap import find_colormap
from eli5k.formatters.orientation import turned

# Colormaps that a page offers besides the chosen one.
COLORMAPS = ("viridis", "inferno", "magma", "cividis", "turbo", "Greys")
# A page of more pictures keeps its data in separate scripts, each for this many pictures.
MOST_CARDS, CARDS_A_SHARD = 2000, 50
# Sources of scripts that such a page may load as well: its own folder, on a disk or a server.
BESIDE = " 'self' file:"


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
    >>> from PIL import Image
    >>> from eli5k.base import TargetExplanation
    >>> cat = TargetExplanation("cat", heatmap=np.eye(7))
    >>> expl = Explanation("net", targets=[cat], image=Image.new("RGB", (64, 48)))
    >>> page = format_as_page(expl, title="Why a cat?")
    >>> page[:15], "<title>Why a cat?</title>" in page
    ('<!DOCTYPE html>', True)
    """
    cards = _cards(explanations, origin, transpose)
    shown = [card_of(number, card).whole() for number, card in enumerate(cards)]
    return _page(shown, title or _title(cards), colormap, alpha_limit)


def page_with_shards(
    explanations: Explanation | Iterable[Explanation],
    folder: str,
    write: Callable[[str, str], object],
    *,
    title: str | None = None,
    colormap: str | Callable[[np.ndarray], np.ndarray] = "viridis",
    alpha_limit: float | None = 0.65,
    origin: Literal["upper", "lower"] = "upper",
    transpose: bool = False,
) -> str:
    """Format very many explanations as a page with separate data scripts.

    A browser reads a script only when a card of it comes near the screen: one file with all of them
    would not open. They are scripts because a page from a disk may read nothing else.

    Parameters
    ----------
    explanations, title, colormap, alpha_limit, origin, transpose
        As in :func:`format_as_page`.
    folder : str
        Name of the folder beside the page.
    write : callable
        Writes a script there, given its name and its text.

    Returns
    -------
    str
        The page; all of it if it has few pictures.

    Examples
    --------
    >>> page_with_shards(Explanation("net", error="not supported"), "why_files", print)[:15]
    '<!DOCTYPE html>'
    """
    cards = _cards(explanations, origin, transpose)
    is_small = len(cards) <= MOST_CARDS
    shown: list[str] = []
    for start in range(0, len(cards), CARDS_A_SHARD):
        name = f"{start // CARDS_A_SHARD:05}.js"
        own = [
            card_of(number, card)
            for number, card in enumerate(cards[start : start + CARDS_A_SHARD], start)
        ]
        if is_small:
            shown += [card.whole() for card in own]
            continue
        shard = f"{quote(folder)}/{name}"
        shown += [card.without_data(shard, number) for number, card in enumerate(own, start)]
        data = ",".join(f'"{number}":{card.data}' for number, card in enumerate(own, start))
        write(name, f"eli5kShard({json_of(shard)},{{{data}}});\n")
    return _page(shown, title or _title(cards), colormap, alpha_limit, "" if is_small else BESIDE)


def _cards(
    explanations: Explanation | Iterable[Explanation], origin: str, transpose: bool
) -> list[list[Explanation]]:
    found = [explanations] if isinstance(explanations, Explanation) else list(explanations)
    if not found:
        raise ValueError("explanations must have at least one explanation. Received: none")
    return by_picture([turned(expl, origin, transpose) for expl in found])


def _page(
    cards: Sequence[str],
    title: str,
    colormap: str | Callable[[np.ndarray], np.ndarray],
    alpha_limit: float | None,
    beside: str = "",
) -> str:
    style, script = _file("viewer.css"), _script() + "start(document);\n"
    text = Template(_file("page.html")).substitute(
        policy=_policy(style, script, beside),
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
    cards = by_picture([expl])
    shown = [card_of(number, card).whole() for number, card in enumerate(cards)]
    text = Template(_file("fragment.html")).substitute(
        still=still,
        style=_file("viewer.css"),
        script=_script(),
        viewer=_viewer(shown, _title(cards), colormap, alpha_limit),
    )
    return _encodable(text)


def _viewer(
    cards: Sequence[str],
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
        cards="\n".join(cards),
        page=json_of({"colours": _colours(colormap)}),
    )


def _encodable(text: str) -> str:
    """Replace characters that can't be encoded, as in some file names."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _colours(colormap: str | Callable[[np.ndarray], np.ndarray]) -> list[tuple[str, str]]:
    """Return the page's tables of 256 colours, the chosen one first."""
    chosen = colormap if isinstance(colormap, str) else getattr(colormap, "name", "custom")
    others = {each: find_colormap(each) for each in COLORMAPS if each != chosen}
    maps = {chosen: find_colormap(colormap), **others}
    ramp = (np.arange(256) + 0.5)[np.newaxis] / 256
    tables = {}
    for name, function in maps.items():
        tables[name] = (np.asarray(function(ramp))[0, :, :3] * 255).astype(np.uint8)
    return [(name, base64_of(table.tobytes())) for name, table in tables.items()]


def _title(cards: Sequence[Sequence[Explanation]]) -> str:
    if len(cards) > 1:
        return f"Explanations of {len(cards)} pictures"
    return f"Explanation of {name_of(cards[0][0], 0)}"


def _script() -> str:
    return _file("numbers.js") + _file("viewer.js")


def _file(name: str) -> str:
    return resources.files("eli5k.formatters").joinpath("viewer", name).read_text("utf-8")


def _policy(style: str, script: str, beside: str = "") -> str:
    """Allow only this style, this script and embedded pictures."""
    hashes = [base64_of(hashlib.sha256(text.encode("utf-8")).digest()) for text in (style, script)]
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{hashes[0]}'; "
        f"script-src 'sha256-{hashes[1]}'{beside}; base-uri 'none'; form-action 'none'"
    )
