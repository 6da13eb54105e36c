"""Signals, volumes, clips, texts and spectrograms in every format: the heat lies at its place."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import eli5k
from eli5k import format_as_dict, format_as_html, format_as_image, format_as_page, format_as_text
from eli5k.base import Check, Explanation, TargetExplanation
from eli5k.formatters import Explanations, hot_regions
from eli5k.formatters.lines import MARGINS, WIDTH
from eli5k.formatters.orientation import turned
from eli5k.formatters.place import place_in
from eli5k.formatters.strip import GAP, LINE, SIDE, hottest_slices
from tests.formatters.test_frame import spot
from tests.formatters.test_html import decode
from tests.formatters.test_sheet import written  # noqa: F401

pytestmark = pytest.mark.once

SIZES = {"signal": (400,), "text": (8,), "volume": (12, 16, 16), "clip": (12, 16, 16)}
GRIDS = {"signal": (40,), "text": (8,), "volume": (6, 4, 4), "clip": (6, 4, 4)}
PLACES = {"signal": (30,), "text": (5,), "volume": (4, 0, 3), "clip": (4, 0, 3)}
TOKENS = ["it", "was", "<b>", "so", "very", "dull", ".", "[PAD]"]


def explain(kind, heatmap=None, names=("hot",), **kwargs):
    """An explanation whose heat is in one cell, of a document of noise."""
    heatmap = spot(GRIDS[kind], PLACES[kind]) if heatmap is None else heatmap
    document = np.random.default_rng(0).normal(size=SIZES[kind])
    given = {"document": document, "frame": (0.0,) * heatmap.ndim + (1.0,) * heatmap.ndim}
    if kind == "text":
        given |= {"document": np.array([3, 4, 5, 6, 7, 8, 9, 0]), "tokens": list(TOKENS)}
    given |= kwargs
    targets = [
        TargetExplanation(
            name,
            score=1.0,
            heatmap=heatmap,
            attribution=heatmap - 0.25,
            size=SIZES[kind],
            frame=given["frame"],
        )
        for name in names
    ]
    return Explanation(
        "net", method="Grad-CAM", error="", targets=targets, kind=kind, layer="conv", **given
    )


def coloured(picture):
    """The pixels that are no grey."""
    pixels = np.asarray(picture.convert("RGB"), int)
    return np.ptp(pixels, axis=-1) > 30


def steps_of(columns, length):
    """The steps of a signal that are drawn in these columns."""
    left, _, right, _ = MARGINS
    return (columns + 0.5 - left) / (WIDTH - left - right) * length


class TestSignals:
    def test_the_heat_is_a_band_at_its_steps(self):
        hot = coloured(format_as_image(explain("signal"), Image.Resampling.NEAREST))
        steps = steps_of(np.flatnonzero(hot.any(axis=0)), 400)
        assert steps.min() == pytest.approx(300, abs=1)
        assert steps.max() == pytest.approx(310, abs=1)

    def test_it_lies_in_its_frame(self):
        expl = explain("signal", np.ones(4), frame=(0.25, 0.5))
        hot = coloured(format_as_image(expl, Image.Resampling.NEAREST))
        steps = steps_of(np.flatnonzero(hot.any(axis=0)), 400)
        assert steps.min() == pytest.approx(100, abs=1)
        assert steps.max() == pytest.approx(200, abs=1)

    def test_the_line_is_drawn_over_it(self):
        """As much ink as without any heat: the band is behind the line."""
        warm, cold = explain("signal", np.ones(4)), explain("signal", np.zeros(4))
        dark = [
            (np.asarray(format_as_image(each).convert("L")) < 60).sum() for each in (warm, cold)
        ]
        assert dark[0] == pytest.approx(dark[1], rel=0.1)

    def test_each_channel_has_a_row(self):
        document = np.zeros((400, 3))
        document[100, 1] = 1
        picture = format_as_image(explain("signal", np.zeros(4), document=document))
        ink = np.asarray(picture.convert("L")) < 100
        left, top, right, bottom = MARGINS
        rows = ink[top + 2 : -bottom - 2, left + 2 : -right - 2]
        above, middle, below = np.array_split(rows, 3)
        peaks = [np.flatnonzero(part.sum(axis=0) > 5) for part in (above, middle, below)]
        assert [len(each) > 0 for each in peaks] == [False, True, False]
        assert steps_of(peaks[1].mean() + left + 2, 400) == pytest.approx(100, abs=2)

    def test_many_channels_are_a_picture_with_time_across(self):
        document = np.zeros((400, 40))
        document[:, 39] = 1
        picture = format_as_image(explain("signal", np.zeros(4), document=document))
        pixels = np.asarray(picture.convert("L"))
        assert pixels[0].min() == 255  # The last channel is on top.
        assert pixels[-1].max() == 0

    def test_a_long_signal_keeps_its_peaks(self):
        document = np.zeros(100_000)
        document[70_003] = 1
        expl = explain("signal", np.zeros(4), document=document)
        expl.targets[0].size = (100_000,)
        ink = np.asarray(format_as_image(expl).convert("L")) < 200
        left, top, right, bottom = MARGINS
        inside = ink[top + 2 : -bottom - 2, left + 2 : -right - 2]
        columns = np.flatnonzero(inside[: len(inside) // 2].any(axis=0))
        assert steps_of(columns.mean() + left + 2, 100_000) == pytest.approx(70_003, abs=300)

    def test_frequencies_stand_below_with_the_low_ones_at_the_bottom(self):
        heatmap = spot((20, 10), (4, 0))  # Early and low.
        plain = format_as_image(explain("signal", np.zeros(20)))
        picture = format_as_image(explain("signal", heatmap), Image.Resampling.NEAREST)
        assert picture.height > plain.height
        rows, columns = np.nonzero(coloured(picture)[plain.height - MARGINS[3] :])
        assert steps_of(columns.mean(), 400) == pytest.approx(90, abs=2)
        assert rows.min() > 90

    @pytest.mark.parametrize("style", ["overlay", "dim", "contour", "signed", "boxes", "side"])
    def test_every_style_draws_it(self, style):
        picture = format_as_image(explain("signal"), style=style)
        hot = coloured(picture)
        assert hot.any()

    def test_a_picture_that_the_user_gave_is_shown_instead(self):
        expl = explain("signal", image=Image.new("L", (200, 50)))
        hot = coloured(format_as_image(expl, Image.Resampling.NEAREST))
        np.testing.assert_array_equal(np.flatnonzero(hot.any(axis=0)), np.arange(150, 155))
        assert hot[:, 150].all()

    @settings(deadline=None, max_examples=50)
    @given(st.integers(1, 50), st.integers(1, 8), st.data())
    def test_the_text_tells_the_steps_of_the_cell(self, cells, times, data):
        cell = data.draw(st.integers(0, cells - 1))
        target = TargetExplanation("hot", heatmap=spot((cells,), (cell,)), size=(cells * times,))
        told = place_in(Explanation("net", kind="signal"), target)
        start, stop = map(
            int, re.fullmatch(r"hottest from step (\d+) to (\d+) of \d+", told).groups()
        )
        assert start <= (cell + 0.5) * times < stop


class TestRows:
    """Electrodes by time: a picture whose rows are drawn as lines."""

    def expl(self, heatmap):
        document = np.random.default_rng(0).normal(size=(8, 400, 1))
        target = TargetExplanation("hot", heatmap=heatmap, size=(8, 400))
        image = Image.new("L", (400, 8))
        return Explanation("net", targets=[target], image=image, document=document)

    def test_each_row_has_its_own_heat(self):
        expl = self.expl(spot((8, 40), (6, 10)))
        hot = coloured(format_as_image(expl, Image.Resampling.NEAREST, lines=True))
        rows, columns = (np.flatnonzero(hot.any(axis=axis)) for axis in (1, 0))
        _, top, _, bottom = MARGINS
        share = (rows.mean() - top) / (hot.shape[0] - top - bottom)
        assert share == pytest.approx(6.5 / 8, abs=0.02)
        assert steps_of(columns.mean(), 400) == pytest.approx(105, abs=2)

    def test_without_an_array_the_picture_is_shown(self):
        expl = self.expl(np.zeros((8, 40)))
        expl.document = None
        assert format_as_image(expl, lines=True).size == (400, 8)


class TestSlices:
    @pytest.mark.parametrize("kind", ["volume", "clip"])
    def test_only_slices_with_heat_are_drawn_and_the_heat_is_at_its_place(self, kind):
        picture = format_as_image(explain(kind), Image.Resampling.NEAREST)
        numbers = hottest_slices(explain(kind).targets[0].heatmap, None, SIZES[kind])
        assert numbers == [7, 9]
        assert picture.size == (2 * (SIDE + GAP) + GAP, SIDE + LINE + 2 * GAP)
        rows, columns = np.nonzero(coloured(picture)[:, SIDE + GAP :])
        assert rows.mean() - GAP == pytest.approx(SIDE / 8, abs=3)
        assert columns.mean() - GAP == pytest.approx(SIDE * 7 / 8, abs=3)

    def test_slices_come_in_order_and_the_hottest_are_taken(self):
        profile = np.array([0, 0.2, 0, 0.9, 0.3, 0, 0, 1, 0.1, 0])
        heatmap = np.repeat(profile, 4).reshape(10, 2, 2)
        assert hottest_slices(heatmap, None, (10, 8, 8), most=3) == [3, 4, 7]

    def test_a_map_without_heat_shows_slices_of_all_of_it(self):
        assert hottest_slices(np.zeros((6, 2, 2)), None, (60, 8, 8)) == [5, 15, 25, 35, 45, 55]

    def test_slices_are_cut_along_the_axis_that_the_map_does_not_have(self):
        """Bands of a picture: the map has rows and columns, but one band."""
        heatmap = spot((4, 4, 1), (0, 3, 0))
        expl = explain("volume", heatmap)
        expl.document = np.zeros((16, 16, 12))
        picture = format_as_image(expl, Image.Resampling.NEAREST)
        rows, columns = np.nonzero(coloured(picture)[: SIDE + GAP, : SIDE + GAP])
        assert rows.mean() - GAP == pytest.approx(SIDE / 8, abs=3)
        assert columns.mean() - GAP == pytest.approx(SIDE * 7 / 8, abs=3)

    def test_the_frame_moves_slices_too(self):
        """Left, top, front, right, bottom, back: the map lies in the last slices alone."""
        frame = (0.0, 0.0, 0.5, 1.0, 1.0, 1.0)
        expl = explain("volume", spot((6, 4, 4), (0, 0, 0)), frame=frame)
        bounds = ((0.5, 0, 0), (1, 1, 1))
        assert hottest_slices(expl.targets[0].heatmap, bounds, (12, 16, 16)) == [6]
        assert "hottest in slice 6 of 0 to 11" in format_as_text(expl)

    def test_a_clip_keeps_its_colours(self):
        document = np.zeros((12, 16, 16, 3))
        document[..., 0] = 1
        picture = format_as_image(explain("clip", np.zeros((6, 4, 4)), document=document))
        assert picture.convert("RGB").getpixel((50, 50)) == (255, 0, 0)


class Spans(HTMLParser):
    """The words of a text and what is said about each."""

    def __init__(self, html):
        super().__init__()
        self.found, self.open = [], None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.open = dict(attrs) if tag == "span" and "title" in dict(attrs) else None

    def handle_data(self, data):
        if self.open:
            self.found.append((data, self.open["title"], self.open["style"]))
            self.open = None


class TestTexts:
    def test_only_the_hot_word_is_coloured(self):
        picture = format_as_image(explain("text"))
        cold = format_as_image(explain("text", np.zeros(8)))
        hot = coloured(picture)
        assert not coloured(cold).any()
        rows, columns = (np.flatnonzero(hot.any(axis=axis)) for axis in (1, 0))
        # The word stands behind the five before it.
        assert 150 < columns.min() < columns.max() < 260
        assert rows.max() - rows.min() < 32

    def test_html_has_the_words_and_their_heat(self):
        spans = Spans(format_as_html(explain("text"))).found
        assert [word for word, _, _ in spans] == TOKENS[:-1]  # Without the padding.
        assert [title for _, title, _ in spans] == ["0"] * 5 + ["1", "0"]
        papers = [re.search(r"background: (#\w+)", style)[1] for _, _, style in spans]
        assert papers.count("#ffffff") == 6
        assert papers[5] != "#ffffff"

    def test_a_hot_padding_is_shown(self):
        spans = Spans(format_as_html(explain("text", spot((8,), (7,))))).found
        assert [word for word, _, _ in spans] == TOKENS
        assert "hottest at '[PAD]', token 7 of 0 to 7" in format_as_text(
            explain("text", spot((8,), (7,)))
        )

    def test_signed_words_are_red_and_blue(self):
        picture = format_as_image(explain("text"), style="signed", alpha_limit=None)
        pixels = np.asarray(picture.convert("RGB"), int)
        red = pixels[..., 0] - pixels[..., 2]
        assert red.max() > 100
        assert red.min() < -30

    def test_a_long_text_takes_several_lines_and_ends_somewhere(self):
        words = ["word"] * 1200
        expl = explain("text", np.zeros(1200), tokens=words, document=np.ones(1200))
        expl.targets[0].size = (1200,)
        picture = format_as_image(expl)
        assert picture.width == 640
        assert picture.height > 2000


class TestCuts:
    """A bright and hot voxel at a known place is seen in all three cuts, at the crossing lines."""

    def expl(self, kind="volume"):
        volume = np.zeros((12, 16, 24))
        volume[9, 3, 20] = 1
        heatmap = spot((12, 16, 24), (9, 3, 20))
        target = TargetExplanation("lump", heatmap=heatmap, size=volume.shape)
        frame = (0.0, 0.0, 0.0, 1.0, 1.0, 1.0)
        return Explanation(
            "net", kind=kind, layer="conv", document=volume, targets=[target], frame=frame
        )

    def test_the_hottest_voxel_is_in_each(self, written):  # noqa: F811
        picture = format_as_image(self.expl(), cuts=True, alpha_limit=None)
        # The document is drawn alone first, for its size.
        assert [text for text, _ in written][-3:] == ["slice 9", "row 3", "column 20"]
        factor = SIDE / 24
        left = GAP
        for (rows, columns), (down, across) in (
            ((16, 24), (3, 20)),
            ((12, 24), (9, 20)),
            ((12, 16), (9, 3)),
        ):
            width, height = round(columns * factor), round(rows * factor)
            cut = np.asarray(picture.convert("RGB"), int)[GAP : GAP + height, left : left + width]
            yellow = (cut[..., 0] > 200) & (cut[..., 2] < 160)
            found = np.argwhere(yellow).mean(axis=0)
            assert found == pytest.approx(
                [(down + 0.5) * factor, (across + 0.5) * factor], abs=factor / 2
            )
            left += width + GAP
        assert picture.width == left

    def test_html_has_them_too(self):
        html = format_as_html(self.expl("clip"), cuts=True)
        shown = decode(re.search(r'src="(data:[^"]+)"', html)[1])
        expected = format_as_image(self.expl("clip"), cuts=True)
        np.testing.assert_array_equal(np.asarray(shown), np.asarray(expected))
        assert (
            shown.size
            != decode(re.search(r'src="(data:[^"]+)"', format_as_html(self.expl("clip")))[1]).size
        )


class TestSpectrograms:
    def expl(self):
        """Time by frequency: the heat is early and high."""
        pixels = np.zeros((30, 20), np.uint8)
        pixels[2, 19] = 255
        target = TargetExplanation("tone", heatmap=spot((15, 10), (1, 9)))
        return Explanation("net", targets=[target], image=Image.fromarray(pixels))

    def test_time_across_and_low_frequencies_at_the_bottom(self):
        """As ``imshow(spectrogram.T, origin="lower")`` draws it."""
        picture = format_as_image(
            self.expl(), Image.Resampling.NEAREST, origin="lower", transpose=True
        )
        assert picture.size == (30, 20)
        assert picture.convert("L").getpixel((2, 0)) > 200  # Early on the left, high on top.
        rows, columns = np.nonzero(coloured(picture))
        assert set(rows) == {0, 1}
        assert set(columns) <= {2, 3}

    def test_its_frame_is_turned_with_it(self):
        expl = self.expl()
        expl.frame = (0.5, 0.0, 1.0, 0.5)  # The high half of the early half.
        expl.targets[0].heatmap = np.ones((1, 1))
        hot = coloured(format_as_image(expl, origin="lower", transpose=True))
        np.testing.assert_array_equal(np.flatnonzero(hot.any(axis=1)), np.arange(10))
        np.testing.assert_array_equal(np.flatnonzero(hot.any(axis=0)), np.arange(15))

    def test_html_and_pages_are_turned_too(self):
        turn = {"origin": "lower", "transpose": True}
        html = format_as_html(self.expl(), **turn)
        shown = decode(re.search(r'src="(data:[^"]+)"', html)[1])
        assert shown.width / shown.height == 1.5
        rows, columns = np.nonzero(coloured(shown))
        assert rows.max() < 0.2 * shown.height
        assert columns.max() < 0.3 * shown.width
        assert "hottest top left" in html
        page = format_as_page(self.expl(), **turn)
        assert '"rows":10,"columns":15' in page
        assert "hottest top left" in page

    def test_what_lies_in_the_picture_is_turned_with_it(self):
        expl = self.expl()
        check = Check("supported", "Right.", worth=np.array([[0.0, 1.0], [2.0, 3.0]]))
        region = np.zeros((30, 20), bool)
        region[2, 19] = True
        [target] = expl.targets
        target.check, target.region, target.box = check, region, (0.9, 0.0, 1.0, 0.2)
        [turned_target] = turned(expl, "lower", transpose=True).targets
        assert turned_target.check.worth.tolist() == [[1, 3], [0, 2]]
        assert np.argwhere(turned_target.region).tolist() == [[0, 2]]
        assert turned_target.box == pytest.approx((0.0, 0.0, 0.2, 0.1))
        assert check.worth.tolist() == [[0, 1], [2, 3]]

    def test_the_explanation_stays_as_it_is(self):
        expl = self.expl()
        format_as_image(expl, origin="lower", transpose=True)
        assert expl.image.size == (20, 30)
        assert expl.targets[0].heatmap.shape == (15, 10)

    def test_another_origin_is_an_error(self):
        with pytest.raises(
            ValueError, match=r"origin must be 'upper' or 'lower'\. Received: 'low'"
        ):
            format_as_image(self.expl(), origin="low")


@pytest.mark.parametrize("kind", SIZES)
class TestEveryFormat:
    def test_text(self, kind):
        told = {
            "signal": "hottest from step 300 to 310 of 400",
            "text": "hottest at 'dull', token 5 of 0 to 7",
            "volume": "hottest in slices 8 to 9 of 0 to 11, top right, 88% across and 12% down",
            "clip": "hottest in frames 8 to 9 of 0 to 11, top right, 88% across and 12% down",
        }
        assert format_as_text(explain(kind)).endswith(f"at layer conv: {told[kind]}")

    def test_html(self, kind):
        html = format_as_html(explain(kind, names=["<i>", "b"]))
        assert "<i>" not in html
        assert html.count("<figure") == 2
        assert ("<img" in html) == (kind != "text")

    def test_dict(self, kind):
        plain = json.loads(json.dumps(format_as_dict(explain(kind))))
        assert plain["kind"] == kind
        assert np.shape(plain["targets"][0]["heatmap"]) == GRIDS[kind]
        assert np.shape(plain["document"]) == SIZES[kind]

    def test_page(self, kind):
        page = format_as_page([explain(kind, names=["a", "b"]), explain(kind)])
        pictures = re.findall(r'<img src="data:image/png;base64,([^"]+)"', page)
        assert len(pictures) == 3
        assert all(Image.open(io.BytesIO(base64.b64decode(each))) for each in pictures)
        assert page.count("<article") == 1  # They are of one document.

    @pytest.mark.parametrize("ending", ["png", "jpg", "pdf", "html"])
    def test_save(self, kind, ending, tmp_path):
        expls = [explain(kind, names=["a", "b"]), explain(kind, names=["a", "b"])]
        file = eli5k.save(expls, tmp_path / f"why.{ending}")
        assert file.stat().st_size > 1000

    def test_sheets(self, kind):
        one = format_as_image(explain(kind))
        two = format_as_image(explain(kind, names=["a", "b"]), caption=True, colorbar=True)
        assert two.width * two.height > 2 * one.width * one.height
        beside = format_as_image(explain(kind), style="side", caption=True)
        assert beside.width * beside.height > 2 * one.width * one.height
        alike = format_as_image(explain(kind, names=["a", "b"]), same_scale=True)
        assert alike.mode == "RGBA"

    def test_a_notebook(self, kind):
        assert Explanations([explain(kind)])._repr_png_()[1:4] == b"PNG"
        assert "<figure" in explain(kind)._repr_html_()

    def test_without_targets_it_is_shown_alone(self, kind):
        expl = explain(kind)
        expl.targets = []
        assert not coloured(format_as_image(expl)).any()

    def test_a_map_of_other_axes_is_an_error(self, kind):
        expl = explain(kind)
        expl.targets[0].heatmap = np.ones((2, 2, 2, 2))
        with pytest.raises(ValueError, match=r"must be \(.+\) to be drawn"):
            format_as_image(expl)

    def test_hot_regions(self, kind):
        [region] = hot_regions(explain(kind))
        box = {
            "signal": (300, 310),
            "text": (5, 6),
            "volume": (12, 0, 8, 16, 4, 10),
            "clip": (12, 0, 8, 16, 4, 10),
        }[kind]
        half = len(box) // 2
        assert region.target == "hot"
        assert np.abs(np.subtract(region.box, box)).max() <= max(SIZES[kind]) / 40
        assert all(low < high for low, high in zip(region.box[:half], region.box[half:]))
