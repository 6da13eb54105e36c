"""The command line: what it prints, what it writes, and how it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import eli5k
from eli5k import cli
from eli5k.keras.methods import METHODS
from tests.close import assert_close

COLOURS = ["red", "green", "blue"]


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Path:
    """A folder of saved models."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def colours(models) -> str:
    """A model that names the colour of which there is most; its score is the mean of a channel."""
    file = str(models / "colours.keras")
    colours_model().save(file)
    return file


def colours_model(side: int | None = 16, activation: str | None = "softmax", scale: float = 10.0):
    conv = keras.layers.Conv2D(3, 1, use_bias=False, name="conv")
    head = keras.layers.Dense(3, activation, use_bias=False, name="head")
    layers = [keras.Input((side, side, 3)), keras.layers.Rescaling(1 / 255), conv]
    model = keras.Sequential([*layers, keras.layers.GlobalAveragePooling2D(), head])
    conv.set_weights([np.eye(3, dtype="float32")[None, None]])
    head.set_weights([scale * np.eye(3, dtype="float32")])
    return model


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty working folder, which has ``red.png`` and ``blue.png``."""
    monkeypatch.chdir(tmp_path)
    paint("red").save("red.png")
    paint("blue").save("blue.png")
    return tmp_path


def paint(colour: str) -> Image.Image:
    """A black picture with a square of a colour in the upper left."""
    picture = Image.new("RGB", (40, 30))
    picture.paste(colour, (0, 0, 20, 15))
    return picture


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


class TestExplain:
    def test_prints_classes_layer_and_picture(self, colours, here, capsys):
        assert run("explain", colours, "red.png", "--out", "out") == 0
        printed = capsys.readouterr()
        lines = printed.out.splitlines()
        assert lines[0] == "red.png"
        assert lines[1].split()[0] == "0"
        assert lines[1].endswith("<- explained")
        assert [line.split()[0] for line in lines[1:4]] == ["0", "1", "2"]
        assert "layer    conv (Grad-CAM)" in printed.out
        assert f"picture  {Path('out/red.png')}" in printed.out
        assert printed.err == ""

    def test_writes_the_picture_that_the_library_makes(self, colours, here):
        run("explain", colours, "red.png", "--out", "out")
        model = keras.saving.load_model(colours)
        expected = eli5k.format_as_image(eli5k.explain_prediction(model, "red.png"))
        with Image.open("out/red.png") as written:
            assert written.size == (40, 30)
            # One step of the colour map is up to two levels.
            assert_close(written, expected, tolerance=2 / 255)

    def test_score_and_probability(self, colours, here, capsys):
        run("explain", colours, "red.png", "--logits", "--out", "out")
        first = capsys.readouterr().out.splitlines()[1].split()
        model = keras.saving.load_model(colours)
        target = eli5k.explain_prediction(model, "red.png", logits=True).targets[0]
        assert float(first[first.index("score") + 1]) == pytest.approx(target.score, rel=1e-3)
        assert float(first[first.index("probability") + 1]) == pytest.approx(target.proba, abs=1e-4)
        assert target.score > 1  # a logit, and no probability

    def test_targets_are_explained_in_one_sheet(self, colours, here, capsys):
        assert run("explain", colours, "red.png", "--targets", 0, 2, "--out", "out") == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines if "explained" in line] == ["0", "2"]
        with Image.open("out/red.png") as written:
            assert written.width > 2 * 40

    def test_top_targets(self, colours, here, capsys):
        assert run("explain", colours, "red.png", "--top-targets", -1, "--out", "out") == 0
        explained = [line for line in capsys.readouterr().out.splitlines() if "explained" in line]
        assert len(explained) == 1
        assert not explained[0].strip().startswith("0")

    @pytest.mark.parametrize("layer", ["conv", "1", "-3"])
    def test_layer_by_name_and_index(self, colours, here, capsys, layer):
        assert run("explain", colours, "red.png", "--layer", layer, "--out", "out") == 0
        assert "layer    conv (" in capsys.readouterr().out

    def test_layers_to_fuse(self, colours, here, capsys):
        for last, status in (("0", 0), ("cnov", 2)):
            options = ["--method", "fuse", "--layer", "conv", "--layer", last, "--out", "out"]
            assert run("explain", colours, "red.png", *options) == status
            printed = capsys.readouterr()
            assert ("layer    conv (" if status == 0 else "'cnov'") in "".join(printed)

    def test_output_by_name_and_index(self, models, here, capsys):
        inner = colours_model()
        first = keras.layers.Dense(2, name="first")(inner.layers[-2].output)
        model = keras.Model(inner.inputs, {"first": first, "colour": inner.outputs[0]})
        model.save(models / "outputs.keras")
        for output in ("colour", "0"):
            arguments = ["red.png", "--output", output, "--out", "out"]
            assert run("explain", models / "outputs.keras", *arguments) == 0
            shown = capsys.readouterr()
            assert shown.err == ""
            assert sum("score" in line for line in shown.out.splitlines()) == 3

    @pytest.mark.parametrize("name", METHODS)
    def test_every_method(self, name, colours, here, capsys):
        arguments = ["--method", name, "--logits", "--targets", "0", "--out", "out"]
        assert run("explain", colours, "red.png", *arguments) == 0
        assert f"({METHODS[name].title})" in capsys.readouterr().out
        with Image.open("out/red.png") as written:
            assert written.size == (40, 30)

    def test_h5(self, models, here):
        colours_model().save(models / "colours.h5")
        assert run("explain", models / "colours.h5", "red.png", "--out", "out") == 0
        assert Path("out/red.png").exists()

    def test_the_loss_that_a_model_was_trained_with_is_not_needed(self, models, here):
        model = colours_model()
        model.compile(loss=lambda y_true, y_pred: y_pred)
        model.save(models / "trained.keras")
        assert run("explain", models / "trained.keras", "red.png", "--out", "out") == 0

    def test_warning_is_one_line(self, models, here, capsys):
        colours_model(scale=1e4).save(models / "saturated.keras")
        assert run("explain", models / "saturated.keras", "red.png", "--out", "out") == 0
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith("eli5k: red.png: warning: ")
        assert "logits=True" in line


class TestNames:
    @pytest.mark.parametrize(
        "text",
        [
            "red\ngreen\nblue\n",
            "\ufeffred\r\ngreen\r\nblue\r\n\r\n",
            json.dumps(COLOURS),
            json.dumps(dict(enumerate(COLOURS))),
            json.dumps({str(i): [f"n0{i}", name] for i, name in enumerate(COLOURS)}),
            json.dumps({name: i for i, name in enumerate(COLOURS)}),
        ],
        ids=["lines", "windows", "list", "dict", "imagenet", "class_indices"],
    )
    def test_formats(self, colours, here, capsys, text):
        Path("names").write_text(text, encoding="utf-8", newline="")
        arguments = ["--names", "names", "--targets", "blue", "0", "--out", "out"]
        assert run("explain", colours, "red.png", *arguments) == 0
        lines = capsys.readouterr().out.splitlines()
        assert {line.split()[0] for line in lines if "explained" in line} == {"red", "blue"}
        assert {line.split()[0] for line in lines if "score" in line} == set(COLOURS)

    def test_a_name_that_looks_like_a_number_is_a_name(self, colours, here, capsys):
        Path("names").write_text("2\n1\n0\n", encoding="utf-8")
        assert run("explain", colours, "red.png", "--names", "names", "--targets", "2") == 0
        [explained] = [x for x in capsys.readouterr().out.splitlines() if "explained" in x]
        assert explained.split()[0] == "2"
        assert "probability 0.8" in explained  # class 0, red

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("red\ngreen\n", "one name for each of the 3 classes"),
            ("[red", "nor JSON"),
            ('{"red": "green"}', "nor JSON"),
            (None, "No such file"),
        ],
    )
    def test_bad_file(self, colours, here, capsys, text, message):
        if text is not None:
            Path("names").write_text(text, encoding="utf-8")
        assert run("explain", colours, "red.png", "--names", "names", "--out", "out") == 2
        assert_one_line(capsys, message)


class TestBadArguments:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--layer", "cnov"], "'conv'"),
            (["--layer", "head"], "no grid"),
            (["--layer", "99"], "layer index"),
            (["--targets", "3"], "targets must be in [0, 3)"),
            (["--targets", "red"], "pass target_names"),
            (["--top-targets", "0"], "top_targets"),
            (["--method", "grad-kam"], "Did you mean 'grad-cam'"),
            (["--output", "9"], "output must be"),
            (["--preprocess", "nothing"], "MODULE:FUNCTION"),
            (["--preprocess", "no_such_module:f"], "No module named 'no_such_module'"),
            (["--preprocess", "json:no_such_function"], "no_such_function"),
            (["--preprocess", "json:__name__"], "not a function but str"),
        ],
    )
    def test_one_line_for_all_pictures(self, colours, here, capsys, arguments, message):
        assert run("explain", colours, "red.png", "blue.png", "--out", "out", *arguments) == 2
        assert_one_line(capsys, message)
        assert not list(here.glob("out/*"))

    def test_out_is_a_file(self, colours, here, capsys):
        assert run("explain", colours, "red.png", "--out", "blue.png") == 2
        assert_one_line(capsys, "blue.png: File exists")

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

    @pytest.mark.parametrize("arguments", [[], ["explain"], ["explain", "m.keras"], ["nothing"]])
    def test_usage(self, capsys, arguments):
        with pytest.raises(SystemExit) as stop:
            run(*arguments)
        assert stop.value.code == 2
        assert "usage: eli5k" in capsys.readouterr().err


class TestPreprocess:
    def test_function_of_a_module_in_the_working_folder(self, colours, here, capsys, monkeypatch):
        monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", ".")])
        Path("eli5k_test_swap.py").write_text("def swap(array):\n    return array[..., ::-1]\n")
        arguments = ["--preprocess", "eli5k_test_swap:swap", "--out", "out"]
        assert run("explain", colours, "red.png", *arguments) == 0
        [explained] = [x for x in capsys.readouterr().out.splitlines() if "explained" in x]
        assert explained.split()[0] == "2"

    def test_function_that_raises(self, colours, here, capsys):
        Path("eli5k_test_raise.py").write_text("def fail(array):\n    raise KeyError('mean')\n")
        assert run("explain", colours, "red.png", "--preprocess", "eli5k_test_raise:fail") == 2
        assert_one_line(capsys, "KeyError: 'mean'")


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
        assert "loading one from somebody whom you do not trust can run" in help_text
        assert "--unsafe" in help_text


class TestBadPictures:
    def explain_with_others(self, model: str, bad: str, capsys) -> str:
        """Explain a bad picture between two good ones; return the line about it."""
        assert run("explain", model, "red.png", bad, "blue.png", "--out", "out") == 2
        printed = capsys.readouterr()
        assert printed.out.count("picture ") == 2
        assert {path.name for path in Path("out").iterdir()} == {"red.png", "blue.png"}
        [line] = printed.err.splitlines()
        assert line.startswith(f"eli5k: {bad}: ")
        return line.removeprefix(f"eli5k: {bad}: ")

    def test_missing(self, colours, here, capsys):
        line = self.explain_with_others(colours, "missing.png", capsys)
        assert line == "No such file or directory"

    def test_folder(self, colours, here, capsys):
        Path("folder.png").mkdir()
        line = self.explain_with_others(colours, "folder.png", capsys)
        assert line == "Is a directory"

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


class TestFiles:
    def test_same_names_do_not_collide(self, colours, here):
        for folder in ("a", "b", "c"):
            Path(folder).mkdir()
            paint("red").save(f"{folder}/x.png")
        paint("blue").save("c/X.jpg")
        images = ["a/x.png", "b/x.png", "c/x.png", "c/X.jpg"]
        assert run("explain", colours, *images, "--out", "out") == 0
        assert {p.name for p in Path("out").iterdir()} == {"x.png", "x-2.png", "x-3.png", "X-4.png"}

    def test_inputs_are_not_overwritten(self, colours, here):
        paint("green").save("red-2.png")
        before = {path: path.read_bytes() for path in here.iterdir()}
        assert run("explain", colours, "red.png", here / "blue.png", "red-2.png") == 0
        assert {path: path.read_bytes() for path in before} == before
        new = {path.name for path in here.iterdir()} - {path.name for path in before}
        assert new == {"red-3.png", "blue-2.png", "red-2-2.png"}

    def test_an_input_made_by_eli5k_is_not_overwritten_either(self, colours, here):
        run("explain", colours, "red.png", "--out", "out")
        before = Path("out/red.png").read_bytes()
        assert run("explain", colours, "out/red.png", "--out", "out") == 0
        assert Path("out/red.png").read_bytes() == before

    def test_only_our_own_files_are_replaced(self, colours, here):
        Path("out").mkdir()
        Path("out/blue.png").write_text("notes")
        for _ in range(2):
            assert run("explain", colours, "red.png", "blue.png", "--out", "out") == 0
        assert {path.name for path in Path("out").iterdir()} == {
            "red.png",
            "blue.png",
            "blue-2.png",
        }
        assert Path("out/blue.png").read_text() == "notes"


class TestLayers:
    def test_marks_the_default(self, colours, capsys):
        assert run("layers", colours) == 0
        printed = capsys.readouterr()
        first, last = printed.out.splitlines()
        assert first.split()[0].startswith("rescaling")
        assert last.split() == ["*", "conv", "Conv2D", "(None,", "16,", "16,", "3)"]
        assert printed.err == ""

    def test_each_path_can_be_passed_as_layer(self, models, here, capsys):
        file = models / "nested.keras"
        inner = keras.Sequential(colours_model().layers[:2], name="inner")
        keras.Sequential(
            [keras.Input((16, 16, 3)), inner, keras.layers.Flatten(), keras.layers.Dense(2)]
        ).save(file)
        assert run("layers", file) == 0
        paths = [line[2:].split()[0] for line in capsys.readouterr().out.splitlines()]
        assert "inner/conv" in paths
        for path in paths:
            assert run("explain", file, "red.png", "--layer", path, "--out", "out") == 0
            assert f"layer    {path} (" in capsys.readouterr().out

    def test_is_what_explain_takes(self, models, here, capsys):
        for side in (16, None):
            file = models / f"side{side}.keras"
            colours_model(side).save(file)
            assert run("layers", file) == 0
            [marked] = [x for x in capsys.readouterr().out.splitlines() if x.startswith("*")]
            assert run("explain", file, "red.png", "--out", "out") == 0
            assert f"layer    {marked.split()[1]} (" in capsys.readouterr().out

    def test_several_inputs_and_no_vector_of_classes(self, models, capsys):
        one, two = keras.Input((8, 8, 1), name="one"), keras.Input((4,), name="two")
        weighted = keras.layers.Conv2D(4, 3, name="conv")(one) * keras.layers.Reshape((1, 1, 4))(
            two
        )
        for name, inputs in {"list": [one, two], "dict": {"one": one, "two": two}}.items():
            keras.Model(inputs, weighted).save(models / f"{name}.keras")
            assert run("layers", models / f"{name}.keras") == 0
            assert "* " in capsys.readouterr().out

    def test_subclassed(self, models, capsys):
        file = models / "subclassed.keras"
        model = Subclassed()
        model(np.zeros((1, 8, 8, 1), "float32"))
        model.save(file)
        assert run("layers", file) == 0
        assert capsys.readouterr().out.split()[:3] == ["*", "conv", "Conv2D"]


@keras.saving.register_keras_serializable("eli5k_test_cli")
class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = keras.layers.Conv2D(2, 3, name="conv")
        self.pool = keras.layers.GlobalAveragePooling2D(name="pool")

    def call(self, x):
        return self.pool(self.conv(x))


class TestBackend:
    @pytest.mark.parametrize(
        ("installed", "asked", "chosen"),
        [
            ({"tensorflow", "torch", "jax"}, None, None),
            ({"torch", "jax"}, None, "torch"),
            ({"jax"}, None, "jax"),
            ({"jax"}, "torch", "torch"),
            (set(), None, None),
        ],
    )
    def test_choice(self, monkeypatch, installed, asked, chosen):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: name in installed or None)
        monkeypatch.setenv("KERAS_BACKEND", asked or "")
        if asked is None:
            monkeypatch.delenv("KERAS_BACKEND")
        cli._choose_backend()
        assert os.environ.get("KERAS_BACKEND") == chosen

    @pytest.mark.parametrize(
        ("text", "chosen"),
        [('{"backend": "jax"}', None), ('{"backend": "tensorflow"}', "torch"), ("[]", "torch")],
    )
    def test_file_of_keras(self, monkeypatch, tmp_path, text, chosen):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: name in ("torch", "jax"))
        (tmp_path / "keras.json").write_text(text)
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        monkeypatch.setenv("KERAS_BACKEND", "")
        monkeypatch.delenv("KERAS_BACKEND")
        cli._choose_backend()
        assert os.environ.get("KERAS_BACKEND") == chosen

    def test_none_installed(self, here):
        code = (
            "import sys; sys.modules.update(tensorflow=None, torch=None, jax=None);"
            "from eli5k.cli import main; sys.exit(main(['explain', 'm.keras', 'red.png']))"
        )
        environment = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
        done = python("-c", code, env=environment)
        assert done.returncode == 2
        [line] = done.stderr.splitlines()
        assert "pip install 'eli5k[tensorflow]'" in line


class TestProcess:
    def test_help_imports_nothing_heavy(self):
        done = python("-X", "importtime", "-m", "eli5k", "--help")
        assert done.returncode == 0
        assert all(command in done.stdout for command in ("demo", "explain", "layers"))
        imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert "eli5k.cli" in imported
        assert not imported & {"keras", "tensorflow", "torch", "jax", "matplotlib.pyplot"}

    def test_version(self, capsys):
        with pytest.raises(SystemExit):
            run("--version")
        assert capsys.readouterr().out.strip() == eli5k.__version__

    def test_reader_that_goes_away(self, colours):
        code = "import sys; from eli5k.cli import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", code, "layers", colours]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.close()
        assert process.stderr.read() == b""
        process.stderr.close()
        assert process.wait() == 2


def python(*arguments: str, **kwargs) -> subprocess.CompletedProcess:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **kwargs)


def assert_one_line(capsys, part: str) -> None:
    """Nothing was printed but one line on standard error, with this in it."""
    printed = capsys.readouterr()
    assert printed.out == ""
    [line] = printed.err.splitlines()
    assert line.startswith("eli5k: ")
    assert part in line
