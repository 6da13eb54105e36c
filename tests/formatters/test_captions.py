"""What captioned pictures tell, and how their maps are scaled."""

import numpy as np
import pytest
from PIL import Image

from eli5k.base import (
    BlankMapWarning,
    Check,
    Explanation,
    MisplacedMapWarning,
    TargetExplanation,
    UnscaledInputWarning,
)
from eli5k.formatters import format_as_image
from eli5k.formatters.scaling import scale, scale_alike
from tests.formatters.test_frame import spot
from tests.formatters.test_sheet import find, picture, written  # noqa: F401

pytestmark = pytest.mark.once


def explain(*heatmaps, size=(300, 300), **kwargs):
    targets = [
        TargetExplanation(name, score=2.5, proba=0.75, heatmap=each, attribution=3 * each)
        for name, each in zip(("cat", "dog", "cow"), heatmaps)
    ]
    kwargs = {"method": "Grad-CAM", "layer": "conv", **kwargs}
    return Explanation("net", targets=targets, image=picture(*size), **kwargs)


def texts(written):  # noqa: F811
    return [text for text, _ in written]


def test_a_caption_tells_all_there_is_to_say(written):  # noqa: F811
    expl = explain(np.eye(3), source="/photos/a.jpg", output="head", input="left")
    sheet = format_as_image(expl, caption=True)
    assert texts(written) == [
        *("a.jpg", "y=cat", "score 2.5, probability 0.75", "input left"),
        "Grad-CAM, layer conv, output head",
    ]
    [(_, top)] = find(format_as_image(expl), sheet)
    assert all(box[1] >= top + 300 for _, box in written)


def test_what_holds_for_all_panels_is_told_once(written):  # noqa: F811
    format_as_image(explain(np.eye(3), np.eye(3)), caption=True)
    numbers = "score 2.5, probability 0.75"
    assert texts(written) == [
        *("y=cat", numbers, "y=dog", numbers),
        "Grad-CAM, layer conv, each map on its own scale",
    ]


def test_a_panel_without_evidence_says_so(written):  # noqa: F811
    format_as_image(explain(np.eye(3), np.zeros((3, 3))), caption=True)
    assert texts(written)[:5].count("no evidence: the map is blank") == 1
    assert texts(written)[4] == "no evidence: the map is blank"
    written.clear()
    format_as_image(explain(np.eye(3), np.zeros((3, 3))))
    assert texts(written)[-2:] == ["score 2.5, probability 0.75", "no evidence: the map is blank"]


def test_a_picture_carries_the_warnings_that_change_what_it_means(written):  # noqa: F811
    warnings = [MisplacedMapWarning("1"), UnscaledInputWarning("2"), UnscaledInputWarning("3")]
    format_as_image(explain(np.eye(3), warnings=[*warnings, BlankMapWarning("4")]), caption=True)
    assert texts(written)[3:] == ["warning: misplaced map", "warning: unscaled input"]


def test_a_small_picture_is_enlarged_and_captioned():
    expl = explain(np.eye(3), size=(28, 28))
    assert format_as_image(expl).size == (28, 28)
    assert min(format_as_image(expl, caption=True).size) >= 224


def test_a_captioned_map_of_pixels_is_drawn_over_a_dark_photograph():
    fine = explain(np.eye(8), layer=None)
    coarse = explain(np.eye(8))
    assert find(format_as_image(fine, style="dim"), format_as_image(fine, caption=True))
    assert find(format_as_image(coarse), format_as_image(coarse, caption=True))


# How maps are scaled


def test_grad_cam_and_coarse_maps_stay_as_they_are():
    for method, heatmap in (("Grad-CAM", np.full((3, 3), 0.9) + 0.1 * np.eye(3)), ("X", np.eye(3))):
        expl = explain(heatmap, method=method)
        scaled = scale(expl, expl.targets[0])
        np.testing.assert_array_equal(scaled.heatmap, heatmap)
        assert (scaled.note, scaled.low, scaled.high) == ("", 0, 1)


def test_a_map_that_hardly_varies_is_shown_from_its_minimum_on():
    heatmap = np.array([[0.8, 0.9], [0.95, 1.0]])
    expl = explain(heatmap, method="RISE")
    scaled = scale(expl, expl.targets[0])
    np.testing.assert_allclose(scaled.heatmap, [[0, 0.5], [0.75, 1]])
    assert scaled.note == "shown from 0.8 to 1 of its maximum"


def test_a_map_of_pixels_is_scaled_by_its_99th_percentile():
    heatmap = np.linspace(0, 1, 101)[np.newaxis] ** 3
    expl = explain(heatmap, method="Gradient", layer=None)
    scaled = scale(expl, expl.targets[0])
    np.testing.assert_allclose(scaled.heatmap, np.minimum(1, heatmap / 0.99**3))
    assert scaled.note == "scaled by its 99th percentile"
    assert scaled.high == pytest.approx(0.99**3)


def test_a_map_of_one_value_says_that_it_shows_no_place():
    expl = explain(np.ones((3, 3)), method="RISE")
    assert "shows no place" in scale(expl, expl.targets[0]).note


def test_one_scale_compares_raw_maps(written):  # noqa: F811
    expl = explain(np.eye(2), np.eye(2))
    expl.targets[1].attribution = np.eye(2) * -6 + 1.5
    first, second = scale_alike(expl.targets)
    np.testing.assert_allclose(first.heatmap, np.eye(2))
    np.testing.assert_allclose(second.heatmap, 0.5 * np.eye(2)[::-1])
    format_as_image(expl, caption=True, same_scale=True)
    assert texts(written)[-1].endswith("all maps on one scale")
    expl.targets[0].attribution = None
    with pytest.raises(ValueError, match="target 'cat' must have a raw map"):
        format_as_image(expl, same_scale=True)


# The colour bar


def test_bars_on_one_scale_have_the_same_ends(written):  # noqa: F811
    expl = explain(np.eye(2), np.eye(2))
    expl.targets[1].attribution = np.eye(2) * 1.5
    format_as_image(expl, colorbar=True, same_scale=True)
    numbers = [text for text in texts(written) if text[0].isdigit()]
    assert numbers == ["0", "3", "0", "3"]


def test_a_bar_names_the_values_at_its_ends(written):  # noqa: F811
    expl = explain(spot((3, 3), (1, 1)))
    format_as_image(expl, colorbar=True)
    assert texts(written)[:2] == ["0", "3"]
    written.clear()
    expl.targets[0].attribution = np.array([[-5.0, 0, 0], [0, 3, 0], [0, 0, 0]])
    format_as_image(expl, colorbar=True, style="signed")
    assert texts(written)[:2] == ["-5", "5"]


def test_the_colours_of_a_bar_are_those_of_the_heat():
    expl = explain(np.ones((2, 2)))
    expl.image = Image.new("RGB", (300, 300), (128, 128, 128))
    sheet = np.asarray(format_as_image(expl, colorbar=True).convert("RGB"))
    hottest = np.asarray(format_as_image(expl).convert("RGB"))[0, 0]
    rows, columns = np.nonzero((sheet == hottest).all(-1))
    below = rows > 310
    assert below.any()
    assert columns[below].min() > 100  # towards the right end


def test_a_caption_has_the_checks_word(written):  # noqa: F811
    expl = explain(np.eye(3))
    check = Check("supported", "It is.")
    expl.targets = [TargetExplanation("cat", heatmap=np.eye(3), check=check)]
    format_as_image(expl, caption=True)
    assert texts(written)[-1] == "check: supported"
