"""``eli5k layers``: what it lists, and what it marks."""

from __future__ import annotations

import keras
import numpy as np

from tests.cli.colours import colours_model
from tests.cli.shell import run


class TestLayers:
    def test_marks_the_default(self, colours, capsys):
        assert run("layers", colours) == 0
        printed = capsys.readouterr()
        first, conv, *rest = printed.out.splitlines()
        assert first.split()[0].startswith("rescaling")
        assert conv.split() == ["*", "conv", "Conv2D", "(None,", "16,", "16,", "3)"]
        assert [line.split()[0] for line in rest][1:] == ["head"]
        assert all(line.endswith("  no grid") for line in rest)
        assert printed.err == ""

    def test_each_path_can_be_passed_as_layer(self, models, here, capsys):
        file = models / "nested.keras"
        inner = keras.Sequential(colours_model().layers[:2], name="inner")
        keras.Sequential(
            [keras.Input((16, 16, 3)), inner, keras.layers.Flatten(), keras.layers.Dense(2)]
        ).save(file)
        assert run("layers", file) == 0
        lines = capsys.readouterr().out.splitlines()
        paths = [line[2:].split()[0] for line in lines if not line.endswith("no grid")]
        assert "inner/conv" in paths
        assert len(paths) < len(lines)
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

    def test_reads_shapes_and_runs_nothing(self, colours, capsys, monkeypatch):
        monkeypatch.setattr("eli5k.explain_prediction", None)
        monkeypatch.setattr("eli5k.keras.model.geometry._measured", None)
        assert run("layers", colours) == 0
        assert "* conv" in capsys.readouterr().out

    def test_a_mistyped_layer_suggests_only_what_has_a_grid(self, models, here, capsys):
        file = models / "pooled.keras"
        pool = keras.layers.GlobalAveragePooling2D(name="conv_pool")
        convs = [keras.layers.Conv2D(2, 3, name=name) for name in ("conv_a", "conv_b")]
        keras.Sequential([keras.Input((16, 16, 3)), *convs, pool]).save(file)
        assert run("explain", file, "red.png", "--layer", "conv_poll") == 2
        assert capsys.readouterr().err.endswith("Did you mean one of: 'conv_b', 'conv_a'?\n")

    def test_tokens_of_patches(self, models, capsys):
        """Inside of an attention layer the axes are heads and tokens: most are no grid.

        Without a residual connection, each of its tokens sees them all: it is no default.
        """
        file = models / "transformer.keras"
        inputs = keras.Input((16, 24, 3))
        x = keras.layers.Conv2D(8, 4, strides=4, name="embed")(inputs)
        x = keras.layers.Reshape((-1, 8), name="patches")(x)
        x = keras.layers.MultiHeadAttention(2, 4, name="attention")(x, x)
        x = keras.layers.GlobalAveragePooling1D()(x)
        keras.Model(inputs, keras.layers.Dense(3)(x)).save(file)
        assert run("layers", file) == 0
        lines = [x for x in capsys.readouterr().out.splitlines() if not x.endswith("no grid")]
        paths = [line[2:].split()[0] for line in lines]
        output = "attention/attention_output"
        assert paths == ["embed", "patches", output, "attention"]
        assert [line[0] for line in lines] == ["*", " ", " ", " "]


@keras.saving.register_keras_serializable("eli5k_test_cli")
class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = keras.layers.Conv2D(2, 3, name="conv")
        self.pool = keras.layers.GlobalAveragePooling2D(name="pool")

    def call(self, x):
        return self.pool(self.conv(x))
