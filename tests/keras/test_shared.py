"""Pictures compared with texts: the texts are the classes, and every document has all of them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

import eli5k
from eli5k.keras import attribute
from tests.keras.quadrants import SIDE, apart, peak, picture

pytestmark = [
    pytest.mark.filterwarnings("error::eli5k.ExplanationWarning"),
    pytest.mark.filterwarnings("ignore::eli5k.UnscaledInputWarning"),
]

WORDS = 6
# Text i names quadrant i: its embedding has a one there.
TEXTS = np.array([[1, 5], [2, 5], [3, 5], [4, 5]], "int32")
NAMES = ["north-west", "north-east", "south-west", "south-east"]
DOC = picture(0.3, 0.9, 0.6, 0.1)


def two_towers(pictures="a_pictures", texts="b_texts", embedded=False):
    """Logits as CLIP's: a row for each picture, and a column for each text."""
    pixels = keras.Input((SIDE, SIDE, 1), name=pictures)
    seen = layers.GlobalAveragePooling2D()(apart(pixels))
    if embedded:
        # Of the pictures' rank, once each document has all of them.
        tokens = keras.Input((2, 4), name=texts)
        read = layers.GlobalAveragePooling1D()(tokens)
    else:
        tokens = keras.Input((None,), dtype="int32", name=texts)
        embedding = layers.Embedding(WORDS, 4)
        read = layers.GlobalAveragePooling1D()(embedding(tokens))
        embedding.set_weights([np.eye(WORDS, 4, k=-1)])
    logits = ops.matmul(4 * seen, ops.transpose(2 * read))
    outputs = {"of_pictures": logits, "a_of_texts": ops.transpose(logits)}
    return keras.Model({pictures: pixels, texts: tokens}, outputs)


def test_each_text_is_a_class():
    model = two_towers()
    for texts in (TEXTS, TEXTS[:3], TEXTS[:1], TEXTS[0]):
        doc = {"a_pictures": DOC, "b_texts": texts}
        count = 1 if texts.ndim == 1 else len(texts)
        expected = model({"a_pictures": DOC, "b_texts": texts.reshape(count, 2)}, training=False)
        for _ in range(2):
            expl = eli5k.explain_prediction(model, doc, targets=list(range(count)))
            scores = [target.score for target in expl.targets]
            logits = ops.convert_to_numpy(expected["of_pictures"])[0]
            np.testing.assert_allclose(scores, logits, atol=1e-6)
            assert [peak(target.heatmap) for target in expl.targets] == list(range(count))


def test_one_text_equals_predict():
    model = two_towers()
    doc = {"a_pictures": DOC, "b_texts": TEXTS[1:2]}
    [target] = eli5k.explain_prediction(model, doc).targets
    assert target.score == pytest.approx(
        model.predict(doc, verbose=0)["of_pictures"][0, 0], abs=1e-6
    )


def test_text_by_name_and_best_text():
    doc = {"a_pictures": DOC[0], "b_texts": TEXTS}
    expl = eli5k.explain_prediction(two_towers(), doc, targets=["south-west"], target_names=NAMES)
    assert expl.targets[0].target == "south-west"
    assert peak(expl.targets[0].heatmap) == 2
    best = eli5k.explain_prediction(two_towers(), doc, target_names=NAMES)
    assert best.targets[0].target == "north-east"


@pytest.mark.parametrize("method", ["gradient", "score-cam", "rise", "occlusion"])
def test_methods_that_run_the_model_often(method):
    doc = {"a_pictures": DOC, "b_texts": TEXTS}
    expl = eli5k.explain_prediction(
        two_towers(), doc, targets=[1, 2], method=method, batch_size=7, progress=False
    )
    assert [target.score for target in expl.targets] == pytest.approx([0.9, 0.6], abs=1e-5)
    if method in ("score-cam", "occlusion"):
        assert [peak(target.heatmap) for target in expl.targets] == [1, 2]


def test_stream_of_pictures_with_their_own_texts():
    """Each document keeps its texts, however they are put into batches."""
    model = two_towers()
    docs = [{"a_pictures": DOC[0], "b_texts": texts} for texts in (TEXTS[:2], TEXTS[2:], TEXTS[2:])]
    docs.append({"a_pictures": DOC[0], "b_texts": TEXTS[:1]})
    for batch_size in (1, 32):
        found = list(eli5k.explain_predictions(model, docs, batch_size, top_targets=2))
        scores = [sorted(target.score for target in expl.targets) for expl in found]
        assert np.concatenate(scores) == pytest.approx(
            [0.3, 0.9, 0.1, 0.6, 0.1, 0.6, 0.3], abs=1e-5
        )


def test_batches_of_pictures_with_all_texts():
    """Whole columns, and a data set of batches: each picture has all texts."""
    model = two_towers()
    columns = {"a_pictures": np.repeat(DOC, 3, axis=0), "b_texts": TEXTS[:2]}
    for docs in (columns, [columns], [{"a_pictures": DOC, "b_texts": TEXTS[:2]}] * 3):
        found = list(eli5k.explain_predictions(model, docs, top_targets=2))
        scores = [[target.score for target in expl.targets] for expl in found]
        np.testing.assert_allclose(scores, [[0.9, 0.3]] * 3, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_many_pictures_and_some_texts(count):
    docs = np.concatenate([DOC, picture(0.1, 0.2, 0.3, 0.4), picture(1, 0.5, 0, 0)])
    asked = {"a_pictures": docs, "b_texts": TEXTS[:count]}
    scores, maps = attribute(two_towers(), asked, targets=count - 1, batch_size=2)
    quadrant = [[0.3, 0.1, 1], [0.9, 0.2, 0.5], [0.6, 0.3, 0], [0.1, 0.4, 0]][count - 1]
    assert scores == pytest.approx(quadrant, abs=1e-5)
    assert peak(maps[0]) == count - 1


def test_texts_are_checked_with_the_picture():
    doc = {"a_pictures": DOC, "b_texts": TEXTS}
    expl = eli5k.explain_prediction(two_towers(), doc, targets=[1], check=True)
    assert expl.targets[0].check is not None


def test_embedded_texts_are_no_pictures():
    model = two_towers("b_pictures", "a_texts", embedded=True)
    texts = np.repeat(np.eye(4, dtype="float32")[:3], 2, axis=0).reshape(3, 2, 4)
    expl = eli5k.explain_prediction(model, {"b_pictures": DOC, "a_texts": texts})
    assert expl.targets[0].target == 1
    assert peak(expl.targets[0].heatmap) == 1
    assert expl.image.size == (SIDE, SIDE)
    assert expl.input is None


def test_output_with_a_row_for_each_text_is_refused():
    doc = {"a_pictures": DOC, "b_texts": TEXTS[:3]}
    with pytest.raises(ValueError, match=r"row for each document.*a_of_texts.*all documents share"):
        eli5k.explain_prediction(two_towers(), doc, output="a_of_texts")


def test_texts_of_the_wrong_shape_are_refused():
    model = two_towers("b_pictures", "a_texts", embedded=True)
    with pytest.raises(ValueError, match=r"must be of shape \(None, 2, 4\).*\(3, 2, 5\)"):
        eli5k.explain_prediction(model, {"b_pictures": DOC, "a_texts": np.ones((3, 2, 5))})


def test_an_output_of_any_length_is_no_comparison():
    """A line of text read from a picture: as many letters as it is wide."""
    picture_, age = keras.Input((SIDE, None, 1)), keras.Input((1,))
    columns = layers.Conv2D(1, 3, padding="same")(picture_)
    letters = layers.Concatenate()([ops.mean(columns, axis=(1, 3)), age])
    model = keras.Model([picture_, age], letters)
    assert model.outputs[0].shape == (None, None)
    expl = eli5k.explain_prediction(model, [DOC, np.ones(1, "float32")], targets=[3])
    expected = model.predict([DOC, np.ones((1, 1), "float32")], verbose=0)[0, 3]
    assert expl.targets[0].score == pytest.approx(expected, abs=1e-5)


class Towers(keras.Model):
    """The same without declared shapes."""

    def __init__(self):
        super().__init__()
        self.conv = layers.Conv2D(2, 3)
        self.pool = layers.GlobalAveragePooling2D()

    def call(self, inputs):
        seen = self.pool(self.conv(inputs["pictures"]))
        return ops.matmul(seen, ops.transpose(inputs["texts"]))


def test_without_declared_shapes_documents_come_one_at_a_time():
    model = Towers()
    docs = [{"pictures": DOC[0], "texts": np.ones((1, 2), "float32")}] * 2
    with pytest.raises(ValueError, match="1 columns for one document and 2 for a batch of 2"):
        list(eli5k.explain_predictions(model, docs))
    found = list(eli5k.explain_predictions(model, docs, batch_size=1, method="gradient"))
    assert len({expl.targets[0].score for expl in found}) == 1
