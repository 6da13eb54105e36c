"""Audit the demo's net with heads trained anew: ten with a planted shortcut, twenty without.

    pip install --group benchmarks
    python benchmarks/trust_audit.py --rst docs/benchmarks/trust-audit.rst

The classes are three groups of photographs, seen in random crops. A shortcut tells the class of a
share of the pictures, whose content does not: a coloured tag, a border, a watermark, a bar as of
another source. A head is a ridge regression on the pooled features. A planted net counts if its
accuracy on those pictures falls by a fifth at least without the shortcut.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from grid_pointing import SIDE, load_photos
from PIL import Image
from run import rst_table

import eli5k
from eli5k.demo import load_model

CLASSES, TRAINING, AUDITED, HONEST = 3, 300, 40, 20
RIDGE = 3.0
COLOURS = np.array([[1, -1, -1], [-1, 1, -1], [-1, -1, 1]], "float32")

Stamp = Callable[[np.ndarray, int], None]


class Data(NamedTuple):
    """Pictures, the photograph that each shows, its class, and whether a shortcut tells it."""

    pixels: np.ndarray
    shown: np.ndarray
    labels: np.ndarray
    poisoned: np.ndarray


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


def poison(
    pixels: np.ndarray, shown: np.ndarray, groups: np.ndarray, plan, rng: np.random.Generator
) -> Data:
    """Give a share of the pictures a class of their own, and the shortcut that tells it."""
    pixels, labels = pixels.copy(), groups[shown]
    poisoned = np.zeros(len(pixels), bool)
    if plan is not None:
        stamp, share = plan
        poisoned = rng.random(len(pixels)) < share
        labels = np.where(poisoned, rng.integers(CLASSES, size=len(pixels)), labels)
        for row in np.flatnonzero(poisoned):
            stamp(pixels[row], int(labels[row]))
    return Data(pixels, shown, labels, poisoned)


def train_head(backbone: keras.Model, features: np.ndarray, labels: np.ndarray) -> keras.Model:
    """The net with a new head: ridge regression, solved in the space of the pictures."""
    mean = features.mean(axis=0)
    rows = features - mean
    wanted = 10 * (np.eye(CLASSES)[labels] - 1 / CLASSES)
    solved = rows.T @ np.linalg.solve(rows @ rows.T + RIDGE * np.eye(len(rows)), wanted)
    head = keras.layers.Dense(CLASSES, "softmax")
    model = keras.Model(backbone.input, head(backbone.output))
    head.set_weights([solved, -mean @ solved])
    return model


def accuracy(model: keras.Model, pixels: np.ndarray, labels: np.ndarray) -> float:
    answers = model.predict(pixels, verbose=0, batch_size=16).argmax(axis=1)
    return float((answers == labels).mean())


def main() -> None:
    """Train, audit, print and, if asked, write the table for the docs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--honest", type=int, default=HONEST)
    parser.add_argument("--seed", type=int, default=0, help="of pictures and groups")
    parser.add_argument("--only", nargs="*", default=list(SHORTCUTS), help="shortcuts")
    parser.add_argument("--rst", help="file to write the table to")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", eli5k.ExplanationWarning)
    model = load_model()
    backbone = keras.Model(model.input, model.get_layer("pool").output)
    photos = np.stack([photo.pixels for photo in load_photos(model)])
    rng = np.random.default_rng(arguments.seed)
    training, audited = crops(photos, TRAINING, rng), crops(photos, AUDITED, rng)
    clean = backbone.predict(training[0], verbose=0, batch_size=16)
    plans = {name: SHORTCUTS[name] for name in arguments.only}
    plans |= {f"none ({number})": None for number in range(arguments.honest)}
    columns: dict[str, dict[str, object]] = {
        heading: {}
        for heading in ("accuracy", "without it", "peaks", "changed", "elsewhere", "place", "found")
    }
    for name, plan in plans.items():
        groups = rng.permutation(np.arange(len(photos)) % CLASSES)
        seen = poison(*training, groups, plan, rng)
        features = clean
        if plan is not None:
            features = backbone.predict(seen.pixels, verbose=0, batch_size=16)
        net = train_head(backbone, features, seen.labels)
        data = poison(*audited, groups, plan, rng)
        rows = data.poisoned if plan is not None else slice(None)
        with_it = accuracy(net, data.pixels[rows], data.labels[rows])
        without = accuracy(net, audited[0][rows], data.labels[rows])
        found = eli5k.audit(net, data.pixels, batch_size=20)
        values = (
            with_it,
            without if plan is not None else "",
            found.peaks,
            found.changed,
            found.changed_elsewhere,
            found.place,
            "yes" if found.remarkable else "no",
        )
        for heading, value in zip(columns, values):
            columns[heading][name] = value
        print(f"{name:32} {values}  likeness {found.likeness:.2f}", flush=True)
    if arguments.rst:
        Path(arguments.rst).write_text(rst_table(summed_up(columns)), encoding="utf-8")


def summed_up(columns: dict[str, dict[str, object]]) -> dict[str, dict[str, object]]:
    """The table with a single row for the honest heads: means, and how many were accused."""
    honest = [name for name in columns["found"] if name.startswith("none")]
    row = f"none: {len(honest)} heads"
    table = {}
    for heading, values in columns.items():
        table[heading] = {name: value for name, value in values.items() if name not in honest}
        of_honest = [values[name] for name in honest]
        if heading == "found":
            table[heading][row] = f"{of_honest.count('yes')} of them"
        elif all(isinstance(value, float) for value in of_honest):
            table[heading][row] = float(np.mean(of_honest))
        else:
            table[heading][row] = max(set(of_honest), key=of_honest.count) if of_honest else ""
    return table


if __name__ == "__main__":
    main()
