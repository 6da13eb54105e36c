"""Backbones of ``keras.applications`` that don't scale their input: how each was trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import keras

from eli5k.keras.model.structure import walk


class Backbone(NamedTuple):
    """One family of networks.

    Attributes
    ----------
    module : str
        The module of ``keras.applications`` that has its ``preprocess_input``.
    values : str
        What that returns, by name in :data:`eli5k.keras.scaling.SCALES`.
    layers : tuple of str
        Names of inner layers that no other family has together.
    """

    module: str
    values: str
    layers: tuple[str, ...]


# Those with more layers first, since the first that fits is taken.
BACKBONES = (
    Backbone("vgg19", "caffe", ("block1_conv1", "block5_conv4")),
    Backbone("vgg16", "caffe", ("block1_conv1", "block5_conv3")),
    Backbone("resnet_v2", "-1..1", ("conv1_conv", "conv5_block3_out", "post_bn")),
    Backbone("resnet", "caffe", ("conv1_conv", "conv1_bn", "conv5_block3_out")),
    Backbone("inception_resnet_v2", "-1..1", ("mixed_5b", "conv_7b")),
    Backbone("inception_v3", "-1..1", ("mixed7", "mixed10")),
    Backbone("xception", "-1..1", ("block1_conv1", "block14_sepconv2")),
    Backbone("mobilenet", "-1..1", ("conv1", "conv_dw_1", "conv_pw_13")),
    Backbone("mobilenet_v2", "-1..1", ("Conv1", "expanded_conv_depthwise", "Conv_1")),
    Backbone("densenet", "imagenet", ("conv1_conv", "conv5_block16_concat", "pool4_conv")),
    Backbone("nasnet", "-1..1", ("stem_conv1", "stem_bn1")),
)
# The convolutions of VGG, for copies whose layers have other names.
VGG = {
    "vgg16": (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512),
    "vgg19": (64, 64, 128, 128, *(256,) * 4, *(512,) * 8),
}


def find_backbone(model: keras.Model) -> Backbone | None:
    """Recognise the backbone of a model, at any depth, by its layers.

    Examples
    --------
    >>> find_backbone(keras.Sequential([keras.layers.Conv2D(64, 3, name="block1_conv1")])) is None
    True
    """
    layers = [layer for _, layer in walk(model)]
    names = {layer.name for layer in layers}
    for backbone in BACKBONES:
        if names.issuperset(backbone.layers):
            return backbone
    kinds = keras.layers.Conv2D | keras.layers.DepthwiseConv2D
    found = [layer for layer in layers if isinstance(layer, kinds)]
    module = _vgg_of([getattr(layer, "filters", 0) for layer in found])
    return next((each for each in BACKBONES if each.module == module), None)


def _vgg_of(filters: Sequence[int]) -> str | None:
    return next((name for name, like in VGG.items() if tuple(filters[: len(like)]) == like), None)
