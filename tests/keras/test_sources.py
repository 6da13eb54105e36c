"""Whatever holds many documents gives each of them once, in order, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from eli5k.keras.sources import Documents
from eli5k.picture_files import find_pictures
from tests.zoo import noise

# Shape of a document, for each kind of data that people hold.
KINDS = {
    "picture": (6, 5, 3),
    "grey picture": (6, 5, 1),
    "signal": (20, 2),
    "volume": (4, 6, 5, 1),
    "clip": (3, 6, 5, 3),
    "vector": (7,),
}


def model_of(*shapes, names=None):
    """A model of inputs of these shapes; nothing but its inputs matters here."""
    inputs = [
        keras.Input(shape, name=None if names is None else names[index])
        for index, shape in enumerate(shapes)
    ]
    flat = [layers.Flatten()(each) for each in inputs]
    return keras.Model(inputs, layers.Concatenate()(flat) if len(flat) > 1 else flat[0])


def subclassed(*shapes, by_name=False):
    """A model that declares no inputs: it was only called."""

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.flatten = layers.Flatten()

        def call(self, inputs):
            return [self.flatten(each) for each in keras.tree.flatten(inputs)]

    net = Net()
    arrays = [np.zeros((1, *shape), "float32") for shape in shapes]
    if by_name:
        net({"photo": arrays[0], "facts": arrays[1]})
    else:
        net(arrays if len(arrays) > 1 else arrays[0])
    return net


def docs_of(model, docs):
    return [sample.doc for sample in Documents(model, docs)]


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected):
        np.testing.assert_array_equal(np.asarray(one), other)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [model_of, subclassed])
class TestRanks:
    """The model's input decides what is one document, never the number of axes alone."""

    def test_array_list_and_generator_of_documents(self, kind, make):
        model, docs = make(KINDS[kind]), noise(5, *KINDS[kind])
        for given in (docs, list(docs), iter(docs), keras.ops.convert_to_tensor(docs)):
            assert_same(docs_of(model, given), docs)

    def test_batches_with_and_without_labels(self, kind, make):
        model, docs = make(KINDS[kind]), noise(5, *KINDS[kind])
        parts, labels = [docs[:3], docs[3:]], [np.zeros(3), np.zeros(2)]
        streams = {
            "batches": parts,
            "(x,)": [(part,) for part in parts],
            "(x, y)": list(zip(parts, labels)),
            "[x, y]": list(map(list, zip(parts, labels))),
            "(x, y, weights)": list(zip(parts, labels, labels)),
            "(x, {name: y})": [(part, {"a": y, "b": y}) for part, y in zip(parts, labels)],
        }
        for name, given in streams.items():
            found = docs_of(model, iter(given))
            assert len(found) == 5, name
            assert_same(found, docs)
        assert_same(docs_of(model, (docs, np.zeros(5))), docs)

    def test_labelled_documents(self, kind, make):
        model, docs = make(KINDS[kind]), noise(5, *KINDS[kind])
        for label in (1, np.array([0.0, 1.0]), "cat"):
            assert_same(docs_of(model, ((doc, label) for doc in docs)), docs)

    def test_one_document(self, kind, make):
        model, doc = make(KINDS[kind]), noise(*KINDS[kind])
        assert_same(docs_of(model, doc), [doc])
        assert_same(docs_of(model, doc[np.newaxis]), [doc])


class TestMissingChannelAxis:
    def test_pictures(self):
        model, docs = model_of((28, 28, 1)), noise(5, 28, 28)
        for given in (docs, [docs[:2], docs[2:]], [(docs, np.zeros(5))], (docs, np.zeros(5))):
            assert_same(docs_of(model, given), docs)

    def test_as_many_documents_as_rows(self):
        docs = noise(28, 28, 28)
        assert_same(docs_of(model_of((28, 28, 1)), docs), docs)

    def test_numbers(self):
        model = model_of((6, 5, 3), (1,), names=["photo", "age"])
        found = docs_of(model, {"photo": noise(4, 6, 5, 3), "age": np.arange(4)})
        assert [doc["age"] for doc in found] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "model",
    [
        model_of((6, 5, 3), (2,), names=["photo", "facts"]),
        subclassed((6, 5, 3), (2,)),
        subclassed((6, 5, 3), (2,), by_name=True),
    ],
    ids=["functional", "subclassed", "subclassed by name"],
)
class TestSeveralInputs:
    PHOTOS, FACTS = noise(5, 6, 5, 3), noise(5, 2, seed=1)

    def rows(self, found):
        found = [list(doc.values()) if isinstance(doc, dict) else doc for doc in found]
        assert len(found) == 5
        for row, photo, facts in zip(found, self.PHOTOS, self.FACTS):
            np.testing.assert_array_equal(row[0], photo)
            np.testing.assert_array_equal(row[1], facts)

    def test_columns(self, model):
        by_name = {"photo": self.PHOTOS, "facts": self.FACTS}
        for docs in (by_name, (by_name, np.zeros(5)), [self.PHOTOS, self.FACTS]):
            self.rows(docs_of(model, docs))
        self.rows(docs_of(model, ([self.PHOTOS, self.FACTS], np.zeros(5))))

    @pytest.mark.parametrize("labelled", [tuple, list])
    def test_items_with_and_without_labels(self, model, labelled):
        for rows in ([slice(0, 3), slice(3, 5)], range(5)):
            pairs = [(self.PHOTOS[row], self.FACTS[row]) for row in rows]
            dicts = [{"photo": photo, "facts": facts} for photo, facts in pairs]
            for items in (pairs, list(map(list, pairs)), dicts):
                self.rows(docs_of(model, items))
                self.rows(docs_of(model, [labelled([item, np.zeros(3)]) for item in items]))
                two_heads = [labelled([item, [np.zeros(3), np.zeros(3)]]) for item in items]
                self.rows(docs_of(model, two_heads))

    def test_lists_of_documents_as_batches(self, model):
        pairs = list(zip(self.PHOTOS, self.FACTS))
        self.rows(docs_of(model, iter([list(map(list, pairs[:3])), list(map(list, pairs[3:]))])))

    def test_paths_beside_numbers(self, model):
        paths = [f"{number}.jpg" for number in range(5)]
        expected = [(path, list(facts)) for path, facts in zip(paths, self.FACTS)]
        columns = {"photo": paths, "facts": self.FACTS}
        batch = [[paths[:3], self.FACTS[:3]], [paths[3:], self.FACTS[3:]]]
        rows = [([path, facts], 1) for path, facts in zip(paths, self.FACTS)]
        for docs in (columns, columns | {"photo": np.array(paths)}, [columns], batch, rows):
            samples = list(Documents(model, docs))
            found = [
                list(doc.values()) if isinstance(doc, dict) else doc
                for doc in (sample.doc for sample in samples)
            ]
            assert [(str(photo), list(facts)) for photo, facts in found] == expected
            assert [sample.path for sample in samples] == paths

    def test_one_document(self, model):
        doc = {"photo": "cat.jpg", "facts": self.FACTS[0]}
        assert docs_of(model, doc) == [doc]

    def test_unequal_columns_are_refused(self, model):
        columns = {"photo": self.PHOTOS, "facts": self.FACTS[:4]}
        with pytest.raises(ValueError, match=r"same number .* \{'photo': 5, 'facts': 4\}"):
            Documents(model, columns)
        with pytest.raises(ValueError, match="same number"):
            docs_of(model, iter([columns]))
        with pytest.raises(ValueError, match="same number"):
            docs_of(model, iter([(self.PHOTOS, self.FACTS[:4])]))
        with pytest.raises(ValueError, match=r"a batch for the inputs \[0\], and a single sample"):
            docs_of(model, iter([(self.PHOTOS, self.FACTS[0])]))


class TestAmbiguity:
    def test_list_of_arrays_that_could_be_documents(self):
        docs = noise(3, 6, 5, 1)
        with pytest.raises(ValueError, match=r"list of 3 possible doc.*np\.stack.*tuple"):
            docs_of(model_of((6, 5, 1)), iter([list(docs)]))

    def test_list_of_columns_that_could_be_documents(self):
        pairs = model_of((6, 5, 1), (6, 5, 1))
        with pytest.raises(ValueError, match=r"list of 2 possible doc.*a dict of"):
            docs_of(pairs, iter([[["left1", "left2"], ["right1", "right2"]]]))
        three = [["left1", "left2", "left3"], ["right1", "right2", "right3"]]
        expected = [["left1", "right1"], ["left2", "right2"], ["left3", "right3"]]
        assert docs_of(pairs, iter([three])) == expected

    def test_tuple_of_arrays_that_could_be_batches(self):
        docs = noise(3, 6, 5, 1)
        with pytest.raises(ValueError, match=r"pass x alone.*a list of them"):
            Documents(model_of((6, 5, 1)), (docs, docs))

    @pytest.mark.parametrize("docs", [7, None, object()])
    def test_nothing_to_iterate_over(self, docs):
        with pytest.raises(TypeError, match=r"docs must be an array, a folder.*Received"):
            Documents(model_of((6, 5, 3)), docs)


@pytest.fixture
def folder(tmp_path):
    """Pictures in two folders, with what belongs to none."""
    for name in ("cats/b.png", "cats/a.jpg", "cats-2/c.PNG", "d.webp", ".hidden/e.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (6, 5)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "cats" / "._a.jpg").write_bytes(b"what a system keeps beside it")
    return tmp_path


SORTED = ["cats/a.jpg", "cats/b.png", "cats-2/c.PNG", "d.webp"]


class TestFiles:
    def relative(self, paths, folder):
        return [Path(path).relative_to(folder).as_posix() for path in paths]

    @pytest.mark.parametrize("kind", [str, Path, np.str_])
    def test_folder_is_searched_in_order(self, folder, kind):
        samples = list(Documents(model_of((6, 5, 3)), kind(folder)))
        assert self.relative([sample.doc for sample in samples], folder) == SORTED
        assert [sample.path for sample in samples] == [sample.doc for sample in samples]

    def test_pattern(self, folder):
        assert self.relative(find_pictures(f"{folder}/*/*.png"), folder) == ["cats/b.png"]
        assert self.relative(find_pictures(folder / "**" / "?.*"), folder) == sorted(SORTED)

    def test_folder_whose_name_looks_like_a_pattern(self, folder):
        odd = folder / "shots [1]"
        odd.mkdir()
        Image.new("L", (2, 2)).save(odd / "x.png")
        assert self.relative(find_pictures(odd), odd) == ["x.png"]

    def test_links_are_followed_once(self, folder):
        (folder / "cats" / "back").symlink_to(folder)
        (folder / "more").symlink_to(folder / "cats-2")
        found = find_pictures(folder)
        assert len(found) == len({os.path.realpath(path) for path in found}) == 4

    @pytest.mark.parametrize(
        ("place", "message"),
        [("none", "does not exist"), ("*.tiff", "fits no file"), ("empty", "has no picture")],
    )
    def test_no_picture_is_an_error(self, folder, place, message):
        (folder / "empty").mkdir()
        with pytest.raises(FileNotFoundError, match=f"docs: .*{message}"):
            Documents(model_of((6, 5, 3)), folder / place)

    def test_folder_of_arrays(self, folder):
        volumes = noise(2, 4, 4)
        for number, volume in enumerate(volumes):
            (folder / "volumes").mkdir(exist_ok=True)
            np.save(folder / "volumes" / f"{number}.npy", volume)
        assert self.relative(find_pictures(folder / "volumes"), folder) == [
            "volumes/0.npy",
            "volumes/1.npy",
        ]
        assert self.relative(find_pictures(folder), folder) == SORTED

    def test_one_file(self, folder):
        [sample] = Documents(model_of((6, 5, 3)), folder / "d.webp")
        assert sample.path == str(folder / "d.webp")

    @pytest.mark.parametrize("kind", [list, tuple, np.array, iter])
    def test_paths(self, kind):
        model, paths = model_of((6, 5, 3)), ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
        assert docs_of(model, kind(paths)) == paths
        assert docs_of(model, [paths[:3], paths[3:]]) == paths
        assert docs_of(model, [np.array(paths[:3]), np.array(paths[3:])]) == paths
        assert docs_of(model, [(paths, np.zeros(4))]) == paths
        assert docs_of(model, [(path, "cat") for path in paths]) == paths

    def test_bytes_and_open_files(self, folder):
        model, file = model_of((6, 5, 3)), folder / "d.webp"
        content = file.read_bytes()
        assert docs_of(model, content) == [content]
        assert docs_of(model, [content, content]) == [content, content]
        assert docs_of(model, np.array([content, content], object)) == [content, content]
        with file.open("rb") as opened:
            assert docs_of(model, [opened]) == [opened]


class TestTotal:
    def totals(self, docs, shape=(6, 5, 3)):
        documents = Documents(model_of(shape), docs)
        return [documents.total, *(documents.total for _ in documents), documents.total]

    def test_sized(self):
        assert self.totals(noise(3, 6, 5, 3)) == [3] * 5
        assert self.totals(["a.jpg", "b.jpg"]) == [2] * 4

    def test_batches_are_counted_by_the_largest_so_far(self):
        docs = noise(7, 6, 5, 3)
        assert self.totals([docs[:3], docs[3:6], docs[6:]]) == [3, *[9] * 6, 7, 7]

    def test_unknown_until_the_end(self):
        assert self.totals(iter(noise(2, 6, 5, 3))) == [None, None, None, 2]


class Batches(keras.utils.PyDataset):
    """Two batches, and more of them for ever to whoever asks."""

    docs = noise(5, 6, 5, 3)

    def __init__(self):
        super().__init__()

    def __len__(self):
        return 2

    def __getitem__(self, index):
        rows = slice(3 * (index % 2), 3 * (index % 2) + 3)
        return self.docs[rows], np.zeros(len(self.docs[rows]))


class NeverStops:
    """What an older iterator of Keras does."""

    def __init__(self):
        self.batches = Batches()

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return self.batches[index]

    def __iter__(self):
        return self

    def __next__(self):
        return self.batches[0]


class ByIndex:
    """A data set of PyTorch: documents by index."""

    docs = Batches.docs

    def __len__(self):
        return 5

    def __getitem__(self, index):
        return self.docs[index % 5], 1


class TestDataSets:
    MODEL = model_of((6, 5, 3))

    @pytest.mark.parametrize("kind", [Batches, NeverStops, ByIndex])
    def test_each_document_once(self, kind):
        assert_same(docs_of(self.MODEL, kind()), Batches.docs)

    def test_dataset_without_an_end_is_lazy(self):
        class Endless(Batches):
            @property
            def num_batches(self):
                return None

        documents = Documents(self.MODEL, Endless())
        assert documents.total is None
        found = [sample.doc for sample, _ in zip(documents, range(11))]
        assert_same(found, [*Batches.docs, *Batches.docs, Batches.docs[0]])

    def test_tensorflow(self):
        data = pytest.importorskip("tensorflow").data
        docs = Batches.docs
        for parts in (docs, (docs, np.zeros(5)), (docs, np.zeros(5), np.ones(5))):
            dataset = data.Dataset.from_tensor_slices(parts)
            assert_same(docs_of(self.MODEL, dataset), docs)
            assert_same(docs_of(self.MODEL, dataset.batch(3)), docs)
        volumes = noise(5, *KINDS["volume"])
        dataset = data.Dataset.from_tensor_slices(volumes)
        for given in (dataset, dataset.batch(3)):
            assert_same(docs_of(model_of(KINDS["volume"]), given), volumes)

    def test_tensorflow_with_several_inputs(self):
        data = pytest.importorskip("tensorflow").data
        model = model_of((6, 5, 3), (2,), names=["photo", "facts"])
        facts = noise(5, 2)
        for inputs in ((Batches.docs, facts), {"photo": Batches.docs, "facts": facts}):
            dataset = data.Dataset.from_tensor_slices((inputs, np.zeros(5)))
            for given in (dataset, dataset.batch(2)):
                found = docs_of(model, given)
                parts = [doc.values() if isinstance(doc, dict) else doc for doc in found]
                assert_same([photo for photo, _ in parts], Batches.docs)
                assert_same([own for _, own in parts], facts)

    def test_tensorflow_with_files(self, folder):
        tensorflow = pytest.importorskip("tensorflow")
        paths = find_pictures(folder)
        names = tensorflow.data.Dataset.from_tensor_slices(paths)
        assert docs_of(self.MODEL, names) == paths
        assert docs_of(self.MODEL, names.batch(3)) == paths
        contents = docs_of(self.MODEL, names.map(tensorflow.io.read_file))
        assert contents == [Path(path).read_bytes() for path in paths]

    def test_pytorch(self):
        torch_data = pytest.importorskip("torch.utils.data")
        docs, paths = Batches.docs, [f"{number}.jpg" for number in range(5)]
        for batch_size in (None, 2, 5):
            loader = torch_data.DataLoader(ByIndex(), batch_size=batch_size)
            assert_same(docs_of(self.MODEL, loader), docs)
        for dataset in (paths, list(zip(paths, range(5))), list(zip(paths, ["cat"] * 5))):
            loader = torch_data.DataLoader(dataset, batch_size=2)
            assert docs_of(self.MODEL, loader) == paths

    def test_pytorch_with_several_inputs(self):
        torch_data = pytest.importorskip("torch.utils.data")
        model = model_of((6, 5, 3), (2,), names=["photo", "facts"])
        facts = noise(5, 2)
        rows = [((photo, own), (1, 2)) for photo, own in zip(Batches.docs, facts)]
        for batch_size in (None, 1, 2):
            found = docs_of(model, torch_data.DataLoader(rows, batch_size=batch_size))
            assert_same([photo for photo, _ in found], Batches.docs)
            assert_same([own for _, own in found], facts)

    def test_folder_of_keras(self, tmp_path):
        """The older iterator shuffles and never stops; the path of each document is known."""
        generator = pytest.importorskip("keras.src.legacy.preprocessing.image").ImageDataGenerator()
        for number in range(5):
            path = tmp_path / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            Image.new("RGB", (5, 6), (number, 0, 0)).save(path)
        flow = generator.flow_from_directory(tmp_path, target_size=(6, 5), batch_size=2)
        for _ in range(2):
            samples = list(Documents(self.MODEL, flow))
            numbers = [int(sample.doc[0, 0, 0]) for sample in samples]
            assert sorted(numbers) == [0, 1, 2, 3, 4]
            assert [int(Path(sample.path).stem) for sample in samples] == numbers
        if keras.config.backend() == "tensorflow":
            dataset = keras.utils.image_dataset_from_directory(
                tmp_path, image_size=(6, 5), batch_size=2, shuffle=False, verbose=False
            )
            found = docs_of(self.MODEL, dataset)
            assert [int(doc[0, 0, 0]) for doc in found] == [0, 2, 4, 1, 3]
