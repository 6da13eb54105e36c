"""``eli5k explain`` on folders and patterns: a line for each picture, and files of all."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import keras
import pytest
from PIL import Image

import eli5k
from eli5k.formatters import fonts
from tests.cli.colours import COLOURS, colours_model, paint
from tests.cli.shell import assert_one_line, run

pytestmark = pytest.mark.once


@pytest.fixture
def photos(here) -> Path:
    """A folder with pictures of each colour, one in a folder below."""
    folder = here / "photos"
    (folder / "more").mkdir(parents=True)
    for colour in COLOURS:
        paint(colour).save(folder / f"{colour}.png")
    paint("red").save(folder / "more" / "red.jpg")
    (folder / "notes.txt").write_text("notes")
    (here / "names").write_text("\n".join(COLOURS))
    return folder


class TestWhichPictures:
    @pytest.mark.parametrize(
        ("words", "found"),
        [
            (["photos"], ["blue.png", "green.png", "more/red.jpg", "red.png"]),
            (["photos/*.png"], ["blue.png", "green.png", "red.png"]),
            (["photos/**/red.*"], ["more/red.jpg", "red.png"]),
            (["photos/red.png", "photos/blue.png"], ["red.png", "blue.png"]),
            (["photos/red.png", "photos/r*.png", "photos/more"], ["red.png", "more/red.jpg"]),
            (["--logits", "photos/red.png", "--check", "photos/blue.png"], ["red.png", "blue.png"]),
            (["--targets", "0", "2", "photos/red.png", "photos/blue.png"], ["red.png", "blue.png"]),
            (["photos/red.png", "--targets", "0", "photos/b*"], ["red.png", "blue.png"]),
        ],
    )
    def test_words_in_any_order(self, words, found, colours, photos, capsys):
        assert run("explain", colours, *words, "--format", "csv", "--out", "out") == 0
        *lines, count, table = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines] == [f"photos/{name}" for name in found]
        assert count == f"{len(found)} of {len(found)} pictures explained"
        assert table.split() == ["table", "out/explanations.csv"]

    def test_a_class_may_be_called_like_a_file(self, colours, photos, capsys):
        Path("red").mkdir()
        words = ["--names", "names", "--targets", "red", "blue", "red.png", "--out", "out"]
        assert run("explain", colours, *words) == 0
        lines = capsys.readouterr().out.splitlines()
        assert {line.split()[0] for line in lines if "explained" in line} == {"red", "blue"}

    def test_a_missing_one_is_said_and_the_others_are_explained(self, colours, photos, capsys):
        assert (
            run("explain", colours, "photos", "missing.png", "--out", "o", "--format", "png") == 2
        )
        printed = capsys.readouterr()
        assert printed.err == "eli5k: missing.png: No such file or directory\n"
        assert "4 of 4 pictures explained" in printed.out

    def test_an_array_is_a_document(self, models, here, capsys):
        import numpy as np

        conv = keras.layers.Conv1D(2, 3, kernel_initializer="ones", name="conv")
        dense = keras.layers.Dense(2, kernel_initializer="ones")
        layers = [keras.Input((20, 1)), conv, keras.layers.GlobalAveragePooling1D(), dense]
        keras.Sequential(layers).save(models / "signal.keras")
        np.save("signal.npy", np.arange(20, dtype="float32"))
        assert run("explain", models / "signal.keras", "signal.npy", "--out", "out") == 0
        assert Path("out/signal.png").exists()

    def test_without_an_extension(self, colours, here, capsys):
        Path("red.png").rename("red")
        assert run("explain", colours, "red", "--out", "out") == 0
        assert "picture  out/red.png" in capsys.readouterr().out


class TestLines:
    def test_name_probability_and_file(self, colours, photos, capsys):
        arguments = ["--names", "names", "--format", "jpg", "--out", "out"]
        assert run("explain", colours, "photos", *arguments) == 0
        lines = capsys.readouterr().out.splitlines()
        model = keras.saving.load_model(colours)
        explanation = eli5k.explain_prediction(model, "photos/green.png", target_names=COLOURS)
        [target] = explanation.targets
        assert lines[1] == f"photos/green.png  green {target.proba:.4f}  -> out/green.jpg"
        assert lines[2].endswith("-> out/red.jpg")
        assert lines[3].endswith("-> out/red-2.jpg")
        with Image.open("out/green.jpg") as written:
            assert written.format == "JPEG"

    def test_verdict(self, colours, photos, capsys):
        assert run("explain", colours, "photos/*.png", "--check", "--format", "csv") == 0
        [first, *_] = capsys.readouterr().out.splitlines()
        assert first.split("(")[1] in ("supported)", "not shown)", "untestable)", "contradicted)")


class TestFormats:
    def test_csv(self, colours, photos):
        assert run("explain", colours, "photos/*.png", "--targets", "2", "0", "--out", "t.csv") == 0
        with open("t.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["target"] for row in rows] == ["2", "0"] * 3
        assert rows[0]["file"] == "photos/blue.png"
        model = keras.saving.load_model(colours)
        blue = eli5k.explain_prediction(model, "photos/blue.png", targets=[2])
        assert float(rows[0]["probability"]) == pytest.approx(blue.targets[0].proba, abs=1e-6)
        assert rows[0]["method"] == "Grad-CAM"
        assert rows[0]["layer"] == "conv"

    def test_json_is_what_the_library_makes(self, colours, photos):
        assert run("explain", colours, "photos/red.png", "--out", "red.json") == 0
        found = json.loads(Path("red.json").read_text())
        assert found["targets"][0]["target"] == 0
        assert found["source"] == "photos/red.png"
        assert list(found) == list(
            eli5k.format_as_dict(
                eli5k.explain_prediction(keras.saving.load_model(colours), "photos/red.png")
            )
        )

    @pytest.mark.parametrize("option", ["--report", "--out"])
    def test_a_page_of_all(self, option, colours, photos, capsys):
        assert run("explain", colours, "photos", option, "pages/all.html") == 0
        printed = capsys.readouterr()
        assert "page     pages/all.html" in printed.out
        assert "->" not in printed.out
        page = Path("pages/all.html").read_text()
        assert all(f"{name}.png" in page for name in COLOURS)
        assert [path.name for path in Path("pages").iterdir()] == ["all.html"]

    def test_a_report_beside_the_pictures(self, colours, photos):
        arguments = ["--out", "out", "--format", "png", "--report", "all.html"]
        assert run("explain", colours, "photos/*.png", *arguments) == 0
        assert len(list(Path("out").iterdir())) == 3
        assert Path("all.html").exists()

    @pytest.mark.parametrize(
        ("arguments", "opened"),
        [(["--out", "why.jpg"], "why.jpg"), (["--report", "all.html"], "all.html")],
    )
    def test_open(self, arguments, opened, colours, photos, monkeypatch):
        shown = []
        monkeypatch.setattr("webbrowser.open", shown.append)
        assert run("explain", colours, "photos/red.png", "--open", *arguments) == 0
        assert shown == [Path(opened).resolve().as_uri()]


@pytest.fixture
def saturated(models) -> Path:
    colours_model(scale=1e4).save(models / "saturated-many.keras")
    return models / "saturated-many.keras"


class TestWarnings:
    """Of a model that is saturated, each picture has one."""

    def test_that_of_several_pictures_is_one_line_with_how_many(self, saturated, photos, capsys):
        paint("black").save(photos / "black.png")
        assert run("explain", saturated, "photos", "--out", "out", "--format", "csv") == 0
        lines = capsys.readouterr().err.splitlines()
        [line] = [line for line in lines if "saturated" in line]
        assert line.startswith("eli5k: warning: The map is blank: the output is saturated at ")
        assert line.endswith(" (on 4 of 5 pictures, such as photos/blue.png)")
        # The other one is about a single picture, and names it.
        [other] = [each for each in lines if each != line]
        assert other.startswith("eli5k: photos/black.png: warning: ")

    def test_that_of_a_picture_as_it_is_drawn_too(self, colours, photos, capsys, monkeypatch):
        monkeypatch.setattr(fonts, "_has_letters", lambda _, letters: "猫" not in letters)
        names = Path("猫.png"), Path("photos/猫.png")
        for name in names:
            paint("red").save(name)
        assert run("explain", colours, *names, "--out", "out", "--format", "png") == 0
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith("eli5k: warning: '猫.png' is drawn with boxes for letters")
        assert line.endswith(" (on 2 of 2 pictures, such as 猫.png)")

    def test_an_error_names_each_picture(self, colours, photos, capsys):
        for name in ("one.png", "two.png"):
            (photos / name).write_text("text")
        assert run("explain", colours, "photos/*.png", "--out", "out") == 2
        lines = capsys.readouterr().err.splitlines()
        assert [line.split(": ")[1] for line in lines] == ["photos/one.png", "photos/two.png"]


class TestComparison:
    def test_methods_and_layers_are_a_grid(self, colours, photos, capsys):
        methods = ["--method", "GradCAM", "--method", "gradient"]
        layers = ["--layer", "conv", "--layer", "0"]
        assert run("explain", colours, "photos/red.png", *methods, *layers, "--out", "c.png") == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line for line in lines if "layer " in line][::2] == [
            "  layer    conv (Grad-CAM)",
            "  layer    the input (Gradient)",
        ]
        model = keras.saving.load_model(colours)
        found = eli5k.compare(
            model, "photos/red.png", methods=["grad-cam", "gradient"], layers=["conv", 0]
        )
        expected = eli5k.save(found, "expected.png")
        with Image.open("c.png") as written, Image.open(expected) as drawn:
            assert written.size == drawn.size

    def test_all_leaves_out_what_this_model_can_t_have(self, models, here, capsys):
        file = models / "flat.keras"
        layers = [keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3, kernel_initializer="ones")]
        layers += [keras.layers.Flatten(), keras.layers.Dense(2, kernel_initializer="ones")]
        keras.Sequential(layers).save(file)
        assert run("explain", file, "red.png", "--method", "all", "--out", "out.html") == 0
        printed = capsys.readouterr()
        assert "eli5k: cam is left out: " in printed.err
        assert "(Grad-CAM)" in printed.out
        assert "(RISE)" in printed.out
        assert "(CAM)" not in printed.out

    def test_what_all_leaves_out_of_a_folder_is_said_once(self, models, photos, capsys):
        file = models / "flattest.keras"
        layers = [keras.Input((8, 8, 3)), keras.layers.Flatten()]
        weights = {"kernel_initializer": "ones"}
        keras.Sequential([*layers, keras.layers.Dense(2, **weights)]).save(file)
        arguments = ["--method", "all", "--preprocess", "none", "--out", "out.html"]
        assert run("explain", file, "photos/*.png", *arguments) == 0
        found = [x for x in capsys.readouterr().err.splitlines() if "left out" in x]
        assert any(", grad-cam, " in line for line in found)
        assert len(set(found)) == len(found)

    def test_all_at_a_layer(self, colours, photos, capsys):
        arguments = ["--method", "all", "--layer", "0", "--out", "out.html"]
        assert run("explain", colours, "photos/red.png", *arguments) == 0
        found = [x for x in capsys.readouterr().out.splitlines() if "(Grad-CAM)" in x]
        assert found[0].startswith("  layer    rescaling")

    def test_an_unsuitable_method_that_is_named_is_a_mistake(self, models, here, capsys):
        file = models / "flatter.keras"
        layers = [keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3), keras.layers.Flatten()]
        keras.Sequential([*layers, keras.layers.Dense(2)]).save(file)
        assert run("explain", file, "red.png", "--method", "cam", "--method", "gradient") == 2
        assert_one_line(capsys, "cam needs a score that is one dense layer")


def test_methods_lists_each_with_what_it_does_and_costs(capsys):
    from eli5k.keras.methods import METHODS

    assert run("methods") == 0
    printed = capsys.readouterr().out
    text = " ".join(printed.split())
    assert len(printed.splitlines()) == len(str(eli5k.methods()).splitlines())
    for name, method in METHODS.items():
        assert f"{name}: {method.title} {method.what}" in text
        assert f"Cost: {method.cost}." in text
    assert "logits=True" not in text
