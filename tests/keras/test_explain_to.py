"""A store of explanations: what is in it, what it refuses, and that a kill costs one part."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import pyarrow
import pyarrow.dataset
import pyarrow.parquet
import pytest
from PIL import Image

import eli5k
from eli5k import explain_prediction, explain_to, read_explanations
from eli5k.keras.methods import IntegratedGradients
from eli5k.keras.store import writing
from eli5k.keras.store.files import only_writer
from eli5k.keras.store.folder import open_store, read_question
from eli5k.keras.store.keys import hashes_of
from eli5k.keras.store.ledger import attempted
from eli5k.keras.store.question import fingerprint, question_of
from eli5k.keras.store.writing import explain_items
from eli5k.options import Options
from tests.close import assert_close
from tests.zoo import SHAPE, closed_form, functional, net_layers, noise

pytestmark = pytest.mark.filterwarnings(
    "ignore::eli5k.BlankMapWarning", "ignore::eli5k.UnscaledInputWarning"
)

DOCS = noise(5, *SHAPE, seed=1)
PIXELS = noise(5, *SHAPE, low=0, high=255).astype("uint8")


@pytest.fixture(scope="module")
def model():
    return functional(net_layers())


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, pixels in enumerate(PIXELS):
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def scale(pixels):
    return pixels / 127.5 - 1


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def table_in(out):
    return pyarrow.dataset.dataset(sorted(map(str, Path(out).glob("part-*.parquet")))).to_table()


def map_of(row):
    values = np.frombuffer(row["map"], "float16").reshape(row["map_shape"])
    return values.astype("float64") * row["map_scale"]


class TestRows:
    def test_are_what_each_document_gets_alone(self, model, tmp_path):
        counts = explain_to(model, DOCS, tmp_path, top_targets=2, layer="pool", rows_per_part=2)
        assert (counts.documents, counts.rows, counts.explained) == (5, 10, 5)
        assert len(list(tmp_path.glob("part-*.parquet"))) == 3
        rows = table_in(tmp_path).to_pylist()
        assert Counter((row["key"], row["number"]) for row in rows) == Counter(
            (key, number) for key in range(5) for number in range(2)
        )
        for row in rows:
            doc = DOCS[row["key"]]
            target = explain_prediction(model, doc, top_targets=2, layer="pool").targets[
                row["number"]
            ]
            assert row["target"] == target.target
            assert row["score"] == pytest.approx(target.score, abs=1e-5)
            assert_close(map_of(row), target.attribution, tolerance=2**-10)
            assert row["map_low"] == pytest.approx(target.attribution.min(), abs=1e-5)
            assert row["map_high"] == pytest.approx(target.attribution.max(), abs=1e-5)

    def test_of_pictures_in_folders_lists_patterns_tables_and_archives(
        self, model, photos, tmp_path
    ):
        paths = sorted(map(str, photos.iterdir()))
        names = [f"n{number}" for number in range(5)]
        contents = pyarrow.table({"id": names, "image": list(map(png, PIXELS))})
        pyarrow.parquet.write_table(contents, tmp_path / "contents.parquet", row_group_size=2)
        pyarrow.parquet.write_table(pyarrow.table({"image": paths}), tmp_path / "paths.parquet")
        with tarfile.open(tmp_path / "shard.tar", "w") as archive:
            for path in paths:
                archive.add(path, os.path.basename(path))
        (tmp_path / "shard.tgz").write_bytes(gzip.compress((tmp_path / "shard.tar").read_bytes()))
        sources = {
            "folder": (photos, {}, paths),
            "pattern": (f"{photos}/*.png", {}, paths),
            "list": (paths, {}, paths),
            "contents": (tmp_path / "contents.parquet", {"key": "id"}, names),
            "rows": (
                tmp_path / "contents.parquet",
                {},
                [f"{tmp_path}/contents.parquet#{i}" for i in range(5)],
            ),
            "paths": (tmp_path / "paths.parquet", {}, paths),
            "archive": (
                f"{tmp_path}/*.tar",
                {},
                [f"{tmp_path}/shard.tar/{i}.png" for i in range(5)],
            ),
            "compressed": (
                tmp_path / "shard.tgz",
                {},
                [f"{tmp_path}/shard.tgz/{i}.png" for i in range(5)],
            ),
            "stream": ((each for each in paths), {}, paths),
        }
        truth = [closed_form(net_layers(), scale(each)[np.newaxis], 1) for each in PIXELS]
        for name, (source, more, keys) in sources.items():
            out = tmp_path / name
            asked = {"targets": [1], "preprocess": scale, "rows_per_part": 3, **more}
            explain_to(model, source, out, workers=int(name == "folder"), **asked)
            rows = {row["key"]: row for row in table_in(out).to_pylist()}
            assert list(rows) == keys, name
            for key, own in zip(keys, truth):
                assert_close(map_of(rows[key]), own, tolerance=2**-10)
            for expl, pixels in zip(read_explanations(out), PIXELS):
                assert_close(np.asarray(expl.image), pixels, tolerance=0)

    def test_targets_of_each_row(self, model, photos, tmp_path):
        table = pyarrow.table({"id": range(5), "image": DOCS.tolist(), "label": [2, 0, 1, 1, 2]})
        pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
        with tarfile.open(tmp_path / "shard.tar", "w") as archive:
            for number, label in enumerate([2, 0, 1, 1, 2]):
                archive.add(photos / f"{number}.png", f"a/{number}.png")
                (tmp_path / "label").write_text(f"{label}\n")
                archive.add(tmp_path / "label", f"a/{number}.cls")
        of_each = {
            "table": (tmp_path / "rows.parquet", {"key": "id", "targets_column": "label"}),
            "archive": (tmp_path / "shard.tar", {"targets_column": "cls"}),
            "array": (DOCS, {"targets": np.array([2, 0, 1, 1, 2])}),
        }
        for name, (source, more) in of_each.items():
            explain_to(model, source, tmp_path / name, rows_per_part=2, workers=0, **more)
            assert table_in(tmp_path / name)["target"].to_pylist() == [2, 0, 1, 1, 2], name

    def test_what_fails_is_a_row_with_its_error(self, model, photos, tmp_path):
        (photos / "broken.png").write_bytes(b"no picture")
        counts = explain_to(model, photos, tmp_path / "out", preprocess=scale, workers=1)
        assert (counts.documents, counts.rows, counts.errors) == (6, 6, 1)
        [row] = [row for row in table_in(tmp_path / "out").to_pylist() if row["error"]]
        assert row["key"].endswith("broken.png")
        assert "not a picture" in row["error"]
        # It is done: the next run doesn't try it again.
        assert (
            explain_to(model, photos, tmp_path / "out", preprocess=scale, workers=1).explained == 0
        )

    def test_of_batches_that_fit_the_card(self, model, tmp_path, monkeypatch):
        sizes = []

        def explain(model, batch, *rest):
            sizes.append(len(batch))
            return explain_items(model, batch, *rest)

        monkeypatch.setattr(writing, "rows_at_once", lambda model: 2)
        monkeypatch.setattr(writing, "explain_items", explain)
        explain_to(model, DOCS, tmp_path, batch_size=None)
        assert sizes == [2, 2, 1]
        question = read_question(tmp_path)
        assert "batch_size" not in question["options"]

    def test_of_names_that_are_no_text(self, model, tmp_path):
        folder = tmp_path / "photos"
        folder.mkdir()
        for name, pixels in zip([b"\xff.png", b"new\nline.png", "ö #1 [a].png".encode()], PIXELS):
            (folder / os.fsdecode(name)).write_bytes(png(pixels))
        (folder / os.fsdecode(b"broken\xff.png")).write_bytes(b"no picture")
        (folder / "back").symlink_to(folder, target_is_directory=True)
        for explained in (4, 0):
            counts = explain_to(model, folder, tmp_path / "out", preprocess=scale, workers=1)
            assert (counts.documents, counts.explained, counts.errors) == (4, explained, 1)
        keys = {Path(row["key"]).name for row in table_in(tmp_path / "out").to_pylist()}
        assert keys == {r"\udcff.png", "new\nline.png", "ö #1 [a].png", r"broken\udcff.png"}

    def test_of_several_inputs(self, photos, tmp_path):
        inputs = [keras.Input(SHAPE, name="a"), keras.Input(SHAPE, name="b")]
        net = net_layers()
        outputs = keras.layers.Add()(inputs)
        for layer in net:
            outputs = layer(outputs)
        os.mkfifo(tmp_path / "hangs.png")
        first, second = str(photos / "0.png"), str(photos / "1.png")
        docs = [[first, second], [first, str(tmp_path / "hangs.png")], [second, first]]
        asked = {"targets": [1], "preprocess": scale, "workers": 1, "timeout": 2}
        explain_to(keras.Model(inputs, outputs), docs, tmp_path / "out", **asked)
        rows = table_in(tmp_path / "out").to_pylist()
        assert [row["key"] for row in rows] == [" + ".join(doc) for doc in docs]
        assert "hangs.png: not decoded within 2 s" in rows[1]["error"]
        own = closed_form(net, scale(PIXELS[:1]) + scale(PIXELS[1:2]), 1)
        assert_close(map_of(rows[0]), own, tolerance=2**-10)


class TestMistakes:
    @pytest.mark.parametrize("name", ["cut.tar", "empty.tar", "cut.tgz", "not.tgz", "not.parquet"])
    def test_broken_file_is_named(self, name, model, photos, tmp_path):
        with tarfile.open(tmp_path / "whole.tar", "w") as archive:
            archive.add(photos / "0.png", "0.png")
        content = (tmp_path / "whole.tar").read_bytes()
        broken = {
            "cut.tar": content[:700],
            "empty.tar": b"",
            "cut.tgz": gzip.compress(content)[:100],
            "not.tgz": content,
            "not.parquet": b"PAR1",
        }
        (tmp_path / name).write_bytes(broken[name])
        with pytest.raises(OSError, match=f"source: .*{name}' is a broken (archive|table)"):
            explain_to(model, tmp_path / name, tmp_path / "out")

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            ({"rows_per_part": 2.5}, r"rows_per_part must be a whole number .* Received: 2\.5"),
            ({"workers": -1}, "workers must be a whole number from 0 on"),
            ({"column": "photo"}, r"name columns of a Parquet file.* column='photo'"),
            ({"output": "all"}, r"one output.* Received: .*output='all'"),
            ({"row_per_part": 8}, "'row_per_part'. Did you mean 'rows_per_part'"),
        ],
    )
    def test_are_told(self, more, said, model, tmp_path):
        with pytest.raises((TypeError, ValueError), match=said):
            explain_to(model, DOCS, tmp_path, **more)

    def test_no_picture_names_the_argument(self, model, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"source: .* has no picture"):
            explain_to(model, tmp_path, tmp_path / "out")

    def test_broken_question_is_named(self, model, tmp_path):
        explain_to(model, DOCS, tmp_path)
        (tmp_path / "_eli5k.json").write_text("")
        with pytest.raises(OSError, match=r"_eli5k\.json: broken"):
            explain_to(model, DOCS, tmp_path)


class TestReadingBack:
    def test_explanations_as_if_made_now(self, model, photos, tmp_path):
        question = {"top_targets": 2, "target_names": ["ant", "bee", "cat"], "check": True}
        explain_to(model, photos, tmp_path / "out", preprocess=scale, **question)
        stored = list(read_explanations(tmp_path / "out"))
        files = sorted(photos.iterdir())
        assert [expl.source for expl in stored] == list(map(str, files))
        for file, expl in zip(files, stored):
            alone = explain_prediction(model, str(file), preprocess=scale, **question)
            for name in ("estimator", "description", "method", "layer", "source", "frame", "error"):
                assert getattr(expl, name) == getattr(alone, name), name
            assert [str(each) for each in expl.warnings] == [
                f"{file}: {each}" for each in alone.warnings
            ]
            assert [type(each) for each in expl.warnings] == list(map(type, alone.warnings))
            for own, other in zip(expl.targets, alone.targets):
                assert (own.target, own.size, own.frame) == (other.target, other.size, other.frame)
                assert_close(own.attribution, other.attribution, tolerance=2**-10)
                assert own.check.verdict == other.check.verdict
                assert own.check.sentence == other.check.sentence
                assert own.check.agreement == pytest.approx(other.check.agreement, abs=1e-4)
                assert own.check.dropped == pytest.approx(other.check.dropped, abs=1e-4)
                assert_close(own.check.worth, other.check.worth, tolerance=1e-3)
            pictures = [np.asarray(eli5k.format_as_image(each), float) for each in (expl, alone)]
            # A step of float16 may be a step of the colours.
            assert np.abs(pictures[0] - pictures[1]).max() <= 4
        assert "ant" in eli5k.format_as_page(stored)

    def test_chosen_keys(self, model, tmp_path):
        explain_to(model, DOCS, tmp_path, rows_per_part=2)
        rows = {row["key"]: row for row in table_in(tmp_path).to_pylist()}
        chosen = read_explanations(tmp_path, [3, 0])
        assert [expl.targets[0].target for expl in chosen] == [rows[3]["target"], rows[0]["target"]]
        with pytest.raises(KeyError, match="7"):
            list(read_explanations(tmp_path, [7]))

    def test_pictures_that_are_gone(self, model, photos, tmp_path):
        explain_to(model, photos, tmp_path / "out", preprocess=scale, workers=1)
        (photos / "0.png").unlink()
        images = [expl.image for expl in read_explanations(tmp_path / "out")]
        assert [image is None for image in images] == [True] + [False] * 4


class TestGoingOn:
    def test_only_what_is_missing_is_explained(self, model, photos, tmp_path):
        out = tmp_path / "out"
        explain_to(model, photos, out, rows_per_part=2, preprocess=scale, workers=1)
        sorted(out.glob("part-*"))[1].unlink()
        (out / ".part-half.parquet").write_bytes(b"PAR1")
        Image.fromarray(PIXELS[0]).save(photos / "new.png")
        counts = explain_to(model, photos, out, rows_per_part=2, preprocess=scale, workers=1)
        assert (counts.documents, counts.rows, counts.explained) == (6, 6, 3)
        assert not list(out.glob(".part-*"))

    def test_another_model_or_question_is_refused(self, model, tmp_path):
        explain_to(model, DOCS, tmp_path, targets=[1])
        before = table_in(tmp_path)
        for more, said in (
            ({"targets": [2]}, r"targets was \[1\]\. Received: \[2\]"),
            ({"targets": [1], "method": "gradient"}, 'method was "grad-cam"'),
            ({"targets": [1], "preprocess": scale}, "preprocess was null"),
            ({"targets": [1], "target_names": ["a", "b", "c"]}, "class_names was"),
        ):
            with pytest.raises(ValueError, match=said):
                explain_to(model, DOCS, tmp_path, **more)
        net = net_layers()
        other = functional(net)
        kernel, bias = net[-1].get_weights()
        net[-1].set_weights([kernel * 1.001, bias])
        with pytest.raises(ValueError, match="explanations of another model"):
            explain_to(other, DOCS, tmp_path, targets=[1])
        assert table_in(tmp_path).equals(before)

    def test_other_files_are_no_store(self, model, tmp_path):
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(ValueError, match=r"holds 'notes\.txt' and no _eli5k\.json"):
            explain_to(model, DOCS, tmp_path)
        with pytest.raises(FileNotFoundError, match="no folder of explanations"):
            read_explanations(tmp_path)

    def test_a_second_writer_is_refused(self, model, tmp_path):
        with only_writer(tmp_path), pytest.raises(RuntimeError, match="another process explains"):
            explain_to(model, DOCS, tmp_path)
        assert explain_to(model, DOCS, tmp_path).documents == 5

    def test_results_below_their_source_are_no_source(self, model, tmp_path):
        table = pyarrow.table({"id": range(5), "image": DOCS.tolist()})
        pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
        for explained in (5, 0):
            counts = explain_to(model, tmp_path, tmp_path / "results", key="id")
            assert (counts.documents, counts.explained) == (5, explained)

    def test_twins_are_refused_or_told(self, model, photos, tmp_path):
        paths = sorted(map(str, photos.iterdir()))
        with pytest.raises(ValueError, match=r"one document for each key.*1 .*0\.png"):
            explain_to(model, [*paths, paths[0]], tmp_path / "list")
        twins = iter([*paths[:2], paths[0], *paths[2:]])
        counts = explain_to(model, twins, tmp_path / "stream", preprocess=scale, workers=1)
        assert (counts.documents, counts.rows, counts.repeated) == (5, 5, 1)

    def test_what_two_workers_wrote_is_kept_once(self, model, tmp_path):
        explain_to(model, DOCS, tmp_path, rows_per_part=2, top_targets=2)
        store = open_store(tmp_path, read_question(tmp_path))
        store.write(table_in(tmp_path).slice(2, 5))
        assert store.verify().doubled == 3
        counts = explain_to(model, DOCS, tmp_path, top_targets=2)
        assert (counts.documents, counts.rows, counts.doubled) == (5, 10, 0)

    def test_missing_documents_are_told(self, model, tmp_path):
        explain_to(model, DOCS, tmp_path)
        store = open_store(tmp_path, read_question(tmp_path))
        counts = store.verify(hashes_of(range(1, 8)))
        assert (counts.missing, counts.others) == (3, 1)
        assert "3 missing" in str(counts)


class TestQuestion:
    def test_model_is_the_same_after_saving(self, model, tmp_path):
        model.save(tmp_path / "model.keras")
        assert fingerprint(keras.saving.load_model(tmp_path / "model.keras")) == fingerprint(model)

    def test_what_changes_answers_changes_it(self, model):
        def told(**options):
            return json.dumps(question_of(model, Options(**options)))

        def adding(number):
            return lambda x: x + number

        asked = [
            {},
            {"method": IntegratedGradients(steps=5)},
            {"method": IntegratedGradients(steps=6)},
            {"preprocess": scale},
            {"preprocess": adding(1)},
            {"preprocess": adding(2)},
            {"targets": np.array([1, 2])},
            {"targets": np.array([1, 3])},
            {"layer": model.layers[1]},
            {"target_names": {0: "ant"}},
        ]
        assert len({told(**each) for each in asked}) == len(asked)
        assert told(batch_size=3, progress=True) == told()
        assert told(preprocess=adding(1)) == told(preprocess=adding(1))

    def test_is_in_each_part(self, model, tmp_path):
        explain_to(model, DOCS, tmp_path, top_targets=2)
        [part] = tmp_path.glob("part-*")
        metadata = pyarrow.parquet.read_schema(part).metadata
        assert metadata[b"eli5k.schema"] == b"1"
        assert json.loads(metadata[b"eli5k.question"])["options"]["top_targets"] == 2
        assert metadata[b"eli5k.version"].decode() == eli5k.__version__


class TestLedger:
    def test_attempts_are_counted_over_all_runs(self, tmp_path):
        assert [attempted(tmp_path, "bomb.png") for _ in range(2)] == [1, 2]
        assert attempted(tmp_path, 3) == 1
        for file in (tmp_path / "_attempts").iterdir():
            with file.open("a") as ledger:
                ledger.write('\n"cut off\\"')
        assert [attempted(tmp_path, key) for key in ("bomb.png", 3, "new.png")] == [3, 2, 1]


PLUGIN = """
import os
from PIL import Image

def accept(prefix):
    return prefix.startswith(b"DEADLY")

def opened(file, name):
    os._exit(1)
"""


def test_pictures_that_hang_or_kill_their_decoder_are_errors(model, photos, tmp_path, monkeypatch):
    (tmp_path / "deadly_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    import deadly_plugin

    Image.init()
    monkeypatch.setattr(Image, "ID", [*Image.ID, "DEADLY"])
    opener = (deadly_plugin.opened, deadly_plugin.accept)
    monkeypatch.setattr(Image, "OPEN", {**Image.OPEN, "DEADLY": opener})
    out, more = tmp_path / "out", {"preprocess": scale, "workers": 1, "timeout": 2}
    explain_to(model, photos, out, **more)
    (photos / "deadly.png").write_bytes(b"DEADLY picture")
    os.mkfifo(photos / "hangs.png")
    # As if it had ended a process of a run that was killed then.
    attempted(out, photos / "deadly.png")
    counts = explain_to(model, photos, out, **more)
    assert (counts.documents, counts.errors, counts.explained) == (7, 2, 2)
    errors = {Path(row["key"]).stem: row["error"] for row in table_in(out).to_pylist()}
    assert "its time limit" in errors["hangs"]
    assert "ended its process 2 times" in errors["deadly"]
    ledger = "".join(file.read_text("utf-8") for file in (out / "_attempts").iterdir())
    assert ledger.count("deadly.png") == 2
    assert explain_to(model, photos, out, **more).explained == 0


WORKER = """
import os, sys
import keras, numpy as np
import eli5k
from tests.keras.test_explain_to import slow

out, log = sys.argv[1:]
os.environ["READ"] = log
docs = np.random.default_rng(0).random((120, 8, 8, 1), "float32")
keras.utils.set_random_seed(1)
net = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3, kernel_initializer="ones")]
model = keras.Sequential([*net, keras.layers.Flatten(), keras.layers.Dense(3)])
print(eli5k.explain_to(model, docs, out, batch_size=4, rows_per_part=8, preprocess=slow))
"""


def slow(pixels):
    """Note that a document was read, and take some time."""
    with Path(os.environ["READ"]).open("ab") as file:
        file.write(b".")
    time.sleep(0.005)
    return pixels


@pytest.mark.slow
@pytest.mark.once
def test_kills_cost_one_part_each_and_lose_nothing(tmp_path):
    out, log = tmp_path / "out", tmp_path / "read"
    command = [sys.executable, "-W", "ignore", "-c", WORKER, str(out), str(log)]
    random, kills = np.random.default_rng(0), 0
    for parts in (1, 6):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while process.poll() is None and len(list(out.glob("part-*"))) < parts:
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        process.communicate()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert kills == 2
    assert "120 documents" in done.stdout
    assert "each document and target once" in done.stdout
    rows = Counter(table_in(out)["key"].to_pylist())
    assert rows == Counter(range(120))
    # What was read ahead of a part that was never written: at most one part for each kill.
    assert 120 <= log.stat().st_size <= 120 + kills * 8
