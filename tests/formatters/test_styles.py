"""Each style against arithmetic, or an object at a known place."""

import numpy as np
import pytest
from PIL import Image

from eli5k.base import WHOLE, Explanation, TargetExplanation
from eli5k.formatters import format_as_image
from eli5k.formatters.styles import AGAINST, FOR, STYLES
from tests.formatters.test_frame import spot
from tests.formatters.test_sheet import find, picture

pytestmark = pytest.mark.once

SIZE = (240, 240)
QUARTER = (0.5, 0.5, 1.0, 1.0)


def explain(heatmap, attribution=None, image=None, frame=WHOLE, **kwargs):
    target = TargetExplanation("cat", heatmap=heatmap, attribution=attribution)
    image = picture(*SIZE) if image is None else image
    kwargs = {"layer": "conv", **kwargs}
    return Explanation("net", targets=[target], image=image, frame=frame, **kwargs)


def pixels(expl, **look):
    return np.asarray(format_as_image(expl, **look)).astype(int)


def disc(side=60, centre=(20, 35), radius=10):
    rows, columns = np.mgrid[:side, :side]
    return np.maximum(0, 1 - np.hypot(rows - centre[0], columns - centre[1]) / radius / 2)


@pytest.mark.parametrize("style", STYLES)
def test_a_style_draws_nothing_outside_the_frame(style):
    heatmap = np.random.default_rng(0).random((6, 6))
    blank = explain(np.zeros((6, 6)), np.zeros((6, 6)), frame=QUARTER)
    shown = pixels(explain(heatmap, heatmap - 0.5, blank.image, QUARTER), style=style)
    # Below the panel of a blank map a line says that it is blank.
    nothing = pixels(blank, style=style)
    changed = (shown[: SIZE[1]] != nothing[: SIZE[1]]).any(-1)
    if style == "side":  # the original, then the overlay
        changed = changed[:, changed.shape[1] // 2 :]
    rows, columns = np.nonzero(changed)
    assert changed.any()
    rim = 3 if style in ("boxes", "contour") else 0
    assert rows.min() >= 120 - rim
    assert columns.min() >= 120 - rim


@pytest.mark.parametrize("style", [style for style in STYLES if style != "side"])
def test_a_blank_map_leaves_the_photograph_whatever_the_style(style):
    expl = explain(np.zeros((3, 3)), np.zeros((3, 3)), Image.new("RGB", SIZE, (90, 90, 90)))
    shown = set(map(tuple, pixels(expl, style=style).reshape(-1, 4)))
    assert shown == {(36, 36, 36, 255) if style == "dim" else (90, 90, 90, 255)}


def test_dim_is_the_dark_grey_photograph_with_opaque_heat():
    heatmap = spot((4, 4), (1, 2))
    shown = pixels(explain(heatmap), resampling_filter=Image.Resampling.BOX, style="dim")
    grey = np.asarray(picture(*SIZE).convert("L")).astype(int)
    assert (shown[60:120, 120:180] == (253, 231, 36, 255)).all()
    rest = np.ones(SIZE, bool)
    rest[60:120, 120:180] = False
    for channel in range(3):
        assert abs(shown[..., channel] - 0.4 * grey)[rest].max() <= 1


def test_contours_enclose_the_hottest_parts_of_the_picture():
    ramp = np.tile(np.linspace(0, 1, SIZE[0]), (SIZE[1], 1))
    shown = pixels(explain(ramp, image=Image.new("RGB", SIZE, "white")), style="contour")
    lines = (shown[120, :, :3] != 255).any(-1)
    starts = np.flatnonzero(np.diff(lines.astype(int)) == 1)
    ends = np.flatnonzero(np.diff(lines.astype(int)) == -1)
    middles = [(start + end) / 2 / SIZE[0] for start, end in zip(starts, ends)]
    assert middles == pytest.approx([0.5, 0.75, 0.9], abs=0.01)
    assert (shown == shown[:1]).all()


def test_red_is_for_and_blue_is_against_on_one_scale():
    raw = np.array([[4.0, -2.0], [0.0, -4.0]])
    expl = explain(np.maximum(raw, 0) / 4, raw, Image.new("RGB", SIZE, (120, 120, 120)))
    shown = pixels(expl, style="signed", alpha_limit=0.5, resampling_filter=Image.Resampling.BOX)[
        ..., :3
    ]
    centres = shown[60, 60], shown[60, 180], shown[180, 60], shown[180, 180]
    grey = np.array([120, 120, 120])
    red, blue = np.array(FOR), np.array(AGAINST)
    half, quarter = (0.5 * (blue + grey)), 0.25 * blue + 0.75 * grey
    expected = [0.5 * (red + grey), quarter, grey, half]
    assert abs(np.array(centres) - expected).max() <= 1


def test_a_signed_picture_needs_signed_numbers():
    with pytest.raises(ValueError, match="style 'signed' needs the raw map"):
        format_as_image(explain(np.ones((2, 2))), style="signed")


@pytest.mark.parametrize("frame", [WHOLE, QUARTER])
def test_a_box_stands_around_the_object(frame):
    black = Image.new("RGB", SIZE)
    shown = pixels(explain(disc(), image=black, frame=frame), style="boxes")
    rows, columns = np.nonzero(shown[..., :3].any(-1))
    # Half of the maximum lies ten cells from the centre.
    scale, start = (4, 0) if frame == WHOLE else (2, 120)
    assert rows.min() == pytest.approx(start + scale * 10, abs=scale + 1)
    assert rows.max() == pytest.approx(start + scale * 30, abs=scale + 1)
    assert columns.min() == pytest.approx(start + scale * 25, abs=scale + 1)
    assert columns.max() == pytest.approx(start + scale * 45, abs=scale + 1)


def test_the_original_stands_beside_the_overlay():
    expl = explain(spot((3, 3), (1, 1)))
    sheet = format_as_image(expl, style="side")
    [(left, top)] = find(expl.image.convert("RGBA"), sheet)
    [(right, same)] = find(format_as_image(expl), sheet)
    assert left + SIZE[0] <= right
    assert top == same


def test_side_shows_one_original_for_all_targets():
    expl = explain(spot((3, 3), (1, 1)))
    expl.targets.append(TargetExplanation("dog", heatmap=spot((3, 3), (0, 0))))
    sheet = format_as_image(expl, style="side")
    assert len(find(expl.image.convert("RGBA"), sheet)) == 1


@pytest.mark.parametrize("style", ["overly", None.__class__, "", "DIM"])
def test_an_unknown_style_is_an_error_that_lists_them(style):
    with pytest.raises(ValueError, match="style must be one of 'overlay', 'dim'"):
        format_as_image(explain(np.ones((2, 2))), style=style)
    with pytest.raises(ValueError, match="Did you mean 'overlay'"):
        format_as_image(explain(np.ones((2, 2))), style="overly")


def test_the_default_is_the_overlay():
    expl = explain(np.random.default_rng(0).random((5, 5)), layer=None)
    assert format_as_image(expl) == format_as_image(expl, style="overlay")


def test_single_pixels_do_not_drown_in_one_that_outshines_them():
    # 1 % of the pixels are 2, one is 100: those of 2 have the full colour, as the caption says.
    raw = np.zeros((80, 80))
    raw[:2, :40], raw[79, 79] = -2, 100
    expl = explain(np.maximum(raw, 0) / 100, raw, Image.new("RGB", (80, 80), "black"), layer=None)
    shown = pixels(expl, style="signed", alpha_limit=None, resampling_filter=Image.Resampling.BOX)
    assert tuple(shown[0, 0, :3]) == AGAINST
    assert tuple(shown[79, 79, :3]) == FOR
    coarse = explain(np.ones((1, 2)), np.array([[-2.0, 100]]), Image.new("RGB", SIZE, "black"))
    assert pixels(coarse, style="signed", alpha_limit=None)[10, 10, 2] < 0.05 * AGAINST[2]


def test_signed_maps_on_one_scale_share_the_largest_magnitude():
    raws = np.array([[[1.0]], [[-4.0]]])
    expl = explain(np.ones((1, 1)), raws[0], Image.new("RGB", SIZE, "black"))
    expl.targets.append(TargetExplanation("dog", heatmap=np.zeros((1, 1)), attribution=raws[1]))
    sheet = pixels(expl, style="signed", alpha_limit=None, same_scale=True)
    for colour, share in ((FOR, 0.25), (AGAINST, 1)):
        expected = np.round(share * np.array(colour)).astype(int)
        assert (abs(sheet[..., :3] - expected).max(axis=-1) <= 1).sum() >= SIZE[0] * SIZE[1]
