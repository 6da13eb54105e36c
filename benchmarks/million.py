"""Explain many small pictures into a folder while the process is killed again and again.

python benchmarks/million.py 1000000 --kills 10 --folder /tmp/million

Prints what was lost, doubled and done again, how long it took, and whether memory stayed flat. The
folder must not exist; it takes some 300 MB for a million.
"""

import argparse
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
from PIL import Image

SIDE, CELLS = 32, 8
DIFFERENT = 1000  # pictures; the others are the same again, under keys of their own
ROWS_PER_PART, BATCH, GROUP = 1024, 256, 5000
SETTLED = 20_000  # documents after which memory is taken to be what it takes


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", type=int)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    source, out, log = (arguments.folder / name for name in ("pictures.parquet", "out", "read"))
    if arguments.worker:
        explain(source, out, log)
        return
    arguments.folder.mkdir()
    write_pictures(source, arguments.count)
    generator = np.random.default_rng(arguments.seed)
    places = np.sort(generator.uniform(0, arguments.count, arguments.kills))
    started, command = time.perf_counter(), [sys.executable, "-W", "ignore", *sys.argv, "--worker"]
    kills, longest = 0, []
    for place in [*places, None]:
        killed, memory = run(command, out, place, generator.uniform(0, 0.5))
        kills += killed
        longest = max(longest, memory, key=lambda each: each[-1][0] - each[0][0] if each else 0)
    seconds = time.perf_counter() - started
    report(arguments.count, out, log, kills, seconds, longest)


def write_pictures(path, count):
    """Write a table of the contents of PNG files, and of keys."""
    generator = np.random.default_rng(0)
    small = generator.integers(0, 256, (DIFFERENT, CELLS, CELLS, 3), dtype="uint8")
    contents = []
    for cells in small:
        file = io.BytesIO()
        Image.fromarray(cells).resize((SIDE, SIDE), Image.Resampling.NEAREST).save(file, "PNG")
        contents.append(file.getvalue())
    kinds = pyarrow.schema({"id": pyarrow.int64(), "image": pyarrow.binary()})
    with pyarrow.parquet.ParquetWriter(path, kinds) as table:
        for start in range(0, count, GROUP):
            keys = range(start, min(start + GROUP, count))
            rows = {"id": list(keys), "image": [contents[key % DIFFERENT] for key in keys]}
            table.write_table(pyarrow.table(rows, kinds), row_group_size=GROUP)


def explain(source, out, log):
    """Explain what isn't explained yet, noting each picture that is read."""
    import eli5k

    os.environ["READ"] = str(log)
    options = {"batch_size": BATCH, "rows_per_part": ROWS_PER_PART, "preprocess": noted}
    print(
        eli5k.explain_to(small_net(), source, out, key="id", workers=0, progress=False, **options)
    )


def small_net():
    import keras

    keras.utils.set_random_seed(0)
    conv = {"strides": 2, "activation": "relu"}
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(8, 3, **conv),
            keras.layers.Conv2D(16, 3, **conv),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


def noted(pixels):
    """Leave a byte for each picture in a file, which survives a kill."""
    file = os.open(os.environ["READ"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, b".")
    os.close(file)
    return pixels


def run(command, out, place, delay):
    """Run until so many documents are done and a moment longer, or to the end."""
    process = subprocess.Popen(command)
    memory = []
    while process.poll() is None:
        done = ROWS_PER_PART * sum(each.name.startswith("part-") for each in entries(out))
        used = private_memory(process.pid)
        if used is not None:
            memory.append((done, used))
        if place is not None and done >= place:
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
        time.sleep(0.2)
    if process.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(f"The worker ended with {process.returncode}.")
    began = memory[0][0]
    settled = [each for each in memory if each[0] >= began + SETTLED]
    return process.returncode != 0, settled


def entries(folder):
    return list(os.scandir(folder)) if folder.is_dir() else []


def private_memory(pid):
    """Return the MB of memory that a process shares with no other one and no file."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    found = [int(line.split()[1]) for line in lines if line.startswith("RssAnon")]
    return found[0] / 1024 if found else None


def report(count, out, log, kills, seconds, memory):
    """Print what there is, from the files alone."""
    rows, wrong = 0, 0
    seen, classes = np.zeros(count, "uint8"), np.full(DIFFERENT, -1)
    for part in sorted(out.glob("part-*.parquet")):
        table = pyarrow.parquet.read_table(part, columns=["key", "target"])
        keys, targets = table["key"].to_numpy(), table["target"].to_numpy()
        rows += len(keys)
        np.add.at(seen, keys, 1)
        # The same picture has the same class, whichever run explained it.
        own = keys % DIFFERENT
        classes[own] = np.where(classes[own] < 0, targets, classes[own])
        wrong += int((classes[own] != targets).sum())
    repeated = log.stat().st_size - count
    used = [each for _, each in memory]
    print(f"pictures            {count:,}")
    print(f"kills               {kills}")
    print(f"rows                {rows:,}")
    print(f"distinct keys       {np.count_nonzero(seen):,}")
    print(f"rows of wrong class {wrong:,}")
    print(f"explained again     {repeated:,} ({repeated / max(kills, 1):,.0f} for each kill)")
    print(f"hours               {seconds / 3600:.2f} ({count / seconds:,.0f} pictures a second)")
    if used:
        documents = memory[-1][0] - memory[0][0]
        growth = max(used) - used[0]
        print(f"private memory      {max(used):,.0f} MB; +{growth:,.0f} MB over {documents:,}")


if __name__ == "__main__":
    main()
