"""``--names``: the forms that a file of class names may have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.colours import COLOURS
from tests.cli.shell import assert_one_line, run

pytestmark = pytest.mark.once


class TestNames:
    @pytest.mark.parametrize(
        "text",
        [
            "red\ngreen\nblue\n",
            "\ufeffred\r\ngreen\r\nblue\r\n\r\n",
            json.dumps(COLOURS),
            json.dumps(dict(enumerate(COLOURS))),
            json.dumps({str(i): [f"n0{i}", name] for i, name in enumerate(COLOURS)}),
            json.dumps({name: i for i, name in enumerate(COLOURS)}),
        ],
        ids=["lines", "windows", "list", "dict", "imagenet", "class_indices"],
    )
    def test_formats(self, colours, here, capsys, text):
        Path("names").write_text(text, encoding="utf-8", newline="")
        arguments = ["--names", "names", "--targets", "blue", "0", "--out", "out"]
        assert run("explain", colours, "red.png", *arguments) == 0
        lines = capsys.readouterr().out.splitlines()
        assert {line.split()[0] for line in lines if "explained" in line} == {"red", "blue"}
        assert {line.split()[0] for line in lines if "score" in line} == set(COLOURS)

    def test_a_name_that_looks_like_a_number_is_a_name(self, colours, here, capsys):
        Path("names").write_text("2\n1\n0\n", encoding="utf-8")
        assert run("explain", colours, "red.png", "--names", "names", "--targets", "2") == 0
        [explained] = [x for x in capsys.readouterr().out.splitlines() if "explained" in x]
        assert explained.split()[0] == "2"
        assert "probability 0.8" in explained  # class 0, red

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("red\ngreen\n", "one name for each of the 3 classes"),
            ("[red", "one per line or as JSON"),
            ('{"red": "green"}', "one per line or as JSON"),
            (None, "No such file"),
        ],
    )
    def test_bad_file(self, colours, here, capsys, text, message):
        if text is not None:
            Path("names").write_text(text, encoding="utf-8")
        assert run("explain", colours, "red.png", "--names", "names", "--out", "out") == 2
        assert_one_line(capsys, message)
