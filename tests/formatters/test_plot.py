"""Axes of a matplotlib figure: the pixels of the picture, in its own coordinates."""

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure

import eli5k
from eli5k.base import Explanation, TargetExplanation
from eli5k.formatters import format_as_image
from tests.formatters.test_frame import spot
from tests.formatters.test_sheet import picture

pytestmark = pytest.mark.once


def explain(*heatmaps, size=(300, 240)):
    targets = [
        TargetExplanation(name, score=2.5, heatmap=each, attribution=4 * each)
        for name, each in zip(("cat", "dog"), heatmaps)
    ]
    return Explanation("net", method="RISE", layer="conv", targets=targets, image=picture(*size))


def test_an_axis_of_the_users_own_gets_the_picture_in_its_pixels():
    expl = explain(spot((4, 4), (1, 2)))
    left, right = Figure().subplots(1, 2)
    assert eli5k.plot(expl, ax=right) is right
    assert not left.images
    [image] = right.images
    np.testing.assert_array_equal(image.get_array(), np.asarray(format_as_image(expl)))
    assert image.get_extent() == [0, 300, 240, 0]
    assert right.get_title() == "y=cat\nscore 2.5\nRISE, layer conv"
    [region] = eli5k.hot_regions(expl)
    assert right.get_xlim() == (0, 300)
    assert right.get_ylim() == (240, 0)
    assert region.box[2] <= 300


def test_several_targets_need_as_many_axes():
    expl = explain(spot((4, 4), (1, 2)), spot((4, 4), (3, 3)))
    axes = Figure().subplots(1, 2)
    found = eli5k.plot(expl, ax=axes, style="contour")
    assert [each.get_title().splitlines()[0] for each in found] == ["y=cat", "y=dog"]
    with pytest.raises(ValueError, match=r"ax must have one axis for each of the 2 panels.*: 1"):
        eli5k.plot(expl, ax=Figure().subplots())


def test_without_axes_a_figure_is_made():
    found = eli5k.plot(explain(np.eye(3), np.eye(3)), caption=False)
    figure = found[0].figure
    assert [len(each.images) for each in figure.axes] == [1, 1]
    assert found[0].get_title() == ""
    pyplot.close(figure)


def test_the_colour_bar_is_matplotlibs_with_the_raw_values():
    axis = Figure().subplots()
    eli5k.plot(explain(np.linspace(0, 1, 9).reshape(3, 3)), ax=axis, colorbar=True)
    bar = axis.figure.axes[1]
    assert bar.get_ylim() == (0, 4)


def test_small_and_large_pictures_keep_their_coordinates():
    for size in ((28, 20), (3000, 40)):
        axis = Figure().subplots()
        eli5k.plot(explain(np.eye(3), size=size), ax=axis)
        assert axis.images[0].get_extent() == [0, size[0], size[1], 0]


def test_what_is_no_photograph_is_plotted_too():
    beat = Explanation("net", kind="signal", layer="conv", document=np.sin(np.arange(90.0)))
    beat.targets = [TargetExplanation("beat", heatmap=np.eye(1, 9)[0], size=(90,))]
    axis = Figure().subplots()
    assert eli5k.plot(beat, ax=axis).get_title() == "y=beat\nlayer conv"
    assert len(axis.images) == 1
