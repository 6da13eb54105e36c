"""The page as a file: what it holds and what it forbids; a browser sees it in ``tests/browser``."""

import base64
import hashlib
import io
import json
import re
from html import unescape

import numpy as np
import pytest
from PIL import Image

import eli5k
from eli5k.base import Explanation, TargetExplanation
from eli5k.formatters import format_as_page
from tests.formatters.test_frame import spot
from tests.formatters.test_sheet import picture

pytestmark = pytest.mark.once


def explain(heatmap=None, names=("cat",), **kwargs):
    heatmap = np.eye(3) if heatmap is None else heatmap
    targets = [TargetExplanation(name, score=2.5, heatmap=heatmap) for name in names]
    kwargs = {"image": picture(60, 40), "method": "Grad-CAM", "layer": "conv", **kwargs}
    return Explanation("net", targets=targets, **kwargs)


def cards(page):
    """What the script reads: the pictures and maps of each card."""
    return [
        json.loads(text)
        for text in re.findall(r'<script type="application/json">(.*?)</script>', page)
    ]


def test_the_policy_allows_this_script_and_style_and_nothing_else():
    page = format_as_page(explain())
    policy = unescape(re.search(r'Content-Security-Policy" content="(.*?)"', page)[1])
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    for name, tag in (("script-src", "script"), ("style-src", "style")):
        [text] = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.S)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[name] == f"'sha256-{digest}'"
    assert "http:" not in page
    assert "https:" not in page
    assert " style=" not in page


def test_the_photograph_travels_without_loss():
    [card] = cards(format_as_page(explain()))
    head, data = card["pictures"][0]["source"].split(",")
    assert head == "data:image/webp;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        np.testing.assert_array_equal(np.asarray(image.convert("RGB")), np.asarray(picture(60, 40)))


@pytest.mark.parametrize("low", [0.0, 0.9])
def test_a_map_travels_at_its_own_grid_in_256_levels(low):
    heatmap = low + (1 - low) * np.random.default_rng(0).random((4, 6))
    [card] = cards(format_as_page(explain(heatmap)))
    [each] = card["maps"]
    codes = np.frombuffer(base64.b64decode(each["cells"]), np.uint8).reshape(4, 6)
    values = each["low"] + codes / 255 * (each["high"] - each["low"])
    assert abs(values - heatmap).max() <= (1 - low) / 255 / 2 + 1e-9
    assert (each["rows"], each["columns"]) == (4, 6)


def test_explanations_of_one_picture_share_a_card():
    other = explain(method="RISE")
    page = format_as_page([explain(names=("cat", "dog")), explain(image=picture(50, 50)), other])
    assert [len(card["maps"]) for card in cards(page)] == [3, 1]
    assert [len(card["pictures"]) for card in cards(page)] == [1, 1]
    assert "Explanations of 2 pictures" in page


def test_models_are_told_apart_on_one_card():
    other = explain()
    other.estimator = "other"
    [card] = cards(format_as_page([explain(), other]))
    assert [each["name"] for each in card["maps"]] == [
        "y=cat: Grad-CAM, layer conv, net",
        "y=cat: Grad-CAM, layer conv, other",
    ]


def test_the_frame_goes_with_the_map():
    [card] = cards(format_as_page(explain(spot((2, 2), (0, 0)), frame=(0.5, 0.0, 1.0, 1.0))))
    [each] = card["maps"]
    assert each["frame"] == [0.5, 0.0, 1.0, 1.0]
    assert each["boxes"] == [[0.5, 0.0, 0.75, 0.5]]
    assert "hottest top, 62% across and 25% down" in each["said"]


def test_a_scaled_map_says_how():
    [card] = cards(format_as_page(explain(np.array([[0.8, 1.0]]), method="RISE")))
    [each] = card["maps"]
    assert (each["from"], each["to"]) == (0.8, 1.0)
    assert "shown from 0.8 to 1 of its maximum" in each["said"]
    [card] = cards(format_as_page(explain(np.zeros((2, 2)))))
    assert "the map is blank" in card["maps"][0]["said"]


@pytest.mark.parametrize("name", ["</script>", "<!--<script>", "&lt;", "\udcff", "\u2028"])
def test_no_name_breaks_the_page(name):
    page = format_as_page(explain(names=(name,), source=name, layer=name), title=name)
    page.encode("utf-8")
    [card] = cards(page)
    assert len(card["maps"]) == 1
    assert page.count("<script") == 3


def test_the_colours_are_those_of_matplotlib():
    import matplotlib

    page = format_as_page(explain(), colormap="jet")
    data = json.loads(
        re.search(r'<script type="application/json" id="page">(.*?)</script>', page)[1]
    )
    tables = {
        name: np.frombuffer(base64.b64decode(text), np.uint8) for name, text in data["colours"]
    }
    assert next(iter(tables)) == "jet"
    assert {"viridis", "cividis", "turbo"} <= set(tables)
    for name, table in tables.items():
        colours = matplotlib.colormaps[name](np.arange(256))[:, :3]
        np.testing.assert_array_equal(table.reshape(256, 3), np.floor(255 * colours))


def test_a_colormap_of_ones_own_is_offered_first():
    def red(heat):
        return np.stack([heat, 0 * heat, 0 * heat, 1 + 0 * heat], -1)

    page = format_as_page(explain(), colormap=red, alpha_limit=None)
    assert '"colours":[["custom"' in page
    assert 'name="opacity" min="0" max="100" value="100"' in page


def test_a_page_of_many_pictures_is_small():
    small = Image.new("RGB", (224, 224), "navy")
    expls = [explain(np.eye(7), image=small, source=f"{n}.jpg") for n in range(50)]
    page = format_as_page(expls)
    assert len(page) / 50 < 2500


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"alpha_limit": 1.5}, r"alpha_limit must be in \[0, 1\]. Received: 1.5"),
        ({"colormap": "virids"}, "Did you mean 'viridis'"),
    ],
)
def test_a_bad_argument_is_an_error(kwargs, message):
    with pytest.raises(ValueError, match=message):
        format_as_page(explain(), **kwargs)
    with pytest.raises(ValueError, match="at least one explanation"):
        format_as_page([])
    with pytest.raises(ValueError, match=r"maximum 2\.0"):
        format_as_page(explain(np.full((2, 2), 2.0)))


def test_a_page_is_saved_by_its_name(tmp_path):
    path = eli5k.save([explain(), explain()], tmp_path / "why.html", title="Why?")
    assert path.read_text("utf-8") == format_as_page([explain(), explain()], title="Why?")
    with pytest.raises(TypeError, match="style"):
        eli5k.save(explain(), path, style="dim")
    assert "Why?" in path.read_text("utf-8")
