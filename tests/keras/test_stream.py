"""A stream of documents: in order, past the bad ones, and no more held than a chunk."""

from __future__ import annotations

import io
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image
from tqdm import tqdm

import eli5k
from eli5k import explain_prediction, explain_predictions
from eli5k.keras import stream
from tests.close import assert_close
from tests.damage import damaged_files
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


def two_inputs():
    photo, facts = keras.Input(SHAPE, name="photo"), keras.Input((2,), name="facts")
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(3, 3, name="conv")(photo))
    return keras.Model([photo, facts], layers.Dense(2)(layers.Concatenate()([x, facts])))


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

    @pytest.mark.parametrize(
        ("shape", "conv", "pool"),
        [
            ((20, 2), layers.Conv1D, layers.GlobalAveragePooling1D),
            ((6, 7, 8, 1), layers.Conv3D, layers.GlobalAveragePooling3D),
        ],
        ids=["signals", "volumes"],
    )
    def test_documents_of_other_ranks(self, shape, conv, pool):
        """Grad-CAM of a mean over a linear map is the activations times its weights."""
        first, last = conv(2, 3, name="conv"), layers.Dense(3, name="dense")
        model = keras.Sequential([keras.Input(shape), first, pool(), last])
        docs = noise(5, *shape)
        activations = keras.ops.convert_to_numpy(first(docs))
        kernel = last.get_weights()[0] / np.prod(activations.shape[1:-1])
        streams = [docs, iter(docs), iter([docs[:3], docs[3:]]), iter([(docs, np.zeros(5))])]
        for stream_ in streams:
            found = list(explain_predictions(model, stream_, batch_size=3, targets=[1]))
            assert len(found) == 5
            for explanation, own in zip(found, activations):
                assert explanation.error == ""
                assert_close(explanation.targets[0].attribution, own @ kernel[:, 1])

    def test_paths_beside_numbers(self, tmp_path):
        model, facts = two_inputs(), noise(3, 2, seed=4)
        arrays = noise(3, *SHAPE, low=0, high=255).astype("uint8")
        paths = [str(tmp_path / f"{number}.png") for number in range(3)]
        for array, path in zip(arrays, paths):
            Image.fromarray(array).save(path)
        columns = {"photo": paths, "facts": facts}
        rows = [((path, own), 1) for path, own in zip(paths, facts)]
        for docs in (columns, rows):
            found = list(explain_predictions(model, docs, targets=[1], preprocess=_scale))
            assert [explanation.source for explanation in found] == paths
            for explanation, array, own in zip(found, arrays, facts):
                alone = explain_prediction(
                    model, [_scale(array.astype("float32")), own], targets=[1]
                )
                assert_close(explanation.targets[0].attribution, alone.targets[0].attribution)

    def test_folder_and_pattern(self, model, tmp_path):
        arrays = noise(4, *SHAPE, low=0, high=255).astype("uint8")
        for number, array in enumerate(arrays):
            Image.fromarray(array).save(tmp_path / f"{number}.png")
        for docs in (tmp_path, str(tmp_path), f"{tmp_path}/*.png"):
            found = list(explain_predictions(model, docs, preprocess=_scale, targets=[1]))
            assert_explains_all(found, _scale(arrays.astype("float32")))
            names = [Path(explanation.source).name for explanation in found]
            assert names == ["0.png", "1.png", "2.png", "3.png"]

    def test_dataset_of_keras_that_never_stops(self, model):
        class Endless(keras.utils.PyDataset):
            def __len__(self):
                return 2

            def __getitem__(self, index):
                return DOCS[:4] if index % 2 == 0 else DOCS[4:], np.zeros(4)

        assert_explains_all(explain_predictions(model, Endless(), targets=[1]))

    def test_several_inputs(self):
        model = two_inputs()
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

    @pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
    def test_damaged_files_among_good_ones(self, model, tmp_path, monkeypatch):
        """Each of many damaged files has its place in the answer, and its path."""
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500_000)
        good = np.asarray(noise(*SHAPE, low=0, high=255).astype("uint8"))
        paths = []
        for number, (file_format, content) in enumerate(damaged_files(88, seed=3)):
            paths.append(tmp_path / f"{number}.{file_format.lower()}")
            paths[-1].write_bytes(content)
            if number % 11 == 0:
                paths.append(tmp_path / f"{number}-good.png")
                Image.fromarray(good).save(paths[-1])
        found = list(explain_predictions(model, paths, preprocess=_scale, targets=[1]))
        assert [explanation.source for explanation in found] == list(map(str, paths))
        expected = closed_form(net_layers(), good[np.newaxis] / 127.5 - 1, 1)
        for explanation, path in zip(found, paths):
            if "good" in path.name:
                assert_close(explanation.targets[0].attribution, expected)
            elif explanation.error:
                assert path.name in explanation.error
        assert sum(bool(explanation.error) for explanation in found) > 30

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


class SourceError(Exception):
    """What a generator of a user's may raise."""


class TestStream:
    @pytest.mark.parametrize("batch_size", [1, 2, 32])
    def test_source_that_fails_gives_what_came_before(self, model, batch_size):
        def docs():
            yield from DOCS[:5]
            raise SourceError("the disk is gone")

        found = []
        with pytest.raises(SourceError, match="the disk is gone"):
            found.extend(explain_predictions(model, docs(), batch_size, targets=[1]))
        assert_explains_all(found, DOCS[:5])

    def test_columns_of_unequal_length_are_refused(self, model):
        with pytest.raises(ValueError, match="same number of documents"):
            explain_predictions(two_inputs(), {"photo": DOCS, "facts": noise(6, 2)})

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
        batches = iter([DOCS[:3], DOCS[3:6], DOCS[6:]])
        list(explain_predictions(model, batches, progress=True, targets=[1]))
        assert "7/7" in capsys.readouterr().err
        for quiet in (None, False):
            list(explain_predictions(model, DOCS, progress=quiet, targets=[1]))
            assert capsys.readouterr().err == ""

    def test_progress_moves_with_the_work(self, model, monkeypatch):
        bars = []

        def bar_of(**options):
            bars.append(tqdm(**{"file": io.StringIO(), "total": options["total"]}))
            return bars[0]

        monkeypatch.setattr(stream, "progress_bar", bar_of)
        batches = [DOCS[:3], DOCS[3:6], DOCS[6:]]
        explained = explain_predictions(model, batches, batch_size=3, targets=[1])
        assert [(bars[0].n, bars[0].total) for _ in explained] == [
            *[(3, 9)] * 3,
            *[(6, 9)] * 3,
            (7, 7),
        ]

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


@pytest.fixture(scope="module")
def shared_model():
    """One model for many tests: on JAX each new one is compiled again."""
    return functional(net_layers())


class TestTargetsOfEach:
    """Each document may have targets of its own."""

    CLASSES = [2, 0, 1, 1, 2, 0, 1]

    def assert_classes(self, explanations, expected=CLASSES):
        net = net_layers()
        explanations = list(explanations)
        assert len(explanations) == len(DOCS)
        for explanation, doc, target in zip(explanations, DOCS, expected):
            assert [each.target for each in explanation.targets] == [target]
            assert_close(
                explanation.targets[0].attribution, closed_form(net, doc[np.newaxis], target)
            )

    @pytest.mark.parametrize(
        "kind",
        [
            np.array,
            lambda classes: np.array(classes)[:, np.newaxis],
            lambda classes: [[each] for each in classes],
            lambda classes: [(each,) for each in classes],
            lambda classes: [[np.int64(each)] for each in classes],
            keras.ops.convert_to_tensor,
        ],
        ids=["array", "column", "lists", "tuples", "of numpy", "tensor"],
    )
    def test_forms(self, shared_model, kind):
        targets = kind(self.CLASSES)
        for docs in (DOCS, iter(DOCS)):
            self.assert_classes(explain_predictions(shared_model, docs, 3, targets=targets))

    def test_names(self, shared_model):
        names = ["ant", "bee", "cat"]
        targets = np.array([names[each] for each in self.CLASSES])
        found = list(explain_predictions(shared_model, DOCS, targets=targets, target_names=names))
        assert [each.targets[0].target for each in found] == targets.tolist()
        for explanation, doc, target in zip(found, DOCS, self.CLASSES):
            expected = closed_form(net_layers(), doc[np.newaxis], target)
            assert_close(explanation.targets[0].attribution, expected)

    def test_any_number_of_targets(self, shared_model):
        def rather(outputs):
            return outputs[:, 1] - outputs[:, 2]

        targets = [[2], None, [0, 1], [rather], [1]]
        found = list(explain_predictions(shared_model, DOCS[:5], targets=targets))
        assert len(found) == 5
        for explanation, doc, own in zip(found, DOCS, targets):
            alone = explain_prediction(shared_model, doc, targets=own)
            assert [each.target for each in explanation.targets] == [
                each.target for each in alone.targets
            ]
            for one, other in zip(explanation.targets, alone.targets):
                assert_close(one.attribution, other.attribution)

    def test_flat_list_is_for_all(self, shared_model):
        for explanation, doc in zip(explain_predictions(shared_model, DOCS, targets=[2, 0]), DOCS):
            assert [each.target for each in explanation.targets] == [2, 0]
            for each in explanation.targets:
                expected = closed_form(net_layers(), doc[np.newaxis], each.target)
                assert_close(each.attribution, expected)

    def test_flat_list_as_long_as_the_documents_could_mean_both(self, shared_model):
        for docs in (DOCS[:3], list(DOCS[:3])):
            with pytest.raises(ValueError, match=r"np\.array\(targets\).*\[targets\] \* 3"):
                explain_predictions(shared_model, docs, targets=[0, 1, 2])
        both = explain_predictions(shared_model, DOCS[:3], targets=[[0, 1, 2]] * 3)
        assert [len(explanation.targets) for explanation in both] == [3, 3, 3]
        batches = [DOCS[:3], DOCS[3:]]
        of_all = list(explain_predictions(shared_model, batches, targets=[0, 1]))
        assert [len(explanation.targets) for explanation in of_all] == [2] * 7

    def test_one_that_does_not_exist_is_its_document_s_error(self, shared_model):
        targets = np.array([0, 1, 3, 1, 2, -1, 1])
        found = list(explain_predictions(shared_model, DOCS, targets=targets, batch_size=3))
        assert [bool(each.error) for each in found] == [
            False,
            False,
            True,
            *[False] * 2,
            True,
            False,
        ]
        assert found[2].error == "ValueError: targets must be in [0, 3). Received: 3"

    @pytest.mark.parametrize("count", [5, 9])
    def test_another_number_than_documents(self, shared_model, count):
        targets = np.zeros(count, int)
        with pytest.raises(ValueError, match=f"each of the 7 documents. Received {count}"):
            explain_predictions(shared_model, DOCS, targets=targets)
        found = []
        with pytest.raises(ValueError, match=f"one entry for each document. Received {count}"):
            found.extend(explain_predictions(shared_model, iter(DOCS), targets=targets))
        assert_explains_all(found, DOCS[:count], target=0)

    def test_checks_belong_to_the_own_target(self, shared_model):
        targets = np.array(self.CLASSES[:2])
        found = list(explain_predictions(shared_model, DOCS[:2], targets=targets, check=True))
        for explanation, doc, target in zip(found, DOCS, targets):
            alone = explain_prediction(shared_model, doc, targets=[int(target)], check=True)
            assert explanation.targets[0].check.agreement == pytest.approx(
                alone.targets[0].check.agreement, abs=1e-4
            )


class TestWarnings:
    def test_name_the_file(self, tmp_path):
        model = functional(net_layers())
        path = tmp_path / "depth.tiff"
        Image.new("F", SHAPE[:2], 0.5).save(path)
        with pytest.warns(
            eli5k.ExplanationWarning, match=r"^/.*depth\.tiff: A picture of mode 'F'"
        ):
            [found] = explain_predictions(model, [path], targets=[1], preprocess=False)
        assert str(found.warnings[0]).count("depth.tiff") == 1

    def test_name_the_position_of_what_is_no_file(self):
        model = functional(net_layers())
        docs = [DOCS[0], Image.new("F", SHAPE[:2], 0.5)]
        with pytest.warns(eli5k.ExplanationWarning, match=r"^document 1: A picture of mode 'F'"):
            list(explain_predictions(model, docs, targets=[1], preprocess=False))
