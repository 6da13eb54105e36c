"""The built documentation: its links lead somewhere, and its pages fit a phone and a dark room.

The pages are those of ``tox -e docs``, or in the folder that ``DOCS`` names; without them the tests
are skipped, or fail if ``NEED_BROWSER`` is set.
"""

from __future__ import annotations

import os
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(os.environ.get("DOCS") or Path(__file__).parents[2] / "docs" / "_build" / "html")
MAIN = (
    "index",
    "tutorial",
    "keras",
    "methods",
    "which-layer",
    "what-can-i-pass",
    "trust",
    "command-line",
    "api/index",
)
WIDTHS = {"desktop": 1280, "phone": 390}

# Whatever sticks out to the right, unless it lies in something that scrolls by itself.
STICKING_OUT = """() => {
    const width = document.documentElement.clientWidth;
    const found = [...document.querySelectorAll("article *")].filter((element) => {
        const box = element.getBoundingClientRect();
        if (!box.width || box.right <= width + 1) return false;
        let each = element.parentElement;
        while (each.tagName !== "ARTICLE" && getComputedStyle(each).overflowX === "visible")
            each = each.parentElement;
        return each.tagName === "ARTICLE";
    });
    if (document.documentElement.scrollWidth > width) found.unshift(document.documentElement);
    return found.map((element) => `${element.tagName} ${element.className}`);
}"""
# A table of two columns, or a picture, that a reader would have to move sideways.
SCROLLING = """() => [...document.querySelectorAll("article .table-wrapper")].filter(
    (each) => !each.querySelector("tr > :nth-child(3)") && each.scrollWidth > each.clientWidth + 1
).map((each) => each.textContent.trim().slice(0, 40))"""
BROKEN = """() => [...document.images].filter((each) => !each.complete || !each.naturalWidth)
    .map((each) => each.src)"""
# The lightest colour behind any text of the page, and of the page itself.
GROUNDS = """() => [document.body, ...document.querySelectorAll("article :is(pre, td, th, figure)")]
    .map((each) => getComputedStyle(each).backgroundColor)"""


@pytest.fixture(scope="module")
def built():
    if not (ROOT / "index.html").is_file():
        reason = f"no documentation in {ROOT}: tox -e docs builds it"
        (pytest.fail if os.environ.get("NEED_BROWSER") else pytest.skip)(reason)
    return ROOT


@pytest.fixture(scope="module", params=WIDTHS.values(), ids=WIDTHS)
def reader(request, chromium):
    context = chromium.new_context(viewport={"width": request.param, "height": 900})
    page = context.new_page()
    # Nothing of another place may be needed to read a page.
    page.route(re.compile("^https?:"), lambda route: pytest.fail(route.request.url))
    yield page
    context.close()


@pytest.mark.parametrize("name", MAIN)
def test_page_fits_its_window_in_light_and_dark(built, reader, name):
    reader.emulate_media(color_scheme="light")
    reader.goto((built / f"{name}.html").as_uri())
    assert reader.evaluate(STICKING_OUT) == []
    assert reader.evaluate(SCROLLING) == []
    assert reader.evaluate(BROKEN) == []
    reader.emulate_media(color_scheme="dark")
    grounds = reader.evaluate(GROUNDS)
    assert {ground for ground in grounds if brightness(ground) > 0.5} == set()


def brightness(colour: str) -> float:
    """Mean of red, green and blue, from 0 to 1; what is transparent counts as dark."""
    numbers = [float(each) for each in re.findall(r"[\d.]+", colour)]
    return numbers[3:] != [0.0] and sum(numbers[:3]) / 765


@pytest.mark.parametrize(
    ("name", "scheme"), [*((name, "light") for name in MAIN), ("index", "dark"), ("trust", "dark")]
)
def test_axe_finds_no_barrier(built, chromium, name, scheme):
    from axe_playwright_python.sync_playwright import Axe

    context = chromium.new_context(
        viewport={"width": WIDTHS["phone"], "height": 900}, color_scheme=scheme
    )
    page = context.new_page()
    page.goto((built / f"{name}.html").as_uri())
    # Code is coloured by the theme's own style.
    found = Axe().run(page, {"exclude": [[".highlight span"]]}).response["violations"]
    context.close()
    assert [(each["id"], each["nodes"][0]["html"][:120]) for each in found] == []


class Links(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.anchors |= {given[key] for key in ("id", "name") if given.get(key)}
        self.links += [given[key] for key in ("href", "src") if given.get(key)]


def test_each_link_inside_the_documentation_leads_somewhere(built):
    pages = {}
    for file in built.rglob("*.html"):
        pages[file.resolve()] = Links()
        pages[file.resolve()].feed(file.read_text("utf-8"))
    dead = []
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            anchor = unquote(parts.fragment)
            is_there = target.is_file() or (target / "index.html").is_file()
            if not is_there or (anchor and target in pages and anchor not in pages[target].anchors):
                dead.append(f"{file.relative_to(built.resolve())}: {link}")
    assert len(pages) > 30
    assert dead == []
