"""Made scenes whose evidence lies at a known place, and a small net trained on each kind.

Four kinds: a texture, a background, two objects that count only together, and a small object among
distractors. The same arguments give the same scenes and, on one machine, the same nets.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from keras import layers

SIDE = 64  # pixels
TRAINING, EPOCHS = 1500, 8


Build = Callable[[int], keras.Model]  # from the number of classes


class Scene(NamedTuple):
    """A picture, its class, where the evidence is, and where a thing without meaning is."""

    image: np.ndarray
    label: int
    evidence: np.ndarray
    other: np.ndarray


def noise(rng: np.random.Generator, cells: int = 8) -> np.ndarray:
    """A grey background of smooth noise, ``(64, 64, 3)``."""
    coarse = rng.uniform(0.3, 0.6, (cells, cells, 1))
    fine = rng.normal(0, 0.03, (SIDE, SIDE, 3))
    return np.kron(coarse, np.ones((SIDE // cells, SIDE // cells, 1))) + fine


def places(rng: np.random.Generator, count: int, radius: int) -> list[tuple[int, int]]:
    """Centres of so many things that do not touch."""
    found: list[tuple[int, int]] = []
    while len(found) < count:
        row, column = rng.integers(radius + 1, SIDE - radius - 1, 2)
        if all(max(abs(row - r), abs(column - c)) > 2 * radius for r, c in found):
            found.append((int(row), int(column)))
    return found


def disc(place: tuple[int, int], radius: float) -> np.ndarray:
    rows, columns = np.indices((SIDE, SIDE))
    return (rows - place[0]) ** 2 + (columns - place[1]) ** 2 <= radius**2


def square(place: tuple[int, int], radius: int) -> np.ndarray:
    rows, columns = np.indices((SIDE, SIDE))
    return np.maximum(abs(rows - place[0]), abs(columns - place[1])) <= radius


def texture(rng: np.random.Generator) -> Scene:
    """A disc of stripes, across, down or both; and a plain disc."""
    label = int(rng.integers(3))
    rows, columns = np.indices((SIDE, SIDE))
    stripes = [rows // 2 % 2, columns // 2 % 2, (rows // 2 + columns // 2) % 2][label]
    here, there = places(rng, 2, 10)
    image, striped, plain = noise(rng), disc(here, 10), disc(there, 10)
    image[plain] = rng.uniform(0, 1)
    image[striped] = np.where(stripes[striped], 0.9, 0.1)[:, np.newaxis]
    return Scene(image, label, striped, plain)


def background(rng: np.random.Generator) -> Scene:
    """Noise of two grains around a disc of any colour."""
    label = int(rng.integers(2))
    image, [place] = noise(rng, cells=(4, 32)[label]), places(rng, 1, 12)
    thing = disc(place, 12)
    image[thing] = rng.uniform(0, 1, 3)
    return Scene(image, label, ~thing, thing)


def together(rng: np.random.Generator) -> Scene:
    """A red square and a blue disc, which are class 1 only together; and a green square."""
    label = int(rng.integers(2))
    image, spots = noise(rng), places(rng, 3, 7)
    has = (True, True) if label else [(True, False), (False, True)][rng.integers(2)]
    evidence = np.zeros((SIDE, SIDE), bool)
    things = [(square, (0.9, 0.1, 0.1)), (disc, (0.1, 0.1, 0.9))]
    for place, (shape, colour), is_there in zip(spots, things, has):
        if is_there:
            where = shape(place, 7)
            image[where] = colour
            evidence |= where
    other = square(spots[2], 7)
    image[other] = (0.1, 0.7, 0.1)
    return Scene(image, label, evidence, other)


def small(rng: np.random.Generator) -> Scene:
    """A small disc, red, green or blue, among seven grey ones."""
    label = int(rng.integers(3))
    image, spots = noise(rng), places(rng, 8, 4)
    for place in spots:
        image[disc(place, 4)] = rng.uniform(0, 1)
    image[disc(spots[0], 4)] = 0.9 * np.eye(3)[label]
    return Scene(image, label, disc(spots[0], 4), disc(spots[1], 4))


KINDS: dict[str, Callable[[np.random.Generator], Scene]] = {
    "texture": texture,
    "background": background,
    "two together": together,
    "small among others": small,
}


def make_scenes(kind: str, count: int, seed: int) -> list[Scene]:
    rng = np.random.default_rng([seed, list(KINDS).index(kind)])
    return [KINDS[kind](rng) for _ in range(count)]


def images_of(scenes: list[Scene]) -> np.ndarray:
    return np.stack([scene.image for scene in scenes]).astype("float32")


def load(kind: str, folder: Path | None = None, build: Build | None = None) -> keras.Model:
    """The net for a kind of scene, kept in a folder so as to be trained once."""
    build = convolutional if build is None else build
    name = kind.replace(" ", "-") + ("" if build is convolutional else f"-{build.__name__}")
    file = None if folder is None else folder / f"{name}.keras"
    if file is not None and file.is_file():
        return keras.saving.load_model(file)
    model, accuracy = train(kind, build)
    print(f"{name}: accuracy {accuracy:.3f}", flush=True)
    if file is not None:
        model.save(file)
    return model


def train(kind: str, build: Build, seed: int = 0) -> tuple[keras.Model, float]:
    """A small net for a kind of scene, and its accuracy on scenes that it has not seen."""
    keras.utils.set_random_seed(seed)
    scenes, unseen = make_scenes(kind, TRAINING, seed), make_scenes(kind, 300, seed + 100)
    labels, truth = (np.array([each.label for each in part]) for part in (scenes, unseen))
    model = build(int(labels.max()) + 1)
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    model.fit(images_of(scenes), labels, epochs=EPOCHS, batch_size=32, verbose=0)
    answers = model.predict(images_of(unseen), verbose=0).argmax(axis=1)
    return model, float((answers == truth).mean())


def convolutional(classes: int) -> keras.Model:
    """Three convolutions, and a mean over their grid."""
    model = keras.Sequential([keras.Input((SIDE, SIDE, 3)), layers.Rescaling(4, -2)])
    for channels in (16, 32, 48):
        model.add(layers.Conv2D(channels, 3, padding="same", use_bias=False))
        model.add(layers.BatchNormalization(momentum=0.9))
        model.add(layers.ReLU())
        if channels < 48:
            model.add(layers.MaxPooling2D())
    model.add(layers.GlobalAveragePooling2D())
    model.add(layers.Dense(classes, "softmax"))
    return model


def transformer(classes: int, patch: int = 8, width: int = 48) -> keras.Model:
    """Two blocks of a vision transformer; its tokens have no positions, which no scene needs."""
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(width, patch, strides=patch)(layers.Rescaling(4, -2)(image))
    x = layers.Reshape((-1, width))(x)
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(4, width // 4)(y, y)])
        y = layers.Dense(2 * width, "gelu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(width)(y)])
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    return keras.Model(image, layers.Dense(classes, "softmax")(x))
