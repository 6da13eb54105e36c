"""Similarity of embeddings, against NumPy and against what is plain to see."""

from __future__ import annotations

import pickle

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import eli5k
from eli5k.keras import Similarity, attribute, similar_to
from tests.close import assert_close
from tests.keras.quadrants import net, peak, picture
from tests.zoo import SHAPE, functional, net_layers, noise, run_in_numpy

pytestmark = [
    pytest.mark.filterwarnings("error::eli5k.ExplanationWarning"),
    pytest.mark.filterwarnings("ignore::eli5k.UnscaledInputWarning"),
    # Two noises may be alike nowhere.
    pytest.mark.filterwarnings("ignore::eli5k.BlankMapWarning"),
]

DOC, OTHER = noise(1, *SHAPE, seed=1), noise(1, *SHAPE, seed=2)


def cosine(a, b):
    a, b = np.ravel(a).astype("float64"), np.ravel(b).astype("float64")
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def test_score_is_the_cosine_and_the_map_its_gradient():
    embedder = net_layers(activation=None, classes=5)
    model = functional(embedder)
    expected = cosine(model.predict(DOC, verbose=0), model.predict(OTHER, verbose=0))
    own, reference = (run_in_numpy(embedder, doc)[0] for doc in (DOC, OTHER))
    kernel, _ = (array.astype("float64") for array in embedder[-1].get_weights())
    unit, norm = reference / np.linalg.norm(reference), np.linalg.norm(own)
    slope = unit / norm - own * (own @ unit) / norm**3
    for _ in range(2):
        expl = eli5k.explain_prediction(model, DOC, targets=[similar_to(model, OTHER)])
        [target] = expl.targets
        assert target.target == "similarity"
        assert target.score == pytest.approx(expected, abs=1e-5)
        activations = run_in_numpy(embedder[:5], DOC)[0]
        assert_close(target.attribution, activations @ kernel @ slope / 16)


def test_what_two_pictures_have_in_common_is_where_the_map_is():
    model = net(np.eye(4))
    doc, left, right = picture(1, 1, 0.1, 0), picture(1, 0, 0, 0), picture(0, 1, 0, 0)
    targets = [similar_to(model, left), similar_to(model, right)]
    expl = eli5k.explain_prediction(model, doc, targets=targets)
    assert [peak(target.heatmap) for target in expl.targets] == [0, 1]
    scores, maps = attribute(model, np.concatenate([doc, right]), targets[0])
    assert scores == pytest.approx([cosine([1, 1, 0.1, 0], [1, 0, 0, 0]), 0], abs=1e-5)
    assert peak(maps[0]) == 0


def test_other_document_is_read_as_the_first(tmp_path):
    model = functional(net_layers(activation=None, classes=5))
    pixels = noise(20, 30, 3, low=0, high=255).astype("uint8")
    Image.fromarray(pixels).save(tmp_path / "other.png")

    def preprocess(pixels):
        return pixels / 127.5 - 1

    small = Image.fromarray(pixels).resize(SHAPE[1::-1], Image.Resampling.BILINEAR)
    array = preprocess(np.asarray(small, "float32"))
    target = similar_to(model, tmp_path / "other.png", preprocess=preprocess)
    assert target.name == "similarity to other.png"
    np.testing.assert_allclose(
        target.embedding, model.predict(array[np.newaxis], verbose=0)[0], atol=1e-5
    )
    opened = similar_to(model, Image.open(tmp_path / "other.png"), preprocess=preprocess)
    assert opened.embedding == target.embedding


def test_plain_value():
    target = Similarity(np.array([1.0, 2.0]), name="x")
    assert pickle.loads(pickle.dumps(target)) == target == Similarity([1, 2], name="x")
    assert len({target, Similarity((1.0, 2.0), name="x")}) == 1
    assert "embedding" not in repr(target)


def test_many_documents_of_one_reference():
    model = functional(net_layers(activation=None, classes=5))
    docs = noise(5, *SHAPE, seed=3)
    target = similar_to(model, OTHER[0])
    expected = [cosine(each, target.embedding) for each in model.predict(docs, verbose=0)]
    found = list(eli5k.explain_predictions(model, docs, batch_size=2, targets=[target]))
    assert [expl.targets[0].score for expl in found] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("output", ["second", 1])
def test_one_of_several_outputs(output):
    inputs = keras.Input((8, 8, 1))
    features = layers.Conv2D(4, 3, activation="relu")(inputs)
    pooled = layers.GlobalAveragePooling2D(name="second")(features)
    model = keras.Model(inputs, [features, pooled])
    one, other = np.abs(noise(2, 1, 8, 8, 1, seed=4))
    target = similar_to(model, other, output=output)
    expl = eli5k.explain_prediction(model, one, targets=[target])
    expected = cosine(model.predict(one, verbose=0)[1], model.predict(other, verbose=0)[1])
    assert expl.targets[0].score == pytest.approx(expected, abs=1e-5)
    # An output with a grid is one long vector.
    on_grid = eli5k.explain_prediction(model, one, targets=[similar_to(model, other, output=0)])
    expected = cosine(model.predict(one, verbose=0)[0], model.predict(other, verbose=0)[0])
    assert on_grid.targets[0].score == pytest.approx(expected, abs=1e-5)


def test_fixed_batch_size():
    inputs = keras.Input(batch_shape=(3, 4, 4, 1))
    model = keras.Model(inputs, layers.Flatten()(inputs))
    doc = noise(1, 4, 4, 1)
    assert similar_to(model, doc).embedding == pytest.approx(doc.ravel())


@pytest.mark.parametrize(
    ("embedding", "message"),
    [
        ([0, 0], "not only zeros.*2 numbers"),
        ([], "not only zeros.*0 numbers"),
        ([1, np.nan], "must hold finite numbers"),
        ([1, 2], r"must have 5 numbers.*Received: 2"),
    ],
)
def test_bad_embeddings_are_named(embedding, message):
    model = functional(net_layers(activation=None, classes=5))
    with pytest.raises(ValueError, match=f"(?s){message}"):
        eli5k.explain_prediction(model, DOC, targets=[Similarity(embedding)])
