"""Scores of KerasHub's classifiers are those of their own ``predict``, for pictures of any size.

Runs where KerasHub is installed; the weights are random, so nothing is downloaded.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest
from PIL import Image

import eli5k
from tests.zoo import noise

keras_hub = pytest.importorskip("keras_hub", reason="KerasHub is not installed here: see tox.ini")
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
