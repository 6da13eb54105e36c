"""A worker may die at any moment: each document has one row, and nothing is tried for ever."""

from __future__ import annotations

import tarfile
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from eli5k.keras.engines import work as work_module
from eli5k.keras.engines.on_ray import _pictures, _shares
from eli5k.keras.engines.work import Task, Worker
from eli5k.keras.store.folder import open_store
from eli5k.keras.store.keys import hashes_of
from eli5k.keras.store.ledger import suspects
from eli5k.keras.store.sources import open_source
from eli5k.options import Options
from tests.close import assert_close
from tests.zoo import SHAPE, closed_form, functional, net_layers, noise

COLUMNS = {"column": "image", "key": None, "targets": None}
tried: Counter[int] = Counter()
deadly: set[int] = set()


class Death(BaseException):
    """Ends a worker, as a signal would."""


def scaled(pixels):
    """Count who comes; the first pixel tells them apart."""
    number = int(pixels.flat[0])
    tried[number] += 1
    if number in deadly:
        raise Death
    return pixels / 127.5 - 1


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    functional(net_layers()).save(folder / "model.keras")
    for number, pixels in enumerate(picture(each) for each in range(12)):
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    return folder


def picture(number):
    pixels = noise(*SHAPE, seed=number, low=0, high=255).astype("uint8")
    pixels.flat[0] = number
    return pixels


@pytest.fixture
def store(tmp_path):
    tried.clear()
    deadly.clear()
    return open_store(tmp_path / "out", {"schema": "1"})


def task_of(place, card=None, **columns):
    return Task(
        model=str(place / "model.keras"),
        options=Options(targets=[2], preprocess=scaled, batch_size=4),
        columns=COLUMNS | columns,
        kind=pa.string(),
        rows_per_part=4,
        timeout=60.0,
        card=card,
    )


def worker(place, store, **columns):
    return Worker(task_of(place, **columns), store)


def works_of(place, store, size=4):
    net = functional(net_layers())
    return list(_pictures(open_source(net, place), store, [], size))


def rows_of(store):
    tables = [pyarrow.parquet.read_table(part) for part in store.parts()]
    return pa.concat_tables(tables).to_pylist()


def test_document_that_two_workers_die_of_becomes_an_error(place, store):
    deadly.add(5)
    deaths = 0
    for work in works_of(place, store):
        # What an engine does: whoever is next takes the work of the dead one.
        while True:
            try:
                with worker(place, store) as one:
                    one.do(work)
                break
            except Death:
                deaths += 1
                assert deaths < 5
    rows = {int(row["key"][-6:-4]): row for row in rows_of(store)}
    assert len(rows) == len(rows_of(store)) == 12
    assert deaths == 2 == tried[5]
    errors = {number for number, row in rows.items() if row["error"]}
    assert errors == {5}
    assert "two workers ended while they explained this document" in rows[5]["error"]
    # What was in its part was explained again; the others once.
    assert {number: tried[number] for number in (0, 1, 8, 11)} == {0: 1, 1: 1, 8: 1, 11: 1}
    net = net_layers()
    for number in (4, 6, 9):
        values = np.frombuffer(rows[number]["map"], "float16").reshape(rows[number]["map_shape"])
        expected = closed_form(net, picture(number)[np.newaxis] / 127.5 - 1, 2)
        assert_close(values * np.float64(rows[number]["map_scale"]), expected, tolerance=2**-10)
    assert suspects(store.folder) == set()


def test_killed_run_goes_on_with_what_it_was_at_alone(place, store):
    first, *_ = works_of(place, store)
    deadly.add(2)
    with pytest.raises(Death), worker(place, store) as one:
        one.do(first)
    deadly.clear()
    works = works_of(place, store)
    assert [work.is_suspect for work in works] == [True, False, False]
    names = {name for name, _ in works[0].pictures}
    assert {name[-6:-4] for name in names} == {"00", "01", "02", "03"}
    with worker(place, store) as one:
        assert [one.do(work) for work in works] == [4, 4, 4]
    assert not [row for row in rows_of(store) if row["error"]]
    assert store.verify().documents == store.verify().rows == 12


def test_part_that_another_worker_wrote_is_not_explained_again(place, store):
    [work] = works_of(place, store, size=12)
    assert not store.done(["none"])[0]
    # This one writes two parts and dies in the third.
    deadly.add(9)
    with pytest.raises(Death), worker(place, open_store(store.folder, store.question)) as one:
        one.do(work)
    deadly.clear()
    tried.clear()
    # This one knows nothing of them.
    with worker(place, store) as other:
        assert other.do(work) == 4
    assert set(tried) == {8, 9, 10, 11}
    assert store.verify().rows == 12


def test_table_is_shared_out_by_parts(place, store, tmp_path):
    keys = [f"k{number}" for number in range(12)]
    contents = [(place / f"{number:02}.png").read_bytes() for number in range(12)]
    file = tmp_path / "pictures.parquet"
    # As most are: one group of rows.
    pyarrow.parquet.write_table(pa.table({"key": keys, "image": contents}), file)
    assert_shared_out(file, place, store, keys, key="key")


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tgz"])
def test_archive_is_shared_out_by_parts(ending, place, store, tmp_path):
    names = [f"{number:02}.png" for number in range(12)]
    file = tmp_path / f"shard.{ending}"
    with tarfile.open(file, "w" if ending == "tar" else "w:gz") as archive:
        # The first name is there twice.
        for name in [*names, names[0]]:
            archive.add(place / name, name)
    assert_shared_out(file, place, store, [f"{file}/{name}" for name in names])


def assert_shared_out(file, place, store, keys, **columns):
    """Two shares, as two workers would do them: each document once, and nothing is left."""
    net, task, seen = functional(net_layers()), task_of(place, **columns), []
    works = list(_shares(net, [str(file)], task, store, seen, 2))
    assert [(work.share, work.shares) for work in works] == [(0, 2), (1, 2)]
    assert set(np.concatenate(seen)) == set(hashes_of(keys))
    with Worker(task, store) as one:
        assert [one.do(work) for work in works] == [8, 4]
    rows = {row["key"]: row for row in rows_of(store)}
    assert sorted(row["key"] for row in rows_of(store)) == sorted(rows) == sorted(keys)
    assert_close(
        np.frombuffer(rows[keys[9]]["map"], "float16").astype("float64")
        * rows[keys[9]]["map_scale"],
        closed_form(net_layers(), scaled(picture(9)[np.newaxis]), 2).ravel(),
        tolerance=2**-10,
    )
    assert not list(_shares(net, [str(file)], task, store, [], 2))


def test_batch_is_the_share_of_a_card_that_a_worker_has(place, store, monkeypatch):
    monkeypatch.setattr(work_module, "rows_at_once", lambda model: 64)
    sizes = {}
    for card in (None, 1.0, 0.3):
        with Worker(task_of(place, card), store) as one:
            sizes[card] = one.options.batch_size
    assert sizes == {None: 4, 1.0: 64, 0.3: 19}
