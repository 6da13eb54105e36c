"""A headless Chromium; without one the tests are skipped, or fail if ``NEED_BROWSER`` is set."""

from __future__ import annotations

import importlib.util
import os
import shutil

import pytest

COMMANDS = ("chromium", "chromium-browser", "google-chrome")
MODULES = ("playwright", "axe_playwright_python")


@pytest.fixture(scope="session")
def chromium():
    missing = [name for name in MODULES if importlib.util.find_spec(name) is None]
    command = next(filter(None, map(shutil.which, COMMANDS)), None)
    if missing or command is None:
        reason = f"no browser: {missing or COMMANDS} not found; see the group 'browser'"
        (pytest.fail if os.environ.get("NEED_BROWSER") else pytest.skip)(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        # Without the sandbox, which needs more rights than a container gives.
        browser = driver.chromium.launch(executable_path=command, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, tmp_path):
    """Open a page of explanations; whatever goes wrong in it fails the test."""
    opened, troubles = [], []

    def open_page(html, width=1280, height=900, scheme="light", **options):
        path = tmp_path / "page.html"
        path.write_text(html, "utf-8")
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, **options
        )
        opened.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("console", lambda message: troubles.append(message.text))
        page.on("dialog", lambda dialog: (troubles.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: troubles.append(request.url))
        page.goto(path.as_uri())
        troubles.remove(path.as_uri())
        page.wait_for_selector(".card[data-shown], .card:not(:has(canvas))")
        return page

    open_page.troubles = troubles
    yield open_page
    for context in opened:
        context.close()
    assert [each for each in troubles if not each.startswith("data:")] == []
