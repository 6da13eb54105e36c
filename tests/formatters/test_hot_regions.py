"""Hot regions against objects at known places."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import eli5k
from eli5k.base import Explanation, TargetExplanation
from eli5k.formatters.hot_regions import hot_boxes, hot_regions
from tests.formatters.test_frame import spot

pytestmark = pytest.mark.once


def explain(*heatmaps, size=(100, 100), **kwargs):
    targets = [TargetExplanation(n, heatmap=each) for n, each in enumerate(heatmaps)]
    return Explanation("net", targets=targets, image=Image.new("L", size), **kwargs)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 12), st.integers(1, 12), st.data())
def test_the_box_of_a_hot_cell_is_the_cell(rows, columns, data):
    row, column = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    [(box, heat)] = hot_boxes(spot((rows, columns), (row, column)), (100 * columns, 100 * rows))
    cell = (100 * column, 100 * row, 100 * (column + 1), 100 * (row + 1))
    assert box == pytest.approx(cell, abs=100 / 8)
    assert 0.3 < heat <= 1  # the rest is smoothed into the neighbours


def test_regions_come_by_their_heat():
    heatmap = np.zeros((10, 10))
    heatmap[1:3, 1:3] = 1
    heatmap[6:9, 5:9] = 0.8
    heatmap[5, 0] = 0.6
    heatmap[0, 9] = 0.3
    found = hot_regions(explain(heatmap))
    boxes = [tuple(5 * round(edge / 5) for edge in region.box) for region in found]
    assert boxes[:2] == [(50, 60, 90, 90), (10, 10, 30, 30)]
    assert len(found) == 3
    assert sum(region.heat for region in found) < 1
    assert [region.heat for region in found] == sorted((r.heat for r in found), reverse=True)
    assert len(hot_regions(explain(heatmap), at_most=1)) == 1
    assert len(hot_regions(explain(heatmap), threshold=0.2)) == 4


def test_each_target_and_each_input_has_its_regions():
    expl = explain(spot((2, 2), (0, 0)), spot((2, 2), (1, 1)), input="left")
    expl.others = [explain(spot((2, 2), (0, 1)), size=(40, 40), input="right")]
    found = eli5k.hot_regions(expl)
    assert [(each.target, each.input, each.box) for each in found] == [
        (0, "left", (0, 0, 50, 50)),
        (1, "left", (50, 50, 100, 100)),
        (0, "right", (20, 0, 40, 20)),
    ]


def test_a_frame_moves_the_boxes_and_the_picture_cuts_them():
    [region] = hot_regions(explain(spot((2, 2), (1, 1)), frame=(0.5, 0, 1, 1)))
    assert region.box == (75, 50, 100, 100)
    [region] = hot_regions(explain(spot((2, 2), (0, 0)), frame=(-0.2, -0.2, 1.2, 1.2)))
    assert region.box == (0, 0, 50, 50)
    assert hot_regions(explain(spot((2, 2), (0, 0)), frame=(-1, 0, 1, 1))) == []


def test_a_fine_map_is_found_quickly():
    heatmap = np.random.default_rng(0).random((600, 800)) * 0.1
    heatmap[200:300, 400:600] += 0.9
    [region] = hot_regions(explain(heatmap, size=(800, 600)))
    assert region.box == pytest.approx((400, 200, 600, 300), abs=800 / 32)


def test_scattered_pixels_are_one_region():
    rng = np.random.default_rng(0)
    heatmap = np.where(rng.random((224, 224)) < 0.01, 0.3, 0.0)
    heatmap[60:120, 100:180] = np.where(rng.random((60, 80)) < 0.3, 1.0, 0.0)
    first = hot_regions(explain(heatmap, size=(224, 224)), threshold=0.3)[0]
    assert first.box == pytest.approx((100, 60, 180, 120), abs=10)
    assert first.heat > 0.7


def test_a_blank_map_has_no_regions():
    assert hot_regions(explain(np.zeros((4, 4)))) == []
    assert hot_regions(Explanation("net")) == []


@pytest.mark.parametrize("threshold", [0, 1.5, -1, float("nan")])
def test_the_threshold_is_a_part_of_the_maximum(threshold):
    with pytest.raises(ValueError, match=r"threshold must be in \(0, 1\]"):
        hot_regions(explain(np.eye(2)), threshold=threshold)
