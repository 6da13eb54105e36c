"""The forms in which people hold a document, each against the same one as a plain array."""

from __future__ import annotations

import functools
import io
from collections import namedtuple

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import eli5k
from eli5k import ExplanationWarning, explain_prediction
from eli5k.keras import attribute
from eli5k.keras.inputs import read_document

SIDE = 8
RNG = np.random.default_rng(0)
DIGIT = RNG.random((SIDE, SIDE), "float32")


@functools.cache
def digit_net(shape=(SIDE, SIDE, 1), *before):
    """A small net of positive weights: no map is blank."""

    def positive(seed):
        return keras.initializers.RandomUniform(0, 1, seed=seed)

    conv = layers.Conv2D(3, 3, activation="relu", kernel_initializer=positive(1))
    dense = layers.Dense(2, kernel_initializer=positive(2))
    pool = layers.GlobalAveragePooling2D()
    return keras.Sequential([keras.Input(shape), *before, conv, pool, dense])


def same(found, expected):
    assert found.targets[0].target == expected.targets[0].target
    np.testing.assert_allclose(found.targets[0].score, expected.targets[0].score, rtol=1e-5)
    np.testing.assert_allclose(
        found.targets[0].attribution, expected.targets[0].attribution, rtol=1e-4, atol=1e-7
    )


class TestAxes:
    """What ``predict`` takes, or would take with a batch axis."""

    @pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8), (8, 8, 1), (1, 8, 8, 1)], ids=str)
    def test_a_single_channel_may_be_missing(self, shape):
        model = digit_net()
        found = explain_prediction(model, DIGIT.reshape(shape))
        same(found, explain_prediction(model, DIGIT.reshape(1, 8, 8, 1)))
        assert found.image.size == (SIDE, SIDE)
        np.testing.assert_allclose(
            found.targets[0].score,
            model.predict(DIGIT[None, ..., None], verbose=0).max(),
            rtol=1e-5,
        )

    @pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8), (8, 8, 1), (1, 8, 8, 1)], ids=str)
    def test_a_channel_too_many(self, shape):
        model = digit_net((SIDE, SIDE), layers.Reshape((SIDE, SIDE, 1)))
        found = explain_prediction(model, DIGIT.reshape(shape))
        assert found.targets[0].heatmap.shape == (6, 6)
        assert found.image.size == (SIDE, SIDE)

    def test_channels_first(self):
        model = keras.Sequential(
            [keras.Input((1, SIDE, SIDE)), layers.AveragePooling2D(2, data_format="channels_first")]
        )
        for shape in ((8, 8), (1, 8, 8), (1, 1, 8, 8)):
            assert read_document(model, DIGIT.reshape(shape)).inputs.shape == (1, 1, 8, 8)

    def test_many_samples_without_channels(self):
        model = digit_net()
        digits = RNG.random((3, SIDE, SIDE), "float32")
        for found, expected in zip(
            attribute(model, digits, targets=1), attribute(model, digits[..., None], targets=1)
        ):
            np.testing.assert_array_equal(found, expected)

    def test_several_samples_say_what_to_call(self):
        with pytest.raises(ValueError, match=r"several samples, use explain_predictions.*\(3, 8"):
            explain_prediction(digit_net(), np.zeros((3, SIDE, SIDE, 1)))

    def test_pixels_of_another_size_say_how_to_resize_them(self):
        photo = RNG.integers(0, 256, (20, 30, 3), "uint8")
        model = digit_net((SIDE, SIDE, 3))
        with pytest.raises(ValueError, match=r"To have it resized, pass Image.fromarray\(doc\)"):
            explain_prediction(model, photo)
        assert explain_prediction(model, Image.fromarray(photo)).image.size == (30, 20)

    def test_channels_in_another_place_say_how_to_move_them(self):
        model = digit_net((SIDE, SIDE, 3))
        first = RNG.random((3, SIDE, SIDE), "float32")
        for doc in (first, first[None]):
            with pytest.raises(ValueError, match=r"pass np\.moveaxis\(doc, -3, -1\)"):
                explain_prediction(model, doc)
            assert explain_prediction(model, np.moveaxis(doc, -3, -1)).error == ""

    def test_another_rank_is_an_error_as_in_eli5(self):
        with pytest.warns(ExplanationWarning, match=r"is not supported.*\(1, 8, 8, 1\).*\(1, 5\)"):
            explanation = explain_prediction(digit_net(), np.zeros((1, 5)))
        assert "is not supported" in explanation.error


def from_layers(x, net):
    for layer in net:
        x = layer(x)
    return x


class ByHand(keras.Model):
    """A model of its own code, that declares no inputs."""

    def __init__(self):
        super().__init__()
        self.inner = digit_net()

    def call(self, x):
        return self.inner(keras.ops.reshape(x, (-1, SIDE, SIDE, 1)))


@functools.cache
def reshaping(kind, shape):
    """The net on images, behind a reshape."""
    if kind == "own code":
        return ByHand()
    if kind == "layer":
        return digit_net(shape, layers.Rescaling(1.0), layers.Reshape((SIDE, SIDE, 1)))
    x = keras.Input(shape)
    image = keras.ops.reshape(x, (-1, SIDE, SIDE, 1))
    return keras.Model(x, from_layers(image, digit_net().layers))


class TestReshapedInside:
    """A model that makes the image itself: the map is that of the same net on the image."""

    @pytest.mark.parametrize("method", ["grad-cam", "gradient", "occlusion"])
    @pytest.mark.parametrize("shape", [(SIDE * SIDE,), (SIDE, SIDE)], ids=str)
    @pytest.mark.parametrize("kind", ["layer", "operation", "own code"])
    def test_map_lies_on_the_image(self, kind, shape, method):
        model = reshaping(kind, shape)
        doc = DIGIT.reshape(1, *shape)
        found = explain_prediction(model, doc, targets=[1], method=method)
        expected = explain_prediction(digit_net(), DIGIT, targets=[1], method=method)
        same(found, expected)
        assert found.image.tobytes() == expected.image.tobytes()
        assert found.frame == expected.frame

    def test_what_only_has_as_many_numbers_is_no_image(self):
        """A dense layer has mixed the pixels: the grid after it is not that of the document."""
        net = [layers.Dense(64), layers.Reshape((SIDE, SIDE, 1)), layers.Conv2D(2, 3)]
        model = keras.Sequential([keras.Input((64,)), *net, layers.Flatten(), layers.Dense(2)])
        with pytest.warns(ExplanationWarning, match="is not supported.*No layer"):
            assert explain_prediction(model, DIGIT.ravel()).targets is None


def photograph(tmp_path):
    picture = Image.fromarray(RNG.integers(0, 256, (20, 30, 3), "uint8"))
    path = tmp_path / "photo.png"
    picture.save(path)
    return picture, path


class OneWay(io.RawIOBase):
    """What comes from a network: it can be read once."""

    def __init__(self, content):
        self.rest = io.BytesIO(content)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self.rest.readinto(buffer)


FORMS = {
    "path": lambda picture, path: path,
    "str": lambda picture, path: str(path),
    "np.str_": lambda picture, path: np.str_(path),
    "array of a path": lambda picture, path: np.array([str(path)]),
    "bytes": lambda picture, path: path.read_bytes(),
    "memoryview": lambda picture, path: memoryview(path.read_bytes()),
    "file without a way back": lambda picture, path: OneWay(path.read_bytes()),
    "open file": lambda picture, path: io.BytesIO(path.read_bytes()),
    "picture": lambda picture, path: picture,
}


class TestPictures:
    @pytest.mark.parametrize("form", FORMS)
    def test_alone(self, form, tmp_path):
        picture, path = photograph(tmp_path)
        model = digit_net((SIDE, SIDE, 3))
        found = explain_prediction(model, FORMS[form](picture, path))
        pixels = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR), "float32")
        same(found, explain_prediction(model, pixels))
        assert found.image.tobytes() == picture.tobytes()
        is_path = form in ("path", "str", "np.str_", "array of a path")
        assert found.source == (str(path) if is_path else None)

    def test_a_file_is_left_where_it_was(self, tmp_path):
        _, path = photograph(tmp_path)
        with open(path, "rb") as file:
            found = explain_prediction(digit_net((SIDE, SIDE, 3)), file)
            assert file.tell() == 0
            assert file.read() == path.read_bytes()
        assert found.source == str(path)

    @pytest.mark.parametrize(
        ("form", "meta", "container"),
        [(form, [0.5, 2], "list") for form in FORMS]
        + [
            ("path", meta, "dict")
            for meta in ((0.5, 2.0), np.array([[0.5, 2]]), np.array([0.5, 2]))
        ]
        + [("path", [0.5, 2], "tuple")],
    )
    def test_beside_a_vector(self, form, container, meta, tmp_path):
        picture, path = photograph(tmp_path)
        photo, facts = keras.Input((SIDE, SIDE, 3), name="photo"), keras.Input((2,), name="facts")
        seen = from_layers(photo, digit_net((SIDE, SIDE, 3)).layers[:-1])
        dense = layers.Dense(2, kernel_initializer="ones")
        model = keras.Model([photo, facts], dense(layers.Concatenate()([seen, facts])))
        doc = [FORMS[form](picture, path), meta]
        doc = {"list": doc, "tuple": tuple(doc), "dict": {"facts": meta, "photo": doc[0]}}[
            container
        ]
        found = explain_prediction(model, doc, targets=[0])
        pixels = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR), "float32")
        score = model.predict([pixels[None], np.array([[0.5, 2]])], verbose=0)[0, 0]
        np.testing.assert_allclose(found.targets[0].score, score, rtol=1e-4)
        assert found.image.tobytes() == picture.tobytes()

    def test_a_number_for_an_input_of_one(self):
        photo, age = keras.Input((SIDE, SIDE, 1)), keras.Input((1,), name="age")
        seen = layers.Flatten()(layers.Conv2D(1, 3, kernel_initializer="ones")(photo))
        dense = layers.Dense(2, kernel_initializer="ones")
        model = keras.Model([photo, age], dense(layers.Concatenate()([seen, age])))
        score = model.predict([DIGIT[None, ..., None], np.array([[35.0]])], verbose=0)[0, 1]
        found = explain_prediction(model, [DIGIT, 35], targets=[1])
        np.testing.assert_allclose(found.targets[0].score, score, rtol=1e-4)

    def test_what_a_dict_has_too_much_is_left_out(self):
        x = keras.Input((SIDE, SIDE, 1), name="photo")
        model = keras.Model({"photo": x}, from_layers(x, digit_net().layers))
        found = explain_prediction(model, {"photo": DIGIT, "label": 3})
        same(found, explain_prediction(model, {"photo": DIGIT}))

    def test_a_model_that_ran_before_is_known_by_its_shapes(self):
        """A photograph goes into it in the size in which it was trained."""
        picture = Image.fromarray(RNG.integers(0, 256, (20, 30), "uint8"))

        class Own(keras.Model):
            def __init__(self):
                super().__init__()
                self.inner = digit_net()

            def call(self, x):
                return self.inner(x)

        model = Own()
        model(np.zeros((2, SIDE, SIDE, 1), "float32"))
        pixels = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR), "float32")
        same(explain_prediction(model, picture), explain_prediction(model, pixels))

    @pytest.mark.parametrize("channels", [None, 1, 3])
    def test_image_as_an_array(self, channels):
        shape = (9, 7) if channels is None else (9, 7, channels)
        shown = RNG.integers(0, 256, shape, "uint8")
        shown.ravel()[:2] = 0, 255
        found = explain_prediction(digit_net(), DIGIT, image=shown)
        np.testing.assert_array_equal(np.asarray(found.image), np.squeeze(shown))

    def test_array_in_a_file(self, tmp_path):
        np.save(tmp_path / "digit.npy", DIGIT)
        found = explain_prediction(digit_net(), tmp_path / "digit.npy")
        same(found, explain_prediction(digit_net(), DIGIT))
        assert found.source == str(tmp_path / "digit.npy")
        (tmp_path / "broken.npy").write_bytes(b"no array")
        with pytest.raises(OSError, match=r"broken\.npy: no array of numbers"):
            explain_prediction(digit_net(), tmp_path / "broken.npy")

    @pytest.mark.parametrize(
        ("name", "reader"),
        [("scan.dcm", "pydicom"), ("BEAT.WAV", "scipy"), ("clip.mp4", "imageio")],
    )
    def test_file_of_another_kind_says_what_reads_it(self, name, reader, tmp_path):
        (tmp_path / name).write_bytes(b"no picture")
        with pytest.raises(OSError, match=f"{name}: not a picture. Read it with {reader}.*array"):
            explain_prediction(digit_net(), tmp_path / name)

    def test_address_says_what_to_pass(self):
        with pytest.raises(OSError, match=r"Pass what it gives: urllib\.request\.urlopen\('https"):
            explain_prediction(digit_net(), "https://example.com/cat.jpg")

    def test_several_paths_say_what_to_call(self):
        with pytest.raises(TypeError, match="several files, use explain_predictions"):
            explain_prediction(digit_net(), np.array(["a.png", "b.png"]))


class TestPreprocess:
    def test_of_a_signal_is_not_left_out(self):
        net = [layers.Conv1D(2, 3), layers.GlobalAveragePooling1D(), layers.Dense(2)]
        model = keras.Sequential([keras.Input((20, 2)), *net])
        signal = RNG.random((20, 2), "float32")
        found = attribute(model, signal[None] * 2 - 1, targets=0)[0]
        document = read_document(model, signal, preprocess=lambda x: x * 2 - 1)
        np.testing.assert_allclose(attribute(model, document.inputs, targets=0)[0], found)


Outputs = namedtuple("Outputs", ["loss", "scores"])


class Several(keras.Model):
    """A model with an output that is None."""

    def __init__(self, kind):
        super().__init__()
        self.inner, self.kind = digit_net(), kind

    def call(self, x):
        scores = self.inner(x)
        return {
            "list": lambda: [None, scores],
            "dict": lambda: {"loss": None, "scores": scores},
            "namedtuple": lambda: Outputs(None, scores),
            "nested": lambda: {"all": {"loss": None, "scores": scores}},
        }[self.kind]()


class TestOutputs:
    NAMES = {"list": "1", "dict": "scores", "namedtuple": "scores", "nested": "all/scores"}

    @pytest.mark.parametrize("kind", NAMES)
    def test_one_that_is_none_is_skipped(self, kind):
        model = Several(kind)
        doc = DIGIT[None, ..., None]
        found = explain_prediction(model, doc)
        same(found, explain_prediction(model.inner, doc))
        same(explain_prediction(model, doc, output=self.NAMES[kind]), found)
        assert found.output is None
        with pytest.raises(
            ValueError, match=rf"one of \['{self.NAMES[kind]}'\]. Received: 'other'"
        ):
            explain_prediction(model, doc, output="other")
        with pytest.raises(ValueError, match=r"Received: 0, which the model leaves empty"):
            explain_prediction(model, doc, output=0)

    def test_scores_go_before_features(self):
        x = keras.Input((SIDE, SIDE, 1))
        conv, *rest = digit_net().layers
        features = conv(x)
        scores = from_layers(features, rest)
        model = keras.Model(x, {"features": features, "scores": scores})
        with pytest.warns(eli5k.AmbiguousOutputWarning, match="'scores' is explained"):
            assert explain_prediction(model, DIGIT).output == "scores"

    def test_fixed_batch_is_filled_up(self):
        model = keras.Sequential([keras.Input(batch_shape=(4, SIDE, SIDE, 1)), *digit_net().layers])
        doc = DIGIT[None, ..., None]
        expected = model.predict(np.repeat(doc, 4, axis=0), verbose=0)[0].max()
        np.testing.assert_allclose(
            explain_prediction(model, DIGIT).targets[0].score, expected, rtol=1e-5
        )


class TwoArguments(keras.Model):
    def __init__(self):
        super().__init__()
        self.inner = digit_net()

    def call(self, photo, facts, training=None):
        return self.inner(photo) * keras.ops.mean(facts)


class TestRefused:
    """What a model is that can't be explained, and what to do."""

    def test_call_of_two_arguments(self):
        model = TwoArguments()
        with pytest.warns(
            ExplanationWarning, match=r"(?s)photo, facts = keras.Input.*keras.Model\("
        ):
            error = explain_prediction(model, [DIGIT, 3.0]).error
        # The wrapper that the error shows, with the shapes filled in.
        lines = error.splitlines()[1:]
        shapes = iter(["(8, 8, 1)", "(1,)"])
        names = {"keras": keras, "eli5k": eli5k, "model": model}
        first = lines[0].strip()
        while "..." in first:
            first = first.replace("...", next(shapes), 1)
        exec(first, names)
        exec(lines[1].strip(), names)
        photo = DIGIT[None, ..., None]
        expected = model(photo, np.array([[3.0]], "float32"))
        names.update(photo=photo, facts=np.array([[3.0]]))
        found = eval(lines[2].strip(), names)
        score = keras.ops.convert_to_numpy(expected).max()
        np.testing.assert_allclose(found.targets[0].score, score, rtol=1e-5)

    def test_text(self):
        if keras.backend.backend() != "tensorflow":
            return
        vectorize = layers.TextVectorization(output_sequence_length=6, vocabulary=["a", "cat"])
        inner = [layers.Embedding(4, 8), layers.Conv1D(2, 3), layers.GlobalAveragePooling1D()]
        model = keras.Sequential([keras.Input((), dtype="string"), vectorize, *inner])
        with pytest.warns(ExplanationWarning, match="It takes text.*after its TextVectorization"):
            assert explain_prediction(model, "a cat").targets is None
        after = keras.Sequential(model.layers[1:])
        tokens = np.asarray(vectorize(["a cat"]))
        np.testing.assert_allclose(
            explain_prediction(after, tokens, targets=[0]).targets[0].score,
            np.asarray(model(keras.ops.convert_to_tensor(["a cat"])))[0, 0],
            rtol=1e-5,
        )

    def test_layer_class_and_swapped_arguments(self):
        model = digit_net()
        for estimator, doc, advice in (
            (DIGIT, model, r"The model comes first: explain_prediction\(model, doc\)"),
            (keras.Sequential, DIGIT, "It is a class"),
            (layers.Dense(2), DIGIT, r"put it into keras.Sequential\(\[layer\]\)"),
        ):
            with pytest.warns(ExplanationWarning, match=advice):
                assert explain_prediction(estimator, doc).targets is None
            with pytest.raises(TypeError, match=advice):
                eli5k.explain_predictions(estimator, doc)
            with pytest.raises(TypeError, match=advice):
                attribute(estimator, doc)


class TestTargets:
    def test_tensor(self):
        tensor = keras.ops.convert_to_tensor([1])
        found = explain_prediction(digit_net(), DIGIT, tensor)
        same(found, explain_prediction(digit_net(), DIGIT, [1]))

    @pytest.mark.parametrize(
        "targets", [[1], (1,), np.array([1]), np.int64(1), 1, "dog", ("dog",), np.array(["dog"])]
    )
    def test_forms(self, targets):
        found = explain_prediction(digit_net(), DIGIT, targets, target_names=["cat", "dog"])
        assert [target.target for target in found.targets] == ["dog"]
        same(found, explain_prediction(digit_net(), DIGIT, [1], target_names={1: "dog"}))


@pytest.fixture
def encoder():
    from sklearn.preprocessing import LabelEncoder

    return LabelEncoder().fit(["dog", "cat", "dog"])


class TestTargetNames:
    def called(self, names):
        found = explain_prediction(digit_net(), DIGIT, [0, 1], target_names=names)
        return [target.target for target in found.targets]

    def test_of_keras_and_sklearn(self, encoder):
        assert self.called({"dog": 1, "cat": 0}) == ["cat", "dog"]
        assert self.called({"0": "cat", "1": "dog"}) == ["cat", "dog"]
        assert self.called(encoder) == list(encoder.classes_) == ["cat", "dog"]
        assert self.called(encoder.classes_) == ["cat", "dog"]
        assert self.called(("cat", "dog")) == ["cat", "dog"]

    @pytest.mark.parametrize(
        "text", ["cat\ndog\n", "0 cat\n1 dog\n", "1: dog\n0: cat\n", '{"cat": 0, "dog": 1}']
    )
    def test_file(self, text, tmp_path):
        path = tmp_path / "labels.txt"
        path.write_text(text, encoding="utf-8")
        assert self.called(path) == self.called(str(path)) == ["cat", "dog"]

    def test_names_that_begin_with_a_number_stay_as_they_are(self, tmp_path):
        path = tmp_path / "labels.txt"
        path.write_text("7 up\ncola\n", encoding="utf-8")
        assert self.called(path) == ["7 up", "cola"]

    def test_too_few_classes_in_an_encoder(self, encoder):
        net = keras.Sequential([*digit_net().layers[:-1], layers.Dense(3)])
        with pytest.raises(ValueError, match=r"one name for each of the 3 classes\. Received 2"):
            explain_prediction(net, DIGIT[None, ..., None], target_names=encoder)

    @pytest.mark.parametrize("names", ["none.txt", 3, {"cat": "dog"}, {"cat": 0, "dog": 0}, {1, 2}])
    def test_what_is_none(self, names):
        with pytest.raises(TypeError, match="target_names"):
            self.called(names)
