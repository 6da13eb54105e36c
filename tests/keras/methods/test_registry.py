"""The registry, and every method in it on every structure of model."""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from eli5k import explain_prediction
from eli5k.keras import attribute
from eli5k.keras.evidence.probes import Input, Probe
from eli5k.keras.methods import (
    METHODS,
    RISE,
    AtInput,
    AtLayer,
    IntegratedGradients,
    Smooth,
    find_method,
)
from eli5k.keras.methods.guided import guided_backprop
from eli5k.keras.methods.registry import ALIASES, FAMILIES
from tests.close import assert_close
from tests.zoo import CLASSES, SHAPE, STRUCTURES, functional, net_layers, noise

DOCS = noise(2, *SHAPE, seed=1)
# The last layer of the net that has a grid: each structure of it gives it another path.
LAYER = "top"
# Each way of putting layers together once: all of STRUCTURES are tested with Grad-CAM and CAM.
SOME_STRUCTURES = [
    "sequential by add",
    "functional from .keras",
    "nested from .keras",
    "two levels deep",
    "subclassed of blocks",
    "subclassed around functional",
    "frozen",
    "compiled",
]


class TestRegistry:
    @pytest.mark.parametrize("name", METHODS)
    def test_lines_are_complete(self, name):
        method = METHODS[name]
        assert method.family in FAMILIES
        assert all([method.title, method.what, method.when, str(method.cost), method.paper])
        assert method.what.endswith(".")
        assert method.when.endswith(".")
        assert "http" in method.paper

    def test_names_of_the_field(self):
        names = """
            cam grad-cam grad-cam++ hires-cam layer-cam xgrad-cam eigen-cam eigen-grad-cam gradient
            gradient-x-input integrated-gradients full-grad guided-backprop guided-grad-cam
            score-cam ablation-cam occlusion rise smooth-grad tta fuse finer-cam counterfactual
        """
        assert set(names.split()) <= set(METHODS)
        order = [FAMILIES.index(method.family) for method in METHODS.values()]
        assert order == sorted(order)

    def test_unknown_name_lists_the_names(self):
        with pytest.raises(ValueError, match=r"cam, grad-cam, .*'gradcma'.*mean 'grad-cam'"):
            find_method("gradcma")
        for wrong in (None, ["grad-cam"]):
            with pytest.raises(ValueError, match="method must be one of"):
                explain_prediction(functional(net_layers()), DOCS[:1], method=wrong)
        with pytest.raises(TypeError, match=r"the class RISE: pass RISE\(\)"):
            explain_prediction(functional(net_layers()), DOCS[:1], method=RISE)

    @pytest.mark.parametrize(
        ("written", "name"),
        [
            ("GradCAM", "grad-cam"),
            ("GRAD-CAM", "grad-cam"),
            ("Grad CAM", "grad-cam"),
            ("gradcam++", "grad-cam++"),
            ("GradCAM_plus_plus", "grad-cam++"),
            ("ig", "integrated-gradients"),
            ("IntegratedGradients", "integrated-gradients"),
            ("saliency", "gradient"),
            ("SmoothGrad", "smooth-grad"),
            ("input x gradient", "gradient-x-input"),
            ("RISE", "rise"),
        ],
    )
    def test_name_as_people_write_it(self, written, name):
        assert find_method(written) is METHODS[name]

    @pytest.mark.parametrize(
        ("typo", "name"), [("salliency", "gradient"), ("scorcam", "score-cam")]
    )
    def test_typo_of_any_way_to_write_it_is_suggested(self, typo, name):
        with pytest.raises(ValueError, match=f"Did you mean '{name}'"):
            find_method(typo)

    def test_no_two_methods_are_written_alike(self):
        bare = [re.sub(r"[^a-z0-9+]", "", name.lower()) for name in (*METHODS, *ALIASES)]
        assert len(bare) == len(set(bare))
        assert set(ALIASES.values()) <= set(METHODS)

    def test_plain_function_of_the_evidence_is_a_method_of_a_layer(self):
        def mine(evidence):
            return evidence.activations[None, ..., 0]

        found = find_method(mine)
        assert (found.title, found.needs_layer) == ("mine", True)
        explained = explain_prediction(functional(net_layers()), DOCS[:1], method=mine)
        assert explained.layer is not None

    @pytest.mark.parametrize("name", METHODS)
    def test_object_has_the_line_of_its_name(self, name):
        assert find_method(METHODS[name].explain) == METHODS[name]

    def test_object_with_parameters_has_the_line_of_its_type(self):
        method = IntegratedGradients(steps=3)
        assert find_method(method) == replace(METHODS["integrated-gradients"], explain=method)

    @pytest.mark.parametrize("name", METHODS)
    def test_objects_are_hashable_by_value(self, name):
        explain = METHODS[name].explain
        assert hash(explain) == hash(explain)
        assert hash(IntegratedGradients(steps=3)) == hash(IntegratedGradients(3, baseline=0.0))
        assert IntegratedGradients(steps=3) != IntegratedGradients(steps=4)

    def test_method_of_ones_own(self):
        def mine(evidence):
            return evidence.gradients[..., 0]

        def whole(run):
            return run.evidence(Probe(Input()), mine)

        for method, title, needs_layer in [
            (AtLayer(mine), "mine", True),
            (AtInput(mine), "mine", False),
            (whole, "whole", False),
        ]:
            found = find_method(method)
            assert (found.title, found.needs_layer) == (title, needs_layer)
            explanation = explain_prediction(functional(net_layers()), DOCS[:1], method=method)
            assert explanation.method == title
        assert find_method(guided_backprop).title == "Guided backpropagation"

    def test_which_methods_need_a_layer(self):
        need_one = {name for name, method in METHODS.items() if method.needs_layer}
        assert {"cam", "grad-cam", "guided-grad-cam"} <= need_one
        assert not {"gradient", "integrated-gradients", "full-gradient"} & need_one


# Fewer tries than by default: what is tested here does not depend on how many there are.
QUICK = {
    "integrated-gradients": IntegratedGradients(steps=4),
    "rise": RISE(masks=60),
    "smooth-grad": Smooth(samples=4),
    "square-grad": Smooth(samples=4, kind="square"),
    "var-grad": Smooth(samples=4, kind="variance"),
}


def ask(model, name, docs=DOCS, targets=1, **kwargs):
    """Scores and maps of a method, at the layer ``top`` where it needs one."""
    return attribute(model, docs, targets, method=QUICK.get(name, name), layer=LAYER, **kwargs)


@functools.cache
def model_of(structure):
    return STRUCTURES[structure](net_layers())


@functools.cache
def expected_of(name):
    """What a method gives on the functional model."""
    return ask(model_of("functional"), name)


def assert_same(answer, expected, tolerance=1e-4):
    for got, wanted in zip(answer, expected):
        assert_close(got, wanted, tolerance)


@functools.cache
def with_two_inputs():
    """The net, and a second input with a weight of zero."""
    net = net_layers()
    photo, facts = keras.Input(SHAPE, name="photo"), keras.Input((5,), name="facts")
    x = photo
    for layer in net[:6]:
        x = layer(x)
    head = layers.Dense(CLASSES, activation="softmax")
    model = keras.Model(
        [photo, facts], head(layers.Concatenate()([x, layers.Dense(4, name="of_facts")(facts)]))
    )
    kernel, bias = net[-1].get_weights()
    head.set_weights([np.concatenate([kernel, np.zeros((4, CLASSES))]), bias])
    return model


@functools.cache
def with_two_outputs():
    """The net, and another output before its own."""
    net = net_layers()
    inputs = x = keras.Input(SHAPE)
    for layer in net[:6]:
        x = layer(x)
    return keras.Model(inputs, [layers.Dense(4, name="other")(x), net[6](x)])


@functools.cache
def in_half_precision(policy):
    keras.config.set_dtype_policy(policy)
    try:
        return functional(net_layers())
    finally:
        keras.config.set_dtype_policy("float32")


class Undeclared(keras.Model):
    """The layers of another model, without its inputs."""

    def __init__(self, model):
        super().__init__()
        self.parts = model.layers

    def call(self, x):
        for layer in self.parts:
            x = layer(x)
        return x


@functools.cache
def of_axes(axes):
    """A net of signals or of volumes, and the grid of its input."""
    conv, pool = {
        1: (layers.Conv1D, layers.GlobalAveragePooling1D),
        3: (layers.Conv3D, layers.GlobalAveragePooling3D),
    }[axes]
    grid = (9, 7, 6)[:axes]
    net = [
        keras.Input((*grid, 2)),
        conv(4, 3, padding="same", activation="relu"),
        conv(5, 3, activation="relu", name=LAYER),
        pool(),
        layers.Dense(2),
    ]
    return keras.Sequential(net), grid


@pytest.mark.parametrize("name", METHODS)
class TestEveryMethod:
    @pytest.mark.filterwarnings("ignore::eli5k.BlankMapWarning")
    def test_maps_are_of_the_layer_or_of_the_input(self, name):
        scores, maps = expected_of(name)
        assert scores.dtype == maps.dtype == "float32"
        assert scores.shape == (2,)
        assert maps.shape in [(2, 4, 4), (2, *SHAPE[:2])]
        assert np.isfinite(maps).all()
        assert np.ptp(maps) > 0
        explanation = explain_prediction(
            model_of("functional"), DOCS[:1], [1], method=QUICK.get(name, name), layer=LAYER
        )
        assert explanation.method == METHODS[name].title
        assert explanation.targets[0].attribution.shape == maps.shape[1:]
        if not METHODS[name].needs_layer:
            assert maps.shape[1:] == SHAPE[:2]
            assert explanation.layer is None

    @pytest.mark.parametrize("structure", SOME_STRUCTURES)
    def test_structure_does_not_matter(self, name, structure):
        assert_same(ask(model_of(structure), name), expected_of(name))

    def test_second_run_is_like_the_first(self, name):
        """The first answer comes from an eager run, later ones from a compiled one."""
        assert_same(ask(model_of("functional"), name), expected_of(name))

    def test_picture_beside_another_input(self, name):
        assert_same(ask(with_two_inputs(), name, [DOCS, noise(2, 5)]), expected_of(name))

    def test_second_of_two_outputs(self, name):
        assert_same(ask(with_two_outputs(), name, output="head"), expected_of(name))

    # bfloat16 has eight binary digits, float16 eleven.
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("policy", "least"), [("mixed_float16", 0.99), ("mixed_bfloat16", 0.9)]
    )
    def test_half_precision(self, name, policy, least):
        scores, maps = ask(in_half_precision(policy), name)
        expected_scores, expected = expected_of(name)
        assert maps.dtype == "float32"
        np.testing.assert_allclose(scores, expected_scores, atol=0.02)
        assert np.corrcoef(maps.ravel(), expected.ravel())[0, 1] > least

    def test_batch_is_like_single_samples(self, name):
        rows = [ask(model_of("functional"), name, doc[None]) for doc in DOCS]
        assert_same([np.concatenate(parts) for parts in zip(*rows)], expected_of(name))

    def test_several_targets_are_like_single_ones(self, name):
        model = model_of("functional")
        scores, maps = ask(model, name, targets=np.array([[1, 0], [1, 2]]))
        assert_same((scores[:, 0], maps[:, 0]), expected_of(name))
        assert_same((scores[1:, 1], maps[1:, 1]), ask(model, name, DOCS[1:], targets=2))

    @pytest.mark.slow
    @pytest.mark.parametrize("axes", [1, 3])
    def test_signals_and_volumes(self, name, axes):
        model, grid = of_axes(axes)
        docs = noise(2, *grid, 2)
        _, maps = ask(model, name, docs, targets=0)
        assert maps.shape in [(2, *grid), (2, *(length - 2 for length in grid))]
        assert np.isfinite(maps).all()
        # It does not say what it takes.
        _, same = ask(Undeclared(model), name, docs, targets=0)
        assert_close(same, maps, tolerance=1e-4)

    def test_model_is_left_as_it_was(self, name):
        model = model_of("functional")
        before, prediction = fingerprint(model), model.predict(DOCS, verbose=0)
        ask(model, name)
        assert fingerprint(model) == before
        assert_close(model.predict(DOCS, verbose=0), prediction)


def fingerprint(model):
    """Weights, and what hangs on the layers."""
    digest = hashlib.sha256()
    for array in model.get_weights():
        digest.update(array.tobytes())
    attributes = [sorted(vars(layer)) for layer in model.layers]
    return digest.hexdigest(), attributes, [layer.trainable for layer in model.layers]
