"""The pixels of an overlay, against what alpha compositing says they must be."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from eli5k.base import Explanation, TargetExplanation
from eli5k.formatters.heatmap import expand_heatmap, heatmap_to_image
from eli5k.formatters.image import format_as_image

pytestmark = pytest.mark.once

FILTERS = [None, *Image.Resampling]
UNIT = st.floats(0, 1, width=32)
HEATMAPS = hnp.arrays(
    np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=UNIT
)
SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


def explanation(heatmap, image, **kwargs):
    return Explanation(
        "net", targets=[TargetExplanation(0, heatmap=heatmap)], image=image, **kwargs
    )


def white(heatmap):
    return np.ones((*heatmap.shape, 4))


def random_heatmap(*shape):
    return np.random.default_rng(0).random(shape)


def random_picture(mode="RGB", width=24, height=16):
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 4), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


# format_as_image


@settings(deadline=None)
@given(HEATMAPS, st.none() | UNIT)
def test_white_over_black_shows_the_opacity_itself(heatmap, limit):
    black = Image.new("RGB", heatmap.shape[::-1])
    picture = format_as_image(
        explanation(heatmap, black), Image.Resampling.NEAREST, colormap=white, alpha_limit=limit
    )
    opacity = np.minimum(heatmap, 1 if limit is None else limit)
    np.testing.assert_array_equal(np.asarray(picture)[..., 0], np.floor(255 * opacity))


def test_the_overlay_is_the_mean_of_colour_and_picture_weighted_by_opacity():
    heatmap = random_heatmap(16, 24)
    picture = random_picture()
    orange = np.array([1.0, 0.5, 0.0])
    overlay = format_as_image(
        explanation(heatmap, picture),
        colormap=lambda heat: np.concatenate(
            [np.broadcast_to(orange, (16, 24, 3)), heat[..., None]], 2
        ),
    )
    opacity = np.minimum(heatmap, 0.65)[..., None]
    expected = opacity * 255 * orange + (1 - opacity) * np.asarray(picture)
    np.testing.assert_allclose(np.asarray(overlay)[..., :3], expected, atol=2)
    assert overlay.getchannel("A").getextrema() == (255, 255)


def test_colours_are_truncated_and_not_rounded():
    # The last colour of viridis is 0.993248, 0.906157, 0.143936: of 255 it is 253.3, 231.1, 36.7.
    overlay = format_as_image(explanation(np.ones((3, 3)), Image.new("L", (9, 9))), alpha_limit=1)
    assert overlay.getcolors() == [(81, (253, 231, 36, 255))]


def test_the_heatmap_is_coloured_before_it_is_resized():
    # Red where there is heat, and blue half-way there, where resizing first would lead.
    def red_at_the_end(heatmap):
        red, blue = heatmap == 1, (heatmap > 0) & (heatmap < 1)
        return np.stack([red, 0 * red, blue, red], -1).astype(float)

    one_pixel = Image.new("L", (1, 1))
    expl = explanation(np.array([[0.0], [1.0]]), one_pixel)
    overlay = format_as_image(expl, Image.Resampling.BOX, red_at_the_end, alpha_limit=None)
    red, green, blue, _ = overlay.getpixel((0, 0))
    assert red > 100
    assert green == blue == 0


@settings(deadline=None)
@given(HEATMAPS, SIZES, st.sampled_from(FILTERS))
def test_an_overlay_has_the_size_of_the_picture_and_stays_opaque(heatmap, size, resampling_filter):
    overlay = format_as_image(explanation(heatmap, Image.new("L", size, 90)), resampling_filter)
    assert (overlay.mode, overlay.size) == ("RGBA", size)
    assert overlay.getchannel("A").getextrema() == (255, 255)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
@pytest.mark.parametrize(("heat", "limit"), [(0.0, 1), (1.0, 0)])
def test_what_is_not_opaque_leaves_the_picture_as_it_was(mode, heat, limit):
    picture = random_picture(mode)
    overlay = format_as_image(explanation(np.full((3, 2), heat), picture), alpha_limit=limit)
    seen = np.asarray(picture.convert("RGBA")).copy()
    seen[seen[..., 3] == 0] = 0  # a pixel that cannot be seen has no colour
    np.testing.assert_array_equal(np.asarray(overlay), seen)


def test_a_heatmap_is_seen_where_the_picture_is_transparent():
    clear = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    overlay = format_as_image(explanation(np.ones((2, 2)), clear), colormap=white, alpha_limit=0.5)
    assert overlay.getcolors() == [(16, (255, 255, 255, 127))]


@pytest.mark.parametrize("targets", [None, []])
def test_without_targets_the_picture_comes_back(targets):
    picture = random_picture("RGBA")
    shown = format_as_image(Explanation("net", targets=targets, image=picture))
    assert shown == picture
    assert shown is not picture


def test_a_colormap_may_be_a_name():
    import matplotlib

    expl = explanation(random_heatmap(4, 4), random_picture())
    named = format_as_image(expl, colormap="cividis")
    assert named == format_as_image(expl, colormap=matplotlib.colormaps["cividis"])
    assert named != format_as_image(expl)
    assert format_as_image(expl) == format_as_image(expl, colormap="viridis")


def test_a_colormap_may_keep_what_it_returns():
    colours = np.ones((2, 2, 4))
    format_as_image(explanation(np.zeros((2, 2)), random_picture()), colormap=lambda _: colours)
    assert (colours == 1).all()


@pytest.mark.parametrize("dtype", [bool, int, np.uint8, np.float16, np.float32])
def test_a_heatmap_of_any_dtype_means_its_values(dtype):
    heatmap = np.array([[0, 1], [1, 0]])
    overlay = format_as_image(explanation(heatmap.astype(dtype), random_picture()))
    assert overlay == format_as_image(explanation(heatmap.astype(float), random_picture()))


def test_the_data_of_an_explanation_is_not_changed():
    heatmap, picture = random_heatmap(3, 3), random_picture()
    format_as_image(explanation(heatmap, picture))
    np.testing.assert_array_equal(heatmap, random_heatmap(3, 3))
    assert picture == random_picture()


@pytest.mark.parametrize("image", [None, "picture.png", np.zeros((4, 4, 3))])
def test_the_image_must_be_a_picture(image):
    with pytest.raises(TypeError, match=r"must be a Pillow image. Received"):
        format_as_image(explanation(np.ones((2, 2)), image))
    with pytest.raises(TypeError, match=r"must be a Pillow image. Received"):
        format_as_image(Explanation("net", image=image))


@pytest.mark.parametrize(
    ("heatmap", "error", "message"),
    [
        (None, ValueError, "target 0 must have a heatmap to be drawn"),
        ([[0.5]], TypeError, r"must be a numpy.ndarray. Received: \[\[0.5\]\]"),
        (np.array([[0.5, 1.01]]), ValueError, r"in \[0, 1\]. Received: minimum 0.5, maximum 1.01"),
        (np.array([[-0.01, 1]]), ValueError, r"in \[0, 1\]. Received: minimum -0.01"),
        (np.array([[np.nan, 1]]), ValueError, r"in \[0, 1\]. Received: minimum nan"),
        (np.ones((0, 3)), ValueError, r"must have cells. Received: shape \(0, 3\)"),
        (np.ones(5), ValueError, r"must be \(height, width\) to be drawn. Received: shape \(5,\)"),
        (np.ones((2, 2, 4)), ValueError, r"to be drawn. Received: shape \(2, 2, 4\)"),
    ],
)
def test_a_heatmap_that_cannot_be_drawn_is_an_error(heatmap, error, message):
    with pytest.raises(error, match=message):
        format_as_image(explanation(heatmap, random_picture()))


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"alpha_limit": 1.1}, ValueError, r"alpha_limit must be in \[0, 1\]. Received: 1.1"),
        ({"alpha_limit": -0.1}, ValueError, r"alpha_limit must be in \[0, 1\]"),
        ({"alpha_limit": np.nan}, ValueError, r"alpha_limit must be in \[0, 1\]"),
        (
            {"alpha_limit": "0.5"},
            TypeError,
            "alpha_limit must be a number or None. Received: '0.5'",
        ),
        ({"colormap": 3}, TypeError, "colormap must be a name or a callable. Received: 3"),
        ({"colormap": "virids"}, ValueError, "'virids'. Did you mean 'viridis'"),
        ({"colormap": "\0"}, ValueError, r"colormap must be .*'\\x00'$"),
        (
            {"colormap": lambda heat: heat},
            ValueError,
            r"here \(2, 3, 4\). Received: shape \(2, 3\)",
        ),
        ({"colormap": lambda heat: 2 * white(heat)}, ValueError, r"in \[0, 1\]"),
        ({"resampling_filter": 99}, ValueError, "99"),
    ],
)
def test_a_bad_argument_is_an_error(kwargs, error, message):
    with pytest.raises(error, match=message):
        format_as_image(explanation(random_heatmap(2, 3), random_picture()), **kwargs)


def test_matplotlib_waits_until_it_is_needed_and_pyplot_stays_out():
    code = """if True:
        import sys
        import numpy as np
        from PIL import Image
        from eli5k import Explanation, TargetExplanation, format_as_image, format_as_html
        assert "matplotlib" not in sys.modules
        targets = [TargetExplanation(each, heatmap=np.ones((2, 2))) for each in "ab"]
        expl = Explanation("net", targets=targets, image=Image.new("L", (9, 9)))
        format_as_image(expl), format_as_html(expl)
        assert "matplotlib" in sys.modules
        assert "matplotlib.pyplot" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", code], check=True)


# heatmap_to_image


@settings(deadline=None)
@given(HEATMAPS)
def test_a_heatmap_becomes_grey_levels_by_truncation(heatmap):
    image = heatmap_to_image(heatmap)
    assert image.mode == "L"
    np.testing.assert_array_equal(np.asarray(image), np.floor(255 * heatmap))


@pytest.mark.parametrize(("channels", "mode"), [(3, "RGB"), (4, "RGBA")])
def test_a_coloured_heatmap_keeps_its_channels(channels, mode):
    heatmap = random_heatmap(5, 7, channels)
    image = heatmap_to_image(heatmap)
    assert image.mode == mode
    np.testing.assert_array_equal(np.asarray(image), np.floor(255 * heatmap))


@pytest.mark.parametrize("shape", [(), (4,), (4, 4, 1), (4, 4, 2), (4, 4, 5), (1, 4, 4, 3)])
def test_a_heatmap_of_another_shape_is_an_error(shape):
    with pytest.raises(ValueError, match=r"channels. Received: shape \("):
        heatmap_to_image(np.ones(shape))


def test_a_heatmap_must_be_an_array_in_the_unit_range():
    with pytest.raises(TypeError, match=r"numpy.ndarray. Received: None"):
        heatmap_to_image(None)
    with pytest.raises(ValueError, match=r"minimum 0\.0, maximum 255\.0"):
        heatmap_to_image(np.array([[0.0, 255.0]]))


# expand_heatmap


@settings(deadline=None)
@given(HEATMAPS, st.integers(1, 4), st.integers(1, 4))
def test_whole_factors_repeat_the_cells(heatmap, down, across):
    picture = Image.new("L", (across * heatmap.shape[1], down * heatmap.shape[0]))
    expected = np.kron(np.floor(255 * heatmap), np.ones((down, across)))
    for resampling_filter in (Image.Resampling.BOX, Image.Resampling.NEAREST):
        expanded = expand_heatmap(heatmap, picture, resampling_filter=resampling_filter)
        np.testing.assert_array_equal(np.asarray(expanded), expected)


@settings(deadline=None)
@given(HEATMAPS, SIZES, st.sampled_from(FILTERS))
def test_an_expanded_heatmap_has_the_size_of_the_picture(heatmap, size, resampling_filter):
    assert expand_heatmap(heatmap, Image.new("P", size), resampling_filter).size == size


def test_expanding_smoothly_is_the_default():
    picture = Image.new("L", (8, 1))
    levels = np.asarray(expand_heatmap(np.array([[0.0, 1.0]]), picture))[0].astype(int)
    assert (np.diff(levels) >= 0).all()
    assert len(set(levels)) > 2


def test_expanding_needs_a_picture():
    with pytest.raises(TypeError, match=r"image must be a Pillow image. Received: \(8, 8\)"):
        expand_heatmap(np.ones((2, 2)), (8, 8))
