"""Scores and boxes of KerasHub's models are those of ``predict``, for pictures of any size.

Runs where KerasHub is installed; the weights are random, so nothing is downloaded.
"""

from __future__ import annotations

import keras
import keras_hub
import numpy as np
import pytest
from PIL import Image

import eli5k
from tests.zoo import noise

SIDE = 64


def converter(**options):
    return keras_hub.layers.ImageConverter(
        image_size=(SIDE, SIDE), scale=1 / 127.5, offset=-1, **options
    )


def resnet(**options):
    hub = keras_hub.models
    backbone = hub.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 64],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
        image_shape=(SIDE, SIDE, 3),
    )
    preprocessor = hub.ResNetImageClassifierPreprocessor(image_converter=converter(**options))
    return hub.ResNetImageClassifier(
        backbone=backbone, num_classes=4, preprocessor=preprocessor, activation="softmax"
    )


def vit(**options):
    hub = keras_hub.models
    backbone = hub.ViTBackbone(
        image_shape=(SIDE, SIDE, 3),
        patch_size=(16, 16),
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=32,
    )
    preprocessor = hub.ViTImageClassifierPreprocessor(image_converter=converter(**options))
    return hub.ViTImageClassifier(
        backbone=backbone, num_classes=4, preprocessor=preprocessor, activation="softmax"
    )


def vgg(**options):
    hub = keras_hub.models
    backbone = hub.VGGBackbone(
        stackwise_num_repeats=[1, 1], stackwise_num_filters=[8, 8], image_shape=(SIDE, SIDE, 3)
    )
    preprocessor = hub.VGGImageClassifierPreprocessor(image_converter=converter(**options))
    return hub.VGGImageClassifier(
        backbone=backbone, num_classes=4, preprocessor=preprocessor, activation="softmax"
    )


@pytest.mark.parametrize("make", [resnet, vit, vgg])
@pytest.mark.parametrize(
    ("options", "frame"),
    [
        ({"crop_to_aspect_ratio": False}, (0, 0, 1, 1)),
        ({"crop_to_aspect_ratio": True}, (0.25, 0, 0.75, 1)),
        ({"crop_to_aspect_ratio": False, "pad_to_aspect_ratio": True}, (0, -0.5, 1, 1.5)),
    ],
)
def test_classifier(make, options, frame, tmp_path):
    keras.utils.set_random_seed(0)
    model = make(**options)
    pixels = noise(80, 160, 3, low=0, high=255).astype("uint8")
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    expected = model.predict(pixels[np.newaxis].astype("float32"), verbose=0)[0]
    for doc in (tmp_path / "photo.png", pixels, pixels[np.newaxis].astype("float32")):
        explanation = eli5k.explain_prediction(model, doc, targets=[0, 1, 2, 3], method="gradient")
        scores = [target.score for target in explanation.targets]
        np.testing.assert_allclose(scores, expected, atol=1e-5)
        np.testing.assert_allclose(explanation.frame, frame, atol=0.02)
        assert explanation.image.size == (160, 80)


def clip():
    hub = keras_hub.models
    encoder = {"hidden_dim": 16, "num_layers": 2, "num_heads": 2, "intermediate_dim": 32}
    return hub.CLIPBackbone(
        vision_encoder=hub.CLIPVisionEncoder(patch_size=8, image_shape=(32, 32, 3), **encoder),
        text_encoder=hub.CLIPTextEncoder(
            vocabulary_size=50, embedding_dim=16, max_sequence_length=12, **encoder
        ),
        projection_dim=8,
    )


def siglip():
    hub = keras_hub.models
    encoder = {"hidden_dim": 16, "num_layers": 2, "num_heads": 2, "intermediate_dim": 32}
    return hub.SigLIPBackbone(
        vision_encoder=hub.SigLIPVisionEncoder(patch_size=8, image_shape=(32, 32, 3), **encoder),
        text_encoder=hub.SigLIPTextEncoder(
            vocabulary_size=50, embedding_dim=16, max_sequence_length=12, **encoder
        ),
        projection_dim=16,
    )


@pytest.mark.parametrize("make", [clip, siglip])
@pytest.mark.filterwarnings("ignore::eli5k.BlankMapWarning")
@pytest.mark.filterwarnings("error::eli5k.UnscaledInputWarning")
def test_picture_and_texts(make):
    keras.utils.set_random_seed(0)
    model = make()
    pixels = noise(1, 32, 32, 3)
    tokens = np.random.default_rng(0).integers(1, 49, (3, 12)).astype("int32")
    one = {"images": pixels, "token_ids": tokens[:1]}
    [target] = eli5k.explain_prediction(model, one).targets
    assert target.score == pytest.approx(
        model.predict(one, verbose=0)["vision_logits"][0, 0], abs=1e-4
    )
    every = {"images": pixels, "token_ids": tokens}
    logits = keras.ops.convert_to_numpy(model(every, training=False)["vision_logits"])[0]
    names = ["a cat", "a dog", "a cup"]
    for _ in range(2):
        expl = eli5k.explain_prediction(model, every, targets=names, target_names=names)
        assert expl.layer.split("/")[0].endswith("vision_encoder")
        np.testing.assert_allclose([each.score for each in expl.targets], logits, atol=1e-4)
        assert {each.heatmap.shape for each in expl.targets} == {(4, 4)}


def retinanet(**options):
    hub = keras_hub.models
    encoder = hub.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 16, 16, 16],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
        image_shape=(SIDE, SIDE, 3),
    )
    backbone = hub.RetinaNetBackbone(
        image_encoder=encoder, min_level=3, max_level=5, use_p5=False, image_shape=(SIDE, SIDE, 3)
    )
    image_converter = keras_hub.layers.RetinaNetImageConverter(
        image_size=(SIDE, SIDE), scale=1 / 127.5, offset=-1, bounding_box_format="yxyx", **options
    )
    model = hub.RetinaNetObjectDetector(
        backbone=backbone,
        num_classes=3,
        bounding_box_format="yxyx",
        preprocessor=hub.RetinaNetObjectDetectorPreprocessor(image_converter=image_converter),
    )
    # Boxes near their anchors, and scores that are not all one.
    for weight in model.box_head.weights:
        weight.assign(weight * (0 if "bias" in weight.path else 0.3))
    for weight in model.classification_head.weights:
        weight.assign(weight * 0.7)
    return model


@pytest.mark.filterwarnings("ignore::eli5k.BlankMapWarning")
@pytest.mark.parametrize(
    ("options", "frame"),
    [
        ({"pad_to_aspect_ratio": False, "crop_to_aspect_ratio": False}, (0, 0, 1, 1)),
        ({"pad_to_aspect_ratio": True, "crop_to_aspect_ratio": False}, (0, -0.5, 1, 1.5)),
    ],
)
def test_detector(options, frame, tmp_path):
    """Boxes, classes and scores are those of ``predict``, after non-maximum suppression."""
    keras.utils.set_random_seed(0)
    model = retinanet(**options)
    pixels = noise(80, 160, 3, low=0, high=255).astype("uint8")
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    found = model.predict(pixels[np.newaxis].astype("float32"), verbose=0)
    assert found["num_detections"][0] >= 3
    explanation = eli5k.explain_prediction(model, tmp_path / "photo.png", top_targets=3)
    assert explanation.layer.endswith("lateral_conv_P5")
    np.testing.assert_allclose(explanation.frame, frame, atol=0.02)
    start, size = np.array(frame[:2] * 2), np.array(frame[2:]) - frame[:2]
    for number, target in enumerate(explanation.targets):
        assert target.target == found["labels"][0, number]
        np.testing.assert_allclose(target.proba, found["confidence"][0, number], atol=1e-5)
        np.testing.assert_allclose(1 / (1 + np.exp(-target.score)), target.proba, atol=1e-6)
        top, left, bottom, right = found["boxes"][0, number] / SIDE
        expected = start + np.array([left, top, right, bottom]) * [*size, *size]
        np.testing.assert_allclose(target.box, expected, atol=0.02)


def deeplab(**options):
    hub = keras_hub.models
    encoder = hub.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 64, 64, 64],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
        image_shape=(SIDE, SIDE, 3),
    )
    backbone = hub.DeepLabV3Backbone(
        image_encoder=encoder,
        low_level_feature_key="P2",
        spatial_pyramid_pooling_key="P5",
        dilation_rates=[1, 2, 3],
        upsampling_size=8,
        image_shape=(SIDE, SIDE, 3),
    )
    preprocessor = hub.DeepLabV3ImageSegmenterPreprocessor(
        image_converter=keras_hub.layers.DeepLabV3ImageConverter(
            image_size=(SIDE, SIDE), scale=1 / 127.5, offset=-1, **options
        )
    )
    return hub.DeepLabV3ImageSegmenter(
        backbone=backbone, num_classes=4, activation="softmax", preprocessor=preprocessor
    )


@pytest.mark.filterwarnings("ignore::eli5k.BlankMapWarning")
def test_segmenter():
    keras.utils.set_random_seed(0)
    model = deeplab(crop_to_aspect_ratio=False)
    pixels = noise(80, 160, 3, low=0, high=255).astype("uint8")
    output = model.predict(pixels[np.newaxis].astype("float32"), verbose=0)[0]
    given = output.argmax(axis=-1)
    classes = np.unique(given).tolist()
    explanation = eli5k.explain_prediction(model, Image.fromarray(pixels), targets=classes)
    for target in explanation.targets:
        own = given == target.target
        np.testing.assert_allclose(target.score, output[own][:, target.target].mean(), atol=1e-5)
    assert len(classes) >= 2
    assert explanation.layer.endswith("spatial_pyramid_pooling")
