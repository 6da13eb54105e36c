"""Rankings, on a net whose evidence lies at a known place."""

from __future__ import annotations

import io

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import eli5k
from eli5k.keras import metrics
from eli5k.keras.evidence.probes import Layer, Probe
from eli5k.keras.methods.cam import grad_cam
from eli5k.keras.metrics.ranking import Rank, Ranking
from tests.keras.metrics.test_check import spot_model, two_spots


def right(run):
    return run.evidence(Probe(Layer()), grad_cam)


def inverted(run):
    return run.evidence(Probe(Layer()), lambda evidence: -grad_cam(evidence))


def blank(run):
    return run.evidence(Probe(Layer()), lambda evidence: 0 * grad_cam(evidence))


@pytest.fixture
def pictures():
    picture, _ = two_spots()
    return np.concatenate([picture, picture[:, ::-1], picture[:, :, ::-1]])


def test_what_agrees_with_the_model_comes_first(pictures):
    found = metrics.rank_methods(spot_model(), pictures, 0, methods=[inverted, right, blank])
    assert [rank.name for rank in found] == ["right", "blank", "inverted"]
    assert found[0].agreement > 0.9
    assert found[0].agreement == pytest.approx(-found[2].agreement, abs=1e-6)
    assert found[1].agreement == 0
    assert [rank.supported for rank in found] == [1, 0, 0]
    assert [rank.maps for rank in found] == [3, 3, 3]


def test_files_and_generators_are_ranked_as_arrays_are(pictures, tmp_path):
    for number, picture in enumerate(pictures):
        np.save(tmp_path / f"{number}.npy", 255 * picture)
    model, asked = spot_model(), {"methods": [right, inverted], "pairs": 8}
    expected = metrics.rank_methods(model, pictures, 0, **asked)
    asked["preprocess"] = lambda values: values / 255
    for docs in (sorted(tmp_path.iterdir()), (255 * picture for picture in pictures)):
        found = metrics.rank_methods(model, docs, 0, **asked)
        assert [rank.agreement for rank in found] == pytest.approx(
            [rank.agreement for rank in expected], abs=1e-5
        )
        assert [rank.maps for rank in found] == [3, 3]


def test_so_many_documents_are_taken(pictures):
    asked = {"methods": [right], "pairs": 8}
    [spread] = metrics.rank_methods(spot_model(), pictures, [0, 0, 0], most=2, **asked)
    [ends] = metrics.rank_methods(spot_model(), pictures[::2], 0, **asked)
    assert spread.maps == 2
    assert spread.agreement == pytest.approx(ends.agreement, abs=1e-6)


def test_what_no_document_could_test_has_no_bar():
    assert str(Ranking([Rank("grad-cam", np.nan, np.nan, 0.001, 0)])).endswith("nan %    1")


def test_by_default_all_methods_of_few_runs_take_part(pictures, registry):
    slow_to_compile = ("fuse", "tta", "smooth-grad", "square-grad", "var-grad", "counterfactual")
    for name in slow_to_compile:
        del registry[name]
    found = metrics.rank_methods(spot_model(activation="softmax"), pictures[:1], [[0, 1]], pairs=8)
    names = {rank.name for rank in found}
    assert {"grad-cam", "layer-cam", "gradient", "guided-grad-cam"} <= names
    assert names.isdisjoint({"rise", "score-cam", "occlusion"})
    assert names <= set(registry)
    assert {rank.maps for rank in found} == {2}


def test_methods_that_cannot_explain_the_model_are_left_out():
    model = keras.Sequential([keras.Input((14, 14, 1)), layers.Flatten(), layers.Dense(2)])
    picture = np.random.default_rng(0).random((1, 14, 14, 1))
    with pytest.warns(eli5k.ExplanationWarning, match="grad-cam is left out of the ranking: No"):
        found = metrics.rank_methods(model, picture, 0, methods=["grad-cam", "gradient"], pairs=8)
    assert [rank.name for rank in found] == ["gradient"]
    with pytest.raises(ValueError, match="Nothing could be ranked: No layer of the model"):
        metrics.rank_methods(model, picture, 0, methods=["grad-cam"], pairs=8)


def test_layers_are_ranked_by_what_they_show():
    # The second layer has a cell for a quarter of the picture.
    model = keras.Sequential(
        [
            keras.Input((28, 28, 2)),
            layers.Conv2D(2, 1, activation="relu", name="fine"),
            layers.AveragePooling2D(14, name="coarse"),
            layers.GlobalAveragePooling2D(),
        ]
    )
    model.get_layer("fine").set_weights([np.eye(2).reshape(1, 1, 2, 2) * 20, np.full(2, -12.0)])
    picture, _ = two_spots()
    found = metrics.rank_layers(model, picture, 0, layers=["coarse", "fine"], method=right)
    assert [rank.name for rank in found] == ["fine", "coarse"]
    assert found[0].agreement > 0.9 > found[1].agreement


def test_by_default_the_last_layer_of_each_grid_is_ranked():
    model = keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            layers.Conv2D(2, 3, padding="same", name="a"),
            layers.Conv2D(2, 3, padding="same", activation="relu", name="b"),
            layers.MaxPooling2D(name="c"),
            layers.Conv2D(2, 3, padding="same", activation="relu", name="d"),
            layers.GlobalMaxPooling2D(),
            layers.Dense(2),
        ]
    )
    picture = np.random.default_rng(0).random((2, 16, 16, 1))
    found = metrics.rank_layers(model, picture, pairs=8)
    assert {rank.name for rank in found} == {"b", "d"}


def test_a_ranking_prints_as_a_table():
    ranks = Ranking([Rank("grad-cam", 0.85, 1.0, 0.0123, 4), Rank("x", -0.5, 0.0, 1.5, 4)])
    assert str(ranks).splitlines() == [
        "          agreement  supported   ms",
        "grad-cam       0.85      100 %   12  █████████████████",
        "x             -0.50        0 %  1500",
    ]


def test_a_ranking_is_drawn_in_a_notebook():
    ranks = Ranking([Rank("grad-cam", 0.8, 0.75, 0.0123, 4), Rank("x", float("nan"), 0.0, 1.5, 0)])
    picture = Image.open(io.BytesIO(ranks._repr_png_()))
    blue = (np.asarray(picture.convert("RGB")) == (11, 87, 208)).all(-1)
    grey = (np.asarray(picture.convert("RGB")) == (196, 199, 207)).all(-1)
    row = int(np.flatnonzero(blue.sum(1) > 100)[3])
    # Three quarters of the maps are supported, so three quarters of the bar are blue.
    assert blue[row].sum() / (blue[row] | grey[row]).sum() == pytest.approx(0.75, abs=0.01)
    assert Ranking()._repr_png_() is None
