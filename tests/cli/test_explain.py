"""``eli5k explain``: what it prints, and the pictures that it writes."""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import pytest
from PIL import Image

import eli5k
from eli5k.keras.methods import METHODS
from tests.cli.colours import colours_model
from tests.cli.shell import assert_one_line, run
from tests.close import assert_close


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

    @pytest.mark.parametrize("caption", [True, False])
    def test_writes_the_picture_that_the_library_makes(self, caption, colours, here):
        run("explain", colours, "red.png", "--out", "out", *[] if caption else ["--no-caption"])
        model = keras.saving.load_model(colours)
        explanation = eli5k.explain_prediction(model, "red.png")
        expected = eli5k.format_as_image(explanation, caption=caption)
        with Image.open("out/red.png") as written:
            assert (written.size == (40, 30)) != caption
            # One step of the colour map is up to two levels.
            assert_close(written, expected, tolerance=2 / 255)

    def test_the_look_is_the_library_s(self, colours, here):
        look = ["--style", "contour", "--colormap", "magma", "--alpha", 0.3]
        run("explain", colours, "red.png", "--out", "out.png", *look)
        explanation = eli5k.explain_prediction(keras.saving.load_model(colours), "red.png")
        expected = eli5k.format_as_image(
            explanation, style="contour", colormap="magma", alpha_limit=0.3, caption=True
        )
        with Image.open("out.png") as written:
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

    @pytest.mark.parametrize(("threshold", "explained"), [(0, 3), (1, 1)])
    def test_all_labels_above_a_threshold(self, threshold, explained, colours, here, capsys):
        assert run("explain", colours, "red.png", "--threshold", threshold, "--out", "out") == 0
        printed = capsys.readouterr()
        assert printed.out.count("<- explained") == explained
        assert ("No class has a probability of at least 1" in printed.err) == (threshold == 1)

    def test_each_head_is_told(self, colours, models, here, capsys):
        model = keras.saving.load_model(colours)
        [scores] = model.outputs
        keras.Model(model.inputs, {"kind": scores, "other": -scores}).save(models / "heads.keras")
        assert run("explain", models / "heads.keras", "red.png", "--output", "all") == 0
        printed = capsys.readouterr().out
        assert "output   kind" in printed
        assert "output   other" in printed
        assert printed.count("<- explained") == 2

    def test_a_check_tells_its_verdict_and_reason(self, colours, here, capsys):
        assert run("explain", colours, "red.png", "--check", "--out", "out") == 0
        found = [line for line in capsys.readouterr().out.splitlines() if "  check  " in line]
        model = keras.saving.load_model(colours)
        check = eli5k.explain_prediction(model, "red.png", check=True).targets[0].check
        assert found == [f"  check    0: {check.verdict}. {check.sentence}"]

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
        options = ["--method", name, "--logits", "--targets", "0"]
        arguments = [*options, "--no-caption", "--out", "out"]
        assert run("explain", colours, "red.png", *arguments) == 0
        assert f"({METHODS[name].title})" in capsys.readouterr().out
        with Image.open("out/red.png") as written:
            assert written.size == (40, 30)

    def test_h5(self, models, here):
        colours_model().save(models / "colours.h5")
        assert run("explain", models / "colours.h5", "red.png", "--out", "out") == 0
        assert Path("out/red.png").exists()

    @pytest.mark.filterwarnings("ignore:The object being serialized includes a .lambda:UserWarning")
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
        assert "--logits" in line
        assert "logits=" not in line


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
