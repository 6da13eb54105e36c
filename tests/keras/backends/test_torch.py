"""PyTorch: whatever a user has set, and whatever modules a model is made of, stay as they are."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import keras
import numpy as np
import pytest
from keras import layers

import eli5k
from tests.close import assert_close
from tests.keras.backends.models import DOCS, MonteCarlo, state, stateful

if keras.config.backend() != "torch":
    pytest.skip("about PyTorch's own modes and modules", allow_module_level=True)

import torch

from eli5k.keras.backends.torch import differentiate

DOC = DOCS[:1]


def attributions(model, doc=DOC, **kwargs):
    explanation = eli5k.explain_prediction(model, doc, **{"targets": [0, 2], **kwargs})
    return np.stack([target.attribution for target in explanation.targets])


class TestModes:
    @pytest.mark.parametrize(
        "mode", [torch.no_grad, torch.inference_mode, torch.enable_grad, nullcontext]
    )
    @pytest.mark.parametrize("method", ["grad-cam", "gradient"])
    def test_of_the_user_do_not_matter_and_are_kept(self, mode, method):
        model = stateful()
        expected = attributions(model, method=method)
        with mode():
            modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
            for targets in ([0, 2], [2]):
                found = attributions(model, torch.as_tensor(DOC), targets=targets, method=method)
                assert_close(found[-1], expected[-1])
            assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == modes
        assert torch.is_grad_enabled()

    @pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
    def test_do_not_matter_where_a_function_is_differentiated(self, mode):
        x = torch.tensor([[1.0, 2.0]])
        with mode():
            _, _, [gradient] = differentiate(lambda tap: (tap(x) ** 2, None))
        np.testing.assert_array_equal(gradient, [[[2, 0]], [[0, 4]]])

    def test_are_kept_after_an_error(self):
        def fail(outputs):
            raise KeyError("mine")

        with torch.inference_mode(), pytest.raises(KeyError):
            eli5k.explain_prediction(stateful(), DOC, targets=fail)
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()

    @pytest.mark.parametrize("method", ["grad-cam", "gradient", "score-cam", "full-gradient"])
    def test_model_is_explained_where_it_is(self, method):
        """As a model on one graphics card, where Keras puts new tensors on another."""
        model = stateful()
        expected = attributions(model, method=method)
        with keras.device("meta"):
            found = attributions(model, method=method)
        assert_close(found, expected)

    @pytest.mark.parametrize("method", ["grad-cam", "gradient"])
    def test_model_that_was_made_in_inference_mode(self, method):
        expected = attributions(stateful(), method=method)
        with torch.inference_mode():
            model = stateful()
        assert all(variable.value.is_inference() for variable in model.variables)
        assert_close(attributions(model, method=method), expected)

    def test_model_that_is_built_by_its_explanation_can_be_trained(self):
        model = keras.Sequential(
            [layers.Conv2D(3, 3), layers.GlobalAveragePooling2D(), layers.Dense(3)]
        )
        with torch.inference_mode():
            eli5k.explain_prediction(model, DOC, targets=[0], layer=0)
        model.compile("sgd", "mse")
        before = state(model)
        model.fit(DOCS, np.ones((len(DOCS), 3)), verbose=0)
        assert state(model) != before


class TestParameters:
    def test_get_no_gradient(self):
        model = stateful()
        computed = []
        for variable in model.trainable_variables:
            variable.value.register_hook(computed.append)
        attributions(model)
        attributions(model, method="gradient", targets=[1])
        assert computed == []
        assert all(parameter.grad is None for parameter in model.parameters())

    def test_keep_their_gradients_and_flags(self):
        model = stateful()
        model.layers[1].trainable = False
        variables = model.trainable_variables
        for number, variable in enumerate(variables):
            variable.value.grad = torch.full_like(variable.value, number)
        flags = [variable.value.requires_grad for variable in model.variables]
        attributions(model)
        assert [variable.value.requires_grad for variable in model.variables] == flags
        for number, variable in enumerate(variables):
            assert (variable.value.grad == number).all()

    def test_build_no_graph_before_the_layer(self):
        graphs = {}

        class Watch(layers.Layer):
            def call(self, x):
                graphs[self.name] = x.requires_grad
                return x

        model = keras.Sequential(
            [
                keras.Input(DOC.shape[1:]),
                layers.Conv2D(3, 3),
                Watch(name="before"),
                layers.Conv2D(3, 3, name="layer"),
                Watch(name="after"),
                layers.GlobalAveragePooling2D(),
                layers.Dense(3),
            ]
        )
        attributions(model, layer="layer")
        assert graphs == {"before": False, "after": True}

    def test_results_hold_no_graph(self):
        weight = torch.ones(3, requires_grad=True)
        x = torch.ones(2, 3)

        def forward(tap):
            a = tap(x)
            b = tap(a * weight)
            return b, {"rest": [b * weight, None]}

        structure = differentiate(forward)
        for tensor in keras.tree.flatten(structure):
            assert tensor is None or not tensor.requires_grad


class TestRandomState:
    def test_is_kept(self):
        model = stateful(MonteCarlo())
        before = state(model), torch.get_rng_state()
        attributions(model)
        assert state(model) == before[0]
        assert torch.equal(torch.get_rng_state(), before[1])


class Wrapped(keras.Model):
    """Modules of PyTorch, some of which work in place."""

    def __init__(self):
        super().__init__()
        body = [torch.nn.Conv2d(2, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Dropout(0.5)]
        self.body = layers.TorchModuleWrapper(torch.nn.Sequential(*body), name="body")
        self.rectify = layers.TorchModuleWrapper(torch.nn.ReLU(inplace=True))
        self.last = layers.Conv2D(3, 3, name="last")
        self.head = layers.Dense(3)

    def call(self, x):
        x = self.body(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        x = self.rectify(self.last(self.rectify(x)))
        return self.head(x.mean((1, 2)))


def training_flags(model):
    modules = dict(model.named_modules()).items()
    return {name: module.training for name, module in modules if "torch_params" not in name}


class TestModules:
    def test_in_place_module_behind_the_layer(self):
        model = Wrapped()
        model(DOC)
        maps = attributions(model, layer="last", targets=[0, 1, 2])
        x = model.body.eval()(torch.as_tensor(DOC).permute(0, 3, 1, 2), training=False)
        activations = model.last(x.permute(0, 2, 3, 1).relu()).detach().numpy()[0]
        slope = np.where(activations > 0, 1, 0).mean(axis=(0, 1)) / activations[..., 0].size
        kernel = model.head.get_weights()[0]
        expected = [activations @ (slope * kernel[:, target]) for target in range(3)]
        assert_close(maps, expected)

    def test_keep_their_training_flags(self):
        model = Wrapped()
        eli5k.explain_prediction(model, DOC, layer="last")
        model.train()
        model.body.module[1].eval()
        flags = training_flags(model)
        assert set(flags.values()) == {True, False}
        attributions(model, layer="last")
        assert training_flags(model) == flags

    def test_keep_their_training_flags_after_an_error(self):
        model = Wrapped()
        model.train()
        flags = training_flags(model)

        def fail(outputs):
            assert not model.body.module.training
            raise KeyError("mine")

        with pytest.raises(KeyError):
            eli5k.explain_prediction(model, DOC, layer="last", targets=fail)
        assert training_flags(model) == flags

    def test_keep_their_training_flags_between_threads(self):
        model = Wrapped()
        eli5k.explain_prediction(model, DOC, layer="last", targets=[0])
        model.train()
        flags = training_flags(model)
        expected = attributions(model, layer="last")

        def work(_):
            return [attributions(model, layer="last") for _ in range(20)]

        with ThreadPoolExecutor(8) as threads:
            for found in threads.map(work, range(8)):
                assert_close(found, [expected] * 20)
        assert training_flags(model) == flags

    def test_operation_without_a_rule_for_several_gradients(self):
        class Doubled(torch.autograd.Function):
            @staticmethod
            def forward(context, x):
                return 2 * x

            @staticmethod
            def backward(context, gradient):
                # What item() gives is one number: there is no rule for a batch of gradients.
                return gradient * (2 if gradient.sum().item() < 1e9 else 0)

        x = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
        _, _, [gradient, none] = differentiate(lambda tap: (Doubled.apply(tap(x)), tap(x)))
        np.testing.assert_array_equal(gradient, [[[2, 0], [2, 0]], [[0, 2], [0, 2]]])
        assert none is None


class TestModelThatTurnsGradientsOff:
    class Trunk(layers.Layer):
        """As they are frozen in PyTorch."""

        def __init__(self):
            super().__init__(name="trunk")
            self.conv = layers.Conv2D(4, 3, name="conv")

        def call(self, x):
            with torch.no_grad():
                return torch.relu(self.conv(x))

    @pytest.mark.parametrize("layer", ["trunk", "trunk/conv", None])
    def test_is_explained_like_one_that_does_not(self, layer):
        keras.utils.set_random_seed(3)
        head = [layers.GlobalAveragePooling2D(), layers.Dense(3)]
        model = keras.Sequential([keras.Input(DOC.shape[1:]), self.Trunk(), *head])
        trunk = [layers.Conv2D(4, 3, name="conv"), layers.ReLU(name="trunk")]
        same = keras.Sequential([keras.Input(DOC.shape[1:]), *trunk, *head])
        same.layers[0].set_weights(model.layers[0].get_weights())
        expected = attributions(same, layer=layer and layer.split("/")[-1])
        np.testing.assert_allclose(attributions(model, layer=layer), expected, atol=1e-6)
        assert np.ptp(expected) > 0
