"""The methods that try: against the models' own answers, closed forms and plain loops in numpy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from eli5k import explain_prediction, explain_predictions
from eli5k.keras import attribute
from eli5k.keras.evidence import asking
from eli5k.keras.evidence import run as evidence_run
from eli5k.keras.evidence.batching import chunks
from eli5k.keras.evidence.run import Run
from eli5k.keras.evidence.scores import Target
from eli5k.keras.methods import RISE, TTA, AblationCAM, Occlusion, ScoreCAM, Smooth
from eli5k.keras.methods.perturbation import _shifted
from eli5k.keras.model.hooks import forward_hook
from eli5k.options import Options
from tests.close import assert_close
from tests.zoo import (
    CLASSES,
    SHAPE,
    backbone_and_head,
    functional,
    net_layers,
    noise,
    run_layers,
    sequential_by_add,
)

DOCS = noise(3, *SHAPE, seed=1)
FEW_TRIES = {
    "score-cam": ScoreCAM(),
    "ablation-cam": AblationCAM(),
    "occlusion": Occlusion(window=5, stride=4),
    "rise": RISE(masks=30, cells=3),
}
each_method = pytest.mark.parametrize("method", FEW_TRIES.values(), ids=FEW_TRIES)


@pytest.fixture
def asked(monkeypatch):
    """The number of rows in each run of a model, in order; rows of a picture, not of factors."""
    rows = []
    ask = asking.ask_model

    def spy(question, *args):
        rows.append(len(keras.tree.flatten(question.inputs)[0]))
        return ask(question, *args)

    monkeypatch.setattr(evidence_run, "ask_model", spy)
    return rows


def predict(model, inputs):
    outputs = model(keras.ops.convert_to_tensor(inputs), training=False)
    return keras.ops.convert_to_numpy(outputs).astype("float64")


def linear_model(*grid, channels, classes=3, seed=5):
    """A dense layer on the pixels, and its kernel ``(*grid, channels, classes)``."""
    model = keras.Sequential(
        [keras.Input((*grid, channels)), layers.Flatten(), layers.Dense(classes)]
    )
    bias = np.arange(1.0, classes + 1)
    model.layers[-1].set_weights([noise(np.prod(grid) * channels, classes, seed=seed), bias])
    return model, model.layers[-1].get_weights()[0].reshape(*grid, channels, classes)


def model_of_one_pixel(pixel, grid):
    """A model that looks at one pixel alone: the first class is for it, the second against."""
    model, kernel = linear_model(*grid, channels=1, classes=2)
    kernel = np.zeros_like(kernel)
    kernel[pixel][0] = 3, -3
    model.layers[-1].set_weights([kernel.reshape(-1, 2), np.full(2, 0.1)])
    return model


class TestScoreCAM:
    @pytest.mark.parametrize("max_channels", [None, 3, 100])
    @pytest.mark.parametrize("activation", [None, "softmax"])
    def test_is_the_loop_of_the_paper(self, activation, max_channels):
        net = net_layers(activation)
        _, maps = attribute(functional(net), DOCS, 1, method=ScoreCAM(max_channels), layer="top")
        for doc, activations, found in zip(DOCS, run_layers(net, DOCS, "top"), maps):
            expected = self.loop(net, doc, activations, 1, max_channels)
            assert_close(found, expected)

    def loop(self, net, doc, activations, target, max_channels):
        channels = list(np.moveaxis(activations, -1, 0))
        channels = sorted(channels, key=lambda channel: -np.std(channel))[:max_channels]
        baseline = run_layers(net, np.zeros_like(doc)[None])[0, target]
        scores = []
        for channel in channels:
            mask = keras.ops.image.resize(channel[..., None], SHAPE[:2], "bilinear")
            mask = keras.ops.convert_to_numpy(mask)
            mask = (mask - mask.min()) / np.ptp(mask) if np.ptp(channel) else np.zeros_like(mask)
            scores.append(run_layers(net, (doc * mask)[None])[0, target] - baseline)
        weights = np.exp(scores) / np.exp(scores).sum()
        return sum(weight * channel for weight, channel in zip(weights, channels))

    def test_channel_that_is_constant_lets_nothing_through(self):
        """Its mask is zero, and its weight that of an increase of nothing."""
        net = net_layers(None)
        kernel, bias = net[4].get_weights()
        kernel[..., 2], bias[2] = 0, 0.7
        net[4].set_weights([kernel, bias])
        _, [found] = attribute(functional(net), DOCS[:1], 1, method="score-cam", layer="top")
        expected = self.loop(net, DOCS[0], run_layers(net, DOCS[:1], "top")[0], 1, None)
        assert_close(found, expected)


class TestAblationCAM:
    @pytest.mark.parametrize("structure", [functional, sequential_by_add, backbone_and_head])
    @pytest.mark.parametrize("activation", [None, "softmax", "sigmoid"])
    def test_weight_is_the_true_drop_of_the_score(self, activation, structure):
        """A channel is taken away by hand: its row in the kernel of the head is zeroed."""
        net = net_layers(activation)
        model = structure(net)
        activations = run_layers(net, DOCS, "top")
        score = run_layers(net, DOCS)
        kernel, bias = net[-1].get_weights()
        expected = 0
        for channel in range(activations.shape[-1]):
            without = kernel.copy()
            without[channel] = 0
            net[-1].set_weights([without, bias])
            weight = (score - run_layers(net, DOCS)) / np.abs(score)
            expected = expected + weight[:, None, None] * activations[..., channel, None]
        net[-1].set_weights([kernel, bias])
        targets = np.tile([0, 1, 2], (3, 1))
        scores, maps = attribute(model, DOCS, targets, method="ablation-cam", layer="top")
        np.testing.assert_allclose(scores, score, atol=1e-6)
        maps = np.moveaxis(maps, 1, -1)
        assert_close(maps, expected)

    @pytest.mark.parametrize("docs", [DOCS, DOCS[:1]])
    def test_at_the_input_layer(self, docs):
        model, kernel = linear_model(*SHAPE[:2], channels=SHAPE[2])
        photo = keras.Input(SHAPE, name="photo")
        model = keras.Model(photo, model(photo))
        scores, maps = attribute(model, docs, 1, method="ablation-cam", layer="photo")
        drops = np.einsum("bhwc,hwc->bc", docs, kernel[..., 1])
        expected = np.einsum("bc,bhwc->bhw", drops / np.abs(scores)[:, None], docs)
        assert_close(maps, expected, tolerance=1e-4)

    def test_reshape_that_keeps_the_channels_and_one_that_does_not(self):
        model = functional(net_layers())
        _, expected = attribute(model, DOCS, 1, method="ablation-cam", layer="top")

        def flipped(tensor):
            return keras.ops.flip(tensor, axis=1)

        _, maps = attribute(model, DOCS, 1, method="ablation-cam", layer="top", reshape=flipped)
        np.testing.assert_allclose(maps, expected[:, ::-1], atol=1e-5)
        for wrong in (
            lambda tensor: keras.ops.flip(tensor, axis=-1),
            lambda tensor: keras.ops.sum(tensor, axis=-1, keepdims=True),
        ):
            with pytest.raises(ValueError, match="reshape must keep its last axis"):
                attribute(model, DOCS, 1, method="ablation-cam", layer="top", reshape=wrong)

    def test_only_the_rest_of_the_model_runs_for_each_channel(self):
        """Up to the layer one row runs; after it, as many as there are tries."""
        net = net_layers()
        before, after = [], []

        def spy(rows):
            return lambda output: rows.append(output.shape[0]) or output

        with forward_hook(net[0], spy(before)), forward_hook(net[5], spy(after)):
            attribute(functional(net), DOCS[:1], 1, method="ablation-cam", layer="top")
        assert set(before) == {1}
        assert 1 + 6 in after

    @pytest.mark.parametrize("kind", ["concatenated", "added", "reshaped"])
    def test_rest_that_depends_on_more_than_the_layer(self, kind):
        """What comes before the layer goes around it as well: the whole model has to run."""
        left = layers.Conv2D(4, 3, padding="same", name="left")
        ablated = layers.Conv2D(4, 3, padding="same", name="ablated")
        inputs = keras.Input(SHAPE)
        x = left(inputs)
        y = ablated(x)
        if kind == "reshaped":
            y = BatchOfItsInput()([inputs, y])
        joined = layers.Concatenate()([x, y]) if kind == "concatenated" else layers.Add()([x, y])
        pooled = layers.GlobalAveragePooling2D()(layers.ReLU()(joined))
        model = keras.Model(inputs, layers.Dense(CLASSES, activation="softmax")(pooled))
        score = predict(model, DOCS)
        kernel, bias = ablated.get_weights()
        once = keras.Model(inputs, y)
        activations = predict(once, DOCS)
        expected = 0
        for channel in range(4):
            without = [kernel.copy(), bias.copy()]
            without[0][..., channel] = without[1][channel] = 0
            ablated.set_weights(without)
            weight = 1 - predict(model, DOCS) / score
            expected = expected + weight[:, None, None] * activations[..., channel, None]
        ablated.set_weights([kernel, bias])
        for _ in range(2):
            _, maps = attribute(model, DOCS, 1, method="ablation-cam", layer="ablated")
            scale = np.abs(expected).max()
            np.testing.assert_allclose(maps, expected[..., 1], atol=1e-4 * scale)

    def test_layer_that_is_called_twice(self):
        """The map is of the last call, and so is what is left out: as of a copy of the layer."""

        def model_of(first, last):
            inputs = keras.Input(SHAPE)
            y = last(first(layers.Conv2D(4, 1, name="before", kernel_initializer="ones")(inputs)))
            pooled = layers.GlobalAveragePooling2D()(layers.ReLU()(y))
            head = layers.Dense(CLASSES, kernel_initializer="ones", activation="softmax")
            return keras.Model(inputs, head(pooled))

        twice = layers.Conv2D(4, 3, padding="same", name="twice")
        shared = model_of(twice, twice)
        apart = model_of(
            layers.Conv2D(4, 3, padding="same", name="a"),
            layers.Conv2D(4, 3, padding="same", name="b"),
        )
        for name in ("a", "b"):
            apart.get_layer(name).set_weights(twice.get_weights())
        _, maps = attribute(shared, DOCS, 1, method="ablation-cam", layer="twice", logits=True)
        _, expected = attribute(apart, DOCS, 1, method="ablation-cam", layer="b", logits=True)
        assert np.ptp(expected) > 0
        assert_close(maps, expected)

    def test_negative_score_does_not_turn_the_map_round(self):
        """What keeps a score from falling lower speaks for it, also where it is below zero."""
        model = functional(net_layers(None))
        kernel, _ = model.layers[-1].get_weights()
        maps = []
        for bias in (9, -9):
            model.layers[-1].set_weights([kernel, np.full(CLASSES, bias)])
            score, found = attribute(model, DOCS, 1, method="ablation-cam", layer="top")
            maps.append(found * np.abs(score)[:, None, None])
        np.testing.assert_allclose(maps[0], maps[1], atol=1e-4)

    def test_score_of_zero_is_not_divided_by(self):
        model = functional(net_layers(None))
        kernel, bias = model.layers[-1].get_weights()
        model.layers[-1].set_weights([0 * kernel, 0 * bias])
        _, maps = attribute(model, DOCS, 1, method="ablation-cam", layer="top")
        assert (maps == 0).all()


@keras.saving.register_keras_serializable("tests")
class BatchOfItsInput(keras.layers.Layer):
    """Reshape to as many rows as another tensor has: it is wrong with more."""

    def call(self, tensors):
        like, x = tensors
        return keras.ops.reshape(x, (keras.ops.shape(like)[0], *SHAPE[:2], 4))

    def compute_output_shape(self, shapes):
        return shapes[1]


class TestOcclusion:
    @pytest.mark.parametrize("fill", [0.0, -0.7, None])
    @pytest.mark.parametrize(
        ("shape", "window", "stride"),
        [
            ((10, 2), 3, 2),
            ((7, 9, 3), 2, 1),
            ((7, 9, 1), (3, 4), (2, 3)),
            ((8, 17, 2), None, None),
            ((9, 9, 1), 2, 4),
            ((5, 4, 6, 2), 2, 2),
        ],
    )
    def test_linear_model_has_a_closed_form(self, shape, window, stride, fill):
        """A hidden window costs the sum of weight times what is taken away."""
        *grid, channels = shape
        rank = len(grid)
        model, kernel = linear_model(*grid, channels=channels)
        docs = noise(2, *shape)
        hides = docs.mean(axis=tuple(range(1, len(shape))), keepdims=True) if fill is None else fill
        costs = np.einsum("b...k,...kt->b...t", docs - hides, kernel)
        method = Occlusion(window, stride, fill)
        scores, maps = attribute(model, docs, [[0, 2]] * 2, method=method)
        np.testing.assert_allclose(scores, predict(model, docs)[:, [0, 2]], rtol=1e-5)
        sizes = [-(-n // 8) for n in grid] if window is None else np.broadcast_to(window, len(grid))
        steps = (
            [-(-n // 2) for n in sizes] if stride is None else np.broadcast_to(stride, len(grid))
        )
        total, count = np.zeros_like(costs), np.zeros(grid)
        for corner in self.corners(grid, sizes, steps):
            hidden = tuple(slice(at, at + size) for at, size in zip(corner, sizes))
            axes = tuple(range(1, 1 + rank))
            total[(slice(None), *hidden)] += costs[(slice(None), *hidden)].sum(axes, keepdims=True)
            count[hidden] += 1
        expected = np.moveaxis(total, -1, 1)[:, [0, 2]] / np.maximum(count, 1)
        np.testing.assert_allclose(maps, expected, atol=1e-4)

    def corners(self, grid, sizes, steps):
        """Where windows begin: step by step, and once where the axis ends."""
        starts = [
            [*range(0, n - size, step), n - size] for n, size, step in zip(grid, sizes, steps)
        ]
        return np.stack(np.meshgrid(*starts), axis=-1).reshape(-1, len(grid)).tolist()

    @pytest.mark.parametrize("grid", [(30,), (12, 9), (6, 5, 4)])
    def test_finds_the_one_pixel(self, grid):
        pixel = tuple(size // 3 for size in grid)
        model, doc = model_of_one_pixel(pixel, grid), noise(1, *grid, 1, low=0.5)
        _, maps = attribute(model, doc, [[0, 1]], method=Occlusion(window=1, stride=1, fill=0))
        expected = np.zeros(grid)
        expected[pixel] = 3 * doc[0][pixel][0]
        np.testing.assert_allclose(maps[0], [expected, -expected], atol=1e-5)

    def test_window_that_does_not_fit_is_refused(self):
        model, _ = linear_model(6, 8, channels=1)
        for method, name in [
            (Occlusion(window=7), "window"),
            (Occlusion(window=0), "window"),
            (Occlusion(window=(2, 2, 2)), "window"),
            (Occlusion(window=2, stride=0), "stride"),
        ]:
            with pytest.raises(ValueError, match=rf"{name} must be .*\(6, 8\).*Received"):
                attribute(model, noise(1, 6, 8, 1), 0, method=method)


class TestRISE:
    @pytest.mark.parametrize("grid", [(30,), (12, 9), (6, 5, 4)])
    def test_finds_the_one_pixel(self, grid):
        pixel = tuple(size // 3 for size in grid)
        model, doc = model_of_one_pixel(pixel, grid), noise(1, *grid, 1, low=0.5)
        _, maps = attribute(model, doc, [[0, 1]], method=RISE(masks=3000, cells=5))
        assert np.unravel_index(maps[0, 0].argmax(), grid) == pixel
        assert np.unravel_index(maps[0, 1].argmin(), grid) == pixel

    def test_is_the_loop_of_the_paper(self):
        """A grid of 3x3 cells of 4x4 pixels, enlarged to 4x4 cells and cut to 3x3 somewhere."""
        net = net_layers()
        method = RISE(masks=20, cells=3, probability=0.4, fill=0.2, seed=6)
        _, maps = attribute(functional(net), DOCS, 2, method=method)
        random = np.random.default_rng(6)
        cells = random.random((20, 3, 3)) < 0.4
        shifts = random.integers([4, 4], size=(20, 2))
        expected = 0
        for grid, (down, right) in zip(cells, shifts):
            large = keras.ops.image.resize(grid[..., None].astype("float32"), (16, 16), "bilinear")
            mask = keras.ops.convert_to_numpy(large)[down : down + 12, right : right + 12]
            scores = run_layers(net, DOCS * mask + 0.2 * (1 - mask))[:, 2]
            expected = expected + scores[:, None, None] * mask[..., 0] / (20 * 0.4)
        np.testing.assert_allclose(maps, expected, atol=1e-5)

    @pytest.mark.parametrize("probability", [0.1, 0.5, 0.8])
    def test_is_unbiased(self, probability):
        """Of a score that depends on nothing, the map is that score at every pixel."""
        model, kernel = linear_model(10, 11, channels=1)
        model.layers[-1].set_weights([0 * kernel.reshape(-1, 3), np.array([1, 2, 3])])
        method = RISE(masks=20000, cells=4, probability=probability)
        _, maps = attribute(model, noise(1, 10, 11, 1), 2, method=method, batch_size=500)
        np.testing.assert_allclose(maps, 3, rtol=0.06)
        assert abs(maps.mean() - 3) < 0.03

    def test_open_masks_give_the_score_everywhere(self):
        model = functional(net_layers())
        scores, maps = attribute(model, DOCS, 1, method=RISE(masks=5, probability=1.0))
        np.testing.assert_allclose(maps, np.broadcast_to(scores[:, None, None], maps.shape), 1e-5)

    def test_masks_move_less_than_a_cell(self):
        is_open = np.eye(3, dtype=bool)[None].repeat(16, 0)
        shifts = np.stack(np.divmod(np.arange(16), 4), axis=1)
        masks = _shifted(is_open, shifts, [4, 4], (12, 12))
        assert masks.shape == (16, 12, 12)
        assert_close(masks[5, :-1, :-1], masks[0, 1:, 1:])
        assert masks.min() == 0
        assert masks.max() == 1

    def test_seed_decides(self):
        model = functional(net_layers())
        maps = [attribute(model, DOCS, 1, method=RISE(20, seed=seed))[1] for seed in (0, 0, 1)]
        assert_close(maps[0], maps[1])
        assert np.abs(maps[0] - maps[2]).max() > 0.01

    @pytest.mark.parametrize("wrong", [{"masks": 0}, {"cells": 0}, {"probability": 0}])
    def test_wrong_parameters_are_named(self, wrong):
        [name] = wrong
        with pytest.raises(ValueError, match=f"{name}.*Received: .*{name}=0"):
            RISE(**wrong)


@each_method
class TestEachMethodThatTries:
    def test_batch_size_does_not_matter(self, method):
        model = functional(net_layers())
        answers = [attribute(model, DOCS, 1, method=method, batch_size=n) for n in (3, 7, 1000)]
        for _, maps in answers[:2]:
            np.testing.assert_allclose(maps, answers[2][1], atol=1e-5)

    def test_chunks_are_of_one_size_and_within_the_batch_size(self, method, asked):
        model = functional(net_layers())
        attribute(model, DOCS, 1, method=method, batch_size=4)
        assert max(asked) <= 4
        assert len(set(asked[1:])) <= 2

    def test_best_class_stays_the_one_of_the_input(self, method):
        net = net_layers(None)
        kernel, bias = net[-1].get_weights()
        net[-1].set_weights([kernel, bias - run_layers(net, DOCS).mean(axis=0)])
        model = functional(net)
        best = run_layers(net, DOCS).argmax(axis=1)
        _, maps = attribute(model, DOCS, method=method)
        _, expected = attribute(model, DOCS, best, method=method)
        np.testing.assert_allclose(maps, expected, atol=1e-6)
        assert len(set(best)) > 1

    def test_callable_target(self, method):
        model = functional(net_layers())
        scores, maps = attribute(model, DOCS, lambda y: y[:, 1], method=method)
        expected_scores, expected = attribute(model, DOCS, 1, method=method)
        np.testing.assert_allclose(scores, expected_scores, atol=1e-6)
        np.testing.assert_allclose(maps, expected, atol=1e-5)

    def test_random_state_of_the_user_is_left_alone(self, method):
        model = functional(net_layers())
        np.random.seed(3)  # noqa: NPY002
        expected = np.random.random()  # noqa: NPY002
        np.random.seed(3)  # noqa: NPY002
        attribute(model, DOCS, 1, method=method)
        assert np.random.random() == expected  # noqa: NPY002

    def test_progress_bar(self, method, capsys):
        model = functional(net_layers())
        attribute(model, DOCS[:1], method=method, batch_size=4)
        assert capsys.readouterr().err == ""
        attribute(model, DOCS[:1], method=method, batch_size=4, progress=True)
        assert "100%" in capsys.readouterr().err

    def test_batch_size_and_progress_of_an_explanation(self, method, asked, capsys):
        model = functional(net_layers())
        for progress in (None, False):
            explain_prediction(model, DOCS[:1], method=method, progress=progress)
            assert capsys.readouterr().err == ""
        asked.clear()
        explain_prediction(model, DOCS[:1], method=method, batch_size=2, progress=True)
        assert "100%" in capsys.readouterr().err
        assert max(asked) == 2 or isinstance(method, AblationCAM)
        asked.clear()
        list(explain_predictions(model, DOCS, method=method, batch_size=2))
        assert max(asked) == 2
        assert capsys.readouterr().err == ""

    def test_what_only_fills_a_batch_up_is_not_tried(self, method, asked):
        """Of five samples, the last is alone in a batch of four."""
        model = functional(net_layers())
        docs = np.concatenate([DOCS, DOCS[:2]])
        attribute(model, docs[:4], 1, method=method, batch_size=4)
        of_four = sum(asked)
        asked.clear()
        attribute(model, docs, 1, method=method, batch_size=4)
        assert sum(asked) < 1.5 * of_four

    def test_whole_numbers_as_inputs(self, method):
        """Pixels of a model that takes integers stay integers when they are masked."""
        net = net_layers()
        inputs = keras.Input(SHAPE, dtype="uint8")
        model = keras.Model(inputs, functional(net)(layers.Rescaling(1 / 255)(inputs)))
        docs = np.random.default_rng(0).integers(0, 256, (2, *SHAPE)).astype("uint8")
        scores, maps = attribute(model, docs, 1, method=method, layer="top")
        np.testing.assert_allclose(scores, run_layers(net, docs / np.float32(255))[:, 1], atol=1e-5)
        assert np.isfinite(maps).all()
        assert np.ptp(maps) > 0


class Turned(keras.layers.Layer):
    """Layers that have their channels last, in a model that has them first."""

    data_format = "channels_first"

    def __init__(self, net):
        super().__init__(name="turned")
        self.net = net

    def call(self, x):
        return keras.ops.moveaxis(run_in_model(self.net, keras.ops.moveaxis(x, 1, -1)), -1, 1)


def run_in_model(net, x):
    for layer in net:
        x = layer(x)
    return x


@pytest.mark.parametrize(
    "method", [*FEW_TRIES.values(), Smooth(samples=3), TTA()], ids=[*FEW_TRIES, "smooth", "tta"]
)
def test_channels_first(method):
    net = net_layers()
    pool = layers.GlobalAveragePooling2D(data_format="channels_first")
    model = keras.Sequential([keras.Input((3, 12, 12)), Turned(net[:5]), pool, net[6]])
    _, maps = attribute(model, np.moveaxis(DOCS, -1, 1), 1, method=method)
    _, expected = attribute(functional(net_layers()), DOCS, 1, method=method, layer="top")
    assert_close(maps, expected)


class TestChunks:
    @settings(deadline=None)
    @given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 33))
    def test_each_try_of_each_sample_is_there_once(self, batch, tries, batch_size):
        docs = np.zeros((batch, 2, 2, 1))
        options = Options(batch_size=batch_size, progress=False)
        run = Run(None, FakeSurvey, docs, Target(), options=options)
        counts = np.zeros((batch, tries))
        sizes = []
        for chunk in chunks(run, tries):
            kept = slice(chunk.n_valid)
            np.add.at(counts, (chunk.samples[kept], chunk.numbers[kept]), 1)
            sizes.append(len(chunk.samples))
        assert (counts == 1).all()
        assert len(set(sizes)) == 1
        assert sizes[0] <= batch_size
        assert sum(sizes) - batch * tries < len(sizes)

    def test_whole_numbers_are_rounded_and_do_not_run_over(self):
        run = Run(None, FakeSurvey, np.zeros((1, 2, 2, 1), "uint8"), Target())
        noisy = np.array([-3, 300, 7.6, 255.4], "float32").reshape(1, 2, 2, 1)
        image = run.perturbed(noisy, np.zeros(1, int)).image
        assert image.dtype == "uint8"
        assert image.ravel().tolist() == [0, 255, 8, 255]


class FakeSurvey:
    """What a run needs to know to find its picture."""

    image_index = 0
    channels_first = False
    fixed_batch = None
    image_shape = (1, 2, 2, 1)
    input_shapes = (image_shape,)
    embeddings = ()
