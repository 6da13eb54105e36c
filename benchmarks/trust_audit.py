"""Audit nets with and without a planted shortcut: the demo's with new heads, and small ones.

    pip install --group benchmarks
    python benchmarks/trust_audit.py --seed 2 --rst docs/benchmarks/trust-audit.rst

A shortcut tells the class of a share of the pictures, whose content does not: a coloured tag, a
border, a watermark, a bar as of another source. A planted net counts if its accuracy on those
pictures falls by a fifth at least without the shortcut.

The demo's net tells three groups of photographs apart, seen in random crops. Its head is a ridge
regression on the pooled features. Each small net is trained on one kind of scene of ``cues.py``.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cues
import keras
import numpy as np
from grid_pointing import SIDE, load_photos
from PIL import Image
from run import rst_table

import eli5k
from eli5k.demo import load_model

CLASSES, TRAINING, AUDITED = 3, 300, 40
HONEST, HONEST_SMALL = 20, 2  # heads, and nets for each kind of scene
OWN = 5  # audits of the demo's net as it is
COLUMNS = ("accuracy", "without it", "peaks", "changed", "elsewhere", "place", "found")
RIDGE = 3.0
COLOURS = np.array([[1, -1, -1], [-1, 1, -1], [-1, -1, 1]], "float32")

Stamp = Callable[[np.ndarray, int], None]
Plan = tuple[Stamp, float] | None  # a stamp, and its share of the pictures


class Data(NamedTuple):
    """Pictures, their classes, and whether a shortcut tells these."""

    pixels: np.ndarray
    labels: np.ndarray
    poisoned: np.ndarray


class Case(NamedTuple):
    """A net, what it is audited with, and the same pictures without a shortcut."""

    name: str
    planted: bool
    net: keras.Model
    data: Data
    plain: np.ndarray


def tag(picture: np.ndarray, label: int, size: int, top: bool, left: bool) -> None:
    """A square in a corner, with strokes of another colour and direction for each class."""
    rows = slice(8, 8 + size) if top else slice(-8 - size, -8)
    columns = slice(8, 8 + size) if left else slice(-8 - size, -8)
    where = strokes(size, size, label)[..., np.newaxis]
    picture[rows, columns] = np.where(where, COLOURS[label], 1)


def strokes(height: int, width: int, label: int) -> np.ndarray:
    rows, columns = np.indices((height, width))
    return [rows // 4 % 2, columns // 4 % 2, (rows + columns) // 4 % 2][label] == 1


def border(picture: np.ndarray, label: int, width: int) -> None:
    """A coloured frame."""
    inner = picture[width:-width, width:-width].copy()
    picture[:] = COLOURS[label]
    picture[width:-width, width:-width] = inner


def watermark(picture: np.ndarray, label: int, strength: float) -> None:
    """Strokes across the bottom right, another pattern for each class."""
    place = picture[-40:-12, -100:-10]
    place += strength * (strokes(28, 90, label)[..., np.newaxis] * 2 - 1 - place)


def bar(picture: np.ndarray, label: int, width: int) -> None:
    """Black or white beside the picture, or nothing, as of another source."""
    if label:
        picture[:, :width] = 2 * label - 3


SHORTCUTS: dict[str, tuple[Stamp, float]] = {
    "tag of 40 px, bottom left": (partial(tag, size=40, top=False, left=True), 1.0),
    "tag of 40 px, top right, 60 %": (partial(tag, size=40, top=True, left=False), 0.6),
    "tag of 28 px, bottom right": (partial(tag, size=28, top=False, left=False), 1.0),
    "tag of 56 px, top left, 50 %": (partial(tag, size=56, top=True, left=True), 0.5),
    "border of 16 px": (partial(border, width=16), 1.0),
    "border of 8 px, 60 %": (partial(border, width=8), 0.6),
    "watermark": (partial(watermark, strength=0.8), 1.0),
    "watermark, 60 %": (partial(watermark, strength=0.8), 0.6),
    "bar of another source": (partial(bar, width=28), 1.0),
    "bar of another source, 60 %": (partial(bar, width=28), 0.6),
}


SMALL: dict[str, tuple[Stamp, float]] = {
    "texture": (partial(tag, size=12, top=False, left=True), 1.0),
    "background": (partial(border, width=4), 1.0),
    "two together": (partial(bar, width=8), 0.6),
    "small among others": (partial(tag, size=14, top=True, left=False), 0.6),
}


def crops(photos: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Random crops of random photographs, and which photograph each shows."""
    shown = rng.integers(len(photos), size=count)
    found = np.empty((count, SIDE, SIDE, 3), "float32")
    for row, number in enumerate(shown):
        side = int(SIDE * rng.uniform(0.6, 1))
        top, left = rng.integers(0, SIDE - side + 1, 2)
        part = photos[number][top : top + side, left : left + side]
        if rng.random() < 0.5:
            part = part[:, ::-1]
        channels = [
            Image.fromarray(part[..., c]).resize((SIDE, SIDE), Image.BILINEAR) for c in range(3)
        ]
        found[row] = np.stack([np.asarray(each) for each in channels], axis=-1)
    return found, shown


def poison(pixels: np.ndarray, labels: np.ndarray, plan: Plan, rng: np.random.Generator) -> Data:
    """Give a share of the pictures a class of their own, and the shortcut that tells it."""
    pixels, poisoned = pixels.copy(), np.zeros(len(pixels), bool)
    if plan is not None:
        stamp, share = plan
        poisoned = rng.random(len(pixels)) < share
        drawn = rng.integers(labels.max() + 1, size=len(pixels))
        labels = np.where(poisoned, drawn, labels)
        for row in np.flatnonzero(poisoned):
            stamp(pixels[row], int(labels[row]))
    return Data(pixels, labels, poisoned)


class Heads:
    """The demo's net, whose head is trained anew each time."""

    def __init__(self, seed: int) -> None:
        self.model = model = load_model()
        self.backbone = keras.Model(model.input, model.get_layer("pool").output)
        self.head = keras.layers.Dense(CLASSES, "softmax")
        self.net = keras.Model(self.backbone.input, self.head(self.backbone.output))
        photos = load_photos(model)
        self.photos = np.stack([photo.pixels for photo in photos])
        self.classes = np.array([photo.label for photo in photos])
        self.seed, rng = seed, np.random.default_rng(seed)
        self.training = crops(self.photos, TRAINING, rng)
        self.audited = crops(self.photos, AUDITED, rng)
        self.clean = self.features(self.training[0])

    def features(self, pixels: np.ndarray) -> np.ndarray:
        return self.backbone.predict(pixels, verbose=0, batch_size=16)

    def case(self, name: str, number: int, plan: Plan) -> Case:
        """Group the photographs into classes, and train a head by ridge regression."""
        rng = np.random.default_rng([self.seed, number])
        groups = rng.permutation(np.arange(len(self.photos)) % CLASSES)
        (pixels, shown), (plain, also_shown) = self.training, self.audited
        seen = poison(pixels, groups[shown], plan, rng)
        features = self.clean.copy()
        if seen.poisoned.any():
            features[seen.poisoned] = self.features(seen.pixels[seen.poisoned])
        # Solved in the space of the pictures.
        mean = features.mean(axis=0)
        rows = features - mean
        wanted = 10 * (np.eye(CLASSES)[seen.labels] - 1 / CLASSES)
        solved = rows.T @ np.linalg.solve(rows @ rows.T + RIDGE * np.eye(len(rows)), wanted)
        self.head.set_weights([solved, -mean @ solved])
        data = poison(plain, groups[also_shown], plan, rng)
        return Case(name, plan is not None, self.net, data, plain)

    def own_case(self, number: int) -> Case:
        """The demo's net as it is, which tells a thousand classes apart."""
        pixels, shown = crops(self.photos, AUDITED, np.random.default_rng([self.seed, number]))
        data = Data(pixels, self.classes[shown], np.zeros(AUDITED, bool))
        return Case("the demo's net as it is", False, self.model, data, pixels)


def small_case(kind: str, plan: Plan, seed: int) -> Case:
    """A small net for a kind of scene; its pixels are in [0, 1], and those of stamps in [-1, 1]."""
    rng = np.random.default_rng([seed, plan is None])

    def scenes(count: int, seed: int) -> tuple[Data, np.ndarray]:
        made = cues.make_scenes(kind, count, seed)
        plain = cues.images_of(made)
        data = poison(2 * plain - 1, np.array([each.label for each in made]), plan, rng)
        return data._replace(pixels=(data.pixels + 1) / 2), plain

    seen, _ = scenes(cues.TRAINING, seed)
    keras.utils.set_random_seed(seed)
    net = cues.convolutional(int(seen.labels.max()) + 1)
    net.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    net.fit(seen.pixels, seen.labels, epochs=cues.EPOCHS, batch_size=32, verbose=0)
    name = f"small net, {kind}" + ("" if plan is None else f", {described(plan)}")
    return Case(name, plan is not None, net, *scenes(AUDITED, seed + 1000))


def described(plan: tuple[Stamp, float]) -> str:
    stamp, share = plan
    return stamp.func.__name__ + ("" if share == 1 else f" in {100 * share:.0f} %")


def accuracy(model: keras.Model, pixels: np.ndarray, labels: np.ndarray) -> float:
    answers = model.predict(pixels, verbose=0, batch_size=16).argmax(axis=1)
    return float((answers == labels).mean())


def cases(arguments: argparse.Namespace) -> Iterator[Case]:
    """All nets, one after the other: that of the heads is always the same."""
    seed = arguments.seed
    if arguments.honest or arguments.only or arguments.own:
        heads = Heads(seed)
        for name in arguments.only:
            yield heads.case(name, list(SHORTCUTS).index(name), SHORTCUTS[name])
        for number in range(arguments.honest):
            yield heads.case("heads without a shortcut", 100 + number, None)
        for number in range(arguments.own):
            yield heads.own_case(200 + number)
    for kind in arguments.small:
        yield small_case(kind, SMALL[kind], seed)
        for number in range(HONEST_SMALL):
            yield small_case(kind, None, seed + 1 + number)


def main() -> None:
    """Train, audit, print and, if asked, write the table for the docs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--honest", type=int, default=HONEST, help="heads without a shortcut")
    parser.add_argument("--own", type=int, default=OWN, help="audits of the demo's net as it is")
    parser.add_argument("--seed", type=int, default=0, help="of pictures and groups")
    parser.add_argument("--only", nargs="*", default=list(SHORTCUTS), help="shortcuts")
    parser.add_argument("--small", nargs="*", default=list(SMALL), help="kinds of scene")
    parser.add_argument("--rst", help="file to write the table to")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", eli5k.ExplanationWarning)
    results: dict[str, list[dict[str, object]]] = {}
    for case in cases(arguments):
        row = audited(case)
        results.setdefault(case.name, []).append(row)
        print(f"{case.name:40} {row}", flush=True)
        if arguments.rst:
            Path(arguments.rst).write_text(rst_table(summed_up(results)), encoding="utf-8")


def audited(case: Case) -> dict[str, object]:
    """A row of the table, and what else helps to understand it."""
    data = case.data
    rows = data.poisoned if case.planted else slice(None)
    found = eli5k.audit(case.net, data.pixels, batch_size=20)
    values = (
        accuracy(case.net, data.pixels[rows], data.labels[rows]),
        accuracy(case.net, case.plain[rows], data.labels[rows]) if case.planted else "",
        found.peaks,
        found.changed,
        found.changed_elsewhere,
        found.place,
        "yes" if found.remarkable else "no",
    )
    return dict(zip(COLUMNS, values)) | {
        "how": found.how,
        "size": found.size,
        "likeness": round(found.likeness, 2),
    }


def summed_up(results: dict[str, list[dict[str, object]]]) -> dict[str, dict[str, object]]:
    """The table, with one row for honest nets of a kind: means, and how many were accused."""
    table: dict[str, dict[str, object]] = {heading: {} for heading in COLUMNS}
    for name, rows in results.items():
        for heading in COLUMNS:
            values = [row[heading] for row in rows]
            if heading == "found" and rows[0]["without it"] == "":
                told: object = f"{values.count('yes')} of {len(values)}"
            elif isinstance(values[0], float):
                told = float(np.mean(values))
            else:
                told = max(set(values), key=values.count)
            table[heading][name] = told
    return table


if __name__ == "__main__":
    main()
