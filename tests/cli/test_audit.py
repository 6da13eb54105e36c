"""``eli5k audit``: what it prints about a folder of pictures."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import eli5k
from tests.cli.colours import COLOURS
from tests.cli.shell import assert_one_line, run


@pytest.fixture
def folder(here) -> Path:
    """Pictures with a square of a colour that is always at the bottom right."""
    made = here / "pictures"
    made.mkdir()
    for number in range(12):
        picture = Image.new("RGB", (16, 16))
        picture.paste(COLOURS[number % 3], (12, 12, 16, 16))
        picture.save(made / f"{number:02}.png")
    return made


def test_tells_what_the_library_finds(colours, folder, capsys):
    assert run("audit", colours, folder) == 0
    printed = capsys.readouterr()
    model = keras.saving.load_model(colours)
    files = sorted(folder.iterdir())
    docs = np.stack([np.asarray(Image.open(file), "float32") for file in files])
    found = eli5k.audit(model, docs)
    assert found.place == "at the bottom right"
    assert printed.out.splitlines()[0] == f"12 pictures: {found}"
    assert "  100 %  peak at the bottom right" in printed.out
    assert printed.err == ""


def test_a_broken_picture_is_passed_over(colours, folder, capsys):
    (folder / "broken.png").write_text("no picture")
    assert run("audit", colours, folder) == 2
    printed = capsys.readouterr()
    assert printed.out.startswith("12 pictures: ")
    assert "broken.png: passed over, because it can't be read" in printed.err


def test_folders_in_the_folder_are_read_too_and_other_files_are_not(colours, folder, capsys):
    (folder / "notes.txt").write_text("no picture")
    (folder / "more").mkdir()
    for file in sorted(folder.glob("*.png"))[:6]:
        file.rename(folder / "more" / file.name)
    assert run("audit", colours, folder, "--most", 11) == 0
    assert capsys.readouterr().out.startswith("11 pictures: ")


def test_results_are_audited_with_and_without_the_model(colours, folder, here, capsys):
    assert run("explain", colours, folder, "--out", "results") == 0
    capsys.readouterr()
    assert run("audit", colours, "results") == 0
    whole = capsys.readouterr().out
    assert run("audit", "results", "--out", "new/audit.html") == 0
    page = Path("new/audit.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    # One mean map, and one group: all maps are alike.
    assert page.count("<img") == 2
    alone = capsys.readouterr().out
    assert whole.startswith("12 pictures: 100 % of these maps peak at the bottom right; with")
    assert alone.startswith("12 pictures: 100 % of these maps peak at the bottom right: they meet")
    assert alone.splitlines()[1:] == whole.splitlines()[1:]
    assert run("audit", colours, "results", "--method", "best") == 2
    assert_one_line(capsys, "--method must not be passed with a folder of explanations")
    assert run("audit", colours, "results", "--out", "audit.png") == 2
    assert_one_line(capsys, "--out must name a page, such as audit.html")
    assert run("audit", folder) == 2
    assert_one_line(capsys, f"eli5k audit MODEL {folder}")
    assert run("audit", colours) == 2
    assert_one_line(capsys, "name the folder of pictures after the model")


def test_too_few_pictures_and_no_folder_are_mistakes(colours, here, folder, capsys):
    for file in sorted(folder.iterdir())[:5]:
        file.unlink()
    assert run("audit", colours, folder) == 2
    assert_one_line(capsys, "10 documents or more")
    assert run("audit", colours, "red.png") == 2
    assert_one_line(capsys, "not a folder")
    (here / "empty").mkdir()
    assert run("audit", colours, "empty") == 2
    assert_one_line(capsys, "no picture")
