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

    def counted(asked):
        counts.append(asked.count)
        return best_method(asked)

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
