"""Print the private memory of each Ray worker while it explains many small pictures.

    PYTHONPATH=.:benchmarks python benchmarks/worker_memory.py [--rows 20000]

Two workers share the pictures, so each explains about half of them.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from million import private_memory, small_net, write_pictures

from eli5k.keras.engines.on_ray import explain_on_ray

EVERY = 500  # pictures between two readings
WORKERS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000, help="(default: %(default)s)")
    count = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_pictures(place / "pictures.parquet", count)
        small_net().save(place / "model.keras")
        (place / "memory").mkdir()
        done = {}

        def measured(pixels):
            """Note the memory of this process now and then."""
            own = done.setdefault(os.getpid(), [0])
            own[0] += 1
            if own[0] % EVERY == 0:
                with (place / "memory" / str(os.getpid())).open("a") as file:
                    file.write(f"{own[0]} {private_memory(os.getpid()):.0f}\n")
            return pixels

        counts = explain_on_ray(
            place / "model.keras",
            place / "pictures.parquet",
            place / "out",
            key="id",
            workers=WORKERS,
            preprocess=measured,
            progress=False,
        )
        print(counts)
        for file in (place / "memory").iterdir():
            readings = [tuple(map(int, line.split())) for line in file.read_text().splitlines()]
            some = readings[:: len(readings) // 4 or 1]
            print(", ".join(f"{used} MB after {rows:,}" for rows, used in some))
            settled = readings[1:]
            growth = max(used for _, used in settled) - settled[0][1]
            print(f"most growth after {settled[0][0]:,}: {growth} MB")


if __name__ == "__main__":
    main()
