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
from eli5k.demo.network import WEIGHTS, build_network, set_weights

MEGABYTE = 1_000_000
# What the net of the PyTorch package, run by PyTorch before anything was rounded, says of `ramp`.
OF_THE_ORIGINAL: dict[int, float] = {}


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


def halves(heatmap: np.ndarray) -> tuple[float, float]:
    """Shares of a map's heat in the left half and in the right one."""
    columns = np.linspace(0, 1, heatmap.shape[1], endpoint=False) + 0.5 / heatmap.shape[1]
    left = np.clip((0.5 - columns) * heatmap.shape[1] + 0.5, 0, 1)
    share = float((heatmap * left).sum() / heatmap.sum())
    return share, 1 - share


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
        [(0, "tench"), (285, "Egyptian cat"), (504, "coffee mug"), (721, "pillow")]
        + [(967, "espresso"), (999, "toilet paper")],
    )
    def test_names_are_in_imagenets_order(self, index, name):
        assert NAMES[index] == name
