"""Outputs with a class for each pixel: what is explained is what ``predict`` says about pixels."""

from __future__ import annotations

from functools import cache

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import eli5k
from eli5k.keras import attribute
from eli5k.keras.evidence.regions import Canvas, centres_of, in_region
from eli5k.keras.methods import TTA, FinerCAM, IntegratedGradients, Occlusion
from tests.zoo import noise

# Some random weights speak against a class everywhere.
pytestmark = pytest.mark.filterwarnings("ignore::eli5k.BlankMapWarning")

SIDE = 16
DOCS = noise(3, SIDE, SIDE, 3, seed=1)
# A mean of half the output is rounded in another order by each backend.
CLOSE = {"rel": 1e-5, "abs": 1e-6}


@cache
def unet(channels: int = 4, activation: str | None = "softmax") -> keras.Model:
    inputs = keras.Input((SIDE, SIDE, 3), name="photo")
    fine = layers.Conv2D(6, 3, padding="same", activation="elu", name="fine")(inputs)
    x = layers.MaxPooling2D(name="pool1")(fine)
    middle = layers.Conv2D(7, 3, padding="same", activation="elu", name="middle")(x)
    x = layers.MaxPooling2D(name="pool2")(middle)
    x = layers.Conv2D(8, 3, padding="same", activation="elu", name="bottleneck")(x)
    x = layers.Concatenate(name="skip1")([layers.UpSampling2D(name="up1")(x), middle])
    x = layers.Conv2D(7, 3, padding="same", activation="elu", name="decode1")(x)
    x = layers.Concatenate(name="skip2")([layers.UpSampling2D(name="up2")(x), fine])
    x = layers.Conv2D(6, 3, padding="same", activation="elu", name="decode2")(x)
    x = layers.Conv2D(channels, 1, name="scores")(x)
    x = layers.Activation(activation, name="mask")(x) if activation else x
    return keras.Model(inputs, x)


def logits_of(model: keras.Model, docs: np.ndarray) -> np.ndarray:
    return keras.Model(model.inputs, model.get_layer("scores").output).predict(docs, verbose=0)


class TestScores:
    """The score of a class is its mean over the pixels that ``predict`` gives to it."""

    @pytest.mark.parametrize(
        ("activation", "logits"), [("softmax", False), ("softmax", True), (None, False)]
    )
    def test_one_class_for_each_pixel(self, activation, logits):
        model = unet(activation=activation)
        output = model.predict(DOCS, verbose=0)
        number = logits_of(model, DOCS) if logits else output
        given = output.argmax(axis=-1)
        found = 0
        for row, expl in enumerate(
            eli5k.explain_predictions(model, DOCS, top_targets=3, logits=logits, preprocess=False)
        ):
            areas = np.bincount(given[row].ravel(), minlength=4)
            largest = [each for each in np.argsort(-areas, kind="stable") if areas[each] and each]
            assert [target.target for target in expl.targets] == largest[:3]
            for target in expl.targets:
                own = given[row] == target.target
                assert target.score == pytest.approx(
                    number[row][own][:, target.target].mean(), **CLOSE
                )
                assert (target.region == own).all()
                if activation:
                    proba = output[row][own][:, target.target].mean()
                    assert target.proba == pytest.approx(proba, **CLOSE)
                found += 1
        assert found >= 5

    def test_several_classes_for_each_pixel(self):
        model = unet(activation="sigmoid")
        output = model.predict(DOCS, verbose=0)
        classes = np.argsort(-(output > 0.5).sum(axis=(1, 2)), axis=1, kind="stable")
        scores, _ = attribute(model, DOCS)
        for row, best in enumerate(classes[:, 0]):
            own = output[row, ..., best] > 0.5
            assert scores[row] == pytest.approx(output[row][own][:, best].mean(), **CLOSE)

    @pytest.mark.parametrize("names", [None, ["paper", "ink"]])
    def test_one_unit_is_a_mask(self, names):
        model = unet(1, "sigmoid")
        output = model.predict(DOCS, verbose=0)[..., 0]
        expl = eli5k.explain_prediction(
            model, DOCS[0], targets=[0, 1], target_names=names, preprocess=False
        )
        for target, number, is_it in zip(
            expl.targets, (1 - output[0], output[0]), (output[0] <= 0.5, output[0] > 0.5)
        ):
            assert target.score == pytest.approx(number[is_it].mean(), **CLOSE)
        assert [target.target for target in expl.targets] == (names or [0, 1])
        default = eli5k.explain_prediction(model, DOCS[0], target_names=names, preprocess=False)
        assert [target.target for target in default.targets] == [names[1] if names else 1]

    def test_one_number_for_each_pixel_is_a_mean(self):
        model = unet(1, None)
        scores, _ = attribute(model, DOCS)
        assert scores == pytest.approx(model.predict(DOCS, verbose=0).mean(axis=(1, 2, 3)), **CLOSE)

    def test_channels_first(self):
        inputs = keras.Input((3, SIDE, SIDE))
        x = layers.UpSampling2D(1, data_format="channels_first")(inputs)
        x = layers.Permute((2, 3, 1))(x)
        x = layers.Conv2D(5, 3, padding="same", data_format="channels_last")(x)
        model = keras.Model(inputs, layers.Softmax(axis=1)(layers.Permute((3, 1, 2))(x)))
        docs = np.moveaxis(DOCS, -1, 1)
        output = model.predict(docs, verbose=0)
        best = np.array(
            [np.bincount(each.argmax(axis=0).ravel(), minlength=5)[1:] for each in output]
        )
        scores, maps = attribute(model, docs, method="gradient")
        for row, label in enumerate(best.argmax(axis=1) + 1):
            own = output[row].argmax(axis=0) == label
            assert scores[row] == pytest.approx(output[row, label][own].mean(), **CLOSE)
        assert maps.shape == (3, SIDE, SIDE)

    def test_steps_of_a_signal(self):
        inputs = keras.Input((32, 2))
        x = layers.Conv1D(4, 3, padding="same", activation="relu", name="conv")(inputs)
        model = keras.Model(inputs, layers.Conv1D(3, 1, activation="softmax")(x))
        docs = noise(2, 32, 2)
        output = model.predict(docs, verbose=0)
        scores, maps = attribute(model, docs, targets=2, region=(4, 12))
        assert scores == pytest.approx(output[:, 4:12, 2].mean(axis=1), **CLOSE)
        assert maps.shape == (2, 32)


class TestMaps:
    """The same number as a callable has the same map, by any method."""

    @pytest.mark.parametrize(
        "method",
        [
            "grad-cam",
            "gradient",
            IntegratedGradients(steps=3),
            Occlusion(window=8),
            "ablation-cam",
        ],
        ids=str,
    )
    def test_callable(self, method):
        model = unet()
        own = model.predict(DOCS[:1], verbose=0)[0].argmax(axis=-1) == 2
        weights = (own / own.sum()).astype("float32")

        def mean_of_class_2(output):
            return keras.ops.sum(keras.ops.multiply(output[..., 2], weights), axis=(1, 2))

        asked = {"method": method, "layer": "bottleneck", "preprocess": False}
        if "gradient" in str(method) or callable(method):
            del asked["layer"]
        wanted = {
            logits: eli5k.explain_prediction(
                model, DOCS[0], targets=[mean_of_class_2], logits=logits, **asked
            ).targets[0]
            for logits in (False, True)
        }
        for logits, score, map_ in ((False, False, False), (True, True, True), (None, False, True)):
            # By default the score is the probability, and the map is that of the logit.
            found = eli5k.explain_prediction(
                model, DOCS[0], targets=[2], logits=logits, **asked
            ).targets[0]
            assert found.score == pytest.approx(wanted[score].score, **CLOSE)
            expected = wanted[map_].attribution
            scale = float(np.abs(expected).max())
            assert found.attribution == pytest.approx(expected, abs=1e-4 * scale)

    def test_rivals_are_those_at_the_same_pixels(self):
        model = unet(activation=None)
        own = model.predict(DOCS[:1], verbose=0)[0].argmax(axis=-1) == 2
        weights = (own / own.sum()).astype("float32")

        def against_all(output):
            own = keras.ops.multiply(output, weights[..., np.newaxis])
            means = keras.ops.sum(own, axis=(1, 2))
            return means[:, 2] - 0.6 * (keras.ops.sum(means, axis=1) - means[:, 2]) / 3

        asked = {"layer": "bottleneck", "preprocess": False}
        wanted = eli5k.explain_prediction(model, DOCS[0], targets=[against_all], **asked).targets[0]
        found = eli5k.explain_prediction(
            model, DOCS[0], targets=[1, 2], method=FinerCAM(), **asked
        ).targets[1]
        scale = float(np.abs(wanted.attribution).max())
        assert found.attribution == pytest.approx(wanted.attribution, abs=1e-4 * scale)

    def test_flipped_view_is_asked_about_the_flipped_pixels(self):
        mask = np.zeros((SIDE, SIDE), bool)
        mask[2:6, 1:7] = True
        _, plain = attribute(unet(), DOCS, targets=2, method="gradient", region=mask)
        mirror = DOCS[:, :, ::-1]
        _, mirrored = attribute(unet(), mirror, targets=2, method="gradient", region=mask[:, ::-1])
        method = TTA("gradient", flips=(1,), scales=(1.0,))
        _, found = attribute(unet(), DOCS, targets=2, method=method, region=mask)
        wanted = (plain + mirrored[:, :, ::-1]) / 2
        assert found == pytest.approx(wanted, abs=1e-4 * float(np.abs(wanted).max()))

    def test_check(self):
        expl = eli5k.explain_prediction(unet(), DOCS[0], targets=[2], check=True, preprocess=False)
        own = expl.targets[0].region
        score = logits_of(unet(), DOCS[:1])[0][own][:, 2].mean()
        assert expl.targets[0].check.score == pytest.approx(score, **CLOSE)


class TestDefaultLayer:
    def test_bottleneck(self):
        assert eli5k.explain_prediction(unet(), DOCS[0], preprocess=False).layer == "bottleneck"

    def test_is_never_the_layer_of_the_scores(self):
        """A fully convolutional net ends where it is coarsest: in scores, enlarged."""
        inputs = keras.Input((SIDE, SIDE, 3))
        x = layers.Conv2D(6, 3, 2, padding="same", activation="relu", name="conv1")(inputs)
        x = layers.Conv2D(6, 3, 2, padding="same", activation="relu", name="conv2")(x)
        x = layers.Conv2D(4, 1, name="scores")(x)
        x = layers.UpSampling2D(4, interpolation="bilinear", name="enlarged")(x)
        model = keras.Model(inputs, layers.Softmax(name="mask")(x))
        assert eli5k.explain_prediction(model, DOCS[0], preprocess=False).layer == "conv2"

    def test_is_no_pooled_branch(self):
        """A pyramid's pooled branches see all of the picture, but hold little of it."""
        inputs = keras.Input((SIDE, SIDE, 3))
        x = layers.Conv2D(6, 3, padding="same", activation="relu", name="conv")(inputs)
        pooled = layers.AveragePooling2D(8, name="pooled")(x)
        pooled = layers.Conv2D(6, 1, activation="relu", name="branch")(pooled)
        x = layers.Concatenate(name="joined")([x, layers.UpSampling2D(8, name="up")(pooled)])
        model = keras.Model(inputs, layers.Conv2D(4, 1, activation="softmax", name="scores")(x))
        assert eli5k.explain_prediction(model, DOCS[0], preprocess=False).layer == "joined"


class TestBackground:
    def test_is_the_first_class_without_names(self):
        expl = eli5k.explain_prediction(unet(), DOCS[0], top_targets=4, preprocess=False)
        assert 0 not in [target.target for target in expl.targets]
        assert "The background, 0, is left out (class 0, since target_names" in expl.description

    def test_has_a_name(self):
        names = ["sky", "road", "Background", "car"]
        expl = eli5k.explain_prediction(
            unet(), DOCS[0], top_targets=4, target_names=names, preprocess=False
        )
        assert "Background" not in [target.target for target in expl.targets]
        assert expl.description.endswith("The background, 'Background', is left out.")

    def test_need_not_be(self):
        names = ["sky", "road", "tree", "car"]
        expl = eli5k.explain_prediction(
            unet(), DOCS[0], top_targets=4, target_names=names, preprocess=False
        )
        given = unet().predict(DOCS[:1], verbose=0).argmax(axis=-1)
        assert {target.target for target in expl.targets} == {names[i] for i in np.unique(given)}
        assert "left out" not in expl.description

    def test_is_explained_if_asked_for(self):
        expl = eli5k.explain_prediction(unet(), DOCS[0], targets=[0], preprocess=False)
        assert expl.targets[0].target == 0
        assert "left out" not in expl.description


class TestRegion:
    def test_box_in_pixels_of_a_photograph(self):
        """The picture is twice as large as the model's input."""
        model = unet()
        pixels = np.random.default_rng(0).integers(0, 256, (2 * SIDE, 2 * SIDE, 3), "uint8")
        photo = Image.fromarray(pixels)
        expl = eli5k.explain_prediction(
            model, photo, targets=[3], region=(8, 0, 24, 16), preprocess=lambda array: array / 255
        )
        seen = np.zeros((SIDE, SIDE), bool)
        seen[:8, 4:12] = True
        assert (expl.targets[0].region == seen).all()
        small = np.asarray(photo.resize((SIDE, SIDE), Image.Resampling.BILINEAR), "float32") / 255
        by_hand = model.predict(small[np.newaxis], verbose=0)[0][seen][:, 3].mean()
        assert expl.targets[0].score == pytest.approx(by_hand, abs=0.02)

    def test_box_in_a_picture_of_which_the_model_gets_a_crop(self):
        canvas = Canvas((20, 40), ((0.0, 0.25), (1.0, 0.75)))
        found = in_region((20, 0, 40, 10), centres_of((2, 4)), canvas, [(2, 4)])
        assert found.reshape(2, 4).tolist() == [[False, False, True, True], [False] * 4]
        mask = np.zeros((20, 40), bool)
        mask[:, 10:15] = True
        found = in_region(mask, centres_of((2, 4)), canvas, [(2, 4)])
        assert found.reshape(2, 4).tolist() == [[True, False, False, False]] * 2

    @pytest.mark.parametrize("targets", [None, 2])
    def test_mask(self, targets):
        model = unet()
        mask = np.zeros((SIDE, SIDE), bool)
        mask[3:9, 5:7] = True
        output = model.predict(DOCS, verbose=0)
        scores, _ = attribute(model, DOCS, targets=targets, region=mask)
        for row, each in enumerate(output):
            areas = np.bincount(each[mask].argmax(axis=-1), minlength=4)
            areas[0] = 0 if areas[1:].any() else areas[0]
            label = areas.argmax() if targets is None else targets
            assert scores[row] == pytest.approx(each[mask][:, label].mean(), **CLOSE)

    def test_smaller_than_a_pixel_is_the_nearest_one(self):
        expl = eli5k.explain_prediction(
            unet(), DOCS[0], targets=[1], region=(3.1, 7.2, 3.2, 7.3), preprocess=False
        )
        assert np.argwhere(expl.targets[0].region).tolist() == [[7, 3]]

    @pytest.mark.parametrize(
        "region", [(0, 0, 0, 4), (99, 99, 100, 100), np.zeros((SIDE, SIDE), bool), [1, 2], "all"]
    )
    def test_no_region(self, region):
        with pytest.raises(ValueError, match=r"region must be a box .*\(16, 16\)"):
            attribute(unet(), DOCS, region=region)

    def test_is_for_outputs_with_places(self):
        model = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(2, 3), layers.Flatten()])
        with pytest.raises(ValueError, match="region= is for an output with a score for each"):
            attribute(model, np.ones((1, 8, 8, 1)), region=(0, 0, 4, 4))

    def test_is_drawn(self):
        black = np.zeros((SIDE, SIDE, 3), "float32")
        expl = eli5k.explain_prediction(
            unet(),
            black,
            targets=[1],
            image=Image.new("RGB", (160, 160)),
            region=(40, 40, 120, 120),
        )
        drawn = np.asarray(eli5k.format_as_image(expl, alpha_limit=0.0).convert("L"))
        assert drawn[40, 60:100].min() == 255 == drawn[60:100, 119].min()
        assert drawn[60:100, 60:100].max() == 0 == drawn[:30].max()


class TestTargets:
    def test_class_without_a_pixel(self):
        model = unet.__wrapped__()
        bias = model.get_layer("scores").bias
        bias.assign([0, 0, 0, -1000])
        output = model.predict(DOCS[:1], verbose=0)[0]
        with pytest.warns(eli5k.ExplanationWarning, match="gives no pixel to 3"):
            [target] = eli5k.explain_prediction(
                model, DOCS[0], targets=[3], logits=True, preprocess=False
            ).targets
        assert target.region.all()
        assert output[..., 3].max() == 0

    def test_one_for_each_sample(self):
        model = unet()
        output = model.predict(DOCS, verbose=0)
        labels = np.array([[1, 2], [2, 3], [3, 2]])
        scores, maps = attribute(model, DOCS, targets=labels)
        assert maps.shape[:2] == (3, 2)
        for row, classes in enumerate(labels):
            for column, label in enumerate(classes):
                own = output[row].argmax(axis=-1) == label
                own = own if own.any() else np.ones_like(own)
                score = output[row][own][:, label].mean()
                assert scores[row, column] == pytest.approx(score, **CLOSE)

    @pytest.mark.parametrize(
        ("targets", "error", "message"),
        [
            ([4], ValueError, r"in \[0, 4\)"),
            ([1.5], TypeError, "classes"),
            (["cat"], TypeError, "target_names"),
            ([], ValueError, "at least one"),
            (3.5, TypeError, "list"),
        ],
    )
    def test_wrong(self, targets, error, message):
        with pytest.raises(error, match=message):
            eli5k.explain_prediction(unet(), DOCS[0], targets=targets)


@pytest.mark.filterwarnings("ignore::eli5k.BlankMapWarning")
def test_an_output_like_the_picture_may_be_one():
    """The channels of an autoencoder are no classes."""
    net = [layers.Conv2D(4, 3, padding="same"), layers.Conv2D(3, 3, padding="same")]
    model = keras.Sequential([keras.Input((8, 8, 3)), *net])
    doc = np.random.default_rng(0).random((8, 8, 3), "float32")
    with pytest.warns(eli5k.ExplanationWarning, match=r"If it is a picture, as an autoencoder's"):
        eli5k.explain_prediction(model, doc)


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_a_class_for_each_token(dtype):
    """The default layer is found on noise, which must be tokens that the model knows."""
    positive = keras.initializers.RandomUniform(0, 1, seed=0)
    embedding = layers.Embedding(5, 4, embeddings_initializer=positive)
    conv = layers.Conv1D(4, 3, padding="same", kernel_initializer=positive, name="conv")
    tagger = keras.Sequential(
        [keras.Input((6,), dtype=dtype), embedding, conv, layers.Dense(3, "softmax")]
    )
    tokens = np.array([[1, 2, 3, 4, 1, 2]])
    output = tagger.predict(tokens, verbose=0)[0]
    index = int(np.bincount(output.argmax(axis=-1)).argmax())
    found = eli5k.explain_prediction(tagger, tokens, targets=[index])
    own = output.argmax(axis=-1) == index
    assert found.layer == "conv"
    assert found.targets[0].score == pytest.approx(output[own][:, index].mean(), rel=1e-5)
