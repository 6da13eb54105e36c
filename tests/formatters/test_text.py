"""An explanation in words."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eli5k.base import Check, Explanation, TargetExplanation
from eli5k.formatters import fields, format_as_text
from eli5k.formatters.place import place_of_heat
from eli5k.formatters.text import label, numbers

pytestmark = pytest.mark.once


def spot(shape, place):
    heatmap = np.zeros(shape)
    heatmap[place] = 1
    return heatmap


def test_every_line_of_an_explanation():
    targets = [
        TargetExplanation("cat", proba=0.75, score=1.5, heatmap=spot((4, 4), (3, 0))),
        TargetExplanation(7, score=-0.25, heatmap=spot((2, 5, 5), (0, 2, 4))),
    ]
    expl = Explanation(
        "net",
        method="Grad-CAM",
        description="It was done.",
        error="Not all of it.",
        targets=targets,
        layer="backbone/conv",
        output="animal",
    )
    assert format_as_text(expl).split("\n") == [
        "Error: Not all of it.",
        "Explained as: Grad-CAM",
        "It was done.",
        "y=cat (probability 0.75, score 1.5) of output animal at layer backbone/conv: "
        "hottest bottom left, 12% across and 88% down",
        "y=7 (score -0.25) of output animal at layer backbone/conv: "
        "hottest at 25%, 50%, 90% of the axes",
    ]


def test_an_explanation_of_nothing_is_short():
    assert format_as_text(Explanation("net")) == ""
    assert format_as_text(Explanation("net", error="", targets=[])) == ""
    assert format_as_text(Explanation("net", targets=[TargetExplanation(1)])) == (
        "y=1: there is no map"
    )


def test_show_chooses_the_sections_but_an_error_is_always_shown():
    expl = Explanation(
        "net", method="CAM", description="Done.", error="Bad.", targets=[TargetExplanation(1)]
    )
    assert format_as_text(expl, show=()) == "Error: Bad."
    assert format_as_text(expl, show=fields.INFO).split("\n")[1:] == ["Explained as: CAM", "Done."]
    assert "CAM" not in format_as_text(expl, show=fields.WEIGHTS)
    assert "y=1" in format_as_text(expl, show=fields.WEIGHTS)
    assert format_as_text(expl, show=["description", "method", "decision_tree"]).split("\n")[
        1:
    ] == [*("Done.", "Explained as: CAM")]


def test_what_means_nothing_for_an_image_changes_nothing():
    expl = Explanation("net", method="CAM", targets=[TargetExplanation(" a ", score=1.0)])
    assert format_as_text(expl) == format_as_text(
        expl, highlight_spaces=True, show_feature_values=True
    )


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ((0, 0), "top left, 10% across and 10% down"),
        ((0, 2), "top, 50% across and 10% down"),
        ((0, 4), "top right, 90% across and 10% down"),
        ((2, 0), "left, 10% across and 50% down"),
        ((2, 2), "in the centre, 50% across and 50% down"),
        ((2, 4), "right, 90% across and 50% down"),
        ((4, 0), "bottom left, 10% across and 90% down"),
        ((4, 2), "bottom, 50% across and 90% down"),
        ((4, 4), "bottom right, 90% across and 90% down"),
    ],
)
def test_the_place_of_the_maximum_in_words(place, words):
    assert place_of_heat(spot((5, 5), place)) == f"hottest {words}"


@pytest.mark.parametrize("heatmap", [np.zeros((3, 3)), np.full((3, 3), np.nan), np.ones((0, 3))])
def test_a_map_without_heat_is_blank(heatmap):
    assert place_of_heat(heatmap) == "the map is blank"


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_the_place_is_that_of_the_cell(height, width, data):
    row, column = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    told = place_of_heat(spot((height, width), (row, column))).split(", ")[-1].split(" ")
    across, down = float(told[0].rstrip("%")), float(told[3].rstrip("%"))
    assert 100 * column / width - 1 <= across <= 100 * (column + 1) / width + 1
    assert 100 * row / height - 1 <= down <= 100 * (row + 1) / height + 1


@settings(deadline=None)
@given(st.text())
def test_a_name_is_one_line_that_can_be_encoded(name):
    line = label(TargetExplanation(name))
    assert line.startswith("y=")
    assert len(line.splitlines()) == 1
    assert line.encode("utf-8")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.123456, "0.1235"), (np.float32(0.5), "0.5"), (1e-9, "1e-09"), (np.nan, "nan"), (0, "0")],
)
def test_numbers_have_four_digits(value, text):
    assert numbers(TargetExplanation(0, score=value)) == [f"score {text}"]


def test_a_check_is_told_below_its_target():
    target = TargetExplanation("cat", check=Check("not shown", "Chance does so."))
    lines = format_as_text(Explanation("net", targets=[target])).split("\n")
    assert lines == ["y=cat: there is no map", "  check: not shown. Chance does so."]
