"""Tables and archives on Ray: each row once, by two workers, with its own target."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
from PIL import Image

from tests.close import assert_close
from tests.engines.folder import scaled
from tests.zoo import SHAPE, closed_form, functional, net_layers, noise

DRIVER = Path(__file__).with_name("drive_tables_on_ray.py")
COUNT = 40
PIXELS = noise(COUNT, *SHAPE, low=0, high=255).astype("uint8")
LABELS = [number % 3 for number in range(COUNT)]
NAMES = [f"{number:02}" for number in range(COUNT)]


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write_archive(file, mode, numbers):
    with tarfile.open(file, mode) as archive:
        for number in numbers:
            label = str(LABELS[number]).encode()
            for ending, content in (("png", png(PIXELS[number])), ("cls", label)):
                member = tarfile.TarInfo(f"{NAMES[number]}.{ending}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def assert_explained(out):
    rows = pyarrow.parquet.read_table(sorted(out.glob("part-*"))).to_pylist()
    found = {Path(row["key"]).stem: row for row in rows}
    assert len(rows) == COUNT
    assert sorted(found) == NAMES
    assert [found[name]["target"] for name in NAMES] == LABELS
    net = net_layers()
    for number in (0, 7, 8, COUNT - 1):
        row = found[NAMES[number]]
        values = np.frombuffer(row["map"], "float16").reshape(row["map_shape"])
        expected = closed_form(net, scaled(PIXELS[number : number + 1]), LABELS[number])
        assert_close(values * np.float64(row["map_scale"]), expected, tolerance=2**-10)


def test_rows_and_members_are_explained_once_with_their_targets(tmp_path):
    functional(net_layers()).save(tmp_path / "model.keras")
    columns = {"id": NAMES, "image": list(map(png, PIXELS)), "label": LABELS}
    # One group of rows, as most tables have.
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "pictures.parquet")
    (tmp_path / "shards").mkdir()
    write_archive(tmp_path / "shards" / "a.tar", "w", range(25))
    write_archive(tmp_path / "shards" / "b.tar.gz", "w:gz", range(25, COUNT))
    environment = os.environ | {"HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(DRIVER), str(tmp_path)]
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, text=True, timeout=600, check=True
    )
    expected = [
        f"{name} {explained} {COUNT} 0"
        for name in ("table", "archives")
        for explained in (COUNT, 0)
    ]
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.endswith(f" {COUNT} 0")] == expected
    for name in ("table", "archives"):
        assert_explained(tmp_path / name)
