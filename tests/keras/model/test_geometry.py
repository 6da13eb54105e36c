"""Maps lie where their cells look: a bright square is found at its place, whatever a model does."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

from eli5k import MisplacedMapWarning, explain_prediction
from eli5k.keras import attribute
from eli5k.keras.methods import ScoreCAM
from eli5k.keras.model.geometry import best_of, fit, view_of
from eli5k.keras.model.receptive import place_after, place_of_input
from eli5k.keras.model.sight import Sight, chosen_cells
from eli5k.keras.model.survey import survey
from eli5k.keras.model.view import View, readings_of
from eli5k.maps import over_picture
from tests.zoo import noise

SIZE = (48, 64)
# Rows and columns of the bright square: off the middle, and off both diagonals.
TOP, LEFT, SIDE = 28, 12, 8


def scene(top=TOP, left=LEFT, size=SIZE):
    picture = np.zeros((1, *size, 3), "float32")
    picture[:, top : top + SIDE, left : left + SIDE] = 1
    return picture


def bright(x, name="bright", stride=4):
    """Sum of the light in each cell."""
    constant = keras.initializers.Constant(0.05)
    conv = layers.Conv2D(4, stride, stride, use_bias=False, kernel_initializer=constant, name=name)
    return conv(x)


def scored(x):
    pool = layers.GlobalAveragePooling2D if len(x.shape) == 4 else layers.GlobalAveragePooling1D
    return layers.Dense(2, kernel_initializer="ones", use_bias=False)(pool()(x))


def model_of(function, size=SIZE):
    inputs = keras.Input((*size, 3))
    return keras.Model(inputs, scored(function(inputs)))


def drawn(explanation, size=SIZE):
    """The map as it lies over the picture."""
    left, top, right, bottom = explanation.frame
    attribution = explanation.targets[0].attribution
    return over_picture(attribution, size, ((top, left), (bottom, right)))


def hottest(explanation, size=SIZE):
    """Centre of the hottest part, in pixels."""
    heat = drawn(explanation, size)
    return np.argwhere(heat >= 0.9 * heat.max()).mean(axis=0) + 0.5


def assert_on_square(explanation, top=TOP, left=LEFT, size=SIZE, tolerance=4.5):
    assert not explanation.warnings
    centre = np.array([top + SIDE / 2, left + SIDE / 2])
    np.testing.assert_allclose(hottest(explanation, size), centre, atol=tolerance)


class Crop(layers.Layer):
    """Code of somebody's own."""

    def call(self, x):
        return x[:, 20:44, 4:36]


class Converted(layers.Layer):
    """Channels first, as in a model that was converted."""

    def call(self, x):
        return ops.transpose(x, (0, 3, 1, 2))


def tokens(x):
    return layers.Reshape((-1, x.shape[-1]), name="tokens")(x)


KINDS = {
    "whole": bright,
    "cropping": lambda x: bright(layers.Cropping2D(((20, 4), (4, 28)))(x)),
    "centre crop": lambda x: bright(layers.CenterCrop(32, 48)(x)),
    "slice": lambda x: bright(x[:, 20:44, 4:36]),
    "crop_images": lambda x: bright(ops.image.crop_images(x, 20, 4, 4, 28)),
    "own layer": lambda x: bright(Crop()(x)),
    "lambda": lambda x: bright(layers.Lambda(lambda y: y[:, 20:44, 4:36])(x)),
    "padding": lambda x: bright(layers.ZeroPadding2D(((20, 0), (0, 16)))(x)),
    "permute": lambda x: bright(layers.Permute((2, 1, 3))(x)),
    "mirror": lambda x: bright(ops.flip(x, axis=2)),
    "upside down": lambda x: bright(ops.flip(x, axis=1)),
    "rotated": lambda x: bright(ops.flip(layers.Permute((2, 1, 3))(x), axis=1)),
    "resizing": lambda x: bright(layers.Resizing(24, 32)(x), stride=2),
    "crop to aspect": lambda x: bright(layers.Resizing(32, 32, crop_to_aspect_ratio=True)(x)),
    "pad to aspect": lambda x: bright(layers.Resizing(64, 64, pad_to_aspect_ratio=True)(x)),
    "channels first inside": lambda x: layers.Flatten()(Converted(name="cf")(bright(x))),
    "tokens": lambda x: tokens(bright(x)),
    "tokens by channels": lambda x: layers.Permute((2, 1))(tokens(bright(x))),
    "tokens after resizing": lambda x: tokens(bright(layers.Resizing(32, 64)(x))),
    "registers": lambda x: layers.ZeroPadding1D((5, 0))(tokens(bright(x))),
    "operation": lambda x: bright(x, "a") * 0.5 + bright(x, "b"),
    "relu": lambda x: ops.relu(bright(x)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_square_is_found(kind):
    def function(x):
        x = KINDS[kind](x)
        return layers.Reshape((-1, 1))(x) if len(x.shape) == 2 else x

    assert_on_square(explain_prediction(model_of(function), scene(), targets=[0]))


def test_frame_of_a_crop_and_of_a_padding():
    crop = model_of(KINDS["slice"])
    frame = explain_prediction(crop, scene(), targets=[0]).frame
    np.testing.assert_allclose(frame, (4 / 64, 20 / 48, 36 / 64, 44 / 48), atol=0.03)
    padded = model_of(KINDS["padding"])
    frame = explain_prediction(padded, scene(), targets=[0]).frame
    np.testing.assert_allclose(frame, (0, -20 / 48, 80 / 64, 1), atol=1e-6)


@pytest.mark.parametrize("method", [ScoreCAM(), "guided-grad-cam", "fuse", "tta"])
@pytest.mark.filterwarnings("ignore:Guided backpropagation guides:eli5k.ExplanationWarning")
def test_methods_that_enlarge_a_map_use_the_frame(method):
    def function(x):
        x = bright(x[:, 20:44, 4:36], "early", 2)
        return layers.AveragePooling2D(2, name="late")(x)

    explanation = explain_prediction(model_of(function), scene(), targets=[0], method=method)
    centre = (TOP + SIDE / 2, LEFT + SIDE / 2)
    np.testing.assert_allclose(hottest(explanation), centre, atol=4.5)


class TestOperations:
    def test_a_sum_is_the_layer_and_can_be_named(self):
        """With ``a + b`` as with ``Add()``: the map of both branches."""

        def branches(join):
            def function(x):
                near = bright(x, "near")
                far = layers.AveragePooling2D(3, 1, "same")(bright(x, "far"))
                return join(near, far)

            return model_of(function)

        added = explain_prediction(branches(lambda a, b: layers.Add(name="sum")([a, b])), scene())
        model = branches(lambda a, b: a + b)
        plain = explain_prediction(model, scene())
        np.testing.assert_allclose(
            plain.targets[0].attribution, added.targets[0].attribution, rtol=1e-5
        )
        named = explain_prediction(model, scene(), layer=plain.layer)
        assert plain.layer.startswith("add")
        np.testing.assert_array_equal(named.targets[0].heatmap, plain.targets[0].heatmap)


class TestNoPlace:
    def latents(self, x):
        """As many latents as there were cells: each sees everything."""
        cells = layers.Flatten()(bright(x))
        return layers.Dense(144, name="mixed")(layers.Dense(16)(cells))

    def test_mixed_cells_are_never_chosen(self):
        model = model_of(lambda x: layers.Reshape((12, 12, 1), name="latents")(self.latents(x)))
        assert explain_prediction(model, scene(), targets=[0]).layer == "bright"

    def test_mixed_cells_that_are_named_are_warned_of(self):
        model = model_of(lambda x: layers.Reshape((12, 12, 1), name="latents")(self.latents(x)))
        with pytest.warns(MisplacedMapWarning, match="'latents'.*(no grid fits|do not see)"):
            explanation = explain_prediction(model, noise(1, *SIZE, 3), layer="latents")
        assert explanation.frame == (0, 0, 1, 1)
        assert isinstance(explanation.warnings[0], MisplacedMapWarning)
        # Its channels stay channels: rows and columns are those of the output.
        assert explanation.targets[0].heatmap.shape == (12, 12)

    @pytest.mark.filterwarnings("ignore::eli5k.BlankMapWarning")
    def test_steps_of_a_recurrent_layer_are_no_rows(self):
        """A word recogniser: 16 steps from left to right are not 4 by 4 patches."""
        keras.utils.set_random_seed(0)

        def function(x):
            x = layers.Permute((2, 1, 3), name="turned")(bright(x))
            x = layers.Reshape((16, 48))(x)
            x = layers.LSTM(16, return_sequences=True)(x)
            return layers.Softmax(axis=1)(x)

        assert explain_prediction(model_of(function), noise(1, *SIZE, 3)).layer in (
            "bright",
            "turned",
        )

    def test_padding_of_one_pixel_is_passed_over(self):
        def function(x):
            x = layers.AveragePooling2D((12, 16), name="one")(bright(x))
            return layers.Conv2D(4, 3, kernel_initializer="ones")(
                layers.ZeroPadding2D(1, name="padded")(x)
            )

        assert explain_prediction(model_of(function), scene(), targets=[0]).layer == "bright"


class TestRanks:
    def test_frames_of_a_film(self):
        """All frames count, not the last one."""
        inputs = keras.Input((5, *SIZE, 3))
        inner = keras.Sequential(
            [keras.Input((*SIZE, 3)), layers.Conv2D(2, 4, 4, kernel_initializer="ones", name="in")]
        )
        x = layers.TimeDistributed(inner, name="steps")(inputs)
        x = layers.GlobalAveragePooling3D()(x)
        model = keras.Model(inputs, layers.Dense(1, kernel_initializer="ones")(x))
        film = np.zeros((1, 5, *SIZE, 3), "float32")
        film[:, 1] = scene()
        names = [call.path for call in survey(model, film).calls]
        name = next(name for name in names if name.endswith("/in"))
        for layer in (None, name):
            _, maps = attribute(model, film, 0, layer=layer)
            assert maps.shape == (1, 5, 12, 16)
            assert np.unravel_index(maps.argmax(), maps.shape)[1] == 1

    def test_from_volume_to_picture(self):
        """A cube of bands: the map has rows and columns, and one band."""
        inputs = keras.Input((*SIZE, 6, 1))
        x = layers.Conv3D(2, (4, 4, 1), (4, 4, 1), kernel_initializer="ones")(inputs)
        x = layers.Reshape((12, 16, 12))(x)
        x = layers.Conv2D(3, 1, kernel_initializer="ones", name="flat")(x)
        model = keras.Model(inputs, scored(x))
        cube = np.repeat(scene()[..., :1, np.newaxis], 6, axis=3)
        for layer in (None, "flat"):
            _, maps = attribute(model, cube, 0, layer=layer)
            assert maps.shape == (1, 12, 16, 1)
            assert np.unravel_index(maps.argmax(), maps.shape) == (0, 7, 3, 0)

    @pytest.mark.parametrize("shape", [(2048,), (2048, 1)])
    def test_behind_a_spectrogram(self, shape):
        """A tone is found in its time; frequencies lie along no axis of the signal."""
        inputs = keras.Input(shape)
        signal = layers.Reshape((2048,))(inputs)
        real, imaginary = ops.stft(signal, 64, 32, 64, center=False)
        x = ops.expand_dims(ops.sqrt(ops.square(real) + ops.square(imaginary) + 1e-6), -1)
        for name in ("first", "last"):
            x = layers.Conv2D(2, 2, 2, kernel_initializer="ones", name=name)(x)
        model = keras.Model(inputs, scored(x))
        doc = np.zeros((1, *shape), "float32")
        doc[0, 1500:1600] = np.sin(np.arange(100)).reshape(100, *[1] * (len(shape) - 1))
        for layer in (None, "first"):
            _, maps = attribute(model, doc, 0, layer=layer)
            time = (maps[0].max(axis=1).argmax() + 0.5) / maps.shape[1]
            assert time == pytest.approx(1550 / 2048, abs=0.06)

    def test_behind_a_reshape(self):
        model = model_of(lambda x: tokens(bright(x)))
        assert_on_square(explain_prediction(model, scene(), targets=[0], layer="tokens"))


class TestInputs:
    """Layer, picture and map belong together."""

    def pair(self, join):
        left, right = keras.Input((*SIZE, 3), name="left"), keras.Input((*SIZE, 3), name="right")
        return keras.Model([left, right], scored(join(left, right)))

    docs = [scene(28, 12), scene(4, 44)]

    def two_towers(self, left, right):
        return layers.Concatenate()([bright(left, "a"), bright(right, "b")])

    def shared_tower(self, left, right):
        tower = keras.Sequential([keras.Input((*SIZE, 3)), layers.Conv2D(4, 4, 4, name="conv")])
        tower.layers[0].set_weights([np.ones((4, 4, 3, 4)), np.zeros(4)])
        pooled = [layers.GlobalAveragePooling2D()(tower(x)) for x in (left, right)]
        return layers.Reshape((1, 8))(layers.Concatenate()(pooled))

    def stacked(self, left, right):
        return bright(layers.Concatenate()([left, right]))

    def crops_of_each(self, left, right):
        return layers.Concatenate()([bright(left[:, 16:40], "a"), bright(right[:, 0:24], "b")])

    @pytest.mark.parametrize("join", ["two_towers", "shared_tower", "stacked", "crops_of_each"])
    @pytest.mark.parametrize(("asked", "number"), [(None, 0), ("left", 0), ("right", 1), (1, 1)])
    def test_each_image_has_its_own_map(self, join, asked, number):
        model = self.pair(getattr(self, join))
        docs = self.docs
        explanation = explain_prediction(model, docs, targets=[0], input=asked)
        if join == "stacked":  # Both are seen at once: heat lies at both squares.
            heat = drawn(explanation)
            assert heat[32, 16] == heat[8, 48] == heat.max()
        else:
            assert_on_square(explanation, *[(28, 12), (4, 44)][number])
        shown = np.asarray(explanation.image)
        np.testing.assert_array_equal(shown, 255 * docs[number][0])

    def test_all_of_them(self):
        explanation = explain_prediction(
            self.pair(self.shared_tower), self.docs, targets=[0], input="all"
        )
        assert_on_square(explanation, 28, 12)
        [other] = explanation.others
        assert (explanation.input, other.input) == ("left", "right")
        assert_on_square(other, 4, 44)

    @pytest.mark.parametrize("method", ["gradient-x-input", "occlusion"])
    def test_methods_of_the_input(self, method):
        explanation = explain_prediction(
            self.pair(self.two_towers), self.docs, targets=[0], input="right", method=method
        )
        centre = (4 + SIDE / 2, 44 + SIDE / 2)
        np.testing.assert_allclose(hottest(explanation), centre, atol=4.5)

    def test_a_layer_of_the_other_image_is_warned_of(self):
        with pytest.warns(MisplacedMapWarning, match="'b'.*another input, number 1"):
            explain_prediction(self.pair(self.two_towers), self.docs, targets=[0], layer="b")

    def test_named_layer_of_a_shared_tower(self):
        """The call for the explained image, not the last one."""
        model = self.pair(self.shared_tower)
        for name, place in (("left", (28, 12)), ("right", (4, 44))):
            explanation = explain_prediction(
                model, self.docs, targets=[0], layer="conv", input=name
            )
            assert_on_square(explanation, *place)

    def test_flip_ensemble(self):
        """The second call sees the mirrored picture: its map is turned back."""
        net = keras.Sequential([keras.Input((*SIZE, 3)), layers.Conv2D(4, 4, 4, name="conv")])
        net.layers[0].set_weights([np.ones((4, 4, 3, 4)), np.zeros(4)])
        inputs = keras.Input((*SIZE, 3))
        views = [net(inputs), net(ops.flip(inputs, axis=2))]
        pooled = [layers.GlobalAveragePooling2D()(view) for view in views]
        model = keras.Model(inputs, layers.Dense(1, kernel_initializer="ones")(sum(pooled)))
        for layer in (None, "conv"):
            assert_on_square(explain_prediction(model, scene(), targets=[0], layer=layer))


class TestFit:
    """Exact places give exact frames."""

    @pytest.mark.parametrize("grid", [(12, 12), (9, 16), (16, 9), (3, 5), (3, 3)])
    @pytest.mark.parametrize("extra", [0, 1, 4, 5])
    def test_the_right_grid_of_tokens(self, grid, extra):
        count = grid[0] * grid[1] + extra
        numbers = chosen_cells((count,), (144, 144))
        rows, columns = np.unravel_index(np.maximum(numbers - extra, 0), grid)
        centres = np.stack([(rows + 0.5) / grid[0], (columns + 0.5) / grid[1]], axis=1)
        sight = Sight(numbers, centres, (144, 144))
        shape = (1, count, 8)
        best = best_of([fit(view, shape, sight) for view in readings_of(shape, -1, 2)])
        assert best.tokens == grid
        assert best.frame is None
        assert best.problem is None

    @pytest.mark.parametrize("turn", ["transposed", "mirrored", "both"])
    def test_turned(self, turn):
        numbers = np.arange(24)
        rows, columns = np.unravel_index(numbers, (4, 6))
        centres = np.stack([(rows + 0.5) / 4, (columns + 0.5) / 6], axis=1)
        if turn != "transposed":
            centres[:, 1] = 1 - centres[:, 1]
        if turn != "mirrored":
            centres = centres[:, ::-1]
        view = fit(View((0, 1)), (1, 4, 6, 8), Sight(numbers, centres, (96, 96))).view
        map_ = np.random.default_rng(0).standard_normal((1, 4, 6, 1)).astype("float32")
        read = ops.convert_to_numpy(view.read(ops.convert_to_tensor(map_), 1))[0, ..., 0]
        places = np.round(centres * np.array(read.shape) - 0.5).astype(int)
        np.testing.assert_array_equal(read[tuple(places.T)], map_[0, ..., 0].ravel())

    def test_one_place_is_no_grid(self):
        view = fit(View((0, 1)), (1, 3, 3, 8), Sight(np.arange(9), np.full((9, 2), 0.5), (9, 9)))
        assert view.view.problem


@pytest.mark.parametrize(
    ("layer", "cells"),
    [
        (layers.Conv2D(2, 3, padding="same"), 12),
        (layers.Conv2D(2, 5, 2, padding="same"), 12),
        (layers.Conv2D(2, 4, 3), 13),
        (layers.Conv2D(2, 3, dilation_rate=2), 12),
        (layers.DepthwiseConv2D(3, 2), 12),
        (layers.SeparableConv2D(2, 3, padding="same"), 12),
        (layers.MaxPooling2D(3, 2, padding="same"), 12),
        (layers.AveragePooling2D(2), 12),
        (layers.ZeroPadding2D(((1, 2), (3, 4))), 12),
        (layers.Cropping2D(((1, 2), (3, 4))), 12),
        (layers.UpSampling2D(2), 6),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_arithmetic_agrees_with_the_gradient(layer, cells):
    """Where an inner cell looks is the centroid of what it depends on."""
    shape = (1, cells, cells, 2)
    place = place_after(layer, [(shape, place_of_input(0, 2))], False)
    if layer.weights == [] and not layer.built:
        layer.build(shape)
    for weight in layer.weights:
        weight.assign(np.ones(weight.shape))
    x = np.zeros(shape, "float32")
    base = ops.convert_to_numpy(layer(x))
    rows = np.zeros(base.shape[1:3])
    weight = np.zeros_like(rows)
    for row in range(cells):
        for column in range(cells):
            at = x.copy()
            at[0, row, column] = 1
            changed = np.abs(ops.convert_to_numpy(layer(at)) - base).sum(axis=(0, 3))
            rows += changed * (row + 0.5)
            weight += changed
    middle = base.shape[1] // 2
    column = base.shape[2] // 2
    expected = place.starts[0] + place.steps[0] * middle
    assert rows[middle, column] / weight[middle, column] == pytest.approx(expected, abs=0.51)


def test_structure_decides_once(monkeypatch):
    """A document's numbers decide nothing: NaN comes first."""
    model = model_of(KINDS["slice"])
    poisoned = np.full((1, *SIZE, 3), np.nan, "float32")
    with pytest.warns(UserWarning, match="not finite"):
        explain_prediction(model, poisoned, targets=[0])
    assert_on_square(explain_prediction(model, scene(), targets=[0]))


def test_view_of_a_call_that_arithmetic_follows_runs_nothing(monkeypatch):
    model = model_of(KINDS["cropping"])
    seen = survey(model, scene())
    monkeypatch.setattr("eli5k.keras.model.geometry.look", None)
    call = next(call for call in seen.calls if call.path == "bright")
    assert view_of(model, seen, scene(), call).frame is not None
