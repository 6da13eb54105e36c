"""eli5k.methods(): all methods, what they do, cost and need, and a picture of each."""

import base64
import io
import re

import pytest
from PIL import Image

import eli5k
from eli5k.keras.methods import METHODS
from eli5k.keras.methods.registry import AtInput, Cost, Method


def test_each_method_is_told_with_what_it_costs_and_needs():
    told = str(eli5k.methods())
    assert re.findall(r"^  ([\w+-]+): ", told, re.MULTILINE) == list(METHODS)
    assert max(map(len, told.splitlines())) <= 100
    flat = " ".join(told.split())
    for method in METHODS.values():
        needs = "a layer that has a grid" if method.needs_layer else "nothing but the input"
        assert f"{method.what} {method.when} Cost: {method.cost}. Needs {needs}." in flat


def test_a_notebook_shows_a_picture_of_each():
    html = eli5k.methods()._repr_html_()
    pictures = re.findall(r'<img src="data:image/webp;base64,([^"]+)" alt="([^"]+)"', html)
    assert len(pictures) == len(METHODS) == html.count("<tr>") - 1
    shown = [Image.open(io.BytesIO(base64.b64decode(source))) for source, _ in pictures]
    assert {picture.size for picture in shown} == {(200, 100)}
    # Above a global average, CAM, Grad-CAM, HiResCAM and XGrad-CAM are the same map.
    assert len({picture.tobytes() for picture in shown}) >= len(METHODS) - 5
    assert "Grad-CAM for the class cat, over a cat and a cup" in dict(map(reversed, pictures))
    assert len(html) < 250_000


def test_a_method_of_ones_own_is_listed_without_a_picture(monkeypatch):
    mine = Method("<Mine>", "input", AtInput(len), "Does it.", "Never.", Cost(1))
    monkeypatch.setitem(METHODS, "mine", mine)
    assert "  mine: <Mine>" in str(eli5k.methods())
    html = eli5k.methods()._repr_html_()
    assert "&lt;Mine&gt;" in html
    assert "<Mine>" not in html
    assert html.count("<img") == len(METHODS) - 1


def test_the_table_is_a_copy():
    eli5k.methods().clear()
    assert METHODS
    with pytest.raises(KeyError):
        eli5k.methods()["gradcam"]
