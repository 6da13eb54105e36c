"""A stream of documents: in order, past the bad ones, and no more held than a chunk."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import eli5k
from eli5k import explain_prediction, explain_predictions
from tests.close import assert_close
from tests.zoo import SHAPE, closed_form, functional, net_layers, noise

pytestmark = pytest.mark.filterwarnings("ignore::eli5k.BlankMapWarning")

DOCS = noise(7, *SHAPE, seed=1)


def assert_explains_all(explanations, docs=DOCS, target=1):
    net = net_layers()
    explanations = list(explanations)
    assert len(explanations) == len(docs)
    for explanation, doc in zip(explanations, docs):
        expected = closed_form(net, doc[np.newaxis], target)
        assert_close(explanation.targets[0].attribution, expected)
        assert explanation.image.size == SHAPE[:2]
        assert explanation.error == ""


@pytest.fixture
def model():
    return functional(net_layers())


class TestDocuments:
    @pytest.mark.parametrize(
        "docs",
        [
            lambda: DOCS,
            lambda: list(DOCS),
            lambda: (doc for doc in DOCS),
            lambda: [doc[np.newaxis] for doc in DOCS],
            lambda: keras.ops.convert_to_tensor(DOCS),
            lambda: iter([DOCS[:3], DOCS[3:]]),
            lambda: iter([(DOCS[:3], np.zeros(3)), (DOCS[3:], np.zeros(4))]),
        ],
        ids=["array", "list", "generator", "batches of one", "tensor", "batches", "with labels"],
    )
    @pytest.mark.parametrize("batch_size", [1, 3, 32])
    def test_each_kind_of_stream(self, model, docs, batch_size):
        assert_explains_all(explain_predictions(model, docs(), batch_size=batch_size, targets=[1]))

    @pytest.mark.parametrize("labels", [False, True])
    @pytest.mark.parametrize("batches", [False, True])
    def test_dataset_of_tensorflow(self, model, labels, batches):
        data = pytest.importorskip("tensorflow").data
        parts = (DOCS, np.arange(7)) if labels else DOCS
        dataset = data.Dataset.from_tensor_slices(parts)
        dataset = dataset.batch(3) if batches else dataset
        assert_explains_all(explain_predictions(model, dataset, targets=[1]))

    def test_paths_and_pictures(self, model, tmp_path):
        pictures = [
            Image.fromarray(noise(*SHAPE, seed=seed, low=0, high=255).astype("uint8"))
            for seed in range(4)
        ]
        paths = [tmp_path / f"{index}.png" for index in range(4)]
        for picture, path in zip(pictures, paths):
            picture.save(path)
        arrays = [np.asarray(picture, "float32") / 255 for picture in pictures]
        for docs in (pictures, paths, list(map(str, paths)), [paths[0], *pictures[1:]]):
            stream = explain_predictions(model, docs, preprocess=lambda x: x / 255, targets=[1])
            assert_explains_all(stream, arrays)

    def test_several_inputs(self):
        photo, facts = keras.Input(SHAPE, name="photo"), keras.Input((2,), name="facts")
        x = layers.GlobalAveragePooling2D()(layers.Conv2D(3, 3, name="conv")(photo))
        model = keras.Model([photo, facts], layers.Dense(2)(layers.Concatenate()([x, facts])))
        numbers = noise(7, 2, seed=4)
        one_by_one = [
            explain_prediction(model, [photo, facts], targets=[1]).targets[0].attribution
            for photo, facts in zip(DOCS[:, np.newaxis], numbers[:, np.newaxis])
        ]
        streams = {
            "rows": [[photo, facts] for photo, facts in zip(DOCS, numbers)],
            "dicts": [{"photo": photo, "facts": facts} for photo, facts in zip(DOCS, numbers)],
            "dict of arrays": {"photo": DOCS, "facts": numbers},
            "batches": [[DOCS[:3], numbers[:3]], [DOCS[3:], numbers[3:]]],
        }
        for name, docs in streams.items():
            maps = [
                explanation.targets[0].attribution
                for explanation in explain_predictions(model, docs, targets=[1])
            ]
            np.testing.assert_allclose(maps, one_by_one, atol=1e-6, err_msg=name)

    def test_pictures_of_several_sizes(self):
        net = net_layers()
        inputs = x = keras.Input((None, None, 3))
        for layer in net:
            x = layer(x)
        model = keras.Model(inputs, x)
        docs = [noise(size, 12, 3, seed=size) for size in (12, 12, 16, 12, 16, 16, 20)]
        explanations = list(explain_predictions(model, docs, batch_size=2, targets=[1]))
        assert [explanation.image.height for explanation in explanations] == [
            len(doc) for doc in docs
        ]
        for explanation, doc in zip(explanations, docs):
            np.testing.assert_allclose(
                explanation.targets[0].attribution,
                closed_form(net, doc[np.newaxis], 1),
                atol=1e-5,
            )

    @pytest.mark.parametrize("docs", [[], np.zeros((0, *SHAPE)), iter(())], ids=type)
    def test_nothing(self, model, docs):
        assert list(explain_predictions(model, docs)) == []


def _scale(pixels):
    return pixels / 127.5 - 1


class TestBadDocuments:
    def test_come_back_with_their_error_and_in_their_place(self, model, tmp_path):
        broken = tmp_path / "broken.png"
        broken.write_bytes(b"no picture")
        good = Image.fromarray(noise(*SHAPE, low=0, high=255).astype("uint8"))
        docs = [good, broken, "missing.png", noise(3, 3, 3), good, 7, object(), good]
        for batch_size in (1, 2, 32):
            stream = explain_predictions(model, docs, batch_size, preprocess=_scale)
            explanations = list(stream)
            errors = [explanation.error for explanation in explanations]
            assert [bool(error) for error in errors] == [bool(doc is not good) for doc in docs]
            assert "broken.png" in errors[1]
            assert "missing.png" in errors[2]
            assert "(3, 3, 3)" in errors[3]
            assert "TypeError" in errors[5]
            assert [explanation.targets is None for explanation in explanations] == [
                bool(error) for error in errors
            ]

    def test_only_bad_ones(self, model):
        explanations = list(explain_predictions(model, ["a.png", "b.png"]))
        assert [explanation.error[:17] for explanation in explanations] == ["FileNotFoundError"] * 2

    def test_bomb(self, model, tmp_path, monkeypatch):
        path = tmp_path / "bomb.png"
        Image.new("L", (100, 100)).save(path)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
        [explanation] = explain_predictions(model, [path])
        assert "DecompressionBombError" in explanation.error

    def test_argument_that_is_wrong_for_all_ends_the_run(self, model):
        with pytest.raises(ValueError, match="layer 'tpo'"):
            list(explain_predictions(model, DOCS, layer="tpo"))
        with pytest.raises(TypeError, match="targets must be a list"):
            list(explain_predictions(model, DOCS, targets=1.5))
        # What needs no document to be seen is said at once.
        with pytest.raises(ValueError, match="batch_size"):
            explain_predictions(model, DOCS, batch_size=0)
        with pytest.raises(TypeError, match="Did you mean 'targets'"):
            explain_predictions(model, DOCS, target=[1])


class TestStream:
    def test_is_lazy_and_holds_a_chunk(self, model):
        """It has read no more than one chunk and one document ahead of what it gave."""
        read = []

        def docs():
            for index, doc in enumerate(noise(40, *SHAPE)):
                read.append(index)
                yield doc

        stream = explain_predictions(model, docs(), batch_size=4, targets=[1])
        assert read == []
        for given, _ in enumerate(stream):
            assert len(read) <= 4 * (given // 4 + 1) + 1
        assert len(read) == 40

    def test_endless(self, model):
        def endless():
            while True:
                yield DOCS[0]

        stream = explain_predictions(model, endless(), batch_size=2, targets=[1])
        assert_explains_all((next(stream) for _ in range(5)), [DOCS[0]] * 5)
        stream.close()

    def test_one_run_of_the_model_for_a_chunk(self):
        batches = []

        class Sees(layers.Layer):
            def call(self, x):
                batches.append(x.shape[0])
                return x

        net = net_layers()
        model = keras.Sequential([keras.Input(SHAPE), *net[:5], Sees(), *net[5:]])
        stream = explain_predictions(model, DOCS[:6], batch_size=3, targets=[1], layer="top")
        batches.clear()
        list(stream)
        # The survey and the eager run; a compiled one is only traced.
        assert batches[:2] == [1, 3]
        assert set(batches[2:]) <= {3}

    def test_progress(self, model, capsys):
        list(explain_predictions(model, DOCS, progress=True, targets=[1]))
        assert "7/7" in capsys.readouterr().err
        for quiet in (None, False):
            list(explain_predictions(model, DOCS, progress=quiet, targets=[1]))
            assert capsys.readouterr().err == ""

    def test_preprocess(self, model):
        docs = noise(3, *SHAPE, low=0, high=255)
        stream = explain_predictions(model, docs, preprocess=lambda x: x / 127.5 - 1, targets=[1])
        net = net_layers()
        for explanation, doc in zip(stream, docs):
            np.testing.assert_allclose(
                explanation.targets[0].attribution,
                closed_form(net, doc[np.newaxis] / 127.5 - 1, 1),
                atol=1e-6,
            )

    def test_best_targets_and_names_of_each(self, model):
        docs = DOCS + noise(7, 1, 1, 3, seed=3, low=-0.1, high=0.1)
        names = ["a", "b", "c"]
        stream = explain_predictions(model, docs, target_names=names, top_targets=2)
        for explanation, doc in zip(stream, docs):
            alone = explain_prediction(model, doc, target_names=names, top_targets=2)
            assert [target.target for target in explanation.targets] == [
                target.target for target in alone.targets
            ]

    def test_warns_of_several_outputs_and_of_blank_maps(self):
        net = net_layers(activation=None)
        kernel, bias = net[-1].get_weights()
        net[-1].set_weights([-np.abs(kernel), bias])
        with pytest.warns(eli5k.BlankMapWarning, match="negative"):
            list(explain_predictions(functional(net), DOCS[:3], targets=[1]))
