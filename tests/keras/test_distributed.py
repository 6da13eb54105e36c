"""A batch of columns becomes a table: each row what the document gets alone."""

from __future__ import annotations

import functools
import http.server
import io
import os
import pickle
import runpy
import subprocess
import sys
import threading

import keras
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from keras import layers
from PIL import Image

import eli5k
from eli5k import explain_prediction
from eli5k.keras import ExplainBatch, distributed
from eli5k.options import Options
from tests.close import assert_close
from tests.zoo import CLASSES, SHAPE, closed_form, functional, net_layers, noise

pytestmark = pytest.mark.filterwarnings(
    "ignore::eli5k.BlankMapWarning", "ignore::eli5k.UnscaledInputWarning"
)

# Prints the backend and the number of threads that the model runs on.
WORKER = """
import os, pickle, sys
import numpy as np

with open(sys.argv[1], "rb") as file:
    explain = pickle.load(file)
explain({"id": [1], "image": [np.ones((12, 12, 3), "float32")]})
import keras

if keras.config.backend() == "tensorflow":
    import tensorflow
    count = tensorflow.config.threading.get_intra_op_parallelism_threads()
elif keras.config.backend() == "torch":
    import torch
    count = torch.get_num_threads()
else:
    names = [open(f"/proc/self/task/{each}/comm").read() for each in os.listdir("/proc/self/task")]
    count = names.count("tf_XLAEigen\\n")
print(keras.config.backend(), count)
"""


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


DOCS = noise(5, *SHAPE, seed=1)
NAMES = ["ant", "bee", "ant"]


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("model") / "model.keras"
    functional(net_layers()).save(file)
    return file


def map_of(row):
    values = np.frombuffer(row["map"], "float16").reshape(row["map_shape"])
    return values.astype("float64") * row["map_scale"]


def assert_rows(table, keys, targets, docs=DOCS):
    """There is one row for each document and target, with its map by the closed form."""
    rows = table.to_pylist()
    expected = [(key, target) for key, own in zip(keys, targets) for target in own]
    assert [(row["key"], row["target"]) for row in rows] == expected
    places = [place for place, own in enumerate(targets) for _ in own]
    for row, place in zip(rows, places):
        truth = closed_form(net_layers(), docs[place][np.newaxis], row["target"])
        assert_close(map_of(row), truth, tolerance=2**-10)
        assert row["error"] is None


def columns(**others):
    return {"id": list(range(5)), "image": DOCS, **others}


def tensors():
    flat = pyarrow.array(list(DOCS.reshape(5, -1)), pyarrow.list_(pyarrow.float32(), DOCS[0].size))
    kind = pyarrow.fixed_shape_tensor(pyarrow.float32(), SHAPE)
    return pyarrow.ExtensionArray.from_storage(kind, flat)


class TestColumns:
    @pytest.mark.parametrize(
        "batch",
        [
            columns,
            lambda: columns(id=np.arange(5), image=list(DOCS)),
            lambda: pyarrow.table({"id": range(5), "image": DOCS.tolist()}),
            lambda: pyarrow.table({"id": range(5), "image": tensors()}),
            lambda: pyarrow.concat_tables(
                pyarrow.table({"id": range(5), "image": tensors()}).slice(start, 3)
                for start in (0, 3)
            ),
            lambda: pyarrow.record_batch({"id": range(5), "image": tensors()}),
        ],
        ids=["arrays", "lists", "nested lists", "tensors", "chunks", "record batch"],
    )
    def test_each_kind_of_batch(self, model_file, batch):
        explain = ExplainBatch(model_file, Options(targets=[1]), key="id")
        assert_rows(explain(batch()), range(5), [[1]] * 5)

    def test_paths_are_the_keys(self, model_file, tmp_path):
        pixels = noise(3, *SHAPE, low=0, high=255).astype("uint8")
        paths = [str(tmp_path / f"{number}.png") for number in range(3)]
        for each, path in zip(pixels, paths):
            Image.fromarray(each).save(path)
        options = Options(targets=[2], preprocess=_scale)
        for batch in ({"image": paths}, pyarrow.table({"image": paths})):
            table = ExplainBatch(model_file, options)(batch)
            assert_rows(table, paths, [[2]] * 3, docs=_scale(pixels.astype("float32")))

    def test_contents_of_files(self, model_file):
        pixels = noise(3, *SHAPE, low=0, high=255).astype("uint8")
        contents = []
        for each in pixels:
            file = io.BytesIO()
            Image.fromarray(each).save(file, "PNG")
            contents.append(file.getvalue())
        # As they are, and as a table of Hugging Face holds them.
        pictures = [{"bytes": each, "path": None} for each in contents]
        for column in (contents, pictures):
            table = pyarrow.table({"id": ["a", "b", "c"], "image": column})
            options = Options(targets=[2], preprocess=_scale)
            found = ExplainBatch(model_file, options, key="id")(table)
            assert_rows(found, "abc", [[2]] * 3, docs=_scale(pixels.astype("float32")))

    def test_several_inputs(self, tmp_path):
        photo, facts = keras.Input(SHAPE, name="photo"), keras.Input((2,), name="facts")
        x = layers.GlobalAveragePooling2D()(layers.Conv2D(3, 3)(photo))
        model = keras.Model([photo, facts], layers.Dense(2)(layers.Concatenate()([x, facts])))
        model.save(tmp_path / "two.keras")
        numbers = noise(5, 2, seed=4)
        explain = ExplainBatch(
            tmp_path / "two.keras", Options(targets=[1]), column=["image", "facts"], key="id"
        )
        for row, doc, own in zip(explain(columns(facts=numbers)).to_pylist(), DOCS, numbers):
            [alone] = explain_prediction(model, [doc, own], targets=[1]).targets
            assert row["score"] == pytest.approx(alone.score, abs=1e-5)
            assert_close(map_of(row), alone.attribution, tolerance=2**-10)


class TestRows:
    def test_fields(self, model_file):
        options = Options(top_targets=3, target_names=NAMES, logits=True, layer="pool")
        table = ExplainBatch(model_file, options, key="id")(columns())
        model, rows = functional(net_layers()), table.to_pylist()
        assert len(rows) == 5 * CLASSES
        for number, doc in enumerate(DOCS):
            alone = explain_prediction(model, doc, top_targets=3, logits=True, layer="pool")
            for row, target in zip(rows[3 * number : 3 * number + 3], alone.targets):
                assert (row["key"], row["target"]) == (number, target.target)
                assert row["name"] == NAMES[target.target]
                assert row["score"] == pytest.approx(target.score, abs=1e-5)
                assert row["probability"] == pytest.approx(target.proba, abs=1e-6)
                assert (row["layer"], row["method"]) == (alone.layer, alone.method)
                assert row["frame"] == list(alone.frame)
                assert_close(map_of(row), target.attribution, tolerance=2**-10)

    @pytest.mark.parametrize("names", [{2: "cat"}, {"cat": 2}])
    def test_names_of_some_classes(self, model_file, names):
        options = Options(targets=["cat", 0], target_names=names)
        batch = {"id": ["a"], "image": DOCS[:1]}
        rows = ExplainBatch(model_file, options, key="id")(batch).to_pylist()
        assert [(row["target"], row["name"]) for row in rows] == [(2, "cat"), (0, None)]

    def test_number_of_rows_changes_nothing(self, model_file):
        """As many rows as targets are no ambiguity here."""
        explain = ExplainBatch(model_file, Options(targets=[2, 0]), key="id")
        batch = {"id": ["a", "b"], "image": DOCS[:2]}
        assert_rows(explain(batch), ["a", "b"], [[2, 0]] * 2)

    @pytest.mark.parametrize("own", [[2, 0, 1, 1, 2], [[2], [0, 1], [1], [1], [2, 0]]])
    def test_targets_of_each_row(self, model_file, own):
        explain = ExplainBatch(model_file, key="id", targets="label")
        expected = [each if isinstance(each, list) else [each] for each in own]
        assert_rows(explain(columns(label=own)), range(5), expected)
        table = pyarrow.table({"id": range(5), "image": tensors(), "label": own})
        assert_rows(explain(table), range(5), expected)

    def test_what_fails_is_a_row_with_its_error(self, model_file, tmp_path):
        (tmp_path / "broken.png").write_bytes(b"no picture")
        Image.fromarray(noise(*SHAPE, low=0, high=255).astype("uint8")).save(tmp_path / "good.png")
        paths = [str(tmp_path / name) for name in ("good.png", "broken.png", "none.png")]
        rows = ExplainBatch(model_file, Options(preprocess=_scale))({"image": paths}).to_pylist()
        assert [row["key"] for row in rows] == paths
        assert [bool(row["error"]) for row in rows] == [False, True, True]
        assert "broken.png: not a picture" in rows[1]["error"]
        assert [row["map"] is None for row in rows] == [False, True, True]

    def test_maps_beyond_the_range_of_float16(self, model_file, monkeypatch):
        net = net_layers(activation=None)
        for factor in (1e9, 1e-9):
            kernel, bias = net[-1].get_weights()
            net[-1].set_weights([kernel * factor, bias])
            model = functional(net)
            monkeypatch.setattr(distributed, "_loaded", lambda *_, model=model: model)
            table = ExplainBatch(model_file, Options(targets=[1]), key="id")(columns())
            for row, doc in zip(table.to_pylist(), DOCS):
                expected = closed_form(net, doc[np.newaxis], 1)
                assert_close(map_of(row), expected, tolerance=2**-10)
            net[-1].set_weights([kernel, bias])

    @pytest.mark.parametrize("keys", [[], ["a"], [1]])
    def test_schema_is_kept_by_parquet(self, model_file, keys, tmp_path):
        batch = {"id": keys, "image": DOCS[: len(keys)]}
        table = ExplainBatch(model_file, key="id")(batch)
        pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
        read = pyarrow.parquet.read_table(tmp_path / "rows.parquet")
        assert read.equals(table)
        assert read.schema.metadata[b"eli5k.schema"] == b"1"
        assert len(read) == len(keys)


def test_warnings_name_the_key(monkeypatch):
    net = net_layers(activation=None)
    kernel, bias = net[-1].get_weights()
    net[-1].set_weights([-np.abs(kernel), bias])
    model = functional(net)
    monkeypatch.setattr(distributed, "_loaded", lambda *_: model)
    explain = ExplainBatch("model.keras", Options(targets=[1]), key="id")
    with pytest.warns(eli5k.BlankMapWarning, match="^second: The map is blank"):
        explain({"id": ["first", "second"], "image": DOCS[:2]})


class TestWorkers:
    def test_load_the_model_once(self, model_file, monkeypatch):
        loads, model = [], functional(net_layers())
        monkeypatch.setattr(
            keras.saving, "load_model", lambda *args, **_: loads.append(args) or model
        )
        distributed._load.cache_clear()
        explain = ExplainBatch(model_file, Options(targets=[1], target_names=NAMES), key="id")
        assert loads == []
        for _ in range(3):
            explain = pickle.loads(pickle.dumps(explain))
            table = explain(columns())
            assert_rows(table, range(5), [[1]] * 5)
            assert table["name"].to_pylist() == ["bee"] * 5
        assert loads == [(str(model_file),)]
        distributed._load.cache_clear()

    def test_carry_the_path_alone(self, model_file):
        explain = ExplainBatch(model_file, key="id")
        explain(columns())
        assert len(pickle.dumps(explain)) < 2000

    def test_picture_that_hangs_is_a_row_with_its_error(self, model_file, tmp_path):
        os.mkfifo(tmp_path / "fifo.png")
        Image.fromarray(noise(*SHAPE, low=0, high=255).astype("uint8")).save(tmp_path / "good.png")
        paths = [str(tmp_path / name) for name in ("fifo.png", "good.png")]
        explain = ExplainBatch(model_file, Options(preprocess=_scale), timeout=1)
        rows = explain({"image": paths}).to_pylist()
        assert [row["key"] for row in rows] == paths
        assert rows[0]["error"].startswith(f"TimeoutError: {paths[0]}: not decoded within 1 s")
        assert rows[1]["error"] is None

    def test_own_batch_size(self, model_file):
        for options in (None, Options(batch_size=7)):
            assert ExplainBatch(model_file, options, batch_size=3).options.batch_size == 3
        assert ExplainBatch(model_file, Options(batch_size=7)).options.batch_size == 7

    def test_model_from_an_address(self, model_file):
        handler = functools.partial(QuietHandler, directory=model_file.parent)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            place = f"http://127.0.0.1:{server.server_port}/{model_file.name}?version=1"
            for address in (place, model_file.as_uri()):
                explain = ExplainBatch(address, Options(targets=[1]), key="id")
                assert_rows(explain(columns()), range(5), [[1]] * 5)
            server.shutdown()

    def test_backend_and_threads_of_a_new_process(self, model_file, tmp_path):
        """What comes with the options imports Keras, which would choose another backend."""
        backend = keras.config.backend()
        options = Options(preprocess=keras.applications.mobilenet.preprocess_input)
        explain = ExplainBatch(model_file, options, key="id", backend=backend, threads=3)
        (tmp_path / "explain.pkl").write_bytes(pickle.dumps(explain))
        (tmp_path / "worker.py").write_text(WORKER)
        other = "jax" if backend == "tensorflow" else "tensorflow"
        said = subprocess.run(
            [sys.executable, "-W", "ignore", tmp_path / "worker.py", tmp_path / "explain.pkl"],
            env={**os.environ, "KERAS_BACKEND": other},
            stdout=subprocess.PIPE,
            check=True,
        )
        assert said.stdout.decode().split() == [backend, "3"]

    def test_short_batches_are_filled_up(self, model_file, monkeypatch):
        sizes = []

        class Sees(layers.Layer):
            def call(self, x):
                sizes.append(x.shape[0])
                return x

        net = net_layers()
        model = keras.Sequential([keras.Input(SHAPE), *net[:5], Sees(), *net[5:]])
        monkeypatch.setattr(distributed, "_loaded", lambda *_: model)
        explain = ExplainBatch(model_file, Options(targets=[1], layer="top"), key="id")
        explain(columns())
        sizes.clear()
        for count in (2, 3, 1):
            batch = {"id": list(range(count)), "image": DOCS[:count]}
            assert_rows(explain(batch), range(count), [[1]] * count)
        assert set(sizes) <= {5}

    def test_module_is_imported_without_arrow(self, monkeypatch):
        """import-linter holds that no other module imports it."""
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        assert "ExplainBatch" in runpy.run_path(distributed.__file__)

    def test_missing_arrow_is_said(self, model_file, monkeypatch):
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(ImportError, match=r"pip install 'eli5k\[scale\]'"):
            ExplainBatch(model_file, key="id")(columns())


class TestMistakes:
    def test_model_instead_of_its_path(self):
        with pytest.raises(TypeError, match=r"model must be the path .*model\.save.*Functional"):
            ExplainBatch(functional(net_layers()))

    def test_targets_twice(self, model_file):
        for options in (Options(targets=[1]), Options(top_targets=2)):
            with pytest.raises(ValueError, match="either in options or as a column"):
                ExplainBatch(model_file, options, targets="label")

    @pytest.mark.parametrize("asked", ["input", "output"])
    def test_all_inputs_or_outputs(self, model_file, asked):
        with pytest.raises(ValueError, match=f"explains one input and one output.*{asked}='all'"):
            ExplainBatch(model_file, Options(**{asked: "all"}))

    def test_backend_too_late(self, model_file):
        other = "jax" if keras.config.backend() != "jax" else "torch"
        with pytest.raises(RuntimeError, match=f"backend='{other}' came too late.*KERAS_BACKEND"):
            ExplainBatch(model_file, key="id", backend=other)(columns())

    def test_threads_too_late(self, model_file):
        explain = ExplainBatch(model_file, key="id", threads=1)
        if keras.config.backend() == "tensorflow":
            keras.ops.ones(1)
            with pytest.raises(RuntimeError, match="threads=1 came too late"):
                explain(columns())

    @pytest.mark.parametrize("wrong", [{"threads": 0}, {"timeout": 0}, {"backend": "theano"}])
    def test_numbers_and_names(self, model_file, wrong):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ExplainBatch(model_file, **wrong)

    def test_missing_column(self, model_file):
        with pytest.raises(KeyError, match="image"):
            ExplainBatch(model_file)({"photo": DOCS})


def _scale(pixels):
    return pixels / 127.5 - 1
