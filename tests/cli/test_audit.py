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
    (folder / "notes.txt").write_text("no picture")
    assert run("audit", colours, folder) == 2
    printed = capsys.readouterr()
    assert printed.out.startswith("12 pictures: ")
    assert "notes.txt: not a picture" in printed.err


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
