"""``eli5k report``: what it says about a folder of explanations, and the page that it writes."""

from __future__ import annotations

from pathlib import Path

import keras
import pytest
from PIL import Image

import eli5k
from eli5k.keras.store.summary import summarise
from tests.cli.colours import COLOURS
from tests.cli.shell import assert_one_line, run

pytestmark = pytest.mark.once

NAMES = ["red", "green", "blue"]


@pytest.fixture
def results(colours, here) -> Path:
    """Explanations of six red pictures, three green ones, a black one, and a broken file."""
    (here / "pictures").mkdir()
    for number in range(9):
        picture = Image.new("RGB", (16, 16))
        colour = COLOURS[0 if number < 6 else 1]
        picture.paste(colour, (4, 4, 12, 12))
        picture.save(here / "pictures" / f"{number}.png")
    Image.new("RGB", (16, 16), "black").save(here / "pictures" / "black.png")
    (here / "pictures" / "broken.png").write_bytes(b"no picture")
    model = keras.saving.load_model(colours)
    eli5k.explain_to(
        model, "pictures", "results", target_names=NAMES, check=True, workers=0, rows_per_part=4
    )
    return here / "results"


def test_summary_counts_what_was_found(results):
    found = summarise(results, most=3)
    stored = list(eli5k.read_explanations(results))
    verdicts = [target.check.verdict for expl in stored if expl.targets for target in expl.targets]
    assert (found.documents, found.rows, found.errors) == (11, 11, 1)
    assert found.verdicts == {name: verdicts.count(name) for name in set(verdicts)}
    assert {each.name: each.rows for each in found.classes}["green"] == 3
    assert sum(each.rows for each in found.classes) == 10
    assert found.failed[0][0] == "pictures/broken.png"
    assert "not a picture" in found.failed[0][1]
    # A flat map can't be tested: it is the most doubtful one.
    assert found.doubtful[0] == "pictures/black.png"
    assert len(found.doubtful) == 3


def test_prints_it_and_writes_a_page(results, capsys):
    assert run("report", "results") == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("11 documents, 10 maps, ")
    assert "1 UnidentifiedImageError" in printed.out
    assert "page: results.html" in printed.out
    page = Path(f"{results}.html").read_text("utf-8")
    names = ["black.png", *(f"{number}.png" for number in range(9))]
    assert all(f">{name}</h2>" in page for name in names)
    assert page.index(">black.png</h2>") < page.index(">0.png</h2>")


def test_other_files(results, capsys):
    assert run("report", "results", "--out", "doubtful.png", "--most", 2) == 0
    with Image.open("doubtful.png") as sheet:
        assert sheet.format == "PNG"
    assert run("report", "results", "--most", 0) == 0
    assert "page" not in capsys.readouterr().out.splitlines()[-1]
    assert not Path(f"{results}.html").exists()


def test_mistakes(here, results, capsys):
    capsys.readouterr()
    assert run("report", "pictures") == 2
    assert_one_line(capsys, "no folder of explanations")
    for file in (here / "pictures").iterdir():
        file.unlink()
    assert run("report", "results", "--out", "doubtful.png", "--most", 2) == 2
    assert "none of the pictures is where it was" in capsys.readouterr().err
