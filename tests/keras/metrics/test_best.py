"""The best method, on a net whose evidence lies at a known place."""

from __future__ import annotations

import numpy as np
import pytest

import eli5k
from eli5k.keras import run
from eli5k.keras.evidence.probes import Layer, Probe
from eli5k.keras.methods.cam import grad_cam
from eli5k.keras.metrics.best import best_method
from tests.keras.metrics.test_check import spot_model, two_spots


def inverted(run):
    return run.evidence(Probe(Layer()), lambda evidence: -grad_cam(evidence))


@pytest.fixture
def two_methods(registry):
    """Only gradient, whose map is everywhere the same in a spot, and Grad-CAM take part."""
    for name in set(registry) - {"grad-cam", "gradient"}:
        del registry[name]


def test_the_method_that_agrees_best_is_taken():
    picture, _ = two_spots()
    asked = run(spot_model(), picture, [[0, 1]])
    assert best_method(asked, [inverted, "layer-cam"]).title == "LayerCAM"
    assert best_method(asked, [inverted]).title == "inverted"


def test_of_equally_good_methods_the_first_is_taken():
    picture, _ = two_spots()
    asked = run(spot_model(), picture, 0)
    titles = [
        best_method(asked, methods).title
        for methods in (["grad-cam", "hires-cam"], ["hires-cam", "grad-cam"])
    ]
    assert titles == ["Grad-CAM", "HiResCAM"]


def test_an_explanation_says_which_method_was_best_and_where_it_was_ranked(two_methods):
    picture, _ = two_spots()
    found = eli5k.explain_prediction(spot_model(), picture, method="best", targets=[0, 1])
    plain = eli5k.explain_prediction(spot_model(), picture, method="grad-cam", targets=[0, 1])
    assert found.method == "Grad-CAM"
    assert "best with the model of 2 methods, ranked on this document only" in found.description
    assert "best" not in plain.description
    for one, other in zip(found.targets, plain.targets):
        np.testing.assert_array_equal(one.heatmap, other.heatmap)


def test_a_stream_is_explained_by_what_is_best_on_its_first_documents(two_methods, monkeypatch):
    from eli5k.keras import explain_batch

    counts = []

    def counted(asked, halves=None):
        counts.append(asked.count)
        return best_method(asked, halves=halves)

    monkeypatch.setattr(explain_batch, "best_method", counted)
    pictures = np.repeat(two_spots()[0], 5, axis=0)
    stream = eli5k.explain_predictions(spot_model(), pictures, batch_size=2, method="best")
    found = list(stream)
    assert counts == [2]
    assert {each.method for each in found} == {"Grad-CAM"}
    assert all("ranked on the first 2 documents only" in each.description for each in found)


def test_if_nothing_can_be_tested_grad_cam_is_taken(two_methods):
    # A picture that is the same everywhere has no score above that of its blurred version.
    flat = np.ones((1, 28, 28, 2), "float32")
    found = eli5k.explain_prediction(spot_model(), flat, method="best", targets=[0])
    assert found.method == "Grad-CAM"
    assert "None of 2 methods could be tested on this document." in found.description


def test_a_net_that_some_methods_cannot_explain_has_a_best_method(registry):
    """CAM takes no part in a net that ends in a maximum, and does in one that ends in a mean."""
    for name in set(registry) - {"cam", "grad-cam", "gradient"}:
        del registry[name]
    picture, _ = two_spots()
    for activation, count in ((None, 2), ("softmax", 3)):
        model = spot_model(activation=activation)
        found = eli5k.explain_prediction(model, picture, method="best", targets=[0])
        assert f"of {count} methods" in found.description


@pytest.mark.parametrize(
    "ask",
    [
        lambda model, doc: eli5k.keras.attribute(model, doc, method="best"),
        lambda model, doc: eli5k.rank_layers(model, doc, method="best"),
        lambda model, doc: eli5k.rank_methods(model, doc, methods=["best"]),
    ],
)
def test_what_could_not_tell_which_method_it_took_refuses_to_choose_one(ask):
    with pytest.raises(ValueError, match=r"^method='best' is for .*Here, pass a name"):
        ask(spot_model(), two_spots()[0])


def test_best_methods_and_their_checks_share_the_halves(two_methods, rows_run):
    picture, _ = two_spots()
    asked = {"targets": [0, 1], "preprocess": False}
    single = eli5k.explain_prediction(spot_model(), picture, check=True, **asked)
    rows_run.clear()
    model = spot_model()
    found = eli5k.compare(model, picture, ["best", "gradient"], check=True, **asked)
    assert [each.method for each in found] == ["Grad-CAM", "Gradient"]
    # Halves and two ends; a blob, and two targets of two methods; the maps and the ranking.
    assert 64 + 5 * 8 <= sum(rows_run) <= 64 + 5 * 8 + 12
    for one, other in zip(found[0].targets, single.targets):
        assert one.check == other.check
