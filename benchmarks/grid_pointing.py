"""Play the grid pointing game with every method, on pairs of real photographs and the demo's net.

    pip install --group benchmarks
    python benchmarks/grid_pointing.py --rst docs/benchmarks/grid_pointing.rst

Two photographs of different classes stand side by side, 224 by 448 pixels, and each method explains
the class of either with ``logits=True``. A map is right if its maximum lies on the photograph of
that class, and better the more of its heat does (Rao et al. 2022,
https://arxiv.org/abs/2205.10435). Chance is one half for both.

The photographs come with packages: 20 of ImageNet's validation set with foolbox, which the net was
not trained on, and four with scikit-image. Only those take part whose class the net names with a
probability of at least one half when it sees them alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from PIL import Image, ImageOps
from run import rst_table

import eli5k
from eli5k.demo import NAMES, load_model, preprocess
from eli5k.keras.methods import METHODS, RISE, ScoreCAM, Smooth

SIDE, AROUND = 224, 256  # pixels: the middle of a photograph whose shorter side is AROUND
LEAST = 0.5  # probability of the right class
CHUNK = 4  # montages that are explained at a time
# With fewer runs than by default, to be done soon.
FEWER_RUNS = {
    "score-cam": ScoreCAM(max_channels=128),
    "rise": RISE(masks=256),
    "smooth-grad": Smooth(samples=16),
    "square-grad": Smooth(samples=16, kind="square"),
    "var-grad": Smooth(samples=16, kind="variance"),
}
OF_SCIKIT_IMAGE = {"chelsea": 285, "coffee": 967, "camera": 872, "motorcycle_left": 665}


class Photo(NamedTuple):
    """The middle of a photograph, ``(224, 224, 3)``, ready for the net; and its class."""

    pixels: np.ndarray
    label: int


class Montage(NamedTuple):
    """Two photographs side by side, ``(224, 448, 3)``, and their classes from left to right."""

    pixels: np.ndarray
    labels: tuple[int, int]


def folder_of(package: str) -> Path:
    """Where a package is installed; it is not imported, and what it needs may be missing."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{package} is not installed: pip install --group benchmarks")
    return Path(spec.submodule_search_locations[0])


def load_photos(model: keras.Model) -> list[Photo]:
    """Photographs that the net is sure of, in a fixed order."""
    files = {
        path: int(path.stem.rpartition("_")[2])
        for path in sorted((folder_of("foolbox") / "data").glob("imagenet_*.jpg"))
    }
    data = folder_of("skimage") / "data"
    files |= {data / f"{name}.png": label for name, label in OF_SCIKIT_IMAGE.items()}
    photos = [Photo(read(path), label) for path, label in files.items()]
    answers = model.predict(np.stack([photo.pixels for photo in photos]), verbose=0)
    return [photo for photo, answer in zip(photos, answers) if answer[photo.label] >= LEAST]


def read(path: Path) -> np.ndarray:
    """The middle of a photograph, as classifiers are usually tested on."""
    square = ImageOps.fit(Image.open(path).convert("RGB"), (AROUND, AROUND), Image.BICUBIC)
    border = (AROUND - SIDE) // 2
    middle = square.crop((border, border, border + SIDE, border + SIDE))
    return preprocess(np.asarray(middle, "float32"))


def make_montages(photos: list[Photo], count: int, seed: int = 0) -> list[Montage]:
    """Pairs of different classes; no photograph comes again before all others have come."""
    rng = np.random.default_rng(seed)
    montages: list[Montage] = []
    while len(montages) < count:
        order = rng.permutation(len(photos))
        for left, right in zip(order[::2], order[1::2]):
            pair = photos[left], photos[right]
            if pair[0].label != pair[1].label:
                pixels = np.hstack([photo.pixels for photo in pair])
                montages.append(Montage(pixels, (pair[0].label, pair[1].label)))
    return montages[:count]


def play(
    model: keras.Model, montages: list[Montage], method: str
) -> tuple[np.ndarray, np.ndarray, float]:
    """Explain both classes of each montage.

    Returns
    -------
    peaks, heat : numpy.ndarray, ``(2 * montages,)``
        Whether the maximum lies on the right photograph, and what share of the heat does. A blank
        map has neither.
    seconds : float
        For each montage.
    """
    peaks, heat = [], []
    start = time.perf_counter()
    for first in range(0, len(montages), CHUNK):
        chunk = montages[first : first + CHUNK]
        _, maps = eli5k.keras.attribute(
            model,
            np.stack([montage.pixels for montage in chunk]),
            [list(montage.labels) for montage in chunk],
            method=FEWER_RUNS.get(method, method),
            logits=True,
        )
        for pair in maps:
            for side, heatmap in enumerate(np.clip(np.asarray(pair), 0, None)):
                half = np.array_split(heatmap, 2, axis=1)
                total = heatmap.sum()
                peaks.append(half[side].max() > half[1 - side].max())
                heat.append(half[side].sum() / total if total else 0.0)
    return np.array(peaks), np.array(heat), (time.perf_counter() - start) / len(montages)


def main() -> None:
    """Play, print a line for each method and, if asked, write the table for the docs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", default=list(METHODS))
    parser.add_argument("--montages", type=int, default=24)
    parser.add_argument("--rst", help="file to write the table to")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", eli5k.ExplanationWarning)
    photos = load_photos(load_model())
    montages = make_montages(photos, arguments.montages)
    model = load_model((SIDE, 2 * SIDE, 3))
    print(f"{len(photos)} photographs: {', '.join(NAMES[photo.label] for photo in photos)}")
    columns: dict[str, dict[str, object]] = {"peak": {}, "heat": {}, "model runs": {}}
    for name in arguments.methods:
        peaks, heat, seconds = play(model, montages, name)
        columns["peak"][name] = f"{peaks.sum()} of {len(peaks)}"
        columns["heat"][name] = float(heat.mean())
        columns["model runs"][name] = str(METHODS[name].cost)
        print(
            f"{name:22} {peaks.sum():3} of {len(peaks)}  heat {heat.mean():.2f}"
            f"  {1000 * seconds:8.0f} ms",
            flush=True,
        )
        if arguments.rst:
            Path(arguments.rst).write_text(rst_table(columns), encoding="utf-8")


if __name__ == "__main__":
    main()
