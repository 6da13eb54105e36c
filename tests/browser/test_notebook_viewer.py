"""The viewer inside somebody else's page, as a notebook shows it."""

import numpy as np
import pytest

from eli5k.formatters import format_as_html
from tests.browser.test_page import expected, explain, pixels, random_map

# What a notebook does with HTML: scripts that are set as text don't run until they are made anew.
SHOW = """(html) => {
    const output = document.createElement("div");
    output.innerHTML = html;
    document.body.append(output);
    for (const old of output.querySelectorAll("script")) {
        const script = document.createElement("script");
        script.textContent = old.textContent;
        old.replaceWith(script);
    }
}"""
NOTEBOOK = """<!DOCTYPE html>
<style>h1, label { color: rgb(255, 0, 0); } canvas { display: none; }</style>
<h1>A notebook</h1>"""
VIEWER = "document.querySelector('.eli5k-viewer').shadowRoot"


@pytest.fixture
def notebook(chromium):
    """A notebook that runs scripts, and gives the page."""
    context = chromium.new_context(viewport={"width": 900, "height": 3000})
    page = context.new_page()
    page.set_content(NOTEBOOK)
    yield page
    context.close()


def test_the_viewer_takes_the_place_of_the_still_picture(notebook):
    expl = explain(random_map(4, 5))
    notebook.evaluate(SHOW, format_as_html(expl, interactive=True))
    notebook.wait_for_selector("[data-shown]")
    assert not notebook.locator("img").is_visible()
    shown = pixels(notebook, root=VIEWER)
    assert abs(shown[..., :3] - expected(expl)).max() <= 5
    notebook.locator("input[name=opacity]").fill("20")
    assert abs(pixels(notebook, root=VIEWER)[..., :3] - expected(expl, limit=0.2)).max() <= 5


def test_neither_styles_the_other(notebook):
    before = notebook.evaluate("getComputedStyle(document.body).font")
    notebook.evaluate(SHOW, format_as_html(explain(random_map(2, 2)), interactive=True))
    notebook.wait_for_selector("[data-shown]")
    assert notebook.evaluate("getComputedStyle(document.body).font") == before
    colour = notebook.evaluate(f"getComputedStyle({VIEWER}.querySelector('h1')).color")
    assert colour != "rgb(255, 0, 0)"
    assert notebook.locator(".eli5k-viewer canvas").is_visible()


def test_several_viewers_live_in_one_notebook(notebook):
    for number in range(3):
        expl = explain(np.eye(number + 1), source=f"{number}.png")
        notebook.evaluate(SHOW, format_as_html(expl, interactive=True))
    notebook.wait_for_function(
        """() => [...document.querySelectorAll(".eli5k-viewer")].filter((host) =>
            host.shadowRoot?.querySelector("[data-shown]")).length === 3"""
    )
    names = notebook.locator(".eli5k-viewer h2").all_inner_texts()
    assert names == ["0.png", "1.png", "2.png"]


def test_without_scripts_the_still_picture_is_seen(chromium):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.set_content(NOTEBOOK + format_as_html(explain(random_map(3, 3)), interactive=True))
    assert page.locator("img").is_visible()
    assert "y=cat" in page.locator("figcaption").inner_text()
    assert page.locator("canvas").count() == 0
    context.close()
