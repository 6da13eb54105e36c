"""eli5's low-level pair, against numpy and against finite differences in float64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from eli5k.keras import gradcam, gradcam_backend
from eli5k.keras.gradcam import heatmap_of
from tests.close import assert_close
from tests.zoo import SHAPE, Subclassed, functional, net_layers, noise, run_in_numpy

DOC = noise(1, *SHAPE, seed=1)
numbers = st.floats(-1e3, 1e3, width=32)


@st.composite
def weights_and_activations(draw):
    shape = draw(array_shapes(min_dims=2, max_dims=4, max_side=5))
    activations = draw(arrays("float32", shape, elements=numbers))
    return draw(arrays("float32", shape[-1:], elements=numbers)), activations


class TestGradcam:
    @given(weights_and_activations())
    def test_is_the_weighted_sum_without_its_negative_part_scaled(self, parts):
        weights, activations = parts
        total = np.zeros(activations.shape[:-1])
        for channel, weight in enumerate(weights.astype("float64")):
            total += weight * activations[..., channel].astype("float64")
        expected = np.maximum(total, 0) / (np.maximum(total, 0).max() + 1e-7)
        np.testing.assert_allclose(gradcam(weights, activations), expected, atol=1e-5)

    @given(weights_and_activations())
    def test_is_a_heatmap_that_every_formatter_takes(self, parts):
        heatmap = gradcam(*parts)
        assert heatmap.dtype == np.float64
        assert heatmap.shape == parts[1].shape[:-1]
        assert heatmap.min() >= 0
        assert heatmap.max() < 1

    @pytest.mark.parametrize(
        ("weights", "activations"), [((3,), (4, 4, 2)), ((1, 3), (4, 4, 3)), ((), (4, 4, 3))]
    )
    def test_weights_of_other_channels(self, weights, activations):
        with pytest.raises(ValueError, match=r"weights.*\(channels,\).*Received: \("):
            gradcam(np.ones(weights), np.ones(activations))

    def test_lists_will_do(self):
        assert gradcam([1, -1], [[[2, 1], [0, 1]]]).round(3).tolist() == [[1, 0]]


class TestHeatmapOf:
    def test_what_is_not_finite_counts_as_zero(self):
        heatmap = heatmap_of(np.array([np.nan, np.inf, -np.inf, 2, 1]))
        np.testing.assert_allclose(heatmap, [0, 0, 0, 1, 0.5], atol=1e-6)

    @pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
    def test_of_nothing_is_zero(self, value):
        assert heatmap_of(np.full((3, 4), value)).tolist() == np.zeros((3, 4)).tolist()

    @given(arrays("float32", (3, 4), elements=numbers), st.floats(1e-2, 1e3))
    def test_does_not_depend_on_the_scale(self, attribution, scale):
        attribution[0, 0] = 1
        np.testing.assert_allclose(
            heatmap_of(attribution * np.float64(scale)), heatmap_of(attribution), atol=2e-5
        )


class TestBackend:
    @pytest.mark.parametrize("target", [0, 2])
    @pytest.mark.parametrize("name", ["stem", "norm", "pool", "top"])
    def test_gradients_are_finite_differences(self, name, target):
        net = net_layers()
        results = [gradcam_backend(functional(net), DOC, [target], name)]
        model = functional(net)
        results += [gradcam_backend(model, DOC, [target], model.get_layer(name)) for _ in range(2)]
        position = [layer.name for layer in net].index(name) + 1
        expected = run_in_numpy(net[:position], DOC)
        step, size = 1e-6, expected[0].size
        moves = step * np.eye(size).reshape(size, *expected.shape[1:])
        up, down = (
            run_in_numpy(net[position:], expected + sign * moves)[:, target] for sign in (1, -1)
        )
        slopes = ((up - down) / (2 * step)).reshape(expected.shape[1:])
        for weights, activations, gradients, index, score in results:
            np.testing.assert_allclose(activations, expected[0], atol=1e-5)
            np.testing.assert_allclose(gradients, slopes, atol=1e-6)
            assert_close(weights, gradients.mean(axis=(0, 1)))
            assert index == target
            assert score == pytest.approx(run_in_numpy(net, DOC)[0, target], abs=1e-6)

    def test_without_targets_the_best_class(self):
        net = net_layers()
        scores = run_in_numpy(net, DOC)[0]
        *_, index, score = gradcam_backend(functional(net), DOC, None, "top")
        assert (index, score) == (scores.argmax(), pytest.approx(scores.max(), abs=1e-6))

    def test_takes_any_document_and_any_structure(self):
        picture = Image.fromarray(noise(12, 12, 3, low=0, high=255).astype("uint8"))
        array = np.asarray(picture, "float32")[np.newaxis]
        expected = gradcam_backend(functional(net_layers()), array, [1], "top")
        parts = gradcam_backend(Subclassed(net_layers()), picture, [1], "top")
        for one, other in zip(parts, expected):
            np.testing.assert_allclose(one, other, atol=1e-6)

    @pytest.mark.parametrize(
        ("targets", "layer", "error", "message"),
        [
            (1.0, "top", TypeError, "targets must be a list"),
            ({1}, "top", TypeError, "targets must be a list.*set"),
            ([1, 2], "top", ValueError, r"targets.*one class.*\[1, 2\]"),
            ([], "top", ValueError, "targets"),
            ([3], "top", ValueError, r"targets must be in \[0, 3\). Received: 3"),
            ([1], "head", ValueError, "layer 'head' has no grid"),
            ([1], "tip", ValueError, "layer 'tip'.*'top'"),
            ([1], 2.5, TypeError, "layer.*2.5.*float"),
        ],
    )
    def test_bad_arguments_are_named(self, targets, layer, error, message):
        with pytest.raises(error, match=f"(?s){message}"):
            gradcam_backend(functional(net_layers()), DOC, targets, layer)

    def test_layer_must_be_given(self):
        with pytest.raises(TypeError, match="activation_layer"):
            gradcam_backend(functional(net_layers()), DOC, [1])
