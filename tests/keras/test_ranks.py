"""Signals, sounds, volumes, clips, electrodes, bands and words: each net looks for one known event.

The weights are chosen, not trained, so it is known where a map must be hot. Each map is also
compared with a Grad-CAM that is written out here with nothing but the backend.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops
from PIL import Image

from eli5k import explain_prediction, explain_predictions, format_as_text
from eli5k.keras import attribute
from eli5k.keras.model.geometry import view_of
from eli5k.keras.model.receptive import Place
from eli5k.keras.model.survey import survey
from tests.close import assert_close
from tests.zoo import noise

WORDS = ["", "dull", "film", "fine", "plot", "the", "was"]
SENTENCE = ["the", "film", "was", "fine", "the", "plot", "was", "dull", "the", "film", "was"]


def ones(kind, *args, **kwargs):
    return kind(*args, kernel_initializer="ones", **kwargs)


def scored(x, pool):
    """Two classes: the second one is what the event raises."""
    return layers.Dense(2, name="head")(pool(x))


def model_of(inputs, x):
    model = keras.Model(inputs, x)
    head = model.get_layer("head")
    kernel = np.zeros(head.kernel.shape, "float32")
    kernel[:, 1] = 1
    head.set_weights([kernel, np.zeros(2, "float32")])
    return model


def event(shape, *places):
    """Faint noise, and in one place a bright event."""
    doc = noise(*shape, low=0, high=0.1)
    doc[tuple(slice(low, high) for low, high in places)] += 1
    return doc[np.newaxis]


def signal():
    """A pulse in a signal of two channels."""
    inputs = keras.Input((180, 2))
    x = ones(layers.Conv1D, 2, 5, padding="same", activation="relu")(inputs)
    x = ones(layers.Conv1D, 3, 5, padding="same", activation="relu", name="seen")(
        layers.MaxPooling1D(2)(x)
    )
    model = model_of(inputs, scored(x, layers.GlobalAveragePooling1D()))
    return model, event((180, 2), (130, 136)), [(130, 136)], (90,)


def loudest():
    """The same, but only the loudest step counts: most have no gradient."""
    inputs = keras.Input((180, 1))
    x = ones(layers.Conv1D, 2, 5, padding="same", activation="relu", name="seen")(inputs)
    model = model_of(inputs, scored(x, layers.GlobalMaxPooling1D()))
    return model, event((180, 1), (40, 46)), [(40, 46)], (180,)


def sound():
    """A tone in raw samples: the spectrogram is inside the model, frequencies by time."""
    inputs = keras.Input((2048,))
    real, imaginary = ops.stft(inputs, 64, 32, 64, center=False)
    x = ops.expand_dims(ops.sqrt(ops.square(real) + ops.square(imaginary) + 1e-6), -1)
    x = layers.Permute((2, 1, 3))(x)
    x = ones(layers.Conv2D, 2, 2, 2, name="seen")(x)
    model = model_of(inputs, scored(x, layers.GlobalAveragePooling2D()))
    doc = np.zeros((1, 2048), "float32")
    doc[0, 1500:1600] = np.sin(np.arange(100))
    return model, doc, [(1440, 1660)], (31, 16)


def volume():
    """A bright cube."""
    inputs = keras.Input((12, 16, 20, 1))
    x = ones(layers.Conv3D, 2, 3, padding="same", activation="relu")(inputs)
    x = ones(layers.Conv3D, 2, 3, padding="same", activation="relu", name="seen")(
        layers.AveragePooling3D(2)(x)
    )
    model = model_of(inputs, scored(x, layers.GlobalAveragePooling3D()))
    doc = event((12, 16, 20, 1), (8, 10), (2, 6), (14, 18))
    return model, doc, [(8, 10), (2, 6), (14, 18)], (6, 8, 10)


def frames_one_by_one():
    """TimeDistributed(CNN) and an LSTM: something flashes up in one frame."""
    inputs = keras.Input((3, 12, 16, 1))
    conv = ones(layers.Conv2D, 2, 4, 4, activation="relu")
    x = layers.TimeDistributed(conv, name="seen")(inputs)
    x = layers.TimeDistributed(layers.GlobalAveragePooling2D())(x)
    x = ones(layers.LSTM, 3, recurrent_initializer="zeros")(x)
    model = model_of(inputs, scored(x, lambda x: x))
    doc = event((3, 12, 16, 1), (2, 3), (4, 8), (8, 12))
    return model, doc, [(2, 3), (4, 8), (8, 12)], (3, 3, 4)


def frames_with_memory():
    """A ConvLSTM2D that forgets at once: each frame sees itself."""
    inputs = keras.Input((3, 12, 12, 1))
    recurrent = layers.ConvLSTM2D(2, 3, padding="same", return_sequences=True, name="seen")
    x = layers.ConvLSTM2D(2, 3, padding="same")(recurrent(inputs))
    model = model_of(inputs, scored(x, layers.GlobalAveragePooling2D()))
    kernel, memory, bias = (np.zeros(weight.shape, "float32") for weight in recurrent.weights)
    kernel[...] = 0.2
    bias[2:4] = -20  # The gate that keeps what was.
    recurrent.set_weights([kernel, memory, bias])
    last = model.layers[2]
    last.set_weights([np.full(w.shape, 0.1, "float32") for w in last.weights])
    doc = event((3, 12, 12, 1), (1, 2), (2, 6), (6, 10))
    return model, doc, [(1, 2), (2, 6), (6, 10)], (3, 12, 12)


def electrodes():
    """EEGNet: convolutions over time, over all electrodes, and over time again."""
    inputs = keras.Input((16, 128, 1))
    x = ones(layers.Conv2D, 2, (1, 16), padding="same", use_bias=False)(inputs)
    x = layers.DepthwiseConv2D((16, 1), depthwise_initializer="ones", use_bias=False)(x)
    x = layers.AveragePooling2D((1, 4))(layers.Activation("elu")(x))
    x = layers.SeparableConv2D(
        2, (1, 4), padding="same", depthwise_initializer="ones", pointwise_initializer="ones"
    )(x)
    x = layers.Activation("elu", name="seen")(x)
    model = model_of(inputs, scored(x, layers.Flatten()))
    return model, event((16, 128, 1), (3, 6), (80, 96)), [(0, 16), (76, 100)], (1, 32)


def bands():
    """HybridSN: Conv3D over a cube of bands, then Conv2D."""
    inputs = keras.Input((15, 15, 12, 1))
    x = ones(layers.Conv3D, 2, (3, 3, 5), padding="same", activation="relu")(inputs)
    x = layers.Reshape((15, 15, 24))(x)
    x = ones(layers.Conv2D, 2, 3, padding="same", activation="relu", name="seen")(x)
    model = model_of(inputs, scored(x, layers.Flatten()))
    doc = event((15, 15, 12, 1), (9, 12), (3, 6), (4, 6))
    return model, doc, [(9, 12), (3, 6), (0, 12)], (15, 15, 1)


def line_of_text():
    """CRNN: a convolution, and an LSTM over the columns of a picture."""
    inputs = keras.Input((16, 24, 1))
    x = ones(layers.Conv2D, 2, 4, 4, activation="relu", name="seen")(inputs)
    x = layers.Reshape((6, 8))(layers.Permute((2, 1, 3), name="turned")(x))
    x = layers.Bidirectional(ones(layers.LSTM, 3, return_sequences=True))(x)
    model = model_of(inputs, scored(x, layers.Flatten()))
    return model, event((16, 24, 1), (4, 8), (16, 20)), [(4, 8), (16, 20)], (4, 6)


def sentence(dtype="int32", transformer=False):
    """A convolution over words, of which one counts."""
    inputs = keras.Input((len(SENTENCE) + 2,), dtype=dtype)
    embedding = layers.Embedding(len(WORDS), 2)
    x = embedding(inputs)
    if transformer:
        x = x + ops.softmax(ops.matmul(x, ops.transpose(x, (0, 2, 1)))) @ x / 4
        x = layers.Dense(2, kernel_initializer="identity", name="seen", activation="relu")(x)
    else:
        x = layers.Conv1D(2, 3, padding="same", name="seen", activation="relu")(x)
    model = model_of(inputs, scored(x, layers.GlobalMaxPooling1D()))
    vectors = np.full((len(WORDS), 2), 0.05, "float32")
    vectors[WORDS.index("dull")] = 1
    embedding.set_weights([vectors])
    if not transformer:
        kernel = np.full((3, 2, 2), 0.1, "float32")
        kernel[1] = 1
        model.get_layer("seen").set_weights([kernel, np.zeros(2, "float32")])
    doc = np.array([[*map(WORDS.index, SENTENCE), 0, 0]])
    return model, doc, [(7, 8)], (13,)


CASES = {
    "signal": signal,
    "loudest": loudest,
    "sound": sound,
    "volume": volume,
    "TimeDistributed": frames_one_by_one,
    "ConvLSTM2D": frames_with_memory,
    "EEGNet": electrodes,
    "HybridSN": bands,
    "CRNN": line_of_text,
    "words": sentence,
    "words as floats": lambda: sentence("float32"),
    "words that attend": lambda: sentence(transformer=True),
}
KINDS = {
    "signal": "signal",
    "loudest": "signal",
    "sound": "signal",
    "volume": "volume",
    "TimeDistributed": "clip",
    "ConvLSTM2D": "clip",
    "HybridSN": "volume",
    "words": "text",
    "words as floats": "text",
    "words that attend": "text",
}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """A model, a document, where its event is, and its explanation."""
    model, doc, places, grid = CASES[request.param]()
    explanation = explain_prediction(model, doc, targets=[1], preprocess=False)
    return request.param, model, doc, places, grid, explanation


def by_hand(model, doc):
    """Grad-CAM of class 1 with the backend's own tools: ``(*grid)``, signed."""
    seen = model.get_layer("seen").output
    features = keras.Model(model.input, seen)(doc, training=False)
    rest = keras.Model(seen, model.output)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(features)
            score = rest(features)[0, 1]
        gradients = tape.gradient(score, features)
    elif keras.backend.backend() == "torch":
        features = features.detach().requires_grad_()
        rest(features)[0, 1].backward()
        gradients = features.grad
    else:
        import jax

        gradients = jax.grad(lambda x: rest(x)[0, 1])(features)
    features, gradients = (ops.convert_to_numpy(x)[0] for x in (features, gradients))
    weights = gradients.mean(axis=tuple(range(gradients.ndim - 1)))
    return features @ weights


def test_the_map_has_the_rank_of_the_grid_and_is_hot_at_the_event(case):
    name, _, doc, places, grid, explanation = case
    [target] = explanation.targets
    assert explanation.layer in ("seen", "turned") or explanation.layer.startswith("seen/")
    assert target.heatmap.shape == target.attribution.shape == grid
    assert explanation.kind == KINDS.get(name)
    enlarged = target.enlarged()
    assert enlarged.shape == doc.shape[1 : 1 + len(places)]
    hottest = np.argwhere(enlarged == enlarged.max()).mean(axis=0)
    for (low, high), place in zip(places, hottest):
        assert low <= place < high


def test_the_map_is_that_of_attribute_and_of_a_grad_cam_by_hand(case):
    name, model, doc, _, grid, explanation = case
    [target] = explanation.targets
    _, maps = attribute(model, doc, 1)
    np.testing.assert_array_equal(maps[0], target.attribution)
    expected = by_hand(model, doc)
    if name == "sound":  # Frequency by time: time comes first.
        expected = expected.T
    assert_close(maps[0], expected.reshape(grid), 1e-4)
    positive = np.maximum(expected, 0).reshape(grid)
    assert_close(target.heatmap, positive / positive.max(), 1e-3)


def test_the_document_goes_with_its_explanation(case):
    name, _, doc, _, _, explanation = case
    np.testing.assert_array_equal(explanation.document, doc[0])
    assert (explanation.image is None) == (name in KINDS)


@pytest.mark.parametrize("case", ["signal", "words"], indirect=True)
def test_many_documents_are_explained_as_each(case):
    _, model, doc, _, _, explanation = case
    docs = np.repeat(doc, 3, axis=0)
    for each in explain_predictions(model, docs, targets=[1], preprocess=False):
        assert_close(each.targets[0].attribution, explanation.targets[0].attribution)
        assert each.kind == explanation.kind


class TestWords:
    @pytest.mark.parametrize(
        "names",
        [
            WORDS,
            np.array(WORDS),
            dict(enumerate(WORDS)),
            {word: index for index, word in enumerate(WORDS)},
            WORDS.__getitem__,
        ],
        ids=["list", "array", "by index", "by word", "callable"],
    )
    def test_tokens_have_names(self, names):
        model, doc, *_ = sentence()
        explanation = explain_prediction(model, doc, targets=[1], token_names=names)
        assert explanation.tokens == [*SENTENCE, "", ""]
        assert "hottest at 'dull', token 7 of 0 to 12" in format_as_text(explanation)

    def test_without_names_they_are_numbers(self):
        model, doc, *_ = sentence()
        assert explain_prediction(model, doc, targets=[1]).tokens == list(map(str, doc[0]))

    def test_other_names_are_an_error(self):
        model, doc, *_ = sentence()
        with pytest.raises(TypeError, match=r"token_names must be .* Received: 'dull'"):
            explain_prediction(model, doc, targets=[1], token_names="dull")

    def test_attention_is_measured_from_the_embedding(self):
        """No arithmetic follows attention, and tokens have no gradient."""
        model, doc, *_ = sentence(transformer=True)
        seen = survey(model, doc.astype("int32"))
        assert [call.place for call in seen.calls if call.path == "seen"] == [None]
        assert list(seen.embeddings) == [0]
        reversed_model, *_ = turned_sentence()
        explanation = explain_prediction(reversed_model, doc, targets=[1], layer="seen")
        assert int(explanation.targets[0].enlarged().argmax()) == 7


def turned_sentence():
    """The same words from last to first: only a measurement tells where each is."""
    model, doc, *_ = sentence()
    inputs = keras.Input((13,), dtype="int32")
    embedding, conv = model.layers[1], model.get_layer("seen")
    x = ops.flip(embedding(inputs), axis=1)
    x = conv(x)
    turned = keras.Model(inputs, model.get_layer("head")(layers.GlobalMaxPooling1D()(x)))
    return turned, doc


class TestEnlarged:
    def test_a_signal_is_interpolated(self):
        model, doc, *_ = signal()
        [target] = explain_prediction(model, doc, targets=[1], preprocess=False).targets
        steps, cells = np.arange(180) + 0.5, 2 * np.arange(90) + 1
        assert_close(target.enlarged(), np.interp(steps, cells, target.heatmap))
        assert_close(
            target.enlarged("attribution"), np.interp(steps, cells, target.attribution), 1e-5
        )

    def test_a_volume_is_interpolated_along_each_axis(self):
        model, doc, *_ = volume()
        [target] = explain_prediction(model, doc, targets=[1], preprocess=False).targets
        expected = target.heatmap
        for axis, length in enumerate((12, 16, 20)):
            places = np.arange(length) + 0.5, 2 * np.arange(length // 2) + 1
            expected = np.apply_along_axis(lambda row, p=places: np.interp(*p, row), axis, expected)
        assert_close(target.enlarged(), expected)

    def test_it_is_zero_where_no_cell_looks(self):
        inputs = keras.Input((100, 1))
        x = layers.Cropping1D((50, 10))(inputs)
        x = ones(layers.Conv1D, 2, 4, 4, name="seen", bias_initializer="ones")(x)
        model = model_of(inputs, scored(x, layers.GlobalAveragePooling1D()))
        explanation = explain_prediction(model, event((100, 1), (70, 74)), targets=[1])
        assert explanation.frame == (0.5, 0.9)
        hot = explanation.targets[0].enlarged() > 0
        np.testing.assert_array_equal(np.flatnonzero(hot), np.arange(50, 90))

    def test_a_photograph_is_as_large_as_its_picture(self):
        inputs = keras.Input((12, 16, 3))
        x = ones(layers.Conv2D, 2, 4, 4, name="seen")(inputs)
        model = model_of(inputs, scored(x, layers.GlobalAveragePooling2D()))
        picture = Image.new("RGB", (160, 120))
        picture.paste((255, 255, 255), (80, 40, 120, 80))
        [target] = explain_prediction(model, picture, targets=[1], preprocess=False).targets
        enlarged = target.enlarged()
        assert enlarged.shape == (120, 160)
        down, across = np.unravel_index(enlarged.argmax(), enlarged.shape)
        assert 40 <= down < 80
        assert 80 <= across < 120

    def test_without_a_size_it_is_an_error(self):
        model, doc, *_ = signal()
        [target] = explain_prediction(model, doc, targets=[1], preprocess=False).targets
        target.size = None
        with pytest.raises(ValueError, match="size of its document"):
            target.enlarged()


def test_what_one_cell_sees_it_covers():
    """One row of cells sees all electrodes, and isn't drawn on the middle ones alone."""
    model, doc, *_ = electrodes()
    explanation = explain_prediction(model, doc, targets=[1], preprocess=False)
    assert explanation.frame == (0, 0, 1, 1)


def test_steps_of_an_lstm_alone_are_refused_with_what_to_do():
    model = keras.Sequential([keras.Input((30, 2)), layers.LSTM(3), layers.Dense(2)])
    with pytest.raises(ValueError, match="Methods that need none: gradient"):
        explain_prediction(model, noise(1, 30, 2), targets=[1])
    [target] = explain_prediction(model, noise(1, 30, 2), targets=[1], method="gradient").targets
    assert target.heatmap.shape == (30,)


class TestMethods:
    """Other methods: they need no layer, or perturb the document."""

    @pytest.mark.parametrize(
        "method", ["gradient", "integrated-gradients", "occlusion", "score-cam", "guided-grad-cam"]
    )
    @pytest.mark.parametrize("make", [signal, sound], ids=lambda make: make.__name__)
    @pytest.mark.filterwarnings("ignore:Guided backpropagation guides the gradient at ReLUs")
    def test_a_sound_without_channels_is_explained_too(self, make, method):
        model, doc, [(low, high)], _ = make()
        explanation = explain_prediction(
            model, doc, targets=[1], method=method, preprocess=False, progress=False
        )
        [target] = explanation.targets
        enlarged = target.enlarged()
        assert enlarged.shape == doc.shape[1:2]
        if method != "gradient":  # Its magnitude is the same wherever nothing is cut off.
            assert low - 64 <= enlarged.argmax() < high + 64

    def test_integrated_gradients_of_a_sound_add_up(self):
        """Its axiom: the map adds up to what the score is above that of silence."""
        model, doc, *_ = loudest()
        flat = keras.Sequential([keras.Input((180,)), layers.Reshape((180, 1)), *model.layers[1:]])
        method = {"method": "integrated-gradients", "preprocess": False, "progress": False}
        [target] = explain_prediction(flat, doc[..., 0], targets=[1], **method).targets
        [same] = explain_prediction(model, doc, targets=[1], **method).targets
        assert_close(target.attribution, same.attribution)

    @pytest.mark.parametrize("method", ["occlusion", "rise", "score-cam"])
    def test_half_a_word_is_no_word(self, method):
        model, doc, *_ = sentence()
        with pytest.raises(ValueError, match="tokens of a text"):
            explain_prediction(model, doc, targets=[1], method=method)

    def test_a_check_of_a_sound(self):
        model, doc, *_ = sound()
        [target] = explain_prediction(model, doc, targets=[1], check=True, progress=False).targets
        assert target.check.verdict == "supported"


class TestPlaces:
    """Where cells look: known by arithmetic, or measured."""

    def call(self, model, doc, path):
        seen = survey(model, doc)
        return seen, next(call for call in seen.calls if call.path == path)

    def test_words_and_frames_have_known_places(self):
        model, doc, *_ = sentence()
        _, call = self.call(model, doc.astype("int32"), "seen")
        assert call.place == Place(0, (1.0,), (0.5,))
        model, doc, *_ = frames_with_memory()
        _, call = self.call(model, doc, "seen")
        assert call.place == Place(0, (1.0,) * 3, (0.5,) * 3)
        model, doc, *_ = frames_one_by_one()
        _, call = self.call(model, doc, "seen")
        assert call.place == Place(0, (1.0, 4.0, 4.0), (0.5, 2.0, 2.0))

    @pytest.mark.parametrize("shape", [(12, 32, 32), (3, 48, 48)])
    def test_frames_of_a_nested_model_are_measured(self, shape):
        """Its cells are one frame, but many pixels."""
        inner = keras.Sequential([layers.AveragePooling2D(4), ones(layers.Conv2D, 2, 1)])
        inputs = keras.Input((*shape, 1))
        x = layers.TimeDistributed(inner, name="seen")(inputs)
        model = model_of(inputs, scored(x, layers.GlobalAveragePooling3D()))
        doc = noise(1, *shape, 1)
        seen, call = self.call(model, doc, "seen")
        view = view_of(model, seen, doc, call)
        assert call.place is None
        assert (view.axes, view.channel_axis, view.frame, view.problem) == (
            (0, 1, 2),
            -1,
            None,
            None,
        )

    @pytest.mark.parametrize("token", [0, -1])
    def test_after_the_last_attention_only_one_token_counts(self, token):
        """The model reads one token there, so the default is the layer before."""
        inputs = keras.Input((10,), dtype="int32")
        x = layers.Embedding(20, 4)(inputs)
        x = layers.Dense(4, name="before")(x)
        x = layers.MultiHeadAttention(2, 2)(x, x)
        x = layers.Dense(4, name="after")(x)
        model = keras.Model(inputs, layers.Dense(2)(x[:, token]))
        explanation = explain_prediction(model, np.arange(10), targets=[1])
        assert explanation.layer == "before"
