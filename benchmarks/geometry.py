"""Print where the maps of many models lie: the table of docs/geometry.rst.

For each model: the layer that is chosen, the frame of its map and the score against ``predict``'s.
Models of a package are left out if it isn't installed.
"""

from __future__ import annotations

import argparse
import inspect
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import layers, ops

import eli5k
from eli5k.keras import run

SIZE = (48, 64, 3)


def kinds() -> Iterator[tuple[str, keras.Model]]:
    """Yield small models of each kind of geometry."""
    changes: dict[str, Callable[[Any], Any]] = {
        "plain": lambda x: x,
        "Cropping2D, rows 20 to 44 of 48": layers.Cropping2D(((20, 4), (0, 0))),
        "CenterCrop to a half": layers.CenterCrop(24, 32),
        "a slice of the left half": lambda x: x[:, :, :32],
        "ZeroPadding2D(12)": layers.ZeroPadding2D(12),
        "Permute((2, 1, 3))": layers.Permute((2, 1, 3)),
        "mirrored": lambda x: ops.flip(x, axis=2),
        "Resizing, cropped to 1:1": layers.Resizing(32, 32, crop_to_aspect_ratio=True),
        "Resizing, padded to 1:1": layers.Resizing(64, 64, pad_to_aspect_ratio=True),
    }
    for name, change in changes.items():
        inputs = keras.Input(SIZE)
        x = change(inputs)
        for filters in (8, 16):
            x = layers.Conv2D(filters, 3, 2, "same", activation="relu")(x)
        yield name, keras.Model(inputs, _head(layers.GlobalAveragePooling2D()(x)))
    for name, patch, extra in (("ViT", 8, 0), ("ViT, class token", 8, 1), ("ViT, registers", 4, 5)):
        yield name, _transformer(patch, extra)
    inputs = keras.Input(SIZE)
    x = layers.Conv2D(8, 3, 2, "same", activation="relu")(inputs)
    x = layers.Reshape((32, 24 * 8))(layers.Permute((2, 1, 3))(x))
    x = layers.Bidirectional(layers.LSTM(8, return_sequences=True))(x)
    yield "steps of an LSTM", keras.Model(inputs, _head(layers.GlobalAveragePooling1D()(x)))


def _head(x: Any) -> Any:
    return layers.Dense(5, activation="softmax")(x)


def _transformer(patch: int, extra: int) -> keras.Model:
    inputs = keras.Input(SIZE)
    x = layers.Conv2D(16, patch, patch)(inputs)
    x = layers.Reshape((-1, 16))(x)
    x = layers.ZeroPadding1D((extra, 0))(x)
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(2, 8)(y, y)
        y = layers.Dense(32, activation="gelu")(layers.LayerNormalization()(x))
        x = x + layers.Dense(16)(y)
    x = layers.LayerNormalization()(x)
    return keras.Model(inputs, _head(x[:, 0] if extra else layers.GlobalAveragePooling1D()(x)))


def applications() -> Iterator[tuple[str, keras.Model]]:
    """Yield each model of keras.applications with random weights."""
    for name, function in sorted(vars(keras.applications).items()):
        if inspect.isfunction(function) and not name.startswith("_"):
            yield name, function(weights=None)


def keras_hub_models() -> Iterator[tuple[str, keras.Model]]:
    """Yield small models of KerasHub with random weights, if it is installed."""
    try:
        import keras_hub
    except ImportError:
        return
    models = keras_hub.models
    vit = models.ViTBackbone(
        image_shape=(96, 96, 3), patch_size=16, num_layers=3, num_heads=4, hidden_dim=32, mlp_dim=64
    )
    yield "ViTImageClassifier", models.ViTImageClassifier(vit, num_classes=5)
    deit = models.DeiTBackbone(
        image_shape=(96, 96, 3),
        patch_size=16,
        num_layers=3,
        num_heads=4,
        hidden_dim=32,
        intermediate_dim=64,
    )
    yield "DeiTImageClassifier", models.DeiTImageClassifier(deit, num_classes=5)
    resnet = models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 64, 64],
        stackwise_num_blocks=[2, 2, 2],
        stackwise_num_strides=[1, 2, 2],
        block_type="basic_block",
        image_shape=(96, 96, 3),
    )
    yield "ResNetImageClassifier", models.ResNetImageClassifier(resnet, num_classes=5)


def row(model: keras.Model) -> tuple[str, str, str]:
    """Explain one document; return layer, frame and score against predict's."""
    side = [length or 224 for length in model.input_shape[1:]]
    doc = np.random.default_rng(0).random((1, *side), "float32")
    explanation = eli5k.explain_prediction(model, doc, targets=[0])
    _, point = run(model, doc, 0).layer_point()
    view = getattr(point, "view", None)
    frame = " ".join(f"{share:.2f}" for share in explanation.frame)
    if view is not None and any(view.flipped):
        frame += ", mirrored"
    if view is not None and view.axes == (1, 0):
        frame += ", transposed"
    predicted = float(np.ravel(model.predict(doc, verbose=0))[0])
    difference = abs(explanation.targets[0].score - predicted)
    return str(explanation.layer), frame, f"{difference:.0e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", action="store_true", help="also the large models of packages")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", eli5k.ExplanationWarning)
    keras.utils.set_random_seed(0)
    sources = [("kind", kinds)]
    if arguments.packages:
        sources += [("keras.applications", applications), ("keras_hub", keras_hub_models)]
    print(f"{'model':32} {'layer':22} {'left top right bottom':34} score - predict's")
    for source, models in sources:
        print(f"-- {source}")
        for name, model in models():
            layer, frame, difference = row(model)
            print(f"{name:32} {layer:22} {frame:34} {difference}", flush=True)
            keras.backend.clear_session()


if __name__ == "__main__":
    main()
