"""Many samples at once: each gets the scores and the map that it gets alone."""

from __future__ import annotations

import importlib.util
import pickle
import weakref

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import eli5k
from eli5k import explain_prediction
from eli5k.keras import attribute
from eli5k.keras.methods import full_gradient_parts
from tests.close import assert_close
from tests.zoo import (
    CLASSES,
    SHAPE,
    STRUCTURES,
    closed_form,
    from_differences,
    functional,
    net_layers,
    noise,
    run_in_numpy,
)

DOCS = noise(7, *SHAPE, seed=1)


def expected_maps(net, docs, targets):
    """Of one class for each document."""
    return np.stack(
        [closed_form(net, doc[np.newaxis], target) for doc, target in zip(docs, targets)]
    )


def assert_maps(maps, expected):
    assert_close(maps, expected)


class TestValues:
    @pytest.mark.parametrize("structure", STRUCTURES)
    def test_any_structure(self, structure):
        net = net_layers()
        scores, maps = attribute(STRUCTURES[structure](net_layers()), DOCS, 1)
        assert (scores.dtype, maps.dtype) == (np.float32, np.float32)
        np.testing.assert_allclose(scores, run_in_numpy(net, DOCS)[:, 1], atol=1e-6)
        assert_maps(maps, expected_maps(net, DOCS, [1] * len(DOCS)))

    @pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 100])
    def test_any_size_of_chunks(self, batch_size):
        net = net_layers()
        targets = [0, 1, 2, 0, 1, 2, 0]
        scores, maps = attribute(functional(net), DOCS, targets, batch_size=batch_size)
        np.testing.assert_allclose(
            scores, run_in_numpy(net, DOCS)[np.arange(7), targets], atol=1e-6
        )
        assert_maps(maps, expected_maps(net, DOCS, targets))

    def test_is_what_each_sample_gets_alone(self):
        model = functional(net_layers())
        scores, maps = attribute(model, DOCS, batch_size=3)
        for doc, score, map_ in zip(DOCS, scores, maps):
            [target] = explain_prediction(functional(net_layers()), doc).targets
            np.testing.assert_allclose(map_, target.attribution, atol=1e-6)
            assert score == pytest.approx(target.score, abs=1e-6)

    def test_samples_do_not_touch_each_other(self):
        model = functional(net_layers())
        _, alone = attribute(model, DOCS[:1], 2)
        for _ in range(2):
            _, together = attribute(model, np.concatenate([DOCS[:1], 100 * DOCS[1:]]), 2)
            np.testing.assert_allclose(together[0], alone[0], atol=1e-6)

    def test_one_sample_that_is_not_finite_spoils_no_other(self):
        model = functional(net_layers())
        docs = DOCS.copy()
        docs[3] = np.nan
        clean, spoilt = attribute(model, DOCS, 2), attribute(model, docs, 2)
        others = [0, 1, 2, 4, 5, 6]
        for one, other in zip(clean, spoilt):
            np.testing.assert_allclose(one[others], other[others], atol=1e-6)


class TestTargets:
    def test_best_of_each_sample(self):
        net = net_layers()
        docs = DOCS + noise(7, 1, 1, 3, seed=3, low=-3, high=3)
        best = run_in_numpy(net, docs).argmax(axis=1)
        scores, maps = attribute(functional(net), docs)
        np.testing.assert_allclose(scores, run_in_numpy(net, docs).max(axis=1), atol=1e-6)
        assert_maps(maps, expected_maps(net, docs, best))

    @pytest.mark.parametrize("kind", [list, tuple, np.array, np.int64])
    def test_one_class_a_sample(self, kind):
        net = net_layers()
        targets = 2 if kind is np.int64 else [2, 1, 0, 2, 1, 0, 2]
        _, maps = attribute(functional(net), DOCS, kind(targets))
        assert maps.shape == (7, 4, 4)
        assert_maps(maps, expected_maps(net, DOCS, np.broadcast_to(targets, 7)))

    def test_several_classes_a_sample(self):
        net = net_layers()
        targets = np.array([[0, 1], [1, 2], [2, 2], [0, 2], [1, 0], [2, 1], [0, 0]])
        scores, maps = attribute(functional(net), DOCS, targets, batch_size=3)
        assert (scores.shape, maps.shape) == ((7, 2), (7, 2, 4, 4))
        for column in range(2):
            assert_maps(maps[:, column], expected_maps(net, DOCS, targets[:, column]))
        one = attribute(functional(net), DOCS, targets[:, :1])
        assert (one[0].shape, one[1].shape) == ((7, 1), (7, 1, 4, 4))

    def test_callable(self):
        net = net_layers(activation=None)

        def rather(outputs):
            return outputs[:, 1] - outputs[:, 2]

        _, maps = attribute(functional(net), DOCS, rather, batch_size=3)
        one, two = (expected_maps(net, DOCS, [target] * 7) for target in (1, 2))
        assert_maps(maps, one - two)

    @pytest.mark.parametrize(
        ("targets", "error", "message"),
        [
            (3, ValueError, r"targets must be in \[0, 3\).*3"),
            ([0, 1, 2, 0, 1, 2, -1], ValueError, r"targets must be in \[0, 3\).*-1"),
            ([0, 1], ValueError, "targets.*7 samples.*2 rows"),
            (np.zeros((2, 7), int), ValueError, "targets.*7 samples.*2 rows"),
            (np.zeros((7, 1, 1), int), TypeError, "targets must be"),
            ([], TypeError, "targets must be"),
            (np.zeros((7, 0), int), TypeError, "targets must be"),
            (1.0, TypeError, "targets must be.*1.0"),
            (["cat"] * 7, TypeError, "targets must be"),
        ],
    )
    def test_bad_targets_are_named(self, targets, error, message):
        with pytest.raises(error, match=f"(?s){message}"):
            attribute(functional(net_layers()), DOCS, targets)


class TestArguments:
    def test_layer_and_logits(self):
        linear = net_layers(activation=None)
        scores, maps = attribute(functional(net_layers()), DOCS[:3], 1, layer="pool", logits=True)
        np.testing.assert_allclose(scores, run_in_numpy(linear, DOCS[:3])[:, 1], atol=1e-5)
        for doc, map_ in zip(DOCS, maps):
            assert_maps(map_, from_differences(linear, "pool", doc[np.newaxis], 1))

    def test_output(self):
        net = net_layers()
        inputs = x = keras.Input(SHAPE)
        for layer in net[:6]:
            x = layer(x)
        model = keras.Model(inputs, {"a": layers.Dense(4)(x), "b": net[6](x)})
        _, maps = attribute(model, DOCS, 1, output="b")
        assert_maps(maps, expected_maps(net, DOCS, [1] * 7))

    def test_several_inputs(self):
        net = net_layers(activation=None)
        photo, facts = keras.Input(SHAPE, name="photo"), keras.Input((2,), name="facts")
        x = photo
        for layer in net[:6]:
            x = layer(x)
        joined = layers.Concatenate()([x, facts])
        model = keras.Model([photo, facts], layers.Dense(CLASSES, name="joint")(joined))
        kernel, bias = model.get_layer("joint").get_weights()
        net[-1].set_weights([kernel[:6], bias])
        numbers = noise(7, 2, seed=4)
        for docs in ([DOCS, numbers], {"facts": numbers, "photo": DOCS}):
            scores, maps = attribute(model, docs, 1, batch_size=4)
            assert_maps(maps, expected_maps(net, DOCS, [1] * 7))
            expected = run_in_numpy(net, DOCS)[:, 1] + numbers @ kernel[6:, 1]
            np.testing.assert_allclose(scores, expected, atol=1e-5)

    def test_tensor_and_bytes(self):
        docs = (noise(4, *SHAPE, seed=5, low=0, high=255)).astype("uint8")
        model = functional(net_layers())
        expected = attribute(model, docs.astype("float32"), 1, logits=True)
        for given in (docs, keras.ops.convert_to_tensor(docs)):
            for one, other in zip(attribute(model, given, 1, logits=True), expected):
                assert_close(one, other)

    def test_progress_bar(self, capsys):
        attribute(functional(net_layers()), DOCS, 1, batch_size=2)
        assert capsys.readouterr().err == ""
        attribute(functional(net_layers()), DOCS, 1, batch_size=2, progress=True)
        assert "4/4" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("docs", "kwargs", "message"),
        [
            (DOCS[0], {}, r"docs must be of shape \(None, 12, 12, 3\).*Received: \(12, 12, 3\)"),
            (DOCS[:0], {}, "samples"),
            (DOCS, {"batch_size": 0}, "batch_size must be at least 1. Received: 0"),
            (DOCS, {"method": "grad-kam"}, "method.*'grad-kam'.*'grad-cam'"),
            (DOCS, {"layer": "tpo"}, "layer 'tpo'.*'top'"),
            (DOCS, {"output": 1}, "output.*Received: 1"),
        ],
    )
    def test_bad_arguments_are_named(self, docs, kwargs, message):
        with pytest.raises(ValueError, match=f"(?s){message}"):
            attribute(functional(net_layers()), docs, **kwargs)


def test_first_of_several_outputs_is_explained_with_a_warning():
    net = net_layers()
    x = inputs = keras.Input(SHAPE)
    for layer in net[:6]:
        x = layer(x)
    model = keras.Model(inputs, [net[6](x), layers.Dense(4, name="other")(x)])
    with pytest.warns(eli5k.AmbiguousOutputWarning, match="'other'.*output="):
        _, maps = attribute(model, DOCS, 1)
    assert_maps(maps, expected_maps(net, DOCS, [1] * 7))


def test_parts_of_the_full_gradient_are_a_list_of_maps():
    model = functional(net_layers(None))
    scores, parts = attribute(model, DOCS, 1, method=full_gradient_parts, batch_size=3)
    sums = sum(part.reshape(len(DOCS), -1).sum(axis=1) for part in parts)
    np.testing.assert_allclose(sums, scores, atol=1e-5)


@pytest.mark.parametrize("batch_size", [4, 32])
def test_arrays_of_the_user_stay_as_they_are(batch_size):
    docs, targets = DOCS.copy(), np.array([0, 1, 2, 0, 1, 2, 0])
    before = targets.copy()
    docs.flags.writeable = targets.flags.writeable = False
    scores, maps = attribute(functional(net_layers()), docs, targets, batch_size=batch_size)
    np.testing.assert_array_equal(docs, DOCS)
    np.testing.assert_array_equal(targets, before)
    scores += 1  # What comes back is the user's own.
    maps += 1


class TestClasses:
    """Which class each score and map belongs to."""

    @pytest.mark.parametrize("kind", [np.asarray, iter], ids=["array", "stream"])
    def test_best_of_each_sample(self, kind):
        net = net_layers(activation=None)
        kernel, bias = net[-1].get_weights()
        # The samples differ in their best class.
        net[-1].set_weights([kernel, bias - run_in_numpy(net, DOCS).mean(axis=0)])
        found = attribute(functional(net), kind(DOCS), batch_size=3)
        expected = run_in_numpy(net, DOCS).argmax(axis=1)
        assert len(set(expected)) > 1
        np.testing.assert_array_equal(found.classes, expected)
        assert_maps(found.maps, expected_maps(net, DOCS, expected))
        assert found.scores is found[0]

    @pytest.mark.parametrize("kind", [np.asarray, iter], ids=["array", "stream"])
    def test_those_asked_for(self, kind, shared_model):
        several = np.array([[2, 0], [1, 1], [0, 2], [2, 0], [1, 1], [0, 2], [2, 1]])
        for targets, expected in ((2, [2] * 7), (several[:, 0], several[:, 0]), (several, several)):
            found = attribute(shared_model, kind(DOCS), targets, batch_size=3)
            np.testing.assert_array_equal(found.classes, expected)

    def test_one_unit_for_two_classes(self):
        net = [*net_layers()[:-1], layers.Dense(1, activation="sigmoid")]
        model = functional(net)
        expected = [explain_prediction(model, doc).targets[0].target for doc in DOCS]
        assert attribute(model, DOCS).classes.tolist() == expected

    def test_none_of_a_function(self, shared_model):
        assert attribute(shared_model, DOCS, lambda outputs: outputs[:, 1]).classes is None

    def test_of_what_cannot_be_read(self, shared_model):
        docs = [DOCS[0], "none.png", DOCS[1]]
        with pytest.warns(eli5k.ExplanationWarning, match="none.png: NaN"):
            found = attribute(shared_model, docs, 2)
        assert found.classes.tolist() == [2, -1, 2]

    def test_are_kept_by_pickle(self, shared_model):
        found = attribute(shared_model, DOCS, 2)
        kept = pickle.loads(pickle.dumps(found))
        for one, other in zip((*kept, kept.classes), (*found, found.classes)):
            np.testing.assert_array_equal(one, other)


class Batches(keras.utils.PyDataset):
    """Three batches with labels, and more for ever."""

    def __init__(self):
        super().__init__()

    def __len__(self):
        return 3

    def __getitem__(self, index):
        rows = slice(3 * (index % 3), 3 * (index % 3) + 3)
        return DOCS[rows], np.zeros(len(DOCS[rows]))


@pytest.fixture(scope="module")
def shared_model():
    """One model for many tests: on JAX each new one is compiled again."""
    return functional(net_layers())


class TestStreams:
    """Whatever ``explain_predictions`` takes gives the arrays that one array gives."""

    TARGETS = np.array([2, 1, 0, 2, 1, 0, 2])

    @pytest.mark.parametrize(
        "docs",
        [
            lambda: (doc for doc in DOCS),
            lambda: list(DOCS),
            lambda: iter([DOCS[:3], DOCS[3:]]),
            lambda: (DOCS, np.zeros(7)),
            Batches,
        ],
        ids=["generator", "list", "batches", "(x, y)", "data set of Keras"],
    )
    def test_values(self, docs, shared_model):
        net = net_layers()
        both = np.stack([self.TARGETS, self.TARGETS[::-1]], axis=1)
        scores, maps = attribute(shared_model, docs(), both, batch_size=3)
        assert (scores.shape, maps.shape) == ((7, 2), (7, 2, 4, 4))
        for column in range(2):
            expected = run_in_numpy(net, DOCS)[np.arange(7), both[:, column]]
            np.testing.assert_allclose(scores[:, column], expected, atol=1e-6)
            assert_maps(maps[:, column], expected_maps(net, DOCS, both[:, column]))

    @pytest.mark.parametrize("batch_size", [2, 32])
    def test_batches_and_one_target(self, batch_size, shared_model):
        docs = (doc for doc in DOCS)
        scores, maps = attribute(shared_model, docs, self.TARGETS, batch_size=batch_size)
        assert (scores.shape, maps.shape) == ((7,), (7, 4, 4))
        assert_maps(maps, expected_maps(net_layers(), DOCS, self.TARGETS))

    def test_datasets_of_tensorflow_and_pytorch(self, shared_model):
        if importlib.util.find_spec("tensorflow"):
            from tensorflow import data

            dataset = data.Dataset.from_tensor_slices((DOCS, np.zeros(7))).batch(3)
        else:
            torch_data = pytest.importorskip("torch.utils.data")
            dataset = torch_data.DataLoader([(doc, 0) for doc in DOCS], batch_size=3)
        _, maps = attribute(shared_model, dataset, 1, batch_size=3)
        assert_maps(maps, expected_maps(net_layers(), DOCS, [1] * 7))

    def test_signals_and_volumes(self):
        for shape, conv, pool in (
            ((20, 2), layers.Conv1D, layers.GlobalAveragePooling1D),
            ((6, 7, 8, 1), layers.Conv3D, layers.GlobalAveragePooling3D),
        ):
            model = keras.Sequential([keras.Input(shape), conv(2, 3), pool(), layers.Dense(3)])
            docs = noise(4, *shape)
            whole = attribute(model, docs, 1)
            for given in ((doc for doc in docs), list(docs), iter([docs[:3], docs[3:]])):
                for one, other in zip(attribute(model, given, 1, batch_size=3), whole):
                    assert_close(one, other)

    def test_folder(self, shared_model, tmp_path):
        """A file that can't be read keeps its place, with NaN and a warning that names it."""
        pixels = noise(4, *SHAPE, low=0, high=255).astype("uint8")
        for number, each in enumerate(pixels):
            Image.fromarray(each).save(tmp_path / f"{number}.png")
        (tmp_path / "1a.png").write_bytes(b"no picture")
        net = net_layers()
        with pytest.warns(eli5k.ExplanationWarning, match=r"1a\.png: NaN, .*not a picture"):
            scores, maps = attribute(
                shared_model, tmp_path, [0, 1, 2, 2, 0], preprocess=_scale, batch_size=2
            )
        good = [0, 1, 3, 4]
        assert np.isnan(scores[2])
        assert np.isnan(maps[2]).all()
        assert_maps(maps[good], expected_maps(net, _scale(pixels.astype("float32")), [0, 1, 2, 0]))

    def test_preprocess(self, shared_model):
        pixels = noise(4, *SHAPE, low=0, high=255)
        net = net_layers()
        for docs in (pixels, iter(pixels)):
            _, maps = attribute(shared_model, docs, 1, preprocess=_scale, batch_size=3)
            assert_maps(maps, expected_maps(net, _scale(pixels), [1] * 4))

    @pytest.mark.parametrize("labels", [False, True])
    def test_batches_are_not_held(self, labels, shared_model):
        alive, most = [], 0

        def docs():
            nonlocal most
            for _ in range(9):
                batch = DOCS[:2].copy()
                alive.append(weakref.ref(batch))
                most = max(most, sum(each() is not None for each in alive))
                yield (batch, np.zeros(2)) if labels else batch

        attribute(shared_model, docs(), batch_size=4)
        assert most <= 4

    def test_holds_a_batch(self):
        read, taken = [], []

        def docs():
            for number in range(12):
                read.append(number)
                yield DOCS[number % 7]

        def sees(outputs):
            taken.append(len(read))
            return outputs[:, 1]

        attribute(functional(net_layers()), docs(), sees, batch_size=4)
        assert len(read) == 12
        assert min(taken) <= 4

    def test_refused(self, shared_model):
        net = net_layers()
        inputs = x = keras.Input((None, None, 3))
        for layer in net:
            x = layer(x)
        sizes = [noise(size, 12, 3) for size in (12, 16)]
        with pytest.raises(ValueError, match=r"one size.*explain_predictions"):
            attribute(keras.Model(inputs, x), sizes, 1)
        with pytest.raises(ValueError, match=r"one size.*explain_predictions"):
            attribute(keras.Model(inputs, x), sizes, 1, batch_size=1)
        for count in (5, 9):
            with pytest.raises(ValueError, match=f"targets must have one row.* {count} rows"):
                attribute(shared_model, iter(DOCS), np.zeros(count, int))
        with (
            pytest.raises(ValueError, match=r"samples that can be read.*1 samples"),
            pytest.warns(eli5k.ExplanationWarning, match=r"document 0: .*\(3, 3, 3\)"),
        ):
            attribute(shared_model, iter([noise(3, 3, 3)]), 1)


def _scale(pixels):
    return pixels / 127.5 - 1
