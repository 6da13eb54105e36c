"""Pictures from files, bytes and open files: damaged ones are OSErrors that name the file."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from eli5k.base import ExplanationWarning
from eli5k.pixels import open_picture
from tests.damage import damaged_files, formats, written

# What Pillow says of metadata that it skips, and of what it decoded all the same.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")


@pytest.fixture
def small_pictures_only(monkeypatch):
    """A flipped byte may make a header say that a picture is huge."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500_000)


class TestDamagedFiles:
    @pytest.mark.usefixtures("small_pictures_only")
    def test_any_is_a_picture_or_an_oserror_that_names_it(self, tmp_path):
        counts, unnamed = {"read": 0, "refused": 0}, []
        for file_format, content in damaged_files(600, seed=1):
            path = tmp_path / f"broken.{file_format.lower()}"
            path.write_bytes(content)
            try:
                picture = open_picture(path)
            except OSError as error:
                counts["refused"] += 1
                if str(path) not in str(error):
                    unnamed.append(error)
            else:
                assert picture.mode in ("L", "RGB", "RGBA")
                counts["read"] += 1
        assert unnamed == []
        assert min(counts.values()) > 100

    def test_formats_are_those_that_pillow_reads_and_writes(self):
        assert set(formats()) >= {"PNG", "JPEG", "TIFF", "GIF", "BMP", "WEBP", "DDS", "PPM", "TGA"}
        for file_format in formats():
            assert open_picture(written(file_format)).size == (24, 18), file_format

    @pytest.mark.parametrize(
        "failure",
        [RuntimeError, NotImplementedError, MemoryError, SyntaxError, KeyError, RecursionError],
    )
    def test_whatever_a_decoder_raises(self, failure, tmp_path, monkeypatch):
        path = tmp_path / "photo.png"
        Image.new("L", (4, 4)).save(path)

        def fail(self):
            raise failure("no such codec")

        monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fail)
        with pytest.raises(OSError, match=rf"photo\.png: .*{failure.__name__}: .*no such codec"):
            open_picture(path)
        with Image.open(path) as opened, pytest.raises(OSError, match=r"photo\.png.*no such codec"):
            open_picture(opened)

    def test_stopping_is_left_alone(self, tmp_path, monkeypatch):
        path = tmp_path / "photo.png"
        Image.new("L", (4, 4)).save(path)

        def stop(self):
            raise KeyboardInterrupt

        monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", stop)
        with pytest.raises(KeyboardInterrupt):
            open_picture(path)

    def test_bomb_is_named(self, tmp_path, monkeypatch):
        path = tmp_path / "bomb.png"
        Image.new("L", (100, 100)).save(path)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
        with pytest.raises(OSError, match=r"bomb\.png: .*DecompressionBombError"):
            open_picture(path)

    def test_what_is_missing_says_so(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"none\.png"):
            open_picture(tmp_path / "none.png")
        (tmp_path / "notes.txt").write_text("no picture")
        with pytest.raises(UnidentifiedImageError, match=r"notes\.txt: not a picture"):
            open_picture(tmp_path / "notes.txt")
        with pytest.raises(UnidentifiedImageError, match="the bytes: not a picture"):
            open_picture(b"no picture")


class TestSources:
    def test_path_bytes_and_open_file_are_the_same_picture(self, tmp_path):
        pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), "uint8")
        path = tmp_path / "photo.png"
        Image.fromarray(pixels).save(path)
        content = path.read_bytes()
        sources = [path, str(path), np.str_(path), content, bytearray(content), memoryview(content)]
        for source in (*sources, io.BytesIO(content)):
            np.testing.assert_array_equal(np.asarray(open_picture(source)), pixels)
        with path.open("rb") as file:
            for _ in range(2):
                np.testing.assert_array_equal(np.asarray(open_picture(file)), pixels)
            assert file.tell() == 0

    @pytest.mark.parametrize("source", [3, None, ["photo.png"], np.zeros((4, 4, 3))], ids=type)
    def test_anything_else_is_a_type_error(self, source):
        with pytest.raises(TypeError, match="image must be a Pillow image"):
            open_picture(source)

    def test_warning_names_the_file(self, tmp_path):
        path = tmp_path / "depth.tiff"
        Image.new("F", (4, 4), 0.5).save(path)
        with pytest.warns(ExplanationWarning, match=r"depth\.tiff: A picture of mode 'F'"):
            open_picture(path)
