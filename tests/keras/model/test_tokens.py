"""Vision transformers: maps on the grid of patches that their tokens stand for."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from eli5k import explain_prediction, explain_predictions
from eli5k.keras import attribute
from eli5k.keras.methods import METHODS, RISE, IntegratedGradients, Occlusion, Smooth
from eli5k.keras.model.geometry import view_of
from eli5k.keras.model.survey import survey
from tests.zoo import noise

SHAPE = (16, 24, 3)
GRID = (4, 6)
DOCS = noise(2, *SHAPE, seed=1)


@keras.saving.register_keras_serializable()
class ExtraTokens(layers.Layer):
    """Put tokens of its own before the patches."""

    def __init__(self, count, **kwargs):
        super().__init__(**kwargs)
        self.count = count

    def build(self, shape):
        self.tokens = self.add_weight((1, self.count, shape[-1]), "random_normal")

    def call(self, x):
        tokens = keras.ops.broadcast_to(
            self.tokens, (keras.ops.shape(x)[0], self.count, x.shape[-1])
        )
        return keras.ops.concatenate([tokens, x], axis=1)


@keras.saving.register_keras_serializable()
class FirstToken(layers.Layer):
    def call(self, x):
        return x[:, 0]


@keras.saving.register_keras_serializable()
class Patches(layers.Layer):
    """Cut the picture up without a convolution."""

    def call(self, x):
        patches = keras.ops.image.extract_patches(x, 4)
        return keras.ops.reshape(patches, (-1, 24, 48))


def transformer(extra=1, pooling=None, embed=None):
    """A vision transformer of one block with ``extra`` tokens before its patches."""
    inputs = x = keras.Input(SHAPE)
    if embed == "by hand":
        x = layers.Dense(8, name="embed")(Patches(name="patches")(x))
    else:
        x = layers.Conv2D(8, 4, strides=4, name="embed")(x)
        x = layers.Reshape((-1, 8), name="patches")(x)
    if extra:
        x = ExtraTokens(extra, name="extra")(x)
    y = layers.LayerNormalization(name="norm1")(x)
    y = layers.MultiHeadAttention(2, 4, name="attention")(y, y)
    x = layers.Add(name="add1")([x, y])
    y = layers.LayerNormalization(name="norm2")(x)
    y = layers.Dense(8, activation="gelu", name="mlp")(y)
    x = layers.Add(name="add2")([x, y])
    x = (pooling or FirstToken)(name="pooled")(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="head")(x))


def view(model, path):
    """How the last call of a layer is read."""
    seen = survey(model, DOCS)
    call = next(call for call in reversed(seen.calls) if call.path == path)
    return view_of(model, seen, DOCS, call)


class TestGrids:
    def test_transformer_without_a_convolution_is_an_image_model(self):
        explanation = explain_prediction(transformer(embed="by hand"), DOCS[:1], targets=[1])
        assert explanation.error == ""
        assert explanation.targets[0].heatmap.shape == GRID

    @pytest.mark.parametrize("extra", [0, 1, 5])
    @pytest.mark.parametrize("embed", ["convolution", "by hand"])
    def test_views_of_a_transformer(self, extra, embed):
        model = transformer(extra, embed=embed)
        assert view(model, "norm1").tokens == view(model, "add2").tokens == GRID
        # Heads and tokens are no rows and columns.
        of_attention = [c.path for c in survey(model, DOCS).calls if "attention/" in c.path]
        grids = [view(model, path) for path in of_attention if path != "attention/output"]
        assert len(grids) > 3
        assert all(each.problem for each in grids if each.tokens is None)

    def test_patches_that_are_no_squares(self):
        inputs = keras.Input(SHAPE)
        x = layers.Conv2D(8, (4, 2), strides=(4, 2), name="embed")(inputs)
        x = layers.Reshape((-1, 8), name="patches")(x)
        model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))
        assert view(model, "patches").tokens == (4, 12)
        _, maps = attribute(model, DOCS, 1, layer="patches")
        _, expected = attribute(model, DOCS, 1, layer="embed")
        np.testing.assert_allclose(maps, expected, atol=1e-6)


@pytest.fixture(scope="module")
def one_transformer():
    return transformer()


class TestMaps:
    @pytest.mark.parametrize("extra", [1, 2, 5])
    def test_default_layer_is_the_last_on_whose_patches_the_score_depends(self, extra):
        model = transformer(extra)
        explanation = explain_prediction(model, DOCS[:1], targets=[0])
        # Of what follows the attention, the first token alone goes on.
        assert explanation.layer == "norm1"
        assert explanation.targets[0].attribution.shape == GRID
        again = explain_prediction(model, DOCS[:1], targets=[0])
        np.testing.assert_allclose(
            again.targets[0].attribution, explanation.targets[0].attribution, atol=1e-6
        )

    def test_last_layer_where_tokens_are_pooled(self):
        model = transformer(0, pooling=layers.GlobalAveragePooling1D)
        assert explain_prediction(model, DOCS[:1]).layer == "add2"

    def test_saturated_output_does_not_change_the_layer(self):
        model = transformer()
        head = model.get_layer("head")
        kernel, bias = head.get_weights()
        head.set_weights([kernel * 1e4, bias])
        with pytest.warns(UserWarning, match="saturated"):
            assert explain_prediction(model, DOCS[:1]).layer == "norm1"

    def test_closed_form(self):
        """CAM of pooled tokens: their order is that of the pixels."""
        model = transformer(0, pooling=layers.GlobalAveragePooling1D)
        _, maps = attribute(model, DOCS, 1, method="cam")
        tokens = keras.Model(model.input, model.get_layer("add2").output)(DOCS)
        kernel = model.get_layer("head").get_weights()[0]
        expected = keras.ops.convert_to_numpy(tokens) @ kernel[:, 1]
        np.testing.assert_allclose(maps, expected.reshape(2, *GRID), atol=1e-5)

    # test_closed_form is about CAM, which needs global average pooling.
    @pytest.mark.filterwarnings("ignore:Guided backpropagation guides:eli5k.ExplanationWarning")
    @pytest.mark.parametrize("method", sorted(METHODS.keys() - {"cam"}))
    def test_every_method(self, method, one_transformer):
        quick = {
            "rise": RISE(masks=20),
            "occlusion": Occlusion(window=8, stride=8),
            "smooth-grad": Smooth(samples=2),
            "integrated-gradients": IntegratedGradients(steps=4),
            "square-grad": Smooth(samples=2, kind="square"),
            "var-grad": Smooth(samples=2, kind="variance"),
        }
        for _ in range(2):
            _, maps = attribute(
                one_transformer, DOCS, [[0, 1], [2, 1]], method=quick.get(method, method)
            )
            assert maps.shape[2:] in (GRID, SHAPE[:2])
            assert np.isfinite(maps).all()
            assert np.ptp(maps) > 0

    def test_patch_that_matters_is_found(self):
        """The score is the brightness of one patch: the map shows that patch alone."""
        inputs = keras.Input(SHAPE)
        x = layers.Conv2D(2, 4, strides=4, kernel_initializer="ones", name="embed")(inputs)
        x = layers.Reshape((-1, 2))(x)
        x = ExtraTokens(2, name="extra")(x)
        weights = np.zeros((1, 26, 1), "float32")
        weights[0, 2 + 3 * 6 + 4] = 1
        x = layers.Flatten()(x * weights)
        model = keras.Model(inputs, layers.Dense(1, kernel_initializer="ones")(x))
        _, maps = attribute(model, np.abs(DOCS), 0, method="hires-cam", layer="extra")
        bright = np.zeros(GRID, bool)
        bright[3, 4] = True
        assert (maps[:, bright] > 1).all()
        np.testing.assert_array_equal(maps[:, ~bright], 0)


class TestReshape:
    def test_callable_for_what_cannot_be_guessed(self):
        """Patches in columns, and more tokens behind them than there ever are."""
        inputs = keras.Input(SHAPE)
        x = layers.Conv2D(8, 4, strides=4, activation="relu", name="embed")(inputs)
        x = layers.Permute((2, 1, 3))(x)
        x = layers.Reshape((-1, 8))(x)
        x = layers.ZeroPadding1D((0, 20), name="padded")(x)
        model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))

        def to_grid(tokens):
            columns = keras.ops.reshape(tokens[:, :24], (-1, 6, 4, 8))
            return keras.ops.transpose(columns, (0, 2, 1, 3))

        targets = np.array([[0, 1], [2, 1]])
        for _ in range(2):
            _, maps = attribute(
                model, DOCS, targets, method="hires-cam", layer="padded", reshape=to_grid
            )
            _, expected = attribute(model, DOCS, targets, method="hires-cam", layer="embed")
            np.testing.assert_allclose(maps, expected, atol=1e-6)
        explanation = explain_prediction(
            model, DOCS[:1], [0], layer="padded", reshape=to_grid, method="hires-cam"
        )
        np.testing.assert_allclose(explanation.targets[0].attribution, maps[0, 0], atol=1e-6)
        [streamed] = explain_predictions(
            model, DOCS[:1], targets=[0], layer="padded", reshape=to_grid, method="hires-cam"
        )
        np.testing.assert_allclose(streamed.targets[0].attribution, maps[0, 0], atol=1e-6)

    def test_needs_a_layer(self):
        with pytest.raises(ValueError, match=r"reshape.*layer="):
            attribute(transformer(), DOCS, 0, reshape=lambda tokens: tokens)


class OwnAttention(layers.Layer):
    """Attention of somebody's own, without any class of Keras'."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.mixed = layers.Dense(24)

    def call(self, x):
        weights = keras.ops.softmax(self.mixed(x))
        return x + keras.ops.matmul(weights, x)


def test_attention_of_any_class_is_an_image_model():
    inputs = keras.Input(SHAPE)
    x = layers.Dense(8, activation="relu", name="embed")(Patches(name="patches")(inputs))
    x = layers.GlobalAveragePooling1D()(OwnAttention(name="own")(x))
    model = keras.Model(inputs, layers.Dense(3)(x))
    explanation = explain_prediction(model, DOCS[:1], top_targets=1)
    assert explanation.error == ""
    assert explanation.layer == "own"
    assert explanation.targets[0].heatmap.shape == GRID
