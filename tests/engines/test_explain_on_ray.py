"""What is killed on Ray goes on: each picture and target has one row, on the loopback alone."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet
import pytest
from PIL import Image

from eli5k.keras.store.folder import ATTEMPTS
from tests.close import assert_close
from tests.engines.drive_explain_on_ray import DEADLY
from tests.zoo import SHAPE, closed_form, functional, net_layers, noise

DRIVER = Path(__file__).with_name("drive_explain_on_ray.py")
COUNT, PART = 600, 32
TARGETS = (2, 0)
SECONDS = 300


@pytest.fixture
def place(tmp_path):
    functional(net_layers()).save(tmp_path / "model.keras")
    for folder in ("pictures", "tried"):
        (tmp_path / folder).mkdir()
    for number in range(COUNT):
        Image.fromarray(picture(number)).save(tmp_path / "pictures" / f"{number:04}.png")
    (tmp_path / "pictures" / "broken.png").write_bytes(b"no picture")
    return tmp_path


def picture(number):
    pixels = noise(*SHAPE, seed=number, low=0, high=255).astype("uint8")
    pixels[0, 0, :2] = divmod(number, 256)
    return pixels


def start(place):
    environment = os.environ | {"HOME": str(place), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(DRIVER), str(place), str(PART)]
    with (place / "log").open("a") as log:
        return psutil.Popen(command, env=environment, stdout=log, stderr=log)


def wait_for(condition, seconds=SECONDS):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.2)


def tried(place):
    lines = [file.read_text().split() for file in (place / "tried").iterdir()]
    return Counter(int(line) for each in lines for line in each)


def interfaces(processes):
    """Return the addresses on which processes listen."""
    found = set()
    for process in processes:
        try:
            sockets = process.net_connections("inet")
        except psutil.NoSuchProcess:
            continue
        found |= {each.laddr.ip for each in sockets if each.status == psutil.CONN_LISTEN}
    return found


def test_killed_workers_and_a_killed_driver_leave_one_row_for_each_picture(place):
    first = start(place)
    parts = place / "out"
    try:
        wait_for(lambda: len(list(parts.glob("part-*"))) >= 3)
        started = first.children(recursive=True)
        listening = interfaces(started)
        first.send_signal(signal.SIGKILL)
        first.wait(30)
    finally:
        if first.is_running():
            first.kill()
    assert listening == {"127.0.0.1", "::ffff:127.0.0.1"}
    before = sum(tried(place).values())
    second = start(place)
    try:
        assert second.wait(SECONDS) == 0
    finally:
        if second.is_running():
            second.kill()
        # What the first run has started ends by itself; two of Ray's own agents take a minute.
        _, left = psutil.wait_procs(started, timeout=120)
        for process in left:
            process.kill()
    assert not left
    rows = pyarrow.parquet.read_table(sorted(parts.glob("part-*"))).to_pylist()
    found = {(Path(row["key"]).stem, row["target"]): row for row in rows}
    assert len(found) == len(rows) == 2 * (COUNT - 1) + 2
    assert "not a picture" in found["broken", None]["error"]
    assert "two workers ended" in found[f"{DEADLY:04}", None]["error"]
    net = net_layers()
    for number in (0, 31, 300, COUNT - 1):
        for target in TARGETS:
            row = found[f"{number:04}", target]
            values = np.frombuffer(row["map"], "float16").reshape(row["map_shape"])
            expected = closed_form(net, picture(number)[np.newaxis] / 127.5 - 1, target)
            assert_close(values * np.float64(row["map_scale"]), expected, tolerance=2**-10)
    seen = tried(place)
    assert set(seen) == set(range(COUNT))
    again = sum(seen.values()) - COUNT
    print(f"{COUNT + 1} documents, {len(found)} distinct rows, {again} explained again, {before}")
    # Two workers were at a part each; the deadly picture's part was begun three times in a run.
    assert seen[DEADLY] <= 4
    assert again <= 7 * PART
    # Nothing is left but the store.
    assert not list((parts / ATTEMPTS).glob("*.part"))
