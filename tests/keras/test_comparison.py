"""compare: the maps are those of single explanations, with as few runs as can be."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import eli5k
from eli5k.base import Explanation
from eli5k.keras.comparison import explain_by_suited
from eli5k.keras.evidence import run as run_module

DOC = np.random.default_rng(0).random((16, 16, 1))


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    positive = {"kernel_initializer": keras.initializers.RandomUniform(0, 1)}
    return keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            keras.layers.Conv2D(4, 3, activation="relu", name="early", **positive),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(4, 3, activation="relu", name="late", **positive),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, **positive),
        ]
    )


@pytest.fixture
def asked(monkeypatch):
    """Count the questions that run the model back to a point."""
    points = []
    ask = run_module.ask_model

    def counted(question, operands=()):
        if question.probe is not None:
            points.append(question.probe.point)
        return ask(question, operands)

    monkeypatch.setattr(run_module, "ask_model", counted)
    return points


def test_the_maps_are_those_of_single_explanations(model):
    methods, layers = ["grad-cam", "gradient", "layer-cam", "guided-grad-cam"], ["late", "early"]
    found = eli5k.compare(model, DOC, methods, layers, targets=[2, 0], preprocess=False)
    expected = [(m, None if m == "gradient" else at) for m in methods for at in layers]
    expected.remove(("gradient", None))
    assert len(found) == len(expected)
    for each, (method, layer) in zip(found, expected):
        single = eli5k.explain_prediction(
            model, DOC, method=method, layer=layer, targets=[2, 0], preprocess=False
        )
        assert (each.method, each.layer) == (single.method, single.layer)
        assert each.description == single.description
        for one, other in zip(each.targets, single.targets):
            assert (one.target, one.score) == (other.target, pytest.approx(other.score, rel=1e-5))
            np.testing.assert_allclose(one.attribution, other.attribution, rtol=1e-4, atol=1e-6)


def test_methods_of_one_evidence_share_the_run(model, asked):
    methods = ["grad-cam", "layer-cam", "hires-cam", "gradient", "gradient-x-input"]
    eli5k.compare(model, DOC, methods, ["late", "early"], preprocess=False)
    names = [getattr(point, "path", "input") for point in asked]
    assert names == ["late", "input", "early"]


def test_those_that_a_model_can_have_share_the_run_too(model, asked):
    methods = ["cam", "grad-cam", "gradient", "layer-cam", "gradient-x-input"]
    flat = keras.Sequential([*model.layers[:1], keras.layers.Flatten(), keras.layers.Dense(3)])
    found, refused = explain_by_suited(flat, DOC, methods, preprocess=False)
    titles = ["Grad-CAM", "Gradient", "LayerCAM", "Gradient x input"]
    assert [each.method for each in found] == titles
    assert list(refused.values()) == [["cam"]]
    # Twice in vain, with the others and alone.
    of_cam, others = ["early", "early"], ["early", "input"]
    assert [getattr(point, "path", "input") for point in asked] == of_cam + others


def test_those_of_a_model_without_a_grid_are_told_together():
    table = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    found, refused = explain_by_suited(table, np.ones((1, 5)), ["grad-cam", "layer-cam"])
    [(reason, methods)] = refused.items()
    assert not found
    assert methods == ["grad-cam", "layer-cam"]
    assert "grid" in reason


def test_a_model_that_cannot_be_explained_says_so_for_each_method(model):
    table = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    with pytest.warns(eli5k.ExplanationWarning, match="not supported"):
        found = eli5k.compare(table, np.ones((1, 5)), ["grad-cam", "layer-cam"])
    assert [type(each) for each in found] == [Explanation] * 2
    assert all("grid" in each.error for each in found)


def test_each_output_is_compared(model):
    two = keras.Model(model.inputs, {"a": model.outputs[0], "b": 2 * model.outputs[0]})
    found = eli5k.compare(two, DOC, ["grad-cam", "layer-cam"], output="all", preprocess=False)
    assert [each.method for each in found] == ["Grad-CAM", "LayerCAM"]
    assert [[other.method for other in each.others] for each in found] == [
        ["Grad-CAM"],
        ["LayerCAM"],
    ]
    assert all(len({each.output, *(o.output for o in each.others)}) == 2 for each in found)


def test_a_mistyped_keyword_is_suggested(model):
    with pytest.raises(TypeError, match="Did you mean 'targets'"):
        eli5k.compare(model, DOC, ["grad-cam"], target=[1])


def test_checks_of_all_methods_layers_and_targets_share_the_halves(model, rows_run):
    asked = {"targets": [2, 0], "preprocess": False, "check": True}
    found = eli5k.compare(model, DOC, ["grad-cam", "gradient"], ["late", "early"], **asked)
    # 62 halves, the picture and the blurred one, a blob, and two targets of three maps; some rows
    # to explain, and to fill the last batch.
    assert 64 + 8 + 6 * 8 <= sum(rows_run) <= 64 + 8 + 6 * 8 + 10
    for each, layer in zip(found, ["late", "early", None]):
        rows_run.clear()
        method = "grad-cam" if layer else "gradient"
        single = eli5k.explain_prediction(model, DOC, method=method, layer=layer, **asked)
        assert sum(rows_run) >= 64
        for one, other in zip(each.targets, single.targets):
            assert one.check.verdict == other.check.verdict
            assert one.check.agreement == pytest.approx(other.check.agreement, abs=1e-4)
            for mine, its in (
                (one.check.kept, other.check.kept),
                (one.check.dropped, other.check.dropped),
            ):
                np.testing.assert_allclose(mine, its, rtol=1e-4)


def test_all_are_the_methods_that_the_model_can_have(registry):
    for name in registry.keys() - {"grad-cam", "cam", "gradient"}:
        del registry[name]
    # A dense layer over a flat grid: CAM needs a pooling.
    positive = {"kernel_initializer": keras.initializers.RandomUniform(0, 1, seed=0)}
    model = keras.Sequential([keras.Input((16, 16, 1)), keras.layers.Conv2D(2, 3, **positive)])
    model.add(keras.layers.Flatten())
    model.add(keras.layers.Dense(2, **positive))
    with pytest.warns(eli5k.ExplanationWarning, match="methods='all' leaves out cam: "):
        found = eli5k.compare(model, DOC, "all", targets=[1], preprocess=False)
    assert sorted(each.method for each in found) == ["Grad-CAM", "Gradient"]


def test_one_method_at_one_layer_is_a_comparison_too(model):
    [found] = eli5k.compare(model, DOC, "layer-cam", "early", targets=[0], preprocess=False)
    assert (found.method, found.layer) == ("LayerCAM", "early")


def test_a_mistake_that_concerns_all_methods_is_raised(model, registry):
    for name in registry.keys() - {"grad-cam", "gradient"}:
        del registry[name]
    with pytest.raises(ValueError, match=r"targets must be .*99"):
        eli5k.compare(model, DOC, "all", targets=[99])
