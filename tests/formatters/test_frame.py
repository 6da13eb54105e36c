"""A map lies where its frame says, in every format."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from eli5k.base import WHOLE, Explanation, TargetExplanation
from eli5k.formatters import format_as_dict, format_as_html, format_as_image, format_as_text
from eli5k.formatters.frame import check_frame, place_of_cell, spread
from tests.formatters.test_html import Page, decode
from tests.formatters.test_sheet import find, picture

pytestmark = pytest.mark.once

FILTERS = list(Image.Resampling)
SIZE = (64, 48)


def spot(shape, place):
    heatmap = np.zeros(shape)
    heatmap[place] = 1
    return heatmap


def explain(heatmap, frame, image=None, **kwargs):
    image = picture(*SIZE) if image is None else image
    targets = [TargetExplanation("cat", heatmap=heatmap)]
    return Explanation("net", targets=targets, image=image, frame=frame, **kwargs)


def white(heatmap):
    return np.ones((*heatmap.shape, 4))


def heat(expl, resampling_filter=Image.Resampling.NEAREST):
    """Show the opacity of the heat itself: white over black."""
    expl.image = Image.new("RGB", expl.image.size)
    shown = format_as_image(expl, resampling_filter, colormap=white, alpha_limit=None)
    return np.asarray(shown)[..., 0]


@pytest.mark.parametrize("resampling_filter", FILTERS)
def test_a_frame_is_the_whole_map_laid_over_that_part_of_the_picture(resampling_filter):
    heatmap = np.random.default_rng(0).random((5, 7))
    image = picture(*SIZE)
    expl = explain(heatmap, (0.25, 0.25, 0.75, 0.5), image)
    shown = format_as_image(expl, resampling_filter)
    box = (16, 12, 48, 24)
    part = explain(heatmap, WHOLE, image.crop(box))
    expected = image.convert("RGBA")
    expected.paste(format_as_image(part, resampling_filter), box)
    np.testing.assert_array_equal(np.asarray(shown), np.asarray(expected))


@pytest.mark.parametrize("resampling_filter", FILTERS)
def test_a_padding_is_what_is_cut_from_the_map_over_the_padded_picture(resampling_filter):
    heatmap = np.random.default_rng(0).random((5, 7))
    image = picture(*SIZE)
    padded = Image.new("RGB", (128, 72))
    padded.paste(image, (32, 12))
    shown = format_as_image(explain(heatmap, (-0.5, -0.25, 1.5, 1.25), image), resampling_filter)
    whole = format_as_image(explain(heatmap, WHOLE, padded), resampling_filter)
    expected = np.asarray(whole.crop((32, 12, 96, 60))).astype(int)
    # Resizing along both axes rounds twice, and so does laying the colours over the picture.
    assert abs(np.asarray(shown).astype(int) - expected).max() <= 2


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(-1.5, 2.5), min_size=4, max_size=4),
    st.integers(1, 6),
    st.integers(1, 6),
    st.data(),
)
def test_a_hot_cell_lies_at_its_pixels(numbers, rows, columns, data):
    left, right = sorted(numbers[:2])
    top, bottom = sorted(numbers[2:])
    frame = (left, top, right + 0.1, bottom + 0.1)
    row, column = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    hot = heat(explain(spot((rows, columns), (row, column)), frame)) > 0
    across = pixel_centres(SIZE[0], frame[0], frame[2], columns, column)
    down = pixel_centres(SIZE[1], frame[1], frame[3], rows, row)
    # Pixels at the rims of a cell may belong to either side.
    assert hot[np.outer(down(0.51), across(0.51))].all()
    assert not hot[~np.outer(down(-1.01), across(-1.01))].any()


def pixel_centres(pixels, low, high, cells, cell):
    """Tell which pixels lie inside a cell, by more than a margin in pixels."""
    centres = np.arange(pixels) + 0.5
    width = (high - low) * pixels / cells
    start = low * pixels + cell * width
    return lambda margin: (centres > start + margin) & (centres < start + width - margin)


@pytest.mark.parametrize("frame", [(1, 0, 2, 1), (-1, 0, 0, 1), (0, 1.5, 1, 2), (0, -3, 1, -1)])
def test_a_frame_outside_the_picture_leaves_it_as_it_is(frame):
    expl = explain(np.ones((2, 2)), frame)
    assert format_as_image(expl) == expl.image.convert("RGBA")


def test_a_pixel_that_is_covered_in_part_has_part_of_the_heat():
    hot = heat(explain(np.ones((1, 1)), (0.125, 0.0, 0.6875, 1.0), Image.new("L", (8, 2))))
    assert hot.tolist() == [[0, 255, 255, 255, 255, 128, 0, 0]] * 2
    within_one_pixel = heat(explain(np.ones((3, 3)), (0.3, 0.0, 0.35, 1.0), Image.new("L", (8, 1))))
    assert within_one_pixel.tolist() == [[0, 0, 102, 0, 0, 0, 0, 0]]


def test_a_rounding_error_moves_no_pixel():
    assert 0.1 + 0.2 > 0.3
    first = explain(spot((1, 6), (0, 0)), (0.1 + 0.2, 0, 0.9, 1), Image.new("L", (10, 1)))
    assert heat(first).tolist() == [[0, 0, 0, 255, 0, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize("resampling_filter", [None, *FILTERS])
def test_nearly_the_whole_picture_looks_like_the_whole(resampling_filter):
    heatmap = np.random.default_rng(0).random((7, 7))
    image = picture(*SIZE)
    whole = format_as_image(explain(heatmap, WHOLE, image), resampling_filter)
    nearly = format_as_image(explain(heatmap, (-1e-9, 0, 1 + 1e-9, 1), image), resampling_filter)
    np.testing.assert_array_equal(np.asarray(nearly), np.asarray(whole))


@pytest.mark.parametrize("mode", ["L", "F"])
def test_a_map_of_one_number_a_cell_is_spread_as_well(mode):
    cells = Image.fromarray(np.array([[4, 8]], {"L": np.uint8, "F": np.float32}[mode]))
    layer = spread(cells, (8, 1), (0.5, 0, 1.0, 1), Image.Resampling.BOX)
    assert layer.mode == mode
    assert np.asarray(layer).tolist() == [[0, 0, 0, 0, 4, 4, 8, 8]]


@pytest.mark.parametrize(
    "frame", [(0.5, 0, 0.5, 1), (0, 1, 1, 0), (0, 0, math.inf, 1), (math.nan, 0, 1, 1)]
)
def test_a_frame_without_area_is_an_error(frame):
    with pytest.raises(ValueError, match=r"left < right and top < bottom. Received: \("):
        format_as_image(explain(np.ones((2, 2)), frame))
    with pytest.raises(ValueError, match="frame"):
        check_frame(frame)


def test_the_place_of_a_cell_is_that_of_its_pixels():
    frame = (0.25, -0.5, 1.25, 0.5)
    hot = heat(explain(spot((4, 4), (3, 1)), frame))
    rows, columns = np.nonzero(hot)
    across, down = place_of_cell((3.5, 1.5), (4, 4), frame)
    assert across == pytest.approx((columns.mean() + 0.5) / SIZE[0])
    assert down == pytest.approx((rows.mean() + 0.5) / SIZE[1])


@pytest.mark.parametrize(
    ("place", "frame", "words"),
    [
        ((0, 0), (0.5, 0.5, 1.0, 1.0), "hottest in the centre, 62% across and 62% down"),
        ((0, 1), (0.5, 0.0, 1.0, 0.5), "hottest top right, 88% across and 12% down"),
        ((0, 0), (-0.2, -0.2, 1.2, 1.2), "hottest top left, 15% across and 15% down"),
        ((0, 0), (-0.9, 0.0, 1.0, 1.0), "hottest in the padding beyond the left edge"),
        ((1, 1), (0, 0, 2.0, 3.0), "hottest in the padding beyond the right and bottom edges"),
    ],
)
def test_words_tell_the_place_in_the_picture(place, frame, words):
    expl = explain(spot((2, 2), place), frame)
    assert format_as_text(expl) == f"y=cat: {words}"
    page = Page(format_as_html(expl))
    assert words in page.text
    assert page.attributes("img")[0]["alt"] == f"Heatmap for y=cat: {words}"


def test_html_shows_the_heat_in_its_frame():
    expl = explain(spot((2, 2), (0, 0)), (0.5, 0.5, 1, 1), picture(300, 200))
    [image] = Page(format_as_html(expl)).attributes("img")
    np.testing.assert_array_equal(decode(image["src"]), format_as_image(expl))


def test_a_dict_has_the_frame():
    assert format_as_dict(explain(np.ones((1, 1)), (0, 0.25, 0.5, 1)))["frame"] == [0, 0.25, 0.5, 1]


# Explanations of the model's other images


def explain_two(**kwargs):
    left = explain(spot((2, 2), (0, 0)), (0.5, 0, 1, 1), picture(300, 200), input="left", **kwargs)
    right = explain(spot((2, 2), (1, 1)), WHOLE, picture(240, 240), input="right", **kwargs)
    left.others = [right]
    return left, right


def test_each_input_has_a_panel_with_its_own_picture_map_and_frame():
    left, right = explain_two()
    sheet = format_as_image(left)
    right_alone = find(format_as_image(right), sheet)
    left.others = []
    left_alone = find(format_as_image(left), sheet)
    assert len(left_alone) == len(right_alone) == 1
    assert left_alone[0][0] < right_alone[0][0]
    # The pictures differ in size and stand on one line.
    assert left_alone[0][1] + 200 == right_alone[0][1] + 240


def test_the_caption_of_a_panel_names_the_input(monkeypatch):
    from PIL import ImageDraw

    texts = []
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda self, xy, text, **_: texts.append(text))
    format_as_image(explain_two()[0])
    assert texts == ["y=cat", "input left", "y=cat", "input right"]


def test_text_and_html_tell_of_one_input_after_the_other():
    expl, _ = explain_two(method="CAM", layer="conv")
    lines = [
        "Explained as: CAM",
        "y=cat in input left at layer conv: hottest top, 62% across and 25% down",
        "y=cat in input right at layer conv: hottest bottom right, 75% across and 75% down",
    ]
    assert format_as_text(expl).split("\n") == lines
    page = Page(format_as_html(expl))
    assert len(page.attributes("img")) == 2
    assert page.text.count("Explained as: CAM") == 1
    assert page.text.index("input left") < page.text.index("input right")


def test_a_dict_holds_the_other_inputs():
    left, right = explain_two()
    data = format_as_dict(left)
    assert data["input"] == "left"
    assert data["others"] == [format_as_dict(right)]
