"""Several targets in one picture."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from eli5k.base import Explanation, ExplanationWarning, TargetExplanation
from eli5k.formatters.image import draw_picture, format_as_image
from eli5k.formatters.panels import Look

pytestmark = pytest.mark.once


def picture(width, height):
    """Nowhere white, so that it can be told from the paper."""
    pixels = np.random.default_rng(0).integers(0, 250, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def explain(image, targets):
    """An explanation with a heatmap of its own for each target."""
    rng = np.random.default_rng(1)
    for target in targets:
        target.heatmap = rng.random((3, 4))
    return Explanation("net", targets=targets, image=image)


def find(panel, sheet):
    """The places (left, top) at which a sheet holds a panel, pixel for pixel."""
    panel, sheet = np.asarray(panel), np.asarray(sheet)
    height, width = panel.shape[:2]
    tops, lefts = np.nonzero((sheet == panel[0, 0]).all(-1))
    return [
        (int(left), int(top))
        for left, top in zip(lefts, tops)
        if np.array_equal(sheet[top : top + height, left : left + width], panel)
    ]


@pytest.fixture
def written(monkeypatch):
    """What is written on a sheet: each text with the box that it takes."""
    lines = []
    draw = ImageDraw.ImageDraw.text

    def record(self, xy, text, **kwargs):
        lines.append((text, self.textbbox(xy, text, font=kwargs["font"], anchor=kwargs["anchor"])))
        draw(self, xy, text, **kwargs)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", record)
    return lines


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("size", [(224, 224), (300, 180), (100, 260)])
def test_each_panel_is_the_picture_of_its_target_alone(count, size):
    expl = explain(picture(*size), [TargetExplanation(each) for each in range(count)])
    sheet = format_as_image(expl, alpha_limit=0.4, colormap="jet")
    places = []
    for target in expl.targets:
        alone = Explanation("net", targets=[target], image=expl.image)
        places += find(format_as_image(alone, alpha_limit=0.4, colormap="jet"), sheet)
    assert len(places) == len(set(places)) == count
    assert places == sorted(places, key=lambda place: place[::-1])  # row by row, in order


def test_a_caption_tells_name_score_and_probability_below_its_panel(written):
    targets = [TargetExplanation("cat", score=2.5), TargetExplanation(7, score=-1.25, proba=0.125)]
    expl = explain(picture(300, 300), targets)
    sheet = format_as_image(expl)
    assert [text for text, _ in written] == [
        *("y=cat", "score 2.5"),
        *("y=7", "score -1.25, probability 0.125"),
    ]
    for target, (_, box) in zip(targets, written[::2]):
        alone = Explanation("net", targets=[target], image=expl.image)
        [(left, top)] = find(format_as_image(alone), sheet)
        assert left <= box[0] < box[2] <= left + 300
        assert top + 300 < box[1]


def test_without_paper_a_caption_is_read_on_white_and_on_black():
    expl = explain(picture(300, 300), [TargetExplanation("cat", score=0.5)])
    look = Look(caption=True, colorbar=True, on_paper=False)
    sheet = draw_picture([expl], look)
    caption = np.asarray(sheet)[6 + 300 :]
    assert (caption[0, :, 3] == 0).all()
    darkest = caption[caption[..., 3] == 255].min(axis=0)[:3]
    luminance = ((darkest[0] / 255 + 0.055) / 1.055) ** 2.4  # of a grey, as WCAG measures it
    assert (1.05 / (luminance + 0.05), (luminance + 0.05) / 0.05) > (4.5, 4.5)
    assert draw_picture([expl], replace(look, on_paper=True)).size == sheet.size


def test_a_caption_that_is_too_long_for_a_line_goes_on_in_a_second_one(written):
    names = ["standard poodle of a rare kind, number one", "a " + "long " * 30, "x" * 80]
    format_as_image(explain(picture(224, 224), list(map(TargetExplanation, names))))
    texts = [text for text, _ in written]
    assert " ".join(texts[:2]) == f"y={names[0]}"
    assert [text.endswith("…") for text in texts] == [False, False, False, True, True]
    assert all(box[2] - box[0] <= 224 for _, box in written)


def test_a_row_is_as_high_as_its_own_captions():
    expl = explain(picture(600, 150), [TargetExplanation(name, score=0.5) for name in "ab"])
    sheet = format_as_image(expl, style="side", alpha_limit=0)
    tops = [top for _, top in find(expl.image.convert("RGBA"), sheet)]
    # The original has no caption.
    assert np.diff(tops).tolist() == [150 + 12 + 12, 150 + 12 + 2 * 37 + 12]


def test_a_caption_without_numbers_is_the_name(written):
    format_as_image(explain(picture(300, 300), [TargetExplanation("a"), TargetExplanation("b")]))
    assert [text for text, _ in written] == ["y=a", "y=b"]


def test_the_usual_numbers_take_one_line_at_the_usual_size(written):
    usual = TargetExplanation(0, score=0.9201, proba=0.9201)
    format_as_image(explain(picture(224, 224), [usual, usual]))
    assert [text for text, _ in written] == ["y=0", "score 0.9201, probability 0.9201"] * 2


def test_numbers_that_are_wider_than_a_panel_take_a_line_each(written):
    wide = TargetExplanation("a", score=-1.234e-10, proba=1.234e-10)
    slim = TargetExplanation("b", score=0.5, proba=0.5)
    format_as_image(explain(picture(224, 224), [wide, slim]))
    assert [text for text, _ in written] == [
        *("y=a", "score -1.234e-10", "probability 1.234e-10"),
        *("y=b", "score 0.5", "probability 0.5"),
    ]


def test_a_word_that_is_wider_than_a_panel_ends_with_an_ellipsis(written):
    names = ["short", "golden_retriever_" * 1000, "W" * 50]
    format_as_image(explain(picture(250, 250), [TargetExplanation(name) for name in names]))
    texts = [text for text, _ in written]
    assert texts[0] == "y=short"
    for text, name in zip(texts[1:], names[1:]):
        assert text.endswith("…")
        assert f"y={name}".startswith(text[:-1])
        assert len(text) > 15


def test_letters_beyond_latin_are_drawn():
    # A font without the letters would draw the same box for both.
    for one, other in [("ж", "ю"), ("ع", "ق"), ("\U0001d49c", "\U0001d49e")]:
        sheets = [
            format_as_image(explain(picture(64, 64), [TargetExplanation(n), TargetExplanation(0)]))
            for n in (one, other)
        ]
        assert sheets[0] != sheets[1], one


def test_letters_that_no_font_has_are_told(monkeypatch):
    from matplotlib import font_manager

    from eli5k.formatters import fonts

    # As on a machine with no other font than matplotlib's own.
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [])
    fonts._font_file.cache_clear()
    expl = explain(picture(64, 64), [TargetExplanation("犬"), TargetExplanation("σκύλος")])
    with pytest.warns(ExplanationWarning, match="'y=犬' is drawn with boxes.*Noto") as caught:
        format_as_image(expl)
    assert len(caught) == 1
    fonts._font_file.cache_clear()


@pytest.mark.parametrize("name", ["", "\U0010fffd", "line\nbreak", "\udcff", "\0", "a\u0301" * 300])
def test_no_name_breaks_a_sheet(name, written):
    sheet = format_as_image(explain(picture(64, 64), [TargetExplanation(name)] * 2))
    assert sheet.width > 2 * 64
    assert all("\n" not in text for text, _ in written)


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 12), st.integers(1, 400), st.integers(1, 400))
def test_captions_are_legible_and_apart_at_any_size(count, width, height):
    boxes = []
    draw = ImageDraw.ImageDraw.text
    with pytest.MonkeyPatch.context() as patch:

        def record(self, xy, text, font, anchor, fill):
            boxes.append(self.textbbox(xy, text, font=font, anchor=anchor))
            assert font.size >= 12
            draw(self, xy, text, font=font, anchor=anchor, fill=fill)

        patch.setattr(ImageDraw.ImageDraw, "text", record)
        targets = [TargetExplanation("a long name " * 9, score=-1 / 3, proba=1 / 3)] * count
        sheet = format_as_image(explain(picture(width, height), targets))
    assert len(boxes) >= 2 * count
    for number, (left, top, right, bottom) in enumerate(boxes):
        assert 0 <= left < right <= sheet.width
        assert 0 <= top < bottom <= sheet.height
        for other in boxes[:number]:
            apart = right < other[0] or other[2] < left or bottom < other[1] or other[3] < top
            assert apart


@pytest.mark.parametrize(
    ("size", "count", "columns", "rows"),
    [
        *[((300, 300), 2, 2, 1), ((300, 300), 3, 3, 1), ((300, 300), 5, 3, 2)],
        *[((300, 300), 9, 3, 3), ((300, 200), 2, 2, 1), ((640, 100), 3, 1, 3)],
        *[((640, 100), 8, 2, 4), ((100, 600), 3, 3, 1), ((600, 300), 4, 2, 2)],
    ],
)
def test_the_grid_suits_the_shape_of_the_panels(size, count, columns, rows):
    expl = explain(Image.new("RGB", size, "red"), [TargetExplanation(0)] * count)
    sheet = format_as_image(expl, alpha_limit=0)
    red = (np.asarray(sheet)[..., :3] == (255, 0, 0)).all(-1)
    assert red.any(axis=0).sum() == size[0] * columns
    assert red.any(axis=1).sum() == size[1] * rows
    assert red.sum() == math.prod(size) * count


def test_a_tiny_picture_is_enlarged_by_a_whole_factor():
    tiny = picture(28, 28)
    sheet = format_as_image(explain(tiny, [TargetExplanation(0)] * 2), alpha_limit=0)
    enlarged = np.kron(np.asarray(tiny.convert("RGBA")), np.ones((8, 8, 1), np.uint8))
    assert len(find(enlarged, sheet)) == 2


def test_the_heat_over_a_tiny_picture_is_spread_by_the_given_filter():
    expl = explain(Image.new("L", (28, 28)), [TargetExplanation(0)] * 2)
    smooth = format_as_image(expl).getcolors(2**16)
    blocks = format_as_image(expl, Image.Resampling.NEAREST).getcolors(2**16)
    assert len(smooth) > 10 * len(blocks)


def test_a_sheet_of_huge_pictures_can_be_looked_at():
    sheet = format_as_image(
        explain(Image.new("L", (4000, 1000)), [TargetExplanation(0)] * 2), alpha_limit=0
    )
    black = (np.asarray(sheet)[..., :3] == 0).all(-1)
    assert black[:256].any(axis=0).sum() == pytest.approx(1024, rel=0.02)


def test_a_sheet_of_many_targets_is_bounded():
    expl = explain(Image.new("L", (1024, 8)), [TargetExplanation(0)] * 200)
    assert format_as_image(expl).width < 1.1 * 8192


def test_a_sheet_is_opaque_also_where_the_picture_is_not():
    expl = explain(Image.new("RGBA", (300, 300), (9, 9, 9, 0)), [TargetExplanation(0)] * 2)
    sheet = format_as_image(expl)
    assert sheet.mode == "RGBA"
    assert sheet.getchannel("A").getextrema() == (255, 255)
    assert math.isclose(sheet.getpixel((0, 0))[0], 255)


def test_one_bad_heatmap_among_several_is_an_error_that_names_its_target():
    expl = explain(picture(64, 64), [TargetExplanation("cat"), TargetExplanation("dog")])
    expl.targets[1].heatmap = None
    with pytest.raises(ValueError, match="target 'dog' must have a heatmap"):
        format_as_image(expl)
