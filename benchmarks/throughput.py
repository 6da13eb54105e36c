"""Compare the throughput of a run over photographs with decoding them and model.predict alone.

    PYTHONPATH=. python benchmarks/throughput.py [--photos 512] [--rounds 5] [--width 1024]

Each round decodes the same photographs in a plain pool of processes, sends what was decoded through
``model.predict``, and explains the photographs into a folder; the parts take turns, since a machine
is never quiet, and the medians count. The ratio is (decoding + predict) / whole: 1 if to explain
costs no more than to predict, on the same cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
from PIL import Image

import eli5k
import eli5k.demo
from eli5k.keras.decoding import core_count
from eli5k.pixels import fitted_picture, open_picture

SIDE = 224  # pixels
BATCH = 32


def write_photos(folder: Path, count: int, width: int) -> list[Path]:
    """Write squares of the demo's photographs, each another one, as JPEG."""
    rng = np.random.default_rng(0)
    photos = [open_picture(path).convert("RGB") for path in eli5k.demo.PHOTOS.values()]
    paths = []
    for number in range(count):
        photo = photos[number % len(photos)]
        side = min(photo.size) * rng.uniform(0.5, 1)
        left, top = (rng.uniform(0, length - side) for length in photo.size)
        size = (width, width * 3 // 4)
        picture = photo.resize(size, Image.Resampling.BICUBIC, (left, top, left + side, top + side))
        paths.append(folder / f"{number:05}.jpg")
        picture.save(paths[-1], quality=90)
    return paths


def decoded(path: Path) -> np.ndarray:
    return np.asarray(fitted_picture(open_picture(path), 3, SIDE, SIDE))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=512, help="how many (default: %(default)s)")
    parser.add_argument("--width", type=int, default=1024, help="in pixels (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    asked = parser.parse_args()
    model = eli5k.demo.load_model()
    seconds: dict[str, list[float]] = {"decode": [], "predict": [], "whole": []}
    # Before Keras has threads, which a fork would lose.
    with (
        multiprocessing.get_context("spawn").Pool(core_count()) as pool,
        tempfile.TemporaryDirectory() as place,
    ):
        paths = write_photos(Path(place), asked.photos, asked.width)

        def decode() -> np.ndarray:
            return np.stack(list(pool.imap(decoded, paths, chunksize=8)))

        pixels = decode()

        def predict() -> None:
            model.predict(eli5k.demo.preprocess(pixels.astype("float32")), BATCH, verbose=0)

        def whole() -> None:
            with tempfile.TemporaryDirectory() as out:
                eli5k.explain_to(
                    model,
                    paths,
                    out,
                    preprocess=eli5k.demo.preprocess,
                    batch_size=BATCH,
                    progress=False,
                )

        for number in range(asked.rounds + 1):
            for name, part in (("decode", decode), ("predict", predict), ("whole", whole)):
                start = time.perf_counter()
                part()
                # The first round compiles.
                if number:
                    seconds[name].append(time.perf_counter() - start)
            if number:
                print({name: round(found[-1], 2) for name, found in seconds.items()}, flush=True)
    each = {name: statistics.median(found) / len(paths) for name, found in seconds.items()}
    rows = zip(seconds["decode"], seconds["predict"], seconds["whole"])
    ratio = statistics.median((decode + predict) / whole for decode, predict, whole in rows)
    backend = keras.backend.backend()
    print(f"{core_count()} cores, {len(paths)} photographs of {asked.width} pixels, {backend}")
    for name, took in each.items():
        print(f"{name:8} {1000 * took:6.2f} ms a photograph, {1 / took:6.1f} a second")
    print(f"ratio    {ratio:6.3f}")


if __name__ == "__main__":
    main()
