"""A page about an explanation: what it shows, and that nothing in it can act."""

import base64
import io
import math
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from eli5k.base import Check, Explanation, TargetExplanation
from eli5k.formatters import fields, format_as_html, format_as_image, format_html_styles

pytestmark = pytest.mark.once

VOID = {"img", "br"}
EVIL = '<script>alert("1")</script>\' onload=&amp;'


class Page(HTMLParser):
    """The elements and the text of a page, which must be well nested."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements, self.text = [], [], ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def attributes(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def explain(*names, image=None, heatmap=None, **kwargs):
    heatmap = np.array([[0.0, 0.25], [0.5, 1.0]]) if heatmap is None else heatmap
    targets = [TargetExplanation(n, score=-2.5, proba=0.25, heatmap=heatmap) for n in names]
    return Explanation(
        "net", method="Grad-CAM", description="It was done.", targets=targets, image=image, **kwargs
    )


def decode(source):
    head, data = source.split(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(data, validate=True)))


def test_a_page_tells_what_was_explained_and_how():
    page = Page(format_as_html(explain("cat", layer="conv_9", output="head")))
    for text in (
        "Explained as: Grad-CAM",
        "It was done.",
        "y=cat",
        "(probability 0.25, score -2.5)",
    ):
        assert text in page.text
    for text in ("conv_9", "head", "hottest bottom right, 75% across and 75% down"):
        assert text in page.text
    assert "Error" not in page.text


def test_the_picture_is_the_overlay_with_a_text_for_who_cannot_see_it():
    expl = explain("cat", image=Image.new("RGB", (300, 200), "navy"))
    [image] = Page(format_as_html(expl)).attributes("img")
    np.testing.assert_array_equal(decode(image["src"]), format_as_image(expl))
    assert image["alt"] == "Heatmap for y=cat: hottest bottom right, 75% across and 75% down"


def test_each_target_has_a_picture():
    expl = explain("cat", "dog", 7, image=Image.new("L", (300, 200)))
    page = Page(format_as_html(expl))
    assert len(page.attributes("img")) == len(page.attributes("figure")) == 3
    assert all(text in page.text for text in ("y=cat", "y=dog", "y=7"))


@pytest.mark.parametrize(("size", "shown"), [((28, 28), (224, 224)), ((4000, 1000), (1024, 256))])
def test_a_picture_is_brought_to_a_size_that_suits_a_page(size, shown):
    [image] = Page(format_as_html(explain(0, image=Image.new("L", size)))).attributes("img")
    assert decode(image["src"]).size == shown
    assert image["width"] == str(shown[0])


def test_nothing_of_the_users_can_act():
    expl = explain(EVIL, image=Image.new("L", (300, 200)), layer=EVIL, output=EVIL, error=EVIL)
    expl.method = expl.description = EVIL
    page = Page(format_as_html(expl))
    assert page.text.count(EVIL) == 6
    tags = {tag for tag, _ in page.elements}
    assert tags <= {"style", "div", "p", "figure", "figcaption", "b", "span", "small", "img"}
    assert {key for _, attributes in page.elements for key in attributes} <= {
        *("class", "style", "role", "src", "width", "alt")
    }
    assert EVIL in page.attributes("img")[0]["alt"]


def test_an_error_is_seen_without_the_styles_and_whatever_is_shown():
    expl = Explanation("net", error="not supported")
    page = Page(format_as_html(expl, include_styles=False, show=()))
    [box] = [attributes for attributes in page.attributes("div") if "role" in attributes]
    assert "background" in box["style"]
    assert page.text.strip() == "Error: not supported"


def test_styles_come_with_the_page_or_apart():
    expl = explain("cat")
    assert Page(format_html_styles()).elements == [("style", {})]
    apart = format_as_html(expl, include_styles=False)
    assert not Page(apart).attributes("style")
    assert format_as_html(expl) == format_html_styles() + apart


def test_show_chooses_the_sections_and_their_order():
    expl = explain("cat")
    page = Page(format_as_html(expl, include_styles=False, show=fields.INFO)).text
    assert page.split("\n")[1:3] == ["Explained as: Grad-CAM", "It was done."]
    assert "cat" not in page
    assert "Grad-CAM" not in format_as_html(expl, show=fields.WEIGHTS)
    page = Page(format_as_html(expl, include_styles=False, show=["targets", "method", "tree"])).text
    assert 0 <= page.index("y=cat") < page.index("Grad-CAM")


def test_targets_stand_side_by_side_or_one_below_the_other():
    expl = explain("cat", "dog")
    assert "flex-direction: column" not in format_as_html(expl)
    assert "flex-direction: column" in format_as_html(expl, horizontal_layout=False)


def test_what_means_nothing_for_an_image_changes_nothing():
    expl = explain("cat")
    assert format_as_html(expl) == format_as_html(
        expl,
        force_weights=False,
        preserve_density=True,
        highlight_spaces=True,
        show_feature_values=True,
    )


@pytest.mark.parametrize(
    ("heatmap", "words"),
    [
        (np.array([0.0, 1.0]), "hottest at 75% of the axis"),
        (np.eye(8).reshape(4, 4, 4), "hottest at 12%, 12%, 12% of the axes"),
        (np.zeros((4, 4, 4)), "the map is blank"),
    ],
)
def test_a_map_that_is_no_picture_is_told_in_words(heatmap, words):
    page = Page(format_as_html(explain("cat", heatmap=heatmap, image=Image.new("L", (9, 9)))))
    assert not page.attributes("img")
    assert words in page.text


def test_a_target_without_a_map_is_told_in_words():
    expl = Explanation("net", targets=[TargetExplanation(3)], image=Image.new("L", (9, 9)))
    page = Page(format_as_html(expl))
    assert "y=3" in page.text
    assert "there is no map" in page.text


def test_without_matplotlib_the_words_must_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    page = Page(format_as_html(explain("cat", image=Image.new("L", (9, 9)))))
    assert not page.attributes("img")
    assert "hottest bottom right" in page.text


def test_a_bad_heatmap_is_an_error():
    with pytest.raises(TypeError, match=r"numpy.ndarray"):
        format_as_html(explain(0, heatmap=[[0.5]], image=Image.new("L", (9, 9))))
    with pytest.raises(ValueError, match=r"maximum 2\.0"):
        format_as_html(explain(0, heatmap=np.full((2, 2), 2.0), image=Image.new("L", (9, 9))))


def test_a_check_is_told_below_the_picture():
    check = Check("not shown", "Chance does <so>.")
    target = TargetExplanation("cat", check=check)
    page = Page(format_as_html(Explanation("net", targets=[target])))
    assert "check: not shown. Chance does <so>." in page.text


def test_a_check_has_a_curve_from_the_score_down_to_that_without_the_hottest_part():
    check = Check("supported", "It is.", score=9.0, shares=(0.1, 0.4))
    check.dropped, check.dropped_elsewhere = (5.0, 1.0), (9.0, 7.0)
    html = format_as_html(Explanation("net", targets=[TargetExplanation("cat", check=check)]))
    lines = re.findall(r'<polyline points="([^"]*)"', html)
    assert lines == ["0,0 40,24 160,48", "0,0 40,0 160,12"]
    assert "hottest 40 % blurred: 1 instead of 9; with a random part as large (dashed): 7." in html
    check.dropped = (5.0, math.nan)
    assert "polyline" not in format_as_html(
        Explanation("net", targets=[TargetExplanation("cat", check=check)])
    )
