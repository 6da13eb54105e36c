"""The layer methods: against their formulas in numpy, and against what must hold on real nets."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from eli5k import explain_prediction
from eli5k.keras import attribute
from eli5k.keras.evidence.probes import Input, Probe
from eli5k.keras.methods import AtLayer, Evidence
from eli5k.keras.methods.cam import (
    eigen_cam,
    eigen_grad_cam,
    grad_cam,
    grad_cam_plus_plus,
    hires_cam,
    layer_cam,
    xgrad_cam,
)
from tests.close import assert_close
from tests.zoo import (
    CLASSES,
    SHAPE,
    STRUCTURES,
    functional,
    net_layers,
    noise,
    run_in_numpy,
    run_layers,
    settle,
)

DOCS = noise(3, *SHAPE, seed=1)
GRIDS = [(7,), (4, 5), (2, 3, 4)]
TARGETS, BATCH, CHANNELS = 2, 3, 6


def evidence(grid, channels=CHANNELS, low=0.0, seed=0):
    """Random activations, from ``low`` to 1, and random gradients of both signs."""
    return Evidence(
        noise(BATCH, *grid, channels, seed=seed, low=low),
        noise(TARGETS, BATCH, *grid, channels, seed=seed + 1),
    )


def in_numpy(function, evidence):
    return keras.ops.convert_to_numpy(
        function(Evidence(*map(keras.ops.convert_to_tensor, evidence)))
    )


def each_map(formula, evidence):
    """Apply a formula for one sample and target, with the grid as one axis, to all of them."""
    activations, gradients = (part.astype("float64") for part in evidence)
    grid, channels = activations.shape[1:-1], activations.shape[-1]
    return np.array(
        [
            [
                formula(a.reshape(-1, channels), g.reshape(-1, channels)).reshape(grid)
                for a, g in zip(activations, of_target)
            ]
            for of_target in gradients
        ]
    )


def grad_cam_formula(a, g):
    return a @ g.mean(axis=0)


def grad_cam_plus_plus_formula(a, g):
    """The paper's double loop."""
    weights = np.zeros(a.shape[1])
    for k in range(a.shape[1]):
        total = a[:, k].sum()
        for i in range(len(a)):
            alpha = g[i, k] ** 2 / (2 * g[i, k] ** 2 + total * g[i, k] ** 3)
            weights[k] += alpha * max(g[i, k], 0)
    return a @ weights


def hires_cam_formula(a, g):
    return (a * g).sum(axis=1)


def layer_cam_formula(a, g):
    return (a * np.maximum(g, 0)).sum(axis=1)


def xgrad_cam_formula(a, g):
    return a @ ((a / a.sum(axis=0)) * g).sum(axis=0)


def eigen_cam_formula(a, g):
    _, _, v = np.linalg.svd(a, full_matrices=False)
    projection = a @ v[0]
    return projection * np.sign(projection @ (a**2).sum(axis=1))


def eigen_grad_cam_formula(a, g):
    _, _, v = np.linalg.svd(a * g, full_matrices=False)
    projection = (a * g) @ v[0]
    return projection * np.sign(projection @ (a * g).sum(axis=1))


FORMULAS = {
    grad_cam: grad_cam_formula,
    grad_cam_plus_plus: grad_cam_plus_plus_formula,
    hires_cam: hires_cam_formula,
    layer_cam: layer_cam_formula,
    xgrad_cam: xgrad_cam_formula,
    eigen_cam: eigen_cam_formula,
    eigen_grad_cam: eigen_grad_cam_formula,
}


class TestFormulas:
    @pytest.mark.parametrize("grid", GRIDS)
    @pytest.mark.parametrize("function", FORMULAS, ids=lambda function: function.__name__)
    def test_one_two_and_three_axes(self, function, grid):
        given = evidence(grid)
        expected = each_map(FORMULAS[function], given)
        maps = in_numpy(function, given)
        assert maps.shape == (TARGETS, BATCH, *grid)
        np.testing.assert_allclose(maps, expected, atol=2e-5 * np.abs(expected).max())

    @pytest.mark.parametrize("channels", [3, 40])
    @pytest.mark.parametrize("function", [eigen_cam, eigen_grad_cam])
    def test_components_of_fewer_and_of_more_channels_than_pixels(self, function, channels):
        given = evidence((4, 5), channels, low=-0.3)
        expected = each_map(FORMULAS[function], given)
        np.testing.assert_allclose(
            in_numpy(function, given), expected, atol=2e-5 * np.abs(expected).max()
        )

    @pytest.mark.parametrize("function", FORMULAS, ids=lambda function: function.__name__)
    @pytest.mark.parametrize("zero", ["activations", "gradients", "one channel"])
    def test_zeros_give_finite_maps(self, function, zero):
        given = evidence((4, 5))
        if zero == "activations":
            given.activations[:] = 0
        elif zero == "gradients":
            given.gradients[:] = 0
        else:
            given.activations[..., 2] = given.gradients[..., 2] = 0
        maps = in_numpy(function, given)
        assert np.isfinite(maps).all()
        if zero != "one channel" and (function, zero) != (eigen_cam, "gradients"):
            np.testing.assert_allclose(maps, 0, atol=1e-6)

    def test_channels_that_cancel_have_no_weight(self):
        """XGrad-CAM divides by the sum of a channel, which is zero here."""
        given = evidence((2, 2), channels=1)
        given.activations[:] = np.array([1, -1, 2, -2]).reshape(2, 2, 1)
        np.testing.assert_array_equal(in_numpy(xgrad_cam, given), 0)


class TestEigenCam:
    def test_map_is_positive_where_activations_are_strong(self):
        strong = np.zeros((BATCH, 4, 5, CHANNELS), "float32")
        strong[:, 1, 2] = [-2, -1, 0.5, -3, 0, -1]
        given = Evidence(
            strong + 0.01 * noise(*strong.shape), noise(TARGETS, *strong.shape, seed=2)
        )
        maps = in_numpy(eigen_cam, given)
        assert (maps[:, :, 1, 2] > 3).all()

    def test_all_targets_have_the_same_map(self):
        maps = in_numpy(eigen_cam, evidence((4, 5)))
        np.testing.assert_array_equal(maps[0], maps[1])

    @pytest.mark.parametrize("method", ["eigen-cam", "eigen-grad-cam"])
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_document_that_is_not_finite_does_not_touch_the_others(self, method, value):
        layers_ = [layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(), layers.Dense(3)]
        model = keras.Sequential([keras.Input(SHAPE), *layers_])
        docs = DOCS.copy()
        docs[1] = value
        _, expected = attribute(model, DOCS, 1, method=method)
        _, maps = attribute(model, docs, 1, method=method)
        np.testing.assert_allclose(maps[[0, 2]], expected[[0, 2]], atol=1e-5)
        assert not np.isfinite(maps[1]).any()


@pytest.fixture(scope="module")
def linear_net():
    """The net with logits for scores."""
    return net_layers(activation=None)


class TestIdentities:
    """On convolutions, global average pooling and a dense layer, with the score before softmax."""

    @pytest.mark.parametrize("method", ["hires-cam", "xgrad-cam"])
    def test_maps_sum_to_the_score_less_its_bias(self, linear_net, method):
        targets = np.tile(np.arange(CLASSES), (len(DOCS), 1))
        scores, maps = attribute(functional(linear_net), DOCS, targets, method=method)
        bias = linear_net[-1].get_weights()[1]
        np.testing.assert_allclose(maps.sum(axis=(2, 3)), scores - bias, atol=1e-5)

    @pytest.mark.parametrize("target", range(CLASSES))
    def test_cam_is_the_kernel_on_the_activations(self, linear_net, target):
        _, maps = attribute(functional(linear_net), DOCS, target, method="cam")
        kernel = linear_net[-1].get_weights()[0]
        expected = run_in_numpy(linear_net[:5], DOCS) @ kernel[:, target]
        np.testing.assert_allclose(maps, expected, atol=1e-5)

    @pytest.mark.parametrize("method", ["grad-cam", "hires-cam", "xgrad-cam"])
    def test_cam_is_proportional_to_others_there(self, linear_net, method):
        model = functional(linear_net)
        _, cams = attribute(model, DOCS, 1, method="cam")
        _, maps = attribute(model, DOCS, 1, method=method)
        np.testing.assert_allclose(maps * 16, cams, atol=2e-5)

    def test_layer_cam_at_a_grey_input_is_relu_of_gradient_times_input(self):
        model = keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                layers.Rescaling(1.0, name="input"),
                layers.Conv2D(3, 3, activation="relu"),
                layers.Flatten(),
                layers.Dense(2),
            ]
        )
        docs = noise(3, 8, 8, 1)
        _, maps = attribute(model, docs, 0, method="layer-cam", layer="input")
        signed = AtSignedGradient()
        _, gradients = attribute(model, docs, 0, method=signed)
        assert (gradients < 0).any()
        np.testing.assert_allclose(maps, np.maximum(gradients, 0) * docs[..., 0], atol=1e-6)

    def test_hires_cam_behind_flatten_sums_to_the_score_less_its_bias(self):
        """Where Grad-CAM does not: the dense layer has another weight at each pixel."""
        model = keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                layers.Conv2D(3, 3, activation="relu"),
                layers.Flatten(),
                layers.Dense(2, bias_initializer="ones"),
            ]
        )
        docs = noise(3, 8, 8, 1)
        scores, maps = attribute(model, docs, 0, method="hires-cam")
        np.testing.assert_allclose(maps.sum(axis=(1, 2)), scores - 1, atol=1e-5)
        _, grad_cams = attribute(model, docs, 0, method="grad-cam")
        assert np.abs(grad_cams.sum(axis=(1, 2)) - (scores - 1)).max() > 1e-3


class AtSignedGradient:
    """The gradient at the input, summed over channels."""

    def __call__(self, run):
        return run.evidence(Probe(Input()), _sum_of_gradients)


def _sum_of_gradients(evidence):
    return keras.ops.sum(evidence.gradients, axis=-1)


def dense(activation=None, units=CLASSES):
    return layers.Dense(units, activation, name="classes")


SAME_HEADS = {
    "dropout": lambda: [layers.GlobalAveragePooling2D(), layers.Dropout(0.5), dense("softmax")],
    "dropout before": lambda: [layers.Dropout(0.3), layers.GlobalAveragePooling2D(), dense()],
    "sigmoid": lambda: [layers.GlobalAveragePooling2D(), dense("sigmoid")],
    "softmax layer": lambda: [layers.GlobalAveragePooling2D(), dense(), layers.Softmax()],
    "average pooling": lambda: [layers.AveragePooling2D(8), layers.Flatten(), dense()],
    "1x1 convolution": lambda: [
        layers.GlobalAveragePooling2D(keepdims=True),
        layers.Conv2D(CLASSES, 1, name="classes"),
        layers.Flatten(),
        layers.Softmax(),
    ],
}

OTHER_HEADS = {
    "flatten": lambda: [layers.Flatten(), dense()],
    "maximum": lambda: [layers.GlobalMaxPooling2D(), dense()],
    "two dense": lambda: [layers.GlobalAveragePooling2D(), layers.Dense(6, "relu"), dense()],
    "normalization": lambda: [
        layers.GlobalAveragePooling2D(),
        layers.BatchNormalization(),
        dense(),
    ],
    "no dense": lambda: [
        layers.Conv2D(CLASSES, 1, activation="relu"),
        layers.GlobalAveragePooling2D(),
    ],
}


def model_with(head):
    """A model of two convolutions and a head."""
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(4, 3, activation="relu", name="early")(inputs)
    x = layers.Conv2D(6, 3, activation="relu", name="late")(x)
    for layer in head:
        x = layer(x)
    return settle(keras.Model(inputs, x), noise(8, *SHAPE, seed=3))


class MeanByHand(keras.Model):
    """Global average pooling as an operation, not a layer."""

    def __init__(self):
        super().__init__()
        self.conv = layers.Conv2D(6, 3, activation="relu", name="late")
        self.classes = layers.Dense(CLASSES, name="classes")

    def call(self, x):
        return self.classes(keras.ops.mean(self.conv(x), axis=(1, 2)))


class TestCam:
    """Zhou's CAM exists for one kind of head only, in whatever way that is written down."""

    def expected(self, model, target):
        late = next(layer for layer in model._flatten_layers() if layer.name == "late")
        kernel = next(x for x in model._flatten_layers() if x.name == "classes").get_weights()[0]
        net = [layer for layer in model.layers if layer.name in ("early", "late")]
        activations = run_layers(net, DOCS, until=late.name)
        return activations @ kernel.reshape(-1, kernel.shape[-1])[:6, target]

    @pytest.mark.parametrize("structure", STRUCTURES)
    def test_any_structure(self, structure):
        net = net_layers()
        model = STRUCTURES[structure](net_layers())
        for _ in range(2):
            scores, maps = attribute(model, DOCS, 1, method="cam")
            expected = run_in_numpy(net[:5], DOCS) @ net[-1].get_weights()[0][:, 1]
            assert_close(maps, expected)
            np.testing.assert_allclose(scores, run_layers(net, DOCS)[:, 1], atol=1e-6)

    @pytest.mark.parametrize("head", SAME_HEADS)
    def test_heads_that_are_the_same_thing(self, head):
        model = model_with(SAME_HEADS[head]())
        _, maps = attribute(model, DOCS, 2, method="cam", layer="late")
        np.testing.assert_allclose(maps, self.expected(model, 2), atol=1e-5)

    def test_mean_by_hand(self):
        model = MeanByHand()
        model(DOCS)
        _, maps = attribute(model, DOCS, 0, method="cam")
        activations = keras.ops.convert_to_numpy(model.conv(DOCS))
        kernel = model.classes.get_weights()[0]
        np.testing.assert_allclose(maps, activations @ kernel[:, 0], atol=1e-5)

    @pytest.mark.parametrize("head", OTHER_HEADS)
    def test_other_heads_are_an_error(self, head):
        model = model_with(OTHER_HEADS[head]())
        with pytest.raises(ValueError, match=r"dense layer on the global average.*grad-cam"):
            attribute(model, DOCS, 0, method="cam", layer="late")

    def test_layer_before_another_is_an_error_that_says_what_is_behind_it(self):
        model = model_with([layers.GlobalAveragePooling2D(name="gap"), dense()])
        with pytest.raises(ValueError, match=r"layer 'early'.*the model calls: late, gap, classes"):
            attribute(model, DOCS, 0, method="cam", layer="early")

    def test_input_layer_is_an_error_that_says_what_is_behind_it(self):
        x = inputs = keras.Input(SHAPE, name="photo")
        for layer in net_layers():
            x = layer(x)
        with pytest.raises(ValueError, match=r"layer 'photo'.* calls: stem, .*top"):
            attribute(keras.Model(inputs, x), DOCS, 1, method="cam", layer="photo")

    def test_class_that_is_dead_for_the_first_document(self):
        """Behind a ReLU its kernel is not seen until a document wakes it up."""
        net = net_layers(activation="relu")
        kernel, bias = net[-1].get_weights()
        net[-1].set_weights([np.abs(kernel), bias * 0 - [0, 1e6, 0]])
        model = functional(net)
        with pytest.raises(ValueError, match="cam needs"):
            attribute(model, DOCS[:1], 1, method="cam")
        net[-1].set_weights([np.abs(kernel), bias * 0])
        scores, maps = attribute(model, DOCS, 1, method="cam")
        np.testing.assert_allclose(maps.mean(axis=(1, 2)), scores, rtol=1e-4)

    def test_document_that_is_not_finite_does_not_hide_another_head(self):
        net = [*net_layers()[:5], layers.GlobalMaxPooling2D(), layers.Dense(3)]
        docs = DOCS.copy()
        docs[1] = np.nan
        with pytest.raises(ValueError, match="cam needs"):
            attribute(functional(net), docs, 1, method="cam")

    def test_callable_is_an_error(self):
        model = functional(net_layers())
        with pytest.raises(ValueError, match="callable"):
            attribute(model, DOCS, lambda outputs: outputs[:, 0], method="cam")

    def test_one_unit_for_two_classes(self):
        model = model_with([layers.GlobalAveragePooling2D(), dense("sigmoid", 1)])
        activations = run_layers(model.layers[1:3], DOCS[:1])
        expected = activations[0] @ model.layers[-1].get_weights()[0][:, 0]
        explanation = explain_prediction(
            model, DOCS[:1], method="cam", target_names=["no", "yes"], targets=["yes", "no"]
        )
        yes, no = (target.attribution for target in explanation.targets)
        np.testing.assert_allclose(yes, expected, atol=1e-5)
        np.testing.assert_allclose(no, -expected, atol=1e-5)

    def test_score_is_the_one_that_is_asked_for(self):
        model = functional(net_layers())
        probabilities, maps = attribute(model, DOCS, 1, method="cam")
        logits, same = attribute(model, DOCS, 1, method="cam", logits=True)
        assert_close(same, maps)
        np.testing.assert_allclose(probabilities, run_layers(net_layers(), DOCS)[:, 1], atol=1e-6)
        linear = run_layers(net_layers(activation=None), DOCS)
        np.testing.assert_allclose(logits, linear[:, 1], atol=1e-5)

    def test_pooled_features_beside_others(self):
        photo, facts = keras.Input(SHAPE), keras.Input((4,))
        x = layers.Conv2D(6, 3, activation="relu", name="late")(photo)
        pooled = layers.GlobalAveragePooling2D()(x)
        joined = layers.Concatenate()([layers.Dense(2)(facts), pooled])
        model = keras.Model([photo, facts], layers.Dense(CLASSES, name="classes")(joined))
        _, maps = attribute(model, [DOCS, noise(3, 4)], 1, method="cam")
        activations = run_layers([model.get_layer("late")], DOCS)
        kernel = model.get_layer("classes").get_weights()[0][2:]
        np.testing.assert_allclose(maps, activations @ kernel[:, 1], atol=1e-5)


class TestBatchesAndTargets:
    @pytest.mark.parametrize("function", FORMULAS, ids=lambda function: function.__name__)
    def test_samples_and_targets_do_not_touch_each_other(self, function):
        model = functional(net_layers())
        targets = np.array([[0, 2], [1, 0], [2, 2]])
        method = AtLayer(function)
        scores, maps = attribute(model, DOCS, targets, method=method)
        for row in range(len(DOCS)):
            for column in range(2):
                score, single = attribute(
                    model, DOCS[row : row + 1], int(targets[row, column]), method=method
                )
                np.testing.assert_allclose(score[0], scores[row, column], atol=1e-6)
                assert_close(single[0], maps[row, column])
