"""Files of each kind, complete or not there at all."""

import errno
import os

import numpy as np
import pytest
from PIL import Image

import eli5k
from eli5k.base import Explanation, TargetExplanation
from eli5k.formatters import format_as_image
from eli5k.whole_files import written_beside
from tests.formatters.test_sheet import find, picture

pytestmark = pytest.mark.once


def explain(**kwargs):
    target = TargetExplanation("cat", heatmap=np.eye(3))
    kwargs = {"image": picture(300, 240), "method": "Grad-CAM", "layer": "conv", **kwargs}
    return Explanation("net", targets=[target], **kwargs)


def read(path):
    with Image.open(path) as image:
        # Without what the format tells beside the pixels.
        return Image.fromarray(np.asarray(image.convert("RGBA")))


@pytest.mark.parametrize("ending", ["png", "webp", "PNG"])
def test_a_lossless_file_holds_the_captioned_picture(ending, tmp_path):
    path = eli5k.save(explain(), tmp_path / f"why.{ending}")
    assert read(path) == format_as_image(explain(), caption=True)
    assert os.listdir(tmp_path) == [f"why.{ending}"]


@pytest.mark.parametrize("ending", ["jpg", "jpeg"])
def test_a_jpeg_has_no_transparency_and_is_nearly_the_picture(ending, tmp_path):
    image = Image.new("RGBA", (300, 240), (90, 60, 30, 255))
    image.paste((0, 0, 0, 0), (0, 0, 300, 60))
    path = eli5k.save(
        explain(image=image), tmp_path / f"why.{ending}", caption=False, alpha_limit=0
    )
    with Image.open(path) as saved:
        assert (saved.format, saved.mode) == ("JPEG", "RGB")
        pixels = np.asarray(saved).astype(int)
    assert abs(pixels[:50] - 255).max() < 8
    assert abs(pixels[70:] - (90, 60, 30)).max() < 8


def test_a_pdf_is_one_page(tmp_path):
    data = eli5k.save(explain(), tmp_path / "why.pdf").read_bytes()
    assert data.startswith(b"%PDF")
    assert data.count(b"/Type /Page\n") == 1


def test_without_a_caption_it_is_the_picture_of_eli5(tmp_path):
    path = eli5k.save(explain(), tmp_path / "why.png", caption=False)
    assert read(path) == format_as_image(explain())


@pytest.mark.parametrize(
    ("file", "keyword", "message"),
    [
        ("why.png", "one_scale", "save takes no one_scale= .* .png. Did you mean same_scale="),
        ("why.png", "title", "save takes no title= .* It takes: .*colormap"),
        ("why.html", "style", "save takes no style= .* .html. It takes: title"),
    ],
)
def test_an_unknown_keyword_is_told_with_what_is_known(file, keyword, message, tmp_path):
    with pytest.raises(TypeError, match=message):
        eli5k.save(explain(), tmp_path / file, **{keyword: "dim"})


def test_a_name_may_be_as_long_as_a_name_can_be(tmp_path):
    name = "x" * 251 + ".png"
    eli5k.save(explain(), tmp_path / name)
    assert os.listdir(tmp_path) == [name]


def test_several_explanations_become_one_sheet(tmp_path):
    two = [explain(source="a.png"), explain(source="b.png", image=picture(240, 240))]
    sheet = read(eli5k.save(two, tmp_path / "all.png"))
    assert all(find(format_as_image(each), sheet) for each in two)


def test_methods_are_columns_and_targets_are_rows(tmp_path):
    methods = ("Grad-CAM", "HiResCAM", "LayerCAM", "CAM")
    both = [explain(method=method) for method in methods]
    rng = np.random.default_rng(0)
    for expl in both:
        expl.targets = [TargetExplanation(name, heatmap=rng.random((5, 5))) for name in "ab"]
    sheet = read(eli5k.save(both, tmp_path / "all.png"))
    for column, expl in enumerate(both):
        for row, target in enumerate(expl.targets):
            alone = Explanation("net", image=expl.image, targets=[target])
            [(left, top)] = find(format_as_image(alone), sheet)
            assert left // 306 == column
            assert (top > 240) == bool(row)


def test_the_look_is_that_of_the_picture(tmp_path):
    path = eli5k.save(explain(), str(tmp_path / "why.png"), style="dim", colorbar=True)
    assert read(path) == format_as_image(explain(), style="dim", colorbar=True, caption=True)


@pytest.mark.parametrize("name", ["why", "why.gif", ".png", "why.png.txt"])
def test_another_ending_is_an_error_that_lists_them(name, tmp_path):
    with pytest.raises(ValueError, match=r"path must end with \.png, \.jpg"):
        eli5k.save(explain(), tmp_path / name)
    assert not os.listdir(tmp_path)


def test_nothing_to_save_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="at least one explanation"):
        eli5k.save([], tmp_path / "why.png")
    with pytest.raises(ValueError, match="no picture to save: not supported"):
        eli5k.save(Explanation("net", error="not supported"), tmp_path / "why.png")


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "why.png"
    path.write_text("old")
    with pytest.raises(TypeError), written_beside(path) as file:  # noqa: PT012
        file.write(b"half")
        file.write(None)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["why.png"]
    eli5k.save(explain(), path)
    assert os.listdir(tmp_path) == ["why.png"]
    assert read(path).size == format_as_image(explain(), caption=True).size


def test_a_full_disk_names_the_file(tmp_path):
    def on_full_disk():
        with written_beside(tmp_path / "why.png") as file:
            file.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match=r"No space left on device: .*/why\.png"):
        on_full_disk()
    assert not os.listdir(tmp_path)


def test_a_missing_folder_is_an_error_that_names_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        eli5k.save(explain(), tmp_path / "nowhere" / "why.png")
