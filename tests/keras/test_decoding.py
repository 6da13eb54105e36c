"""What hangs or kills its process is an error of its picture, and of no other one."""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import sys
import time
import zlib

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image, ImageFile

from eli5k import decoder
from eli5k.base import ExplanationWarning
from eli5k.keras import decoding_process
from eli5k.keras.decoding import Decoder, form_of
from eli5k.keras.decoding_process import COMMAND, DecodingError
from eli5k.keras.inputs import read_document
from eli5k.pixels import open_picture
from tests.damage import formats, written

pytestmark = pytest.mark.once

# A format of Pillow's whose decoder does what the file says.
PLUGIN = """
import os, signal, sys, time
from PIL import Image

def accept(prefix):
    return prefix.startswith(b"EVIL")

def opened(file, name):
    order = file.read()[4:].decode()
    if order == "hang":
        time.sleep(100)
    elif order == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif order == "memory":
        bytearray(8 << 30)
    elif order == "print":
        os.write(1, b"noise" * 100)
        print("noise", flush=True)
    elif order.startswith("exit"):
        os._exit(int(order[4:]))
    elif order.startswith("once") and not os.path.exists(order[4:]):
        with open(order[4:], "x"):
            os._exit(1)
    return Image.new("L", (2, 2), 7)
"""


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """A function that makes the content of a file with an order to its decoder."""
    (tmp_path / "evil_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    import evil_plugin

    Image.init()
    monkeypatch.setattr(Image, "ID", [*Image.ID, "EVIL"])
    monkeypatch.setattr(
        Image, "OPEN", {**Image.OPEN, "EVIL": (evil_plugin.opened, evil_plugin.accept)}
    )
    yield lambda order: b"EVIL" + order.encode()
    del sys.modules["evil_plugin"]


@pytest.fixture
def processes(monkeypatch):
    """All processes that were started."""
    started, start = [], subprocess.Popen

    def note(*args, **kwargs):
        started.append(start(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", note)
    return started


def good(shade=100):
    file = io.BytesIO()
    Image.new("L", (3, 2), shade).save(file, "PNG")
    return file.getvalue()


def shades(found):
    """The shade of each picture, or its error."""
    return [
        str(each) if isinstance(each, DecodingError) else each.getpixel((0, 0)) for each in found
    ]


def pictures(sources, ledger=None, form=None, **settings):
    with Decoder(form, **{"workers": 1, **settings}) as decoder:
        positions, found = zip(*decoder.decode(sources, ledger=ledger))
    assert positions == tuple(range(len(found)))
    return found


class TestSame:
    @pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
    def test_as_in_this_process(self, tmp_path):
        sources = [written(each) for each in formats()]
        turned = Image.Exif()
        turned[0x0112] = 6
        Image.new("RGB", (4, 2), "red").save(tmp_path / "turned.jpg", exif=turned)
        for mode in ("I;16", "F", "1", "LA", "RGBA", "CMYK", "P"):
            Image.new(mode, (4, 2), 1).save(tmp_path / f"{mode}.tif")
        sources += sorted(tmp_path.iterdir())
        for source, found in zip(sources, pictures(sources)):
            expected = open_picture(source)
            assert found.mode == expected.mode
            np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))

    @pytest.mark.parametrize(
        "shape", [(4, 6, 3), (None, 6, 1), (None, None, None), (4, 6, 4), (4, 6), (3, 4, 6)]
    )
    def test_model_gets_the_same_numbers(self, shape, monkeypatch):
        is_first = shape == (3, 4, 6)
        layer = layers.Conv2D(1, 1, data_format="channels_first" if is_first else None)
        net = [layer] if is_first else [layers.Activation("linear")]
        model = keras.Sequential([keras.Input(shape), *net])
        rng = np.random.default_rng(0)
        sources = []
        for channels in ((), (3,), (4,)):
            file = io.BytesIO()
            pixels = rng.integers(0, 256, (9, 7, *channels), "uint8")
            Image.fromarray(pixels).save(file, "PNG")
            sources.append(file.getvalue())
        for source, picture in zip(sources, pictures(sources, form=form_of(model))):
            np.testing.assert_array_equal(
                read_document(model, picture).inputs, read_document(model, source).inputs
            )

    def test_what_is_no_file_is_passed_on(self, tmp_path):
        sources = [np.ones(3), Image.new("L", (2, 2)), str(tmp_path / "x.npy"), {"a": "b.npy"}]
        for source, found in zip(sources, pictures(sources)):
            assert found is source

    def test_pictures_among_several_inputs(self, evil, tmp_path):
        numbers, array = [1.0, 2.0], np.ones((2, 2))
        docs = [
            {"photo": good(4), "facts": numbers},
            [array, good(5)],
            [good(6), evil("hang")],
            [array, numbers],
        ]
        with Decoder(workers=1, timeout=1) as decoder:
            first, second, third, fourth = (each for _, each in decoder.decode(docs))
        assert first["photo"].getpixel((0, 0)) == 4
        assert first["facts"] is numbers
        assert second[0] is array
        assert second[1].getpixel((0, 0)) == 5
        assert isinstance(third, DecodingError)
        assert "its time limit" in str(third)
        assert fourth is docs[3]

    def test_names_of_tensorflow_and_numpy(self, tmp_path):
        (tmp_path / "a.png").write_bytes(good(9))
        name = str(tmp_path / "a.png")
        assert shades(pictures(list(np.array([name])))) == [9]

    def test_warnings_arrive_with_their_picture(self, tmp_path):
        Image.new("F", (2, 2), 0.5).save(tmp_path / "a.tif")
        with Decoder(workers=1) as decoder:
            found = decoder.decode([good(), tmp_path / "a.tif"])
            next(found)
            with pytest.warns(ExplanationWarning, match=r"a\.tif: A picture of mode 'F'"):
                next(found)

    def test_settings_of_pillow_hold(self, monkeypatch):
        file = io.BytesIO()
        Image.new("RGB", (64, 64), "red").save(file, "JPEG")
        cut = file.getvalue()[:-20]
        assert "truncated" in shades(pictures([cut]))[0]
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
        assert pictures([cut])[0].size == (64, 64)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 6)
        [whole, bomb] = pictures([good(), cut])
        assert whole.getpixel((0, 0)) == 100
        assert "DecompressionBomb" in str(bomb)


class TestFaults:
    @pytest.mark.parametrize(
        ("order", "reason"),
        [
            ("exit0", "ended its process 2 times (exit status 0)"),
            ("exit3", "ended its process 2 times (exit status 3)"),
            ("kill", "ended its process 2 times (killed by SIGKILL)"),
            ("hang", "TimeoutError: document 1: not decoded within 1 s, its time limit"),
            ("memory", "MemoryError"),
        ],
    )
    def test_is_an_error_of_its_picture(self, evil, order, reason):
        first, bad, *last = shades(pictures([good(1), evil(order), good(2), good(3)], timeout=1))
        assert (first, last) == (1, [2, 3])
        assert reason in bad

    def test_file_that_hangs(self, tmp_path):
        os.mkfifo(tmp_path / "fifo.png")
        start = time.monotonic()
        first, bad, last = shades(pictures([good(1), tmp_path / "fifo.png", good(2)], timeout=1))
        assert (first, last) == (1, 2)
        assert bad.startswith(f"TimeoutError: {tmp_path / 'fifo.png'}: not decoded within 1 s")
        assert time.monotonic() - start < 30

    def test_bomb(self):
        """A picture of 40,000 by 40,000 pixels in a few bytes."""
        head = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
        parts = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
        bomb = b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
            for kind, body in parts
        )
        [bad, last] = shades(pictures([bomb, good(2)]))
        assert "DecompressionBombError" in bad
        assert last == 2

    def test_broken_file(self):
        [bad, last] = shades(pictures([b"no picture", good(2)]))
        assert bad == "UnidentifiedImageError: the bytes: not a picture"
        assert last == 2

    def test_decoder_that_prints(self, evil):
        assert shades(pictures([evil("print"), good(2)])) == [7, 2]

    def test_is_tried_twice_and_not_more(self, evil, tmp_path):
        """What succeeds the second time is a picture."""
        told = []

        def ledger(position):
            told.append(position)
            return told.count(position) + (position == 3)

        sources = [evil(f"once{tmp_path / 'seen'}"), evil("exit1"), good(2), evil("exit1")]
        found = shades(pictures(sources, ledger=ledger))
        assert (found[0], found[2]) == (7, 2)
        # The last one had ended a process in an earlier run.
        assert told == [0, 1, 1, 3]
        assert "2 times" in found[3]

    def test_process_that_cannot_start(self, monkeypatch):
        monkeypatch.setattr(decoding_process, "COMMAND", "raise SystemExit(5)")
        with pytest.raises(RuntimeError, match=r"could not be started.*exit status 5"):
            pictures([good()])


class TestPool:
    def test_order_with_several_processes(self, evil):
        sources = [good(shade) for shade in range(40)]
        sources[5] = evil("exit1")
        found = shades(pictures(sources, workers=3))
        assert "2 times" in found.pop(5)
        assert found == [shade for shade in range(40) if shade != 5]

    def test_reads_no_further_than_said(self):
        read = []

        def sources():
            for shade in range(20):
                read.append(shade)
                yield good(shade)

        with Decoder(workers=1) as decoder:
            found = decoder.decode(sources(), ahead=3)
            for taken in range(20):
                assert next(found)[0] == taken
                assert len(read) <= taken + 3
            assert list(found) == []

    def test_error_of_the_sources_comes_last(self):
        def sources():
            yield from [good(1), good(2)]
            raise KeyError("gone")

        with Decoder(workers=1) as decoder:
            found = decoder.decode(sources())
            assert shades([next(found)[1], next(found)[1]]) == [1, 2]
            with pytest.raises(KeyError, match="gone"):
                next(found)

    def test_ends_its_processes(self, evil, processes):
        told = []
        with Decoder(workers=2) as decoder:
            next(decoder.decode([good(1), evil("hang")], ledger=told.append))
            assert len(processes) == 2
        assert all(each.returncode is not None for each in processes)
        assert told == []

    def test_process_ends_by_itself_when_nobody_waits(self, tmp_path):
        os.mkfifo(tmp_path / "fifo.png")
        settings = decoder.Settings(1, None, None, False, ())
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        pickle.dump(settings, process.stdin)
        pickle.dump(tmp_path / "fifo.png", process.stdin)
        process.stdin.flush()
        assert process.wait(60) == 1
        process.stdin.close()
        process.stdout.close()

    def test_process_imports_no_keras(self):
        command = "import eli5k.decoder, sys; print('keras' in sys.modules)"
        said = subprocess.run([sys.executable, "-c", command], capture_output=True, check=True)
        assert said.stdout == b"False\n"

    @pytest.mark.parametrize("wrong", [{"workers": 0}, {"timeout": 0}])
    def test_mistakes(self, wrong):
        with pytest.raises(ValueError, match="workers and timeout must be greater than 0"):
            Decoder(**wrong)

    def test_processes_start_once_and_when_needed(self, processes):
        with Decoder(workers=1) as decoder:
            assert list(decoder.decode([])) == []
            assert [found for _, found in decoder.decode([3])] == [3]
            assert processes == []
            for _ in range(2):
                [(_, picture)] = decoder.decode([good(4)])
                assert picture.getpixel((0, 0)) == 4
        assert len(processes) == 1


@pytest.mark.parametrize(
    ("shape", "form"),
    [
        ((4, 6, 3), (3, 4, 6)),
        ((None, None, 1), (1, None, None)),
        ((4, 6), (1, 4, 6)),
        ((4, 6, 5), None),
        ((9,), None),
    ],
)
def test_form(shape, form):
    assert form_of(keras.Sequential([keras.Input(shape), layers.Flatten()])) == form


def test_no_form_of_several_inputs():
    inputs = [keras.Input((4, 4, 3)), keras.Input((4, 4, 3))]
    assert form_of(keras.Model(inputs, layers.Add()(inputs))) is None
