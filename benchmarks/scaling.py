"""Count what is missed and what is a false alarm when a photograph has the wrong scale.

    PYTHONPATH=. python benchmarks/scaling.py [NAME ...]

For each model of keras.applications the statistics of its normalisations are set layer by layer, by
photographs in the scale that it wants; then other photographs are explained in each usual scale.
The weights are random, so nothing is downloaded. The demo's net has those of its training. Needs
scikit-learn and the demo's photographs.
"""

from __future__ import annotations

import argparse

import keras
import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

import eli5k.demo
from eli5k.keras import run
from eli5k.keras.evidence.scales import SCALES, convert
from eli5k.keras.scaling import warnings_of_scale

SIDE = 96  # pixels
# The scale that each module's ``preprocess_input`` makes; all others want pixels as they are.
WANTED = {
    "-1..1": (
        "InceptionResNetV2 InceptionV3 MobileNet MobileNetV2 NASNetLarge NASNetMobile ResNet50V2 "
        "ResNet101V2 ResNet152V2 Xception"
    ),
    "caffe": "ResNet50 ResNet101 ResNet152 VGG16 VGG19",
    "imagenet": "DenseNet121 DenseNet169 DenseNet201",
}


def photographs(side: int = SIDE) -> np.ndarray:
    """Squares of four photographs, ``(12, side, side, 3)``, in [0, 1]."""
    pictures = [Image.open(eli5k.demo.PHOTOS[name]).convert("RGB") for name in ("cat", "cup")]
    pictures += [Image.fromarray(array) for array in load_sample_images().images]
    squares = []
    for picture in pictures:
        short = min(picture.size)
        for share in (0.0, 0.5, 1.0):
            left, top = ((length - short) * share for length in picture.size)
            square = picture.resize((side, side), box=(left, top, left + short, top + short))
            squares.append(np.asarray(square, "float32") / 255)
    return np.stack(squares)


def applications() -> dict[str, str]:
    """Names of all models of keras.applications, with the scale that each wants."""
    scales = {name: scale for scale, names in WANTED.items() for name in names.split()}
    names = [name for name in dir(keras.applications) if name[0].isupper()]
    return {name: scales.get(name, "0..255") for name in names}


def with_statistics(model: keras.Model, images: np.ndarray) -> keras.Model:
    """Give each normalisation the statistics of what it gets, layer by layer."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(images, training=True)
    return model


def count(model: keras.Model, wanted: str, photos: np.ndarray) -> tuple[int, int, int, int]:
    """Count wrong documents, misses among them, right documents, and false alarms."""
    counts = [0, 0, 0, 0]
    for scale in SCALES:
        found = warnings_of_scale(run(model, convert(photos, "0..1", scale)))
        warned = sum(each is not None for each in found)
        at = 2 if scale == wanted else 0
        counts[at] += len(photos)
        counts[at + 1] += warned if scale == wanted else len(photos) - warned
    return tuple(counts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="models of keras.applications; all by default")
    names = parser.parse_args().names
    photos = photographs()
    print(f"{'model':20} {'wants':9} {'wrong':>6} {'missed':>7} {'right':>6} {'false alarms':>13}")
    for name, wanted in applications().items():
        if not names or name in names:
            keras.utils.set_random_seed(0)
            model = getattr(keras.applications, name)(weights=None, input_shape=(SIDE, SIDE, 3))
            with_statistics(model, convert(photos[::2], "0..1", wanted))
            report(name, wanted, count(model, wanted, photos[1::2]))
            keras.backend.clear_session()
    if not names:
        net = eli5k.demo.load_model((SIDE, SIDE, 3))
        report("EfficientNet-Lite0", "-1..1", count(net, "-1..1", photos))


def report(name: str, wanted: str, counts: tuple[int, int, int, int]) -> None:
    wrong, missed, right, alarms = counts
    print(f"{name:20} {wanted:9} {wrong:6} {missed:7} {right:6} {alarms:13}", flush=True)


if __name__ == "__main__":
    main()
