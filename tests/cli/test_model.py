"""The model file: broken ones, and those that hold code."""

from __future__ import annotations

import importlib
from pathlib import Path

import keras
import pytest

from tests.cli.colours import colours_model
from tests.cli.shell import assert_one_line, run


class TestBadModel:
    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("no.keras", None, "no.keras: No such file"),
            ("no.keras", b"hello", "no.keras: "),
            ("no.h5", b"hello", "no.h5: "),
            ("red.png", None, "red.png: "),
            (".", None, ".: "),
        ],
    )
    @pytest.mark.parametrize("command", [["explain", "red.png"], ["layers"]])
    def test_bad_model(self, here, capsys, command, name, content, message):
        if content is not None:
            Path(name).write_bytes(content)
        assert run(command[0], name, *command[1:]) == 2
        assert_one_line(capsys, message)

    def test_model_without_images(self, models, here, capsys):
        file = models / "dense.keras"
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(file)
        for arguments in (["explain", file, "red.png"], ["layers", file]):
            assert run(*arguments) == 2
            assert_one_line(capsys, "not supported")


class TestUnsafe:
    @pytest.mark.parametrize("suffix", ["keras", "h5"])
    def test_code_in_a_model_runs_only_when_asked_for(self, models, here, capsys, suffix):
        file = models / f"lambda.{suffix}"
        inner = colours_model()
        shape = inner.input_shape[1:]
        code = keras.layers.Lambda(lambda x: x * 1, output_shape=shape)
        keras.Sequential([keras.Input(shape), code, *inner.layers]).save(file)

        assert run("explain", file, "red.png", "--out", "out") == 2
        assert_one_line(capsys, "Pass --unsafe if you trust its author.")
        assert run("explain", file, "red.png", "--out", "out", "--unsafe") == 0
        assert Path("out/red.png").exists()

    @pytest.mark.parametrize("command", ["explain", "layers"])
    def test_help_warns(self, capsys, command):
        with pytest.raises(SystemExit):
            run(command, "--help")
        help_text = " ".join(capsys.readouterr().out.split())
        assert "load only files from authors you trust" in help_text
        assert "--unsafe" in help_text


class TestImport:
    CODE = """
import keras


class {name}(keras.layers.Layer):
    def call(self, x):
        return x * 1.0
"""

    @pytest.mark.parametrize("suffix", ["keras", "h5"])
    def test_own_layer_classes(self, suffix, models, here, capsys, monkeypatch):
        name = f"Mine{suffix.title()}"
        Path(f"eli5k_test_{suffix}.py").write_text(self.CODE.format(name=name))
        monkeypatch.syspath_prepend(here)
        own = getattr(importlib.import_module(f"eli5k_test_{suffix}"), name)
        file = models / f"own.{suffix}"
        inner = colours_model()
        keras.Sequential([keras.Input(inner.input_shape[1:]), own(), *inner.layers]).save(file)

        assert run("explain", file, "red.png", "--out", "out") == 2
        assert_one_line(capsys, f"own.{suffix}: it needs the class '{name}'")
        arguments = ["--out", "out", "--import", f"eli5k_test_{suffix}"]
        assert run("explain", file, "red.png", *arguments) == 0
        assert Path("out/red.png").exists()
        capsys.readouterr()
        assert run("layers", file) == 2
        assert_one_line(capsys, "Pass --import MODULE")

    def test_a_module_that_can_not_be_imported(self, colours, here, capsys):
        Path("eli5k_test_broken.py").write_text("1 / 0\n")
        assert run("explain", colours, "red.png", "--import", "eli5k_test_broken") == 2
        assert_one_line(capsys, "--import eli5k_test_broken: ZeroDivisionError")
