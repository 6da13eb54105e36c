"""A mistake is one line on standard error, and a broken picture does not stop the others."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from tests.cli.shell import assert_one_line, run


class TestBadArguments:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--layer", "cnov"], "'conv'"),
            (["--layer", "head"], "no grid"),
            (["--layer", "99"], "--layer index"),
            (["--targets", "3"], "--targets must be in [0, 3)"),
            (["--output", "9"], "--output must be"),
            (
                ["--region", "0", "0", "9", "9"],
                "--region is for an output with a score for each pixel",
            ),
            (["--preprocess", "json:__name__"], "expected a function, got str"),
        ],
    )
    def test_one_line_for_all_pictures(self, colours, here, capsys, arguments, message):
        assert run("explain", colours, "red.png", "blue.png", "--out", "out", *arguments) == 2
        assert_one_line(capsys, message)
        assert not list(here.glob("out/*"))

    @pytest.mark.parametrize("arguments", [[], ["explain"], ["nothing"], ["layers"]])
    def test_usage(self, capsys, arguments):
        assert run(*arguments) == 2
        assert_one_line(capsys, "--help'.")


class TestBadPictures:
    def explain_with_others(self, model: str, bad: str, capsys) -> str:
        """Explain a bad picture between two good ones; return the line about it."""
        arguments = ["red.png", bad, "blue.png", "--out", "out", "--no-caption", "--format", "png"]
        assert run("explain", model, *arguments) == 2
        printed = capsys.readouterr()
        assert printed.out.count("-> out/") == 2
        assert {path.name for path in Path("out").iterdir()} == {"red.png", "blue.png"}
        [line] = printed.err.splitlines()
        assert line.startswith(f"eli5k: {bad}: ")
        return line.removeprefix(f"eli5k: {bad}: ")

    def test_missing(self, colours, here, capsys):
        line = self.explain_with_others(colours, "missing.png", capsys)
        assert line == "No such file or directory"

    def test_empty_folder(self, colours, here, capsys):
        Path("folder.png").mkdir()
        line = self.explain_with_others(colours, "folder.png", capsys)
        assert "has no picture" in line

    def test_text(self, colours, here, capsys):
        Path("text.png").write_text("hello")
        line = self.explain_with_others(colours, "text.png", capsys)
        assert line == "not a picture that Pillow can read"

    @pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "bmp", "tif", "webp"])
    def test_truncated(self, colours, here, capsys, suffix):
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), "uint8")
        Image.fromarray(noise).save(f"cut.{suffix}")
        content = Path(f"cut.{suffix}").read_bytes()
        Path(f"cut.{suffix}").write_bytes(content[: len(content) // 2])
        assert self.explain_with_others(colours, f"cut.{suffix}", capsys)

    @pytest.mark.parametrize("limit", [64 * 64 - 1, 64 * 64 // 2 - 1], ids=["warning", "error"])
    def test_decompression_bomb(self, colours, here, capsys, monkeypatch, limit):
        Image.new("RGB", (64, 64)).save("bomb.png")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        line = self.explain_with_others(colours, "bomb.png", capsys)
        assert "decompression bomb" in line

    def test_too_small_for_a_model_of_any_size(self, models, here, capsys):
        layers = [
            keras.Input((None, None, 3)),
            keras.layers.Conv2D(4, 5),
            keras.layers.Conv2D(3, 5),
        ]
        model = keras.Sequential([*layers, keras.layers.GlobalAveragePooling2D()])
        model.save(models / "any.keras")
        Image.new("RGB", (4, 4)).save("small.png")
        assert self.explain_with_others(str(models / "any.keras"), "small.png", capsys)

    def test_size_that_the_backend_refuses(self, models, here, capsys):
        """Each backend has errors of its own; TensorFlow's are none of Python's."""
        inputs = keras.Input((None, None, 3))
        x = keras.layers.Conv2D(3, 1, kernel_initializer="ones")(inputs)
        x = keras.layers.GlobalAveragePooling2D()(OneSize()(x))
        x = keras.layers.Dense(2, kernel_initializer="ones")(x)
        keras.Model(inputs, x).save(models / "one_size.keras")
        Image.new("RGB", (4, 4)).save("small.png")
        assert self.explain_with_others(str(models / "one_size.keras"), "small.png", capsys)


@keras.saving.register_keras_serializable("eli5k_test_cli")
class OneSize(keras.layers.Layer):
    """The identity, of arrays of one size."""

    def call(self, x):
        return x * keras.ops.ones((1, 30, 40, 3))

    def compute_output_shape(self, input_shape):
        return input_shape
