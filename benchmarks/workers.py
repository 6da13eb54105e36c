"""Time a run on Ray with one worker and with two, on this machine.

    PYTHONPATH=. python benchmarks/workers.py [--photos 512] [--rounds 3]

A run starts Ray, loads the model in each worker and compiles it, for any number of photographs.
So each round times a short and a long run, and the rate is what the difference of photographs took.
A worker has one thread, so one worker leaves the other cores idle.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from throughput import write_photos

import eli5k.demo
from eli5k.keras.engines.on_ray import explain_on_ray

SHORT = 128  # photographs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=512, help="beyond the first 128")
    parser.add_argument("--width", type=int, default=1024, help="in pixels (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    asked = parser.parse_args()
    rates: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        eli5k.demo.load_model().save(place / "model.keras")
        (place / "photos").mkdir()
        paths = write_photos(place / "photos", SHORT + asked.photos, asked.width)

        def seconds(count: int, workers: int) -> float:
            with tempfile.TemporaryDirectory() as out:
                start = time.perf_counter()
                counts = explain_on_ray(
                    place / "model.keras",
                    paths[:count],
                    out,
                    workers=workers,
                    rows_per_part=32,
                    preprocess=eli5k.demo.preprocess,
                    progress=False,
                )
                took = time.perf_counter() - start
            if counts.documents != count or counts.errors:
                raise RuntimeError(f"{count} photographs were asked for, and {counts} came.")
            return took

        for _ in range(asked.rounds):
            for workers, found in rates.items():
                beyond = seconds(SHORT + asked.photos, workers) - seconds(SHORT, workers)
                found.append(asked.photos / beyond)
            print({workers: round(found[-1], 1) for workers, found in rates.items()}, flush=True)
    ratio = statistics.median(two / one for one, two in zip(*rates.values()))
    print(f"photographs a second: {[round(statistics.median(each), 1) for each in rates.values()]}")
    print(f"two workers / one: {ratio:.2f}")


if __name__ == "__main__":
    main()
