"""What is killed on Ray goes on: each picture and target has one row, on the loopback alone."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet
import pytest
from PIL import Image

from eli5k.keras.store.ledger import ATTEMPTS
from tests.close import assert_close
from tests.zoo import SHAPE, closed_form, functional, net_layers, noise

DRIVER = Path(__file__).with_name("drive_explain_on_ray.py")
# More of them, for the figures in the documentation: DOCUMENTS=4000, and -s to see what is printed.
COUNT, PART = int(os.environ.get("DOCUMENTS", "600")) - 1, 32
TARGETS = (2, 0)
SECONDS = 600
# The picture that ends whoever explains it, as often as a test wants.
DEADLY = 77


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


@contextmanager
def driver(place, deaths=0):
    environment = os.environ | {"HOME": str(place), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(DRIVER), str(place), str(PART), str(DEADLY), str(deaths)]
    with (place / "log").open("a") as log:
        process = psutil.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            yield process
        finally:
            if process.is_running():
                process.kill()


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


def wait_for_parts(place):
    wait_for(lambda: len(list((place / "out").glob("part-*"))) >= 3)


def run_to_the_end(place, deaths=0):
    with driver(place, deaths) as process:
        assert process.wait(SECONDS) == 0, (place / "log").read_text()


def assert_explained(place, fault, errors=()):
    """Each picture has a row for each target, those with errors one; return what was seen."""
    rows = pyarrow.parquet.read_table(sorted((place / "out").glob("part-*"))).to_pylist()
    found = {(Path(row["key"]).stem, row["target"]): row for row in rows}
    assert len(found) == len(rows) == 2 * (COUNT - len(errors)) + 1 + len(errors)
    assert {name for (name, _), row in found.items() if row["error"]} == {"broken", *errors}
    assert "not a picture" in found["broken", None]["error"]
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
    keys = len({row["key"] for row in rows})
    print(f"{fault}: {keys} documents, {len(rows)} rows, {len(found)} distinct, {again} again")
    # Nothing is left but the store.
    assert not list((place / "out" / ATTEMPTS).glob("*.part"))
    return found, seen, again


def test_killed_worker_leaves_one_row_for_each_picture(place):
    run_to_the_end(place, deaths=1)
    *_, again = assert_explained(place, "a killed worker")
    assert 0 < again <= PART


def test_picture_that_ends_its_workers_becomes_an_error(place):
    run_to_the_end(place, deaths=9)
    found, seen, again = assert_explained(place, "a deadly picture", errors=[f"{DEADLY:04}"])
    assert "two workers ended" in found[f"{DEADLY:04}", None]["error"]
    assert seen[DEADLY] == 2
    # Its part was begun together, then alone, and then without it.
    assert again <= 2 * PART


def test_killed_driver_leaves_one_row_for_each_picture(place):
    with driver(place) as process:
        wait_for_parts(place)
        started = process.children(recursive=True)
        listening = interfaces(started)
        process.send_signal(signal.SIGKILL)
        process.wait(30)
        assert sum(tried(place).values()) < COUNT
    assert listening == {"127.0.0.1", "::ffff:127.0.0.1"}
    try:
        run_to_the_end(place)
    finally:
        # What the first run has started ends by itself; two of Ray's own agents take a minute.
        _, left = psutil.wait_procs(started, timeout=120)
        for one in left:
            one.kill()
    assert not left
    *_, again = assert_explained(place, "a killed driver")
    # Two workers were at a part each, and may have begun another before they noticed.
    assert again <= 4 * PART
