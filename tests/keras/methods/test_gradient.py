"""The input methods: against finite differences, sums that must come out, and hand computation."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from eli5k import ExplanationWarning, explain_prediction
from eli5k.keras import attribute
from eli5k.keras.evidence import asking
from eli5k.keras.evidence import run as evidence_run
from eli5k.keras.evidence.asking import DisconnectedError
from eli5k.keras.evidence.run import Run
from eli5k.keras.evidence.scores import Target
from eli5k.keras.methods import (
    AtInput,
    IntegratedGradients,
    full_gradient_parts,
    names_without_layer,
)
from eli5k.keras.model.survey import survey
from eli5k.maps import resize
from tests.close import assert_close
from tests.zoo import (
    CLASSES,
    SHAPE,
    functional,
    net_layers,
    noise,
    run_in_numpy,
    run_layers,
)

DOCS = noise(3, *SHAPE, seed=1)


def gradient_from_differences(net, doc, target):
    """The gradient ``(*SHAPE)`` of a score of the net, from central differences in float64."""
    step = 1e-6
    nudges = step * np.eye(doc.size).reshape(doc.size, *SHAPE)
    up, down = (run_in_numpy(net, doc + sign * nudges)[:, target] for sign in (1, -1))
    return ((up - down) / (2 * step)).reshape(SHAPE)


class TestFiniteDifferences:
    @pytest.mark.parametrize("logits", [False, True])
    def test_gradient_and_its_product_with_the_input(self, logits):
        model = functional(net_layers())
        net = net_layers(activation=None if logits else "softmax")
        target = int(run_layers(net, DOCS).argmax()) % CLASSES
        slopes = np.array([gradient_from_differences(net, doc, target) for doc in DOCS])
        for _ in range(2):
            _, maps = attribute(model, DOCS, target, method="gradient", logits=logits)
            expected = np.abs(slopes).max(axis=-1)
            np.testing.assert_allclose(maps, expected, atol=1e-4 * expected.max())
            _, maps = attribute(model, DOCS, target, method="gradient-x-input", logits=logits)
            expected = (slopes * DOCS).sum(axis=-1)
            assert_close(maps, expected, tolerance=1e-4)

    def test_gradient_times_input_sums_to_the_score_of_a_net_without_biases(self):
        model = keras.Sequential(
            [
                keras.Input(SHAPE),
                layers.Conv2D(4, 3, activation="relu", use_bias=False),
                layers.MaxPooling2D(),
                layers.Conv2D(4, 3, use_bias=False),
                layers.LeakyReLU(),
                layers.Flatten(),
                layers.Dense(CLASSES, use_bias=False),
            ]
        )
        for target in range(CLASSES):
            scores, maps = attribute(model, DOCS, target, method="gradient-x-input")
            np.testing.assert_allclose(maps.sum(axis=(1, 2)), scores, rtol=1e-4, atol=1e-6)


class Cubic(keras.Model):
    """The score is the sum of the cubes of all pixels."""

    def call(self, x):
        return keras.ops.sum(x**3, axis=(1, 2))


class TestIntegratedGradients:
    @pytest.mark.parametrize("logits", [False, True])
    @pytest.mark.parametrize(
        "baseline",
        [0.0, -1.0, (0.5, 0.0, -0.5), lambda image: image[::-1] * 0.5],
        ids=["zeros", "number", "one a channel", "callable"],
    )
    def test_maps_sum_to_the_difference_from_the_baseline(self, baseline, logits):
        net = net_layers()
        net[2:4] = layers.Activation("tanh"), layers.AveragePooling2D(2)
        net[4].activation = keras.activations.softplus
        model = functional(net)
        start = baseline(DOCS) if callable(baseline) else np.zeros_like(DOCS) + np.float32(baseline)
        method = IntegratedGradients(steps=30, baseline=baseline)
        for target in range(CLASSES):
            scores, maps = attribute(model, DOCS, target, method=method, logits=logits)
            at_start, _ = attribute(model, start, target, method="gradient", logits=logits)
            np.testing.assert_allclose(maps.sum(axis=(1, 2)), scores - at_start, atol=1e-5)

    def test_maps_of_a_relu_net_sum_as_exactly_as_there_are_steps(self):
        """The gradient jumps where a ReLU opens: each jump costs a step's share."""
        model = functional(net_layers(activation=None))
        zero = run_layers(net_layers(activation=None), 0 * DOCS)
        errors = {}
        for steps in (10, 300):
            method = IntegratedGradients(steps=steps)
            scores, maps = attribute(model, DOCS, 1, method=method)
            errors[steps] = np.abs(maps.sum(axis=(1, 2)) - (scores - zero[:, 1])).max()
        assert errors[300] < 0.2 * errors[10]
        assert errors[300] < 0.005 * np.abs(scores - zero[:, 1]).max()

    def test_quadrature_is_exact_for_polynomials(self):
        """Two points integrate a parabola; one does not."""
        docs = noise(3, 4, 4, 1)
        _, maps = attribute(Cubic(), docs, 0, method=IntegratedGradients(steps=2))
        np.testing.assert_allclose(maps, docs[..., 0] ** 3, atol=1e-6)
        _, maps = attribute(Cubic(), docs, 0, method=IntegratedGradients(steps=1))
        np.testing.assert_allclose(maps, docs[..., 0] ** 3 * 3 / 4, atol=1e-6)

    def test_linear_model_needs_one_step(self):
        model = keras.Sequential([keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(2)])
        docs = noise(3, 4, 4, 1)
        _, maps = attribute(model, docs, 1, method=IntegratedGradients(steps=1, baseline=0.2))
        kernel = model.layers[-1].get_weights()[0][:, 1].reshape(4, 4)
        np.testing.assert_allclose(maps, (docs[..., 0] - 0.2) * kernel, atol=1e-6)

    def test_rows_go_through_the_model_in_chunks(self, monkeypatch):
        rows = []
        ask = asking.ask_model

        def spy(question, *args):
            rows.append(len(question.inputs))
            return ask(question, *args)

        monkeypatch.setattr(evidence_run, "ask_model", spy)
        model = functional(net_layers())
        method = IntegratedGradients(steps=7)
        _, whole = attribute(model, DOCS, 1, method=method, batch_size=100)
        assert rows == [3, 21]
        rows.clear()
        _, chunked = attribute(model, DOCS[:2], 1, method=method, batch_size=4)
        assert rows == [2, 4, 4, 4, 4]  # The last has two rows that only fill it up.
        np.testing.assert_allclose(chunked, whole[:2], atol=1e-6)

    def test_best_class_stays_the_one_of_the_input(self):
        model = functional(net_layers())
        best = run_layers(net_layers(), DOCS).argmax(axis=1)
        _, maps = attribute(model, DOCS, method="integrated-gradients")
        _, expected = attribute(model, DOCS, best, method="integrated-gradients")
        np.testing.assert_allclose(maps, expected, atol=1e-6)

    def test_callable_target(self):
        model = functional(net_layers())
        _, maps = attribute(model, DOCS, lambda y: y[:, 1], method="integrated-gradients")
        _, expected = attribute(model, DOCS, 1, method="integrated-gradients")
        np.testing.assert_allclose(maps, expected, atol=1e-6)

    def test_wrong_parameters_are_named(self):
        with pytest.raises(ValueError, match="steps"):
            IntegratedGradients(steps=0)
        model, method = functional(net_layers()), IntegratedGradients(baseline=(1.0, 2.0))
        with pytest.raises(ValueError, match="baseline"):
            attribute(model, DOCS, 1, method=method)


def run_of(model, docs, target, logits=True):
    """What the public functions ask of a method."""
    classes = np.full((len(docs), 1), target, "int32")
    return Run(model, survey(model, docs), docs, Target(logits=logits), classes)


def with_random_weights(model, seed=5):
    """Set all weights, also biases and statistics, to numbers that are far from their defaults."""
    random = np.random.default_rng(seed)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.Model) or not layer.weights:
            continue
        layer.set_weights(
            [random.uniform(0.1, 0.9, w.shape) * _sign(random, w) for w in layer.weights]
        )
    return model


def _sign(random, weight):
    positive = weight.path.endswith(("variance", "gamma"))
    return 1 if positive else random.choice([-1, 1], weight.shape)


def net_with_biases():
    inputs = keras.Input(SHAPE)
    x = layers.Rescaling(2.0, offset=-0.5, name="rescaling")(inputs)
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(x)
    y = layers.BatchNormalization(name="norm")(x)
    y = layers.LeakyReLU()(layers.DepthwiseConv2D(3, padding="same", name="depthwise")(y))
    y = layers.SeparableConv2D(4, 3, padding="same", activation="relu", name="separable")(y)
    x = layers.MaxPooling2D()(layers.Add()([x, y]))
    x = layers.Conv2DTranspose(3, 3, activation="relu", name="transposed")(x)
    x = layers.BatchNormalization(scale=False, name="norm_without_gamma")(x)
    x = layers.PReLU()(layers.AveragePooling2D(2)(x))
    x = layers.BatchNormalization(center=False, name="norm_without_beta")(x)
    x = layers.Dense(5, activation="relu", name="hidden")(layers.Flatten()(x))
    return with_random_weights(
        keras.Model(inputs, layers.Dense(CLASSES, activation="softmax", name="head")(x))
    )


BIASED = {  # In the order of the calls, with the shape of each part.
    "rescaling": SHAPE[:2],
    "conv": (12, 12),
    "norm": (12, 12),
    "depthwise": (12, 12),
    "separable": (12, 12),
    "transposed": (8, 8),
    "norm_without_gamma": (8, 8),
    "norm_without_beta": (4, 4),
    "hidden": (),
    "head": (),
}


class TestFullGradient:
    @pytest.mark.parametrize("target", range(CLASSES))
    def test_parts_sum_to_the_score(self, target):
        model = net_with_biases()
        answer = full_gradient_parts(run_of(model, DOCS, target))
        shapes = [part.shape for part in answer.maps]
        assert shapes == [(1, 3, *SHAPE[:2]), *[(1, 3, *grid) for grid in BIASED.values()]]
        total = sum(part[0].reshape(3, -1).sum(axis=1) for part in answer.maps)
        np.testing.assert_allclose(total, answer.scores.values[:, 0], rtol=1e-4)

    def test_each_part_is_what_its_bias_contributes(self):
        """Its sum is the bias times the score's slope as the bias is changed, by differences."""
        model = net_with_biases()
        model.layers[-1].activation = keras.activations.linear
        answer = full_gradient_parts(run_of(model, DOCS[:1], 1))
        step, to_numpy = 1e-2, keras.ops.convert_to_numpy
        for part, name in zip(answer.maps[1:], BIASED):
            layer = model.get_layer(name)
            weight = getattr(layer, "bias", None)
            weight = getattr(layer, "beta", None) if weight is None else weight
            if weight is None:
                continue
            value = to_numpy(weight)
            constant = value
            if name.startswith("norm"):
                mean, variance = map(to_numpy, (layer.moving_mean, layer.moving_variance))
                gamma = 1 if layer.gamma is None else to_numpy(layer.gamma)
                constant = value - mean * gamma / np.sqrt(variance + layer.epsilon)
            slope = 0
            for sign in (1, -1):
                weight.assign(value + sign * step * constant)
                slope += sign * float(to_numpy(model(DOCS[:1]))[0, 1]) / (2 * step)
            weight.assign(value)
            assert part.sum() == pytest.approx(slope, rel=2e-2, abs=1e-3), name

    def test_parts_of_the_zoo_net(self):
        model = with_random_weights(functional(net_layers()))
        for _ in range(2):
            answer = full_gradient_parts(run_of(model, DOCS, 2))
            total = sum(part[0].reshape(3, -1).sum(axis=1) for part in answer.maps)
            np.testing.assert_allclose(total, answer.scores.values[:, 0], rtol=1e-4)

    def test_layer_called_twice_has_two_parts(self):
        inputs = keras.Input((8, 8, 2))
        conv = layers.Conv2D(2, 3, activation="relu", bias_initializer="ones")
        outputs = layers.Dense(2)(layers.Flatten()(conv(conv(inputs))))
        answer = full_gradient_parts(run_of(keras.Model(inputs, outputs), noise(2, 8, 8, 2), 0))
        assert [part.shape[2:] for part in answer.maps] == [(8, 8), (6, 6), (4, 4), ()]
        total = sum(part[0].reshape(2, -1).sum(axis=1) for part in answer.maps)
        np.testing.assert_allclose(total, answer.scores.values[:, 0], rtol=1e-4)

    def test_map_is_the_sum_of_scaled_parts(self):
        """By hand for a linear net: convolution, flattening and a dense layer."""
        kernel = noise(3, 3, 2, 4, seed=1)
        bias, dense = noise(4, seed=2), noise(6 * 6 * 4, 1, seed=3)
        model = keras.Sequential(
            [keras.Input((8, 8, 2)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(1)]
        )
        model.layers[0].set_weights([kernel, bias])
        model.layers[2].set_weights([dense, noise(1)])
        doc = noise(1, 8, 8, 2, seed=4)
        slope = dense.reshape(6, 6, 4)
        at_input = np.zeros((8, 8, 2))
        for i in range(6):
            for j in range(6):
                at_input[i : i + 3, j : j + 3] += kernel @ slope[i, j]

        def scaled(part):
            part = np.abs(part)
            return ((part - part.min()) / (part.max() - part.min())).sum(axis=-1)

        expected = scaled(at_input * doc[0]) + resize(scaled(slope * bias), (8, 8))
        _, maps = attribute(model, doc, 0, method="full-gradient")
        np.testing.assert_allclose(maps[0], expected, atol=1e-5)


def relu_derivatives_in_numpy(kernels, x, guided):
    """Gradient of the only output of dense layers with ReLUs between them."""
    sums = []
    for kernel in kernels[:-1]:
        sums.append(x @ kernel)
        x = np.maximum(sums[-1], 0)
    gradient = np.ones((len(x), 1)) @ kernels[-1].T
    for kernel, total in zip(kernels[-2::-1], sums[::-1]):
        gradient = np.maximum(gradient, 0) if guided else gradient
        gradient = (gradient * (total > 0)) @ kernel.T
    return gradient


class ReluByHand(keras.layers.Layer):
    def call(self, x):
        return keras.ops.relu(x)


RELUS = {
    "argument": lambda units: [layers.Dense(units, "relu", use_bias=False)],
    "layer": lambda units: [layers.Dense(units, use_bias=False), layers.ReLU()],
    "relu6": lambda units: [layers.Dense(units, use_bias=False), layers.ReLU(max_value=6)],
    "activation": lambda units: [layers.Dense(units, use_bias=False), layers.Activation("relu")],
    "operation": lambda units: [layers.Dense(units, use_bias=False), ReluByHand()],
}


class TestGuided:
    @pytest.mark.parametrize("relu", RELUS)
    @pytest.mark.parametrize("method", ["guided-backprop", "gradient"])
    def test_by_hand(self, relu, method):
        parts = [layers.Flatten(), *RELUS[relu](8), *RELUS[relu](6)]
        model = keras.Sequential([keras.Input((2, 3, 1)), *parts, layers.Dense(1, use_bias=False)])
        docs = noise(5, 2, 3, 1, seed=3)
        gradient = relu_derivatives_in_numpy(
            model.get_weights(), docs.reshape(5, 6), guided=method == "guided-backprop"
        )
        for _ in range(2):
            _, maps = attribute(model, docs, 0, method=method)
            np.testing.assert_allclose(
                maps, np.abs(gradient).reshape(5, 2, 3), atol=1e-5, rtol=1e-5
            )

    def test_guided_and_plain_gradients_differ(self):
        model = functional(net_layers())
        _, plain = attribute(model, DOCS, 1, method="gradient")
        _, guided = attribute(model, DOCS, 1, method="guided-backprop")
        assert np.abs(plain - guided).max() > 0.1 * plain.max()
        assert_close(attribute(model, DOCS, 1, method="gradient")[1], plain)

    @pytest.mark.parametrize("targets", [None, 1])
    def test_guided_grad_cam_is_the_product(self, targets):
        model = functional(net_layers())
        scores, maps = attribute(model, DOCS, targets, method="guided-grad-cam", logits=True)
        same, guided = attribute(model, DOCS, targets, method="guided-backprop", logits=True)
        _, coarse = attribute(model, DOCS, targets, method="grad-cam", logits=True)
        np.testing.assert_allclose(
            maps, guided * resize(np.maximum(coarse, 0), (12, 12)), atol=1e-6
        )
        np.testing.assert_allclose(scores, same, atol=1e-6)

    def test_guided_grad_cam_names_its_layer(self):
        model = functional(net_layers())
        explanation = explain_prediction(model, DOCS[:1], method="guided-grad-cam", layer="relu")
        assert explanation.layer == "relu"
        assert explanation.targets[0].attribution.shape == (12, 12)


class TestModelsWithoutLayersForImages:
    @pytest.mark.filterwarnings("ignore:Guided backpropagation guides:eli5k.ExplanationWarning")
    @pytest.mark.parametrize("method", names_without_layer())
    def test_dense_model(self, method):
        model = keras.Sequential(
            [keras.Input((6, 7, 2)), layers.Flatten(), layers.Dense(3, "softmax")]
        )
        explanation = explain_prediction(model, noise(1, 6, 7, 2), method=method)
        assert explanation.error == ""
        assert explanation.layer is None
        assert explanation.targets[0].heatmap.shape == (6, 7)
        assert explanation.image.size == (7, 6)

    def test_grad_cam_says_what_to_use_instead(self):
        model = keras.Sequential([keras.Input((6, 7, 2)), layers.Flatten(), layers.Dense(3)])
        doc = noise(1, 6, 7, 2)
        with pytest.warns(ExplanationWarning, match="is not supported"):
            error = explain_prediction(model, doc).error
        assert error.startswith(f'model "{model.name}" is not supported, try passing the "image"')
        assert "None of its layers" in error
        assert all(name in error for name in names_without_layer())
        picture = explain_prediction(model, doc, method="gradient").image
        with pytest.raises(ValueError, match=r"No layer .*grid.* need none: .*integrated-grad"):
            explain_prediction(model, doc, image=picture)

    @pytest.mark.parametrize("method", ["gradient", "full-gradient"])
    def test_integers_have_no_gradient(self, method):
        inputs = keras.Input((4, 4, 1), dtype="int32")
        x = layers.Embedding(5, 3)(layers.Flatten()(inputs))
        model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))
        with pytest.raises(DisconnectedError, match="integers"):
            attribute(model, np.ones((1, 4, 4, 1), "int32"), 0, method=method)


class TestResize:
    @pytest.mark.parametrize("size", [(12, 20), (7, 5), (4, 30)])
    def test_same_as_keras(self, size):
        maps = noise(2, 4, 5)
        expected = keras.ops.image.resize(maps[..., None], size, "bilinear", antialias=False)
        np.testing.assert_allclose(
            resize(maps, size), keras.ops.convert_to_numpy(expected)[..., 0], atol=1e-6
        )

    def test_one_and_three_axes(self):
        signal = np.array([0.0, 2.0, 1.0])
        fine = resize(signal, (6,))
        np.testing.assert_allclose(fine, [0, 0.5, 1.5, 1.75, 1.25, 1])
        volume = signal[:, None, None] * signal[:, None] * signal
        expected = fine[:, None, None] * fine[:, None] * fine
        np.testing.assert_allclose(resize(volume, (6, 6, 6)), expected)


class TestGuidedWhere:
    """Where there is a ReLU, and nowhere else."""

    def test_model_without_relu_has_the_plain_gradient_and_a_warning(self):
        net = [keras.Input((6, 7, 2)), layers.Conv2D(3, 3, activation="gelu"), layers.Flatten()]
        model = keras.Sequential([*net, layers.Dense(3)])
        doc = noise(1, 6, 7, 2)
        with pytest.warns(ExplanationWarning, match="has none.*'smooth-grad'"):
            _, guided = attribute(model, doc, 1, method="guided-backprop")
        assert_close(guided, attribute(model, doc, 1, method="gradient")[1])

    @pytest.mark.parametrize("activation", ["hard_sigmoid", "hard_silu"])
    def test_what_a_backend_makes_of_a_relu_is_none(self, activation):
        """TensorFlow computes a hard sigmoid by one: only the ReLU of the model is guided."""
        before = [layers.Conv2D(3, 3), layers.ReLU()]
        behind = [layers.Conv2D(4, 3, activation=activation), layers.Flatten(), layers.Dense(3)]
        model = keras.Sequential([keras.Input((6, 7, 2)), *before, *behind])
        head = keras.Sequential([keras.Input((4, 5, 3)), *behind])
        doc = noise(1, 6, 7, 2)
        pixels = keras.ops.convert_to_numpy(before[0](doc))
        of_head = AtInput(lambda evidence: evidence.gradients)
        _, gradients = attribute(head, np.maximum(pixels, 0), 1, method=of_head)
        passed = np.maximum(gradients, 0) * (pixels > 0)
        kernel = keras.ops.convert_to_numpy(before[0].kernel)
        expected = np.zeros(doc.shape)
        for row in range(3):
            for column in range(3):
                expected[:, row : row + 4, column : column + 5] += passed @ kernel[row, column].T
        _, maps = attribute(model, doc, 1, method="guided-backprop")
        np.testing.assert_allclose(maps, np.abs(expected).max(axis=-1), atol=1e-6)
        assert maps.max() > 0
