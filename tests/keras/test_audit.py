"""Audits: what is taken as documents, folders of explanations, and what is refused."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import eli5k
from eli5k import audit, explain_to
from tests.cli.colours import COLOURS, colours_model
from tests.close import assert_close
from tests.keras.metrics.test_audit import BOTTOM_LEFT, anywhere, pictures
from tests.keras.metrics.test_check import spot_model

SPOT = tuple(slice(each, each + 4) for each in BOTTOM_LEFT)
NUMBERS = (
    "pictures",
    "place",
    "size",
    "peaks",
    "how",
    "changed",
    "changed_elsewhere",
    "remarkable",
)


def numbers_of(found):
    return [getattr(found, name) for name in NUMBERS]


@pytest.fixture(scope="module")
def colours():
    return colours_model()


@pytest.fixture
def folder(tmp_path):
    """Photographs of a class each, whose colour is at the bottom right, in folders by class."""
    for number in range(12):
        picture = Image.new("RGB", (16, 16))
        picture.paste(COLOURS[number % 3], (12, 12, 16, 16))
        place = tmp_path / "photos" / COLOURS[number % 3]
        place.mkdir(parents=True, exist_ok=True)
        picture.save(place / f"{number:02}.png")
    return tmp_path / "photos"


class TestDocuments:
    def test_folders_generators_and_arrays_are_the_same(self, colours, folder):
        files = sorted(folder.glob("*/*.png"))
        docs = np.stack([np.asarray(Image.open(file), "float32") for file in files])
        found = numbers_of(audit(colours, docs))
        assert found[:2] == [12, "at the bottom right"]
        assert numbers_of(audit(colours, folder)) == found
        assert numbers_of(audit(colours, (doc for doc in docs))) == found
        batches = ((docs[row : row + 5], np.zeros(5)) for row in range(0, 12, 5))
        assert numbers_of(audit(colours, batches, batch_size=None)) == found
        assert numbers_of(audit(colours, docs / 2, preprocess=lambda x: 2 * x)) == found

    def test_most_are_spread_evenly(self):
        docs, _ = pictures([BOTTOM_LEFT] * 20)
        # The other half of them shows something else, somewhere else.
        docs[10:] = docs[10:, ::-1, ::-1]
        found = audit(spot_model(), docs, most=10)
        assert (found.pictures, found.peaks) == (10, 0.5)
        first = audit(spot_model(), iter(docs), most=10)
        assert (first.pictures, first.peaks) == (10, 1)

    def test_targets_of_each_document_go_with_it(self):
        docs, classes = pictures([BOTTOM_LEFT] * 30)
        rows = np.linspace(0, 29, 10).round().astype(int)
        # The spot of the other class is at the top.
        docs[:, 2:6, 10:14] = docs[:, *SPOT, ::-1]
        other = audit(spot_model(), docs, 1 - classes, most=10)
        alone = audit(spot_model(), docs[rows], 1 - classes[rows])
        assert numbers_of(other) == numbers_of(alone)
        assert (other.place, other.peaks) == ("at the top", 1)
        with pytest.raises(ValueError, match="one row for each of the 30 documents"):
            audit(spot_model(), docs, classes[:10])
        with pytest.raises(ValueError, match="one row for each of the 12 documents"):
            audit(spot_model(), iter(docs[:12]), classes)

    def test_what_cannot_be_read_is_passed_over(self, colours, folder):
        (folder / "red" / "broken.png").write_bytes(b"no picture")
        with pytest.warns(eli5k.ExplanationWarning, match=r"broken\.png: passed over"):
            found = audit(colours, folder)
        assert found.pictures == 12
        docs, _ = pictures(anywhere(12))
        docs[3, 0, 0, 0] = np.nan
        with pytest.warns(eli5k.ExplanationWarning, match="document 3: passed over.*NaN"):
            found = audit(spot_model(), docs)
        assert found.pictures == 11
        assert 3 not in {number for group in found.groups for number in group.examples}
        with pytest.raises(ValueError, match="Received: 0 that can be read; document 0"):
            audit(spot_model(), docs[:, :20])

    def test_sizes_must_be_the_same(self):
        free = keras.Sequential([keras.Input((None, None, 2)), *spot_model().layers])
        docs, _ = pictures(anywhere(12))
        with pytest.raises(ValueError, match=r"docs must have one size.*\(20, 28, 2\)"):
            audit(free, [*docs, docs[0][:20]])

    def test_texts_and_numbers_are_refused(self):
        text = [keras.Input((9,), dtype="int32"), layers.Embedding(9, 4), layers.Conv1D(4, 3)]
        model = keras.Sequential([*text, layers.GlobalAveragePooling1D(), layers.Dense(2)])
        tokens = np.arange(108).reshape(12, 9) % 9
        with pytest.raises(ValueError, match=r"docs must be pictures.*tokens can't be covered"):
            audit(model, tokens)
        docs, _ = pictures(anywhere(12))
        numbers = keras.Sequential([*spot_model().layers, layers.Dense(1)])
        numbers.build(docs.shape)
        numbers.compile(loss="mse")
        with pytest.raises(ValueError, match="model must tell classes apart"):
            audit(numbers, docs)

    def test_several_outputs_are_told(self):
        inputs = keras.Input((28, 28, 2))
        base = spot_model()
        model = keras.Model(inputs, [base(inputs), layers.Dense(2)(base(inputs))])
        docs, _ = pictures(anywhere(12))
        with pytest.warns(eli5k.AmbiguousOutputWarning, match="outputs"):
            found = audit(model, docs)
        assert numbers_of(found) == numbers_of(audit(base, docs))

    @pytest.mark.parametrize("rank", [1, 3])
    def test_signals_and_volumes(self, rank):
        shape = (28,) if rank == 1 else (12,) * 3
        docs = np.random.default_rng(0).uniform(0, 0.05, (12, *shape, 2)).astype("float32")
        for number, doc in enumerate(docs):
            doc[(slice(0, 3),) * rank + (number % 2,)] = 1
        conv = {1: layers.Conv1D, 3: layers.Conv3D}[rank](2, 1, activation="relu")
        pool = {1: layers.GlobalAveragePooling1D, 3: layers.GlobalAveragePooling3D}[rank]()
        model = keras.Sequential([keras.Input((*shape, 2)), conv, pool])
        conv.set_weights([np.eye(2).reshape(*[1] * rank, 2, 2) * 20, np.full(2, -12.0)])
        found = audit(model, docs)
        assert found.remarkable
        assert found.peaks == 1
        assert found.place == ("at the start" if rank == 1 else "at 25 %, 25 %, 25 % of the axes")


class TestBest:
    def test_the_method_is_ranked_once_and_named(self):
        base = spot_model()
        dense = layers.Dense(2)
        model = keras.Sequential([*base.layers, dense])
        model.build((None, *base.input_shape[1:]))
        dense.set_weights([np.eye(2), np.zeros(2)])
        docs, _ = pictures([BOTTOM_LEFT] * 20)
        found = audit(model, docs, method="best")
        # CAM and Grad-CAM do the same here, and the first of equals is taken.
        assert found.method == "CAM"
        assert found.note.startswith("The maps are by CAM. It agrees best with the model of ")
        assert "methods, ranked on 16 of these documents only (agreement " in found.note
        plain = audit(model, docs)
        assert (plain.method, plain.note) == ("Grad-CAM", "")
        assert numbers_of(found) == numbers_of(plain)


class TestStore:
    @pytest.fixture
    def results(self, colours, folder, tmp_path):
        explain_to(colours, folder, tmp_path / "out", logits=True, workers=0)
        return tmp_path / "out"

    def test_stored_maps_say_what_new_ones_say(self, colours, folder, results):
        found, truth = audit(colours, results), audit(colours, folder)
        assert numbers_of(found) == numbers_of(truth)
        assert found.method == truth.method == "Grad-CAM"
        assert found.place == "at the bottom right"
        assert_close(found.mean_map, truth.mean_map, tolerance=2**-9)
        assert audit(colours, results, most=10).pictures == 10

    def test_without_the_model_the_place_is_told(self, colours, results):
        found, whole = audit(None, results), audit(colours, results)
        assert found.how == "not tried"
        assert (found.pictures, found.place, found.peaks) == (12, whole.place, whole.peaks)
        assert_close(found.mean_map, whole.mean_map, tolerance=0.02)
        assert str(found).endswith("Whether it matters, only the model can tell.")

    def test_pictures_that_are_gone(self, colours, folder, results):
        for file in folder.glob("red/*.png"):
            file.unlink()
        with pytest.raises(ValueError, match=r"still where they were\. Received: 8 in "):
            audit(colours, results)
        assert audit(None, results).pictures == 12

    def test_another_question_is_refused(self, colours, results):
        with pytest.raises(ValueError, match="the one that was explained"):
            audit(spot_model(), results)
        with pytest.raises(ValueError, match="preprocess must be the one that the maps were"):
            audit(colours, results, preprocess=np.negative)
        for name, value in {"targets": 1, "layer": "conv", "output": 0, "method": "best"}.items():
            with pytest.raises(ValueError, match=f"^{name} must not be passed with a folder of"):
                audit(colours, results, **{name: value})
        with pytest.raises(ValueError, match="most must be 10 or more"):
            audit(colours, results, most=3)
