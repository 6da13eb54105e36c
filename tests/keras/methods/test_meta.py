"""The methods around another: by what must come out when nothing, or something known, is around."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from eli5k import explain_prediction
from eli5k.keras import attribute
from eli5k.keras.evidence.probes import Input, Layer, Probe
from eli5k.keras.evidence.run import Run
from eli5k.keras.evidence.scores import Target
from eli5k.keras.methods import (
    TTA,
    AtInput,
    AtLayer,
    Contrast,
    Counterfactual,
    Fuse,
    Occlusion,
    Smooth,
    find_method,
)
from eli5k.keras.methods.gradient import gradient, gradient_x_input
from eli5k.keras.methods.views import _zoom
from eli5k.keras.model.survey import survey
from eli5k.maps import resize
from eli5k.options import Options
from tests.close import TOLERANCE, assert_close
from tests.zoo import CLASSES, SHAPE, functional, net_layers, noise, run_layers

DOCS = noise(3, *SHAPE, seed=1)
AROUND = {
    "smooth": Smooth(samples=5),
    "square-grad": Smooth("grad-cam", samples=5, kind="square"),
    "var-grad": Smooth("gradient-x-input", samples=5, kind="variance"),
    "tta": TTA(),
    "fuse": Fuse(),
    "contrast": Contrast(similar=2),
    "counterfactual": Counterfactual(),
}
each_method = pytest.mark.parametrize("method", AROUND.values(), ids=AROUND)


def run_of(model, docs, target=1, **options):
    """What the public functions ask of a method."""
    classes = np.full((len(docs), 1), target, "int32")
    return Run(
        model,
        survey(model, docs),
        docs,
        Target(),
        classes,
        Options(**{"progress": False, **options}),
    )


def raw_gradient(evidence):
    return evidence.gradients


def linear_model():
    """A dense layer on the pixels, and its kernel ``(*SHAPE, classes)``."""
    model = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(CLASSES)])
    return model, model.layers[-1].get_weights()[0].reshape(*SHAPE, CLASSES)


class TestSmooth:
    @pytest.mark.parametrize("method", ["gradient", "grad-cam", "guided-backprop", "occlusion"])
    def test_without_noise_it_is_the_method(self, method):
        model = functional(net_layers())
        expected_scores, expected = attribute(model, DOCS, 1, method=method)
        for kind, power in [("mean", 1), ("square", 2)]:
            smooth = Smooth(method, samples=3, noise=0.0, kind=kind)
            scores, maps = attribute(model, DOCS, 1, method=smooth)
            np.testing.assert_allclose(scores, expected_scores, atol=1e-6)
            scale = np.abs(expected).max() ** power
            np.testing.assert_allclose(maps, expected**power, atol=1e-5 * scale)
        _, maps = attribute(model, DOCS, 1, method=replace(smooth, kind="variance"))
        np.testing.assert_allclose(maps, 0, atol=1e-5 * scale)

    @pytest.mark.parametrize("kind", ["mean", "square", "variance"])
    def test_moments_are_those_of_a_loop(self, kind):
        """Of the signed gradient of each channel: what remains of it is shown by its size."""
        model = functional(net_layers())
        _, maps = attribute(model, DOCS, 1, method=Smooth(samples=7, noise=0.2, kind=kind, seed=4))
        gradients = []
        for number in range(7):
            draw = np.random.default_rng((4, number)).standard_normal(SHAPE, "float32")
            ranges = np.ptp(DOCS, axis=(1, 2, 3), keepdims=True)
            noisy = DOCS + 0.2 * ranges * draw
            gradients.append(run_of(model, noisy).evidence(Probe(Input()), raw_gradient).maps[0])
        moments = {"mean": np.mean, "square": lambda g, axis: np.mean(np.square(g), axis)}
        expected = moments.get(kind, np.var)(np.float64(gradients), axis=0)
        expected = np.abs(expected).max(axis=-1)
        np.testing.assert_allclose(maps, expected, atol=1e-5 * expected.max())

    @pytest.mark.parametrize("method", ["gradient", "guided-backprop"])
    def test_variance_of_a_linear_model_is_zero(self, method):
        """Its gradient is the same everywhere."""
        model, kernel = linear_model()
        _, maps = attribute(model, DOCS, 1, method=Smooth(method, samples=6, kind="variance"))
        assert maps.max() <= TOLERANCE**2 * (kernel**2).max()
        _, maps = attribute(model, DOCS, 1, method=Smooth(method, samples=6, kind="square"))
        np.testing.assert_allclose(maps[0], (kernel[..., 1] ** 2).max(axis=-1), atol=1e-6)

    def test_variance_of_a_linear_map_is_that_of_the_noise(self):
        """Gradient times input is linear in the input of a linear model."""
        model, kernel = linear_model()
        docs = DOCS * np.array([1, 5, 0])[:, None, None, None]
        smooth = Smooth(AtInput(gradient_x_input), samples=3000, noise=0.3, kind="variance")
        _, maps = attribute(model, docs, 1, method=smooth, batch_size=1000)
        ranges = np.ptp(docs, axis=(1, 2, 3))[:, None, None]
        expected = (kernel[..., 1] ** 2).sum(axis=-1) * (0.3 * ranges) ** 2
        np.testing.assert_allclose(maps, expected, rtol=0.15)
        assert (maps[2] == 0).all()

    def test_noise_cancels_out_where_the_gradient_has_a_sign(self):
        """The size of a mean of gradients is less than a mean of their sizes."""
        model = functional(net_layers())
        _, signed = attribute(model, DOCS, 1, method=Smooth(samples=30, noise=1.0))
        sizes = Smooth(lambda run: run.evidence(Probe(Input()), gradient), 30, 1.0)
        _, unsigned = attribute(model, DOCS, 1, method=sizes)
        assert (signed <= unsigned + 1e-7).all()
        assert signed.sum() < 0.9 * unsigned.sum()

    def test_each_document_has_the_same_noise(self):
        model = functional(net_layers())
        _, together = attribute(model, DOCS, 1, method=Smooth(samples=5))
        for doc, expected in zip(DOCS, together):
            _, alone = attribute(model, doc[None], 1, method=Smooth(samples=5))
            np.testing.assert_allclose(alone[0], expected, atol=1e-6)

    def test_seed_decides(self):
        model = functional(net_layers())
        maps = [attribute(model, DOCS, 1, method=Smooth(samples=4, seed=s))[1] for s in (0, 0, 1)]
        assert_close(maps[0], maps[1])
        assert np.abs(maps[0] - maps[2]).max() > 0.01 * np.abs(maps[0]).max()

    @pytest.mark.parametrize("wrong", [{"samples": 0}, {"noise": -1}, {"kind": "median"}])
    def test_wrong_parameters_are_named(self, wrong):
        [(name, value)] = wrong.items()
        with pytest.raises(ValueError, match=f"{name}.*Received: .*{name}={value!r}"):
            Smooth(**wrong)

    def test_title_is_that_of_its_kind(self):
        titles = [find_method(Smooth(kind=k)).title for k in ("mean", "square", "variance")]
        assert titles == ["SmoothGrad", "SquareGrad", "VarGrad"]


def equivariant_model():
    """A net to which left and right are the same: each kernel is its own mirror image."""
    net = [
        layers.Conv2D(4, 3, padding="same", activation="relu"),
        layers.Conv2D(6, 3, padding="same", activation="relu", name="top"),
        layers.GlobalAveragePooling2D(),
        layers.Dense(CLASSES, activation="softmax"),
    ]
    model = keras.Sequential([keras.Input(SHAPE), *net])
    for conv in net[:2]:
        kernel, bias = conv.get_weights()
        conv.set_weights([kernel + kernel[:, ::-1], noise(*bias.shape, low=0)])
    return model


def activation_itself(evidence):
    """The first channel of the layer, as the map of one target."""
    return evidence.activations[None, ..., 0]


class TestTTA:
    def test_flips_change_nothing_of_a_model_that_does_not_see_them(self):
        model = equivariant_model()
        _, expected = attribute(model, DOCS, 1)
        _, maps = attribute(model, DOCS, 1, method=TTA(scales=(1.0,)))
        assert_close(maps, expected)

    @pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
    def test_map_of_the_mirror_image_is_the_mirror_image(self, axes):
        model = functional(net_layers())
        method = TTA("gradient-x-input", flips=axes)
        _, maps = attribute(model, DOCS, 1, method=method)
        for axis in axes:
            _, mirrored = attribute(model, np.flip(DOCS, axis + 1), 1, method=method)
            scale = np.abs(maps).max()
            np.testing.assert_allclose(np.flip(mirrored, axis + 1), maps, atol=1e-5 * scale)

    def test_is_the_mean_of_what_is_turned_back(self):
        model = functional(net_layers())
        _, plain = attribute(model, DOCS, 1)
        _, flipped = attribute(model, DOCS[:, :, ::-1], 1)
        scores, maps = attribute(model, DOCS, 1, method=TTA(scales=(1.0,)))
        np.testing.assert_allclose(maps, (plain + flipped[:, :, ::-1]) / 2, atol=1e-6)
        np.testing.assert_allclose(scores, run_layers(net_layers(), DOCS)[:, 1], atol=1e-6)

    @pytest.mark.parametrize("grid", [(20,), (12, 16), (9, 8, 7)])
    @pytest.mark.parametrize("scale", [0.7, 1.0, 1.6])
    def test_views_are_turned_back_to_where_they_were(self, scale, grid):
        """A ramp is read without error between its points, so it comes back as it was."""
        model = keras.Sequential([keras.Input((*grid, 1)), layers.Rescaling(1.0, name="same")])
        model.add(layers.Flatten())
        model.add(layers.Dense(2))
        steps = np.meshgrid(*map(np.arange, grid), indexing="ij")
        ramp = sum((axis + 1.0) * at for axis, at in enumerate(steps))
        method = TTA(AtLayer(activation_itself), flips=tuple(range(len(grid))), scales=(scale,))
        docs = np.float32(ramp)[None, ..., None]
        _, [found] = attribute(model, docs, 1, method=method, layer="same")
        from_centre = [abs(at - (n - 1) / 2) for at, n in zip(steps, grid)]
        seen = [n / 2 / max(scale, 1) for n in grid]
        inside = np.all([at <= far - 2 for at, far in zip(from_centre, seen)], axis=0)
        outside = np.any([at > far for at, far in zip(from_centre, seen)], axis=0)
        np.testing.assert_allclose(found[inside], ramp[inside], atol=1e-4)
        assert inside.any()
        assert (found[outside] == 0).all()
        assert outside.any() == (scale > 1)

    def test_zoom(self):
        rows = np.array([[[0.0, 1, 2, 3, 4]]] * 4, "float32")
        zoomed = _zoom(rows, np.array([[1.0], [-1.0], [2.0], [0.5]]))
        expected = [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [1, 1.5, 2, 2.5, 3], [0, 0, 2, 4, 4]]
        assert_close(zoomed[:, 0], expected)

    def test_wrong_scales_are_named(self):
        for scales in [(), (1.0, 0.0), (-1.0,)]:
            with pytest.raises(ValueError, match="scales must be"):
                TTA(scales=scales)
        with pytest.raises(ValueError, match=r"flips must be axes .*-2 to 1.*\(2,\)"):
            attribute(functional(net_layers()), DOCS, 1, method=TTA(flips=(2,)))


class TestFuse:
    @pytest.mark.parametrize("method", ["layer-cam", "grad-cam", "ablation-cam"])
    @pytest.mark.parametrize("layer", ["relu", ["relu"], ("top",)])
    def test_one_layer_is_that_layer(self, method, layer):
        model = functional(net_layers())
        name = layer if isinstance(layer, str) else layer[0]
        expected_scores, expected = attribute(model, DOCS, 1, method=method, layer=name)
        scores, maps = attribute(model, DOCS, 1, method=Fuse(method), layer=layer)
        assert_close(maps, expected)
        assert_close(scores, expected_scores)

    @pytest.mark.parametrize("combine", ["mean", "max"])
    def test_layers_have_the_same_say(self, combine):
        model = functional(net_layers())
        of_layers = [attribute(model, DOCS, 1, layer=name)[1] for name in ("top", "stem")]
        peaks = [np.abs(maps).max(axis=(1, 2), keepdims=True) for maps in of_layers]
        scaled = [resize(maps / peak, (12, 12)) for maps, peak in zip(of_layers, peaks)]
        expected = {"mean": np.mean, "max": np.max}[combine](scaled, axis=0) * np.mean(
            peaks, axis=0
        )
        method = Fuse("grad-cam", combine=combine)
        for names in (["top", "stem"], ["stem", "top"]):
            _, maps = attribute(model, DOCS, 1, method=method, layer=names)
            np.testing.assert_allclose(maps, expected, atol=1e-6)

    def test_layers_of_its_own_choice(self):
        """The default one, and the last before it that have grids of twice the size or more."""
        model = functional(net_layers())
        for levels, names in [(1, ["top"]), (2, ["top", "relu"]), (3, ["top", "relu"])]:
            _, maps = attribute(model, DOCS, 1, method=Fuse(levels=levels))
            _, expected = attribute(model, DOCS, 1, method=Fuse(), layer=names)
            assert_close(maps, expected)

    def test_layers_that_prepare_the_picture_are_left_out(self):
        net = [layers.Rescaling(32.0), layers.MaxPooling2D(4), *net_layers()]
        model = keras.Sequential([keras.Input((48, 48, 3)), *net])
        docs = noise(2, 48, 48, 3)
        _, maps = attribute(model, docs, 1, method=Fuse())
        _, expected = attribute(model, docs, 1, method=Fuse(), layer=["top", "relu"])
        assert_close(maps, expected)

    def test_several_layers_are_for_fuse_only(self):
        with pytest.raises(TypeError, match=r"layer must be .*a list .* only .*'fuse'"):
            attribute(functional(net_layers()), DOCS, 1, layer=["top", "stem"])

    def test_layers_of_another_output_are_left_out(self):
        inputs = keras.Input(SHAPE)
        x = layers.Conv2D(4, 3, padding="same", activation="relu", name="early")(inputs)
        late = layers.Conv2D(4, 3, strides=3, activation="relu", name="late")(x)
        other = layers.Conv2D(2, 3, padding="same", name="not_of_the_first")(x)
        heads = [layers.GlobalAveragePooling2D()(late), layers.GlobalAveragePooling2D()(other)]
        model = keras.Model(inputs, [layers.Dense(2)(head) for head in heads])
        _, maps = attribute(model, DOCS, 1, method="fuse", output=0)
        _, expected = attribute(model, DOCS, 1, method="fuse", output=0, layer=["late", "early"])
        assert_close(maps, expected)

    def test_explanation_names_the_deepest_layer(self):
        model = functional(net_layers())
        explanation = explain_prediction(model, DOCS[:1], layer=["stem", "top"], method="fuse")
        assert explanation.layer == "top"
        assert explanation.targets[0].attribution.shape == (12, 12)

    def test_map_of_zeros_has_no_say(self):
        net = net_layers()
        net[-1].set_weights([0 * array for array in net[-1].get_weights()])
        _, maps = attribute(functional(net), DOCS, 1, method="fuse", layer=["top", "stem"])
        assert (maps == 0).all()

    def test_wrong_parameters_are_named(self):
        for wrong in ({"combine": "sum"}, {"levels": 0}):
            with pytest.raises(ValueError, match=r"combine must be .* and levels positive"):
                Fuse(**wrong)
        with pytest.raises(ValueError, match="at least one layer"):
            attribute(functional(net_layers()), DOCS, 1, method="fuse", layer=[])


class TestContrast:
    def nearest(self, scores, target, count):
        """Classes by the distance of their score from the target's, without itself."""
        order = sorted(range(CLASSES), key=lambda c: abs(scores[c] - scores[target]))
        return [c for c in order if c != target][:count]

    @pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
    @pytest.mark.parametrize("similar", [1, 2, 9])
    def test_linear_head_has_a_closed_form(self, similar, alpha):
        """Behind global average pooling the weights are those of the difference of the classes."""
        net = net_layers(None)
        kernel, _ = net[-1].get_weights()
        activations, scores = run_layers(net, DOCS, "top"), run_layers(net, DOCS)
        method = Contrast(similar=similar, alpha=alpha)
        for target in range(CLASSES):
            found, maps = attribute(functional(net), DOCS, target, method=method)
            np.testing.assert_allclose(found, scores[:, target], atol=1e-5)
            for row in range(len(DOCS)):
                others = self.nearest(scores[row], target, similar)
                weights = kernel[:, target] - alpha * kernel[:, others].mean(axis=1)
                expected = activations[row] @ weights / 16
                np.testing.assert_allclose(maps[row], expected, atol=1e-5)

    def test_class_is_never_compared_with_itself(self):
        """Not even where others have the same score: on black, only the kernel differs."""
        model, kernel = linear_model()
        method = Contrast("gradient", similar=1, alpha=1.0)
        for target, other in [(0, 1), (1, 0), (2, 0)]:
            _, maps = attribute(model, 0 * DOCS, target, method=method)
            expected = np.abs(kernel[..., target] - kernel[..., other]).max(axis=-1)
            np.testing.assert_allclose(maps[0], expected, atol=1e-6)

    @pytest.mark.parametrize("method", ["layer-cam", "occlusion", "ablation-cam", "gradient"])
    def test_explains_the_difference_of_scores(self, method):
        """Also where a method is not linear in them: as if the difference were the target."""
        net = net_layers(None)
        model = functional(net)
        scores = run_layers(net, DOCS[:1])[0]
        [other] = self.nearest(scores, 1, 1)
        _, maps = attribute(model, DOCS[:1], 1, method=Contrast(method, similar=1))

        def difference(outputs):
            return outputs[:, 1] - 0.6 * outputs[:, other]

        _, expected = attribute(model, DOCS[:1], difference, method=method)
        assert_close(maps, expected)

    def test_several_targets_and_the_best(self):
        model = functional(net_layers())
        _, maps = attribute(model, DOCS, [[0, 1]] * 3, method="contrast")
        for target in (0, 1):
            _, expected = attribute(model, DOCS, target, method="contrast")
            np.testing.assert_allclose(maps[:, target], expected, atol=1e-6)
        best = run_layers(net_layers(), DOCS).argmax(axis=1)
        _, of_best = attribute(model, DOCS, method="contrast")
        _, expected = attribute(model, DOCS, best, method="contrast")
        np.testing.assert_allclose(of_best, expected, atol=1e-6)

    def test_two_classes_of_one_unit(self):
        model = functional(net_layers("sigmoid", 1))
        explanation = explain_prediction(
            model, DOCS[:1], targets=["yes"], target_names=["no", "yes"], method=Contrast(alpha=1.0)
        )
        _, plain = attribute(model, DOCS[:1], 0)
        found = explanation.targets[0].attribution
        np.testing.assert_allclose(found, 2 * plain[0], atol=1e-6)

    def test_what_has_nothing_to_compare_with_is_refused(self):
        for model, targets, method in [
            (functional(net_layers("sigmoid", 1)), 0, "contrast"),
            (functional(net_layers()), lambda outputs: outputs[:, 1], "contrast"),
            (functional(net_layers()), 1, Contrast(Contrast())),
        ]:
            with pytest.raises(ValueError, match="finer-cam compares a class with others"):
                attribute(model, DOCS, targets, method=method)
        with pytest.raises(ValueError, match="similar must be positive"):
            Contrast(similar=0)


class TestCounterfactual:
    def test_is_minus_grad_cam(self):
        model = functional(net_layers())
        for targets in (None, 1, lambda outputs: outputs[:, 2]):
            scores, maps = attribute(model, DOCS, targets)
            found, against = attribute(model, DOCS, targets, method="counterfactual")
            assert_close(against, -maps)
            assert_close(found, scores)

    def test_negates_the_gradient_and_not_the_map(self):
        """LayerCAM takes positive gradients: negated, they are those that were negative."""
        model = functional(net_layers())
        _, maps = attribute(model, DOCS, 1, method=Counterfactual("layer-cam"))
        activations, gradients = run_of(model, DOCS).evidence(Probe(Layer()), tuple).maps
        expected = (np.maximum(-gradients[0], 0) * activations).sum(axis=-1)
        assert_close(maps, expected)
        assert maps.min() >= 0
        assert maps.max() > 0

    def test_of_a_method_that_tries(self):
        model = functional(net_layers())
        occlusion = Occlusion(window=4)
        _, maps = attribute(model, DOCS, 1, method=occlusion)
        _, against = attribute(model, DOCS, 1, method=Counterfactual(occlusion))
        np.testing.assert_allclose(against, -maps, atol=1e-6)

    def test_around_a_contrast_and_the_other_way_round(self):
        model = functional(net_layers(None))
        scores, maps = attribute(model, DOCS, 1, method=Contrast())
        np.testing.assert_allclose(scores, run_layers(net_layers(None), DOCS)[:, 1], atol=1e-6)
        for method in (Counterfactual(Contrast()), Contrast(Counterfactual())):
            against_scores, against = attribute(model, DOCS, 1, method=method)
            np.testing.assert_allclose(against, -maps, atol=1e-6)
            assert_close(against_scores, scores)


@each_method
class TestEachMethodAroundAnother:
    def test_batch_size_does_not_matter(self, method):
        model = functional(net_layers())
        answers = [attribute(model, DOCS, 1, method=method, batch_size=n) for n in (3, 7, 1000)]
        for _, maps in answers[:2]:
            scale = np.abs(answers[2][1]).max()
            np.testing.assert_allclose(maps, answers[2][1], atol=1e-4 * scale)

    def test_random_state_of_the_user_is_left_alone(self, method):
        model = functional(net_layers())
        np.random.seed(3)  # noqa: NPY002
        expected = np.random.random()  # noqa: NPY002
        np.random.seed(3)  # noqa: NPY002
        attribute(model, DOCS, 1, method=method)
        assert np.random.random() == expected  # noqa: NPY002

    def test_needs_a_layer_where_the_other_does(self, method):
        found = find_method(method)
        if not isinstance(method, Fuse):
            assert found.needs_layer == find_method(method.method).needs_layer
            without = replace(method, method="gradient-x-input")
            assert not find_method(without).needs_layer
            model, _ = linear_model()
            _, maps = attribute(model, DOCS, 1, method=without)
            assert maps.shape == DOCS.shape[:3]
        else:
            assert found.needs_layer

    def test_is_a_value(self, method):
        assert replace(method) == method
        assert hash(replace(method)) == hash(method)


def test_methods_nest():
    model = functional(net_layers())
    method = Smooth(TTA(Fuse(Contrast("grad-cam")), scales=(1.0,)), samples=2)
    scores, maps = attribute(model, DOCS, 1, method=method, batch_size=3)
    assert maps.shape == DOCS.shape[:3]
    assert np.isfinite(maps).all()
    np.testing.assert_allclose(scores, run_layers(net_layers(), DOCS)[:, 1], atol=1e-6)


def test_a_bar_for_the_plain_map_and_one_for_all_others(capsys):
    run = run_of(functional(net_layers()), DOCS, progress=True, batch_size=3)
    Smooth(Occlusion(window=6), samples=9)(run)
    assert capsys.readouterr().err.count("\n") == 2
