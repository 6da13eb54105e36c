"""``eli5k explain ... --out RESULTS``: a data set that goes on after it was stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

import eli5k
from tests.cli.colours import COLOURS, paint
from tests.cli.shell import assert_one_line, run

pytestmark = pytest.mark.once

parquet = pytest.importorskip("pyarrow.parquet")
ARGUMENTS = ["--out", "results", "--workers", "0"]


@pytest.fixture
def photos(here) -> Path:
    folder = here / "photos"
    folder.mkdir()
    for colour in COLOURS:
        paint(colour).save(folder / f"{colour}.png")
    return folder


def test_a_folder_into_a_folder(colours, photos, capsys):
    assert run("explain", colours, "photos", *ARGUMENTS, "--top-targets", "2") == 0
    printed = capsys.readouterr()
    assert printed.out == (
        "results: 3 documents (3 of them new), 6 rows (0 of them errors): each document and target "
        "once\n"
    )
    [first, *_] = eli5k.read_explanations("results")
    assert first.targets[0].target == COLOURS.index(Path(first.source).stem)

    paint("red").save("photos/zz.png")
    assert run("explain", colours, "photos", *ARGUMENTS, "--top-targets", "2") == 0
    [counts] = capsys.readouterr().out.splitlines()
    assert "4 documents (1 of them new), 8 rows" in counts

    assert run("explain", colours, "photos", *ARGUMENTS, "--top-targets", "1") == 2
    assert "top_targets" not in capsys.readouterr().err


def test_a_broken_picture_is_a_row_and_the_exit_code_tells(colours, photos, capsys):
    Path("photos/broken.png").write_text("no picture")
    assert run("explain", colours, "photos", *ARGUMENTS) == 2
    assert "4 rows (1 of them an error)" in capsys.readouterr().out


def test_a_table_of_paths(colours, photos, capsys):
    import pyarrow

    paths = [str(photos / f"{colour}.png") for colour in COLOURS]
    table = pyarrow.table({"photo": paths, "number": [7, 8, 9]})
    parquet.write_table(table, "list.parquet")
    how = ["--column", "photo", "--key", "number"]
    assert run("explain", colours, "list.parquet", *ARGUMENTS, *how) == 0
    rows = parquet.read_table("results").to_pylist()
    assert {row["key"]: row["target"] for row in rows} == {7: 0, 8: 1, 9: 2}


def test_single_pictures_if_the_format_says_so(colours, photos, capsys):
    words = ["photos/red.png", "photos/blue.png", "--format", "parquet"]
    assert run("explain", colours, *words, *ARGUMENTS) == 0
    assert "2 documents (2 of them new)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["photos", "--format", "parquet"], "fills a folder: add --out RESULTS"),
        (["photos", "--format", "parquet", "--out", "x.csv"], "fills a folder"),
        (["photos", *ARGUMENTS, "--style", "dim"], "--style is for pictures: add --format png"),
        (["photos", *ARGUMENTS, "--report", "a.html"], "eli5k report results"),
        (["photos", *ARGUMENTS, "--method", "all"], "one --method and one --layer"),
        (["photos", "--timeout", "3"], "--timeout is for a data set"),
        (["photos", "missing.png", *ARGUMENTS], "missing.png: No such file"),
        (["list.parquet"], "add --out RESULTS"),
        (["list.parquet", *ARGUMENTS], "list.parquet: No such file or directory"),
    ],
)
def test_mistakes(arguments, message, colours, photos, capsys):
    assert run("explain", colours, *arguments) == 2
    assert message in capsys.readouterr().err
    assert not Path("results").exists()


def test_an_interrupted_command_says_so(colours, photos, capsys, monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("eli5k.explain_to", stop)
    assert run("explain", colours, "photos", *ARGUMENTS) == 130
    assert_one_line(capsys, "stopped")
