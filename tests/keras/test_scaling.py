"""A document whose values a model was not trained on is warned of, and no other."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import eli5k
from eli5k.base import UnscaledInputWarning
from eli5k.demo import PHOTOS, load_model, preprocess
from eli5k.keras.attribution import ask
from eli5k.keras.evidence.scales import SCALES, artificial_pictures, convert
from eli5k.keras.evidence.wanted import wanted_by
from eli5k.keras.model.applications import BACKBONES, find_backbone
from eli5k.keras.scaling import scales_of, warnings_of_scale
from eli5k.options import Options
from tests.zoo import settle

SIDE = 64


def photographs(side=SIDE):
    """Cat and cup, each cut in two ways, in [0, 1]."""
    squares = []
    for name in ("cat", "cup"):
        picture = Image.open(PHOTOS[name]).convert("RGB")
        short = min(picture.size)
        for left in (0, picture.width - short):
            square = picture.resize((side, side), box=(left, 0, left + short, short))
            squares.append(np.asarray(square, "float32") / 255)
    return np.stack(squares)


def warned(model, documents):
    """Which documents are warned of."""
    return [each is not None for each in warnings_of_scale(ask(model, documents, Options()))]


def trained(model, scale, images=None):
    """Give the normalisations the statistics of pictures in a scale."""
    if images is None:
        # All colours alike, as in a larger collection.
        images = np.concatenate([np.roll(photographs(), shift, axis=-1) for shift in range(3)])
    return settle(model, convert(images, "0..1", scale))


def stem(*before, after=()):
    """A small net with a normalisation, and what users put around it."""
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            *before,
            layers.Conv2D(8, 3, strides=2, name="conv"),
            *after,
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.Conv2D(8, 3, name="top"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4, activation="softmax"),
        ]
    )


class ScalesInCall(keras.Model):
    """Scales by an operation that is no layer."""

    def __init__(self):
        super().__init__()
        self.net = stem()

    def call(self, pixels):
        return self.net(pixels / 127.5 - 1)


# Models, and the scale that each was trained on: as it is, or scaled inside.
NETS = {
    "0..1": (stem, "0..1"),
    "0..255": (stem, "0..255"),
    "-1..1": (stem, "-1..1"),
    "imagenet": (stem, "imagenet"),
    "caffe": (stem, "caffe"),
    "rescaling": (lambda: stem(layers.Rescaling(1 / 255)), "0..255"),
    "rescaling to -1..1": (lambda: stem(layers.Rescaling(1 / 127.5, -1)), "0..255"),
    "augmentation": (lambda: stem(layers.RandomFlip(), layers.Rescaling(1 / 255)), "0..255"),
    "normalised first": (lambda: stem(layers.BatchNormalization()), "0..255"),
    "pooled": (lambda: stem(after=[layers.MaxPooling2D()]), "-1..1"),
    "in call": (ScalesInCall, "0..255"),
}


class TestStatistics:
    @pytest.mark.parametrize("name", NETS)
    def test_each_wrong_scale_and_no_right_one(self, name):
        make, wanted = NETS[name]
        model = trained(make(), wanted)
        for scale in SCALES:
            found = warned(model, convert(photographs()[1::2], "0..1", scale))
            assert found == [scale != wanted] * 2, scale

    def test_mean_and_deviation_of_the_training_data(self):
        for scale in ("0..1", "-1..1", "0..255"):
            images = convert(photographs(), "0..1", scale)
            model = trained(stem(), scale, photographs())
            seen = wanted_by(eli5k.keras.run(model, images), ("0..1",)).seen
            np.testing.assert_allclose(seen[0], images.mean(), atol=0.1 * images.std())
            np.testing.assert_allclose(seen[1], images.std(), rtol=0.3)

    def test_data_that_are_no_photographs(self):
        # Depths in metres: no usual scale, yet the right one.
        depths = np.random.default_rng(0).gamma(4, 0.8, (8, SIDE, SIDE, 3)).astype("float32")
        model = settle(stem(), depths)
        assert warned(model, depths) == [False] * 8
        assert warned(model, depths * 1000) == [True] * 8

    def test_one_document_does_not_decide_for_the_next(self):
        model = trained(stem(), "-1..1")
        right = convert(photographs(), "0..1", "-1..1")
        for bad in (np.full_like(right, np.nan), 0 * right, right * 1000):
            warned(model, bad)
            assert warned(model, right) == [False] * 4
        assert warned(model, photographs()) == [True] * 4

    def test_new_statistics_count_at_once(self):
        model = trained(stem(), "-1..1")
        assert warned(model, photographs()) == [True] * 4
        trained(model, "0..1")
        assert warned(model, photographs()) == [False] * 4

    def test_nothing_is_known_of_a_net_that_was_never_trained(self):
        for scale in SCALES:
            assert not any(warned(stem(), convert(photographs(), "0..1", scale)))

    def test_blank_and_dark_documents(self):
        model = trained(stem(), "0..1")
        documents = np.stack([np.zeros((SIDE, SIDE, 3)), *(photographs()[:2] * (0.1, 0.5)[1])])
        assert not any(warned(model, documents.astype("float32")))


class TestRealNet:
    def test_each_scale(self):
        model = load_model()
        photos = 255 * photographs(224)
        assert warned(model, preprocess(photos)) == [False] * 4
        for scale in ("0..255", "0..1", "caffe", "imagenet"):
            assert all(warned(model, convert(photos, "0..255", scale))), scale

    def test_comes_first_and_replaces_what_misleads(self):
        with pytest.warns(UnscaledInputWarning) as caught:
            explanation = eli5k.explain_prediction(load_model(), PHOTOS["cat"])
        assert [type(each) for each in explanation.warnings] == [UnscaledInputWarning]
        assert not any("logits=True" in str(each.message) for each in caught)

    def test_what_the_message_advises_helps(self):
        with pytest.warns(UnscaledInputWarning, match=r"pixels / 127\.5 - 1\."):
            eli5k.explain_prediction(load_model(), PHOTOS["cat"])
        explanation = eli5k.explain_prediction(
            load_model(),
            PHOTOS["cat"],
            preprocess=lambda pixels: pixels / 127.5 - 1,
            target_names=eli5k.demo.NAMES,
        )
        assert explanation.targets[0].target == "Egyptian cat"


class TestApplications:
    @pytest.mark.parametrize(
        ("name", "wanted", "module"),
        [
            ("MobileNetV2", "-1..1", "mobilenet_v2"),
            ("ResNet50", "caffe", "resnet"),
            ("MobileNetV3Small", "0..255", None),
        ],
    )
    def test_the_function_is_named(self, name, wanted, module):
        make = getattr(keras.applications, name)
        model = make(weights=None, input_shape=(SIDE, SIDE, 3), include_top=False, pooling="avg")
        first = next(x for x in model.layers if isinstance(x, layers.BatchNormalization))
        front = keras.Model(model.inputs, first.output)
        trained(front, wanted)
        model = keras.Sequential([model, layers.Dense(2)], name="mine")
        documents = photographs()[1::2]
        assert warned(model, convert(documents, "0..1", wanted)) == [False] * 2
        found = warnings_of_scale(eli5k.keras.run(model, documents))
        advice = (
            f"preprocess=keras.applications.{module}.preprocess_input"
            if module
            else "from 0 to 255, which the model scales itself"
        )
        assert all(advice in str(each) for each in found)

    def test_vgg_by_its_structure(self):
        model = keras.applications.VGG16(weights=None, input_shape=(32, 32, 3), include_top=False)
        renamed = keras.models.clone_model(
            model, clone_function=lambda x: type(x).from_config(x.get_config() | {"name": None})
        )
        assert find_backbone(renamed).module == "vgg16"
        assert all(warned(renamed, 255 * artificial_pictures((32, 32, 3))))
        scaled = keras.Sequential([keras.Input((32, 32, 3)), layers.Rescaling(1 / 255), renamed])
        assert not any(warned(scaled, 255 * artificial_pictures((32, 32, 3))))

    def test_each_named_function_exists(self):
        for backbone in BACKBONES:
            module = getattr(keras.applications, backbone.module)
            pixels = module.preprocess_input(np.full((1, 1, 3), 255.0))
            if backbone.values == "caffe":
                pixels = pixels[..., ::-1]
            expected = convert(np.full((1, 1, 3), 255.0), "0..255", backbone.values)
            np.testing.assert_allclose(pixels, expected, atol=0.6)


def plain_net(scale):
    """A net without normalisation, whose logits differ by 10 for photographs in a scale."""
    keras.utils.set_random_seed(1)
    biases = keras.initializers.RandomUniform(-0.01, 0.01, seed=1)
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            layers.Conv2D(12, 3, activation="relu", bias_initializer=biases),
            layers.MaxPooling2D(),
            layers.Conv2D(24, 3, activation="relu", bias_initializer=biases),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3, activation="softmax", bias_initializer=biases),
        ]
    )
    logits = keras.Sequential([keras.Input((SIDE, SIDE, 3)), *model.layers[:-1]])
    kernel, bias = model.layers[-1].get_weights()
    pooled = keras.ops.convert_to_numpy(logits(convert(photographs(), "0..1", scale)))
    spread = np.ptp(pooled @ kernel, axis=1).mean()
    model.layers[-1].set_weights([kernel * 10 / spread, bias])
    return model


class TestWithoutNormalisation:
    @pytest.mark.parametrize("wanted", ["0..1", "0..255"])
    def test_the_logits_tell(self, wanted):
        model = plain_net(wanted)
        for scale in ("0..1", "0..255"):
            found = warned(model, convert(photographs(), "0..1", scale))
            assert found == [scale != wanted] * 4

    def test_scaled_inside(self):
        model = keras.Sequential(
            [keras.Input((8, 8, 3)), layers.Rescaling(1 / 255), layers.Conv2D(2, 3)]
        )
        assert warned(model, artificial_pictures((8, 8, 3))) == [True] * 2
        assert warned(model, 255 * artificial_pictures((8, 8, 3))) == [False] * 2

    def test_a_net_that_brings_any_picture_to_one_scale(self):
        model = keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                layers.LayerNormalization(axis=(1, 2, 3), epsilon=1e-9),
                layers.Conv2D(2, 3),
            ]
        )
        for factor in (1, 255):
            assert not any(warned(model, factor * artificial_pictures((8, 8, 3))))


def test_preprocess_is_trusted():
    model = trained(stem(), "-1..1")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnscaledInputWarning)
        eli5k.explain_prediction(model, PHOTOS["cat"], preprocess=lambda pixels: pixels / 255)


@pytest.mark.parametrize(
    ("values", "scales"),
    [
        ([0, 255], ("0..255",)),
        ([0, 1], ("0..1",)),
        ([0.5, 0.9], ("0..1", "-1..1", "imagenet")),
        ([-1, 1], ("-1..1",)),
        ([-1.05, 1.05], ("-1..1",)),
        ([-2.1, 2.6], ("imagenet",)),
        ([-120, 150], ("caffe",)),
        ([0, 4095], ("other",)),
        ([0, 0], ()),
        ([0, np.nan], ()),
    ],
)
def test_scales_of(values, scales):
    assert scales_of(np.float32(values).reshape(1, 2, 1)) == scales
