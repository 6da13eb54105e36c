"""Names of files and classes are text to the terminal, whatever they hold."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from eli5k.cli.words import in_shell_words
from eli5k.printable import printable
from tests.cli.colours import paint
from tests.cli.shell import python, run

pytestmark = pytest.mark.once

EVIL = "\x1b[31m\x07\x9b2J\u202egnp\r"


def is_harmless(text: str) -> bool:
    return not any(unicodedata.category(each) in ("Cc", "Cf", "Cs") for each in text)


def test_escapes():
    assert is_harmless(printable(EVIL))
    assert printable("Käse, 猫 and ☕") == "Käse, 猫 and ☕"
    assert printable("\udcff") == "\\udcff"


@pytest.mark.parametrize("count", [1, 2])
def test_names_of_files_and_classes(count, colours, here, capsys):
    files = [f"{number}{EVIL}.png" for number in range(count)]
    for file in files:
        paint("red").save(file)
    Path("names").write_text(f'["{ascii(EVIL)[1:-1]}", "b", "c"]'.replace("\\x", "\\u00"))
    arguments = ["--names", "names", "--out", f"out{EVIL}", "--format", "png"]
    assert run("explain", colours, *files, f"missing{EVIL}", *arguments) == 2
    printed = capsys.readouterr()
    assert "\\x1b[31m" in printed.out
    assert "missing\\x1b[31m" in printed.err
    assert all(map(is_harmless, [*printed.out.split("\n"), *printed.err.split("\n")]))


@pytest.mark.parametrize(
    "arguments",
    [
        ["explain", EVIL, "red.png"],
        ["explain", "red.png", f"--{EVIL}"],
        ["explain", "m.keras", "red.png", "--method", EVIL],
        ["explain", "m.keras", "red.png", "--preprocess", f"{EVIL}:f"],
        [EVIL],
    ],
)
def test_what_is_wrong_is_repeated_harmlessly(arguments, here, capsys):
    Path("m.keras").write_text("never opened")
    assert run(*arguments) == 2
    [line, end] = capsys.readouterr().err.split("\n")
    assert end == ""
    assert is_harmless(line)


def test_a_name_that_is_no_text_and_a_terminal_that_knows_few_letters(here):
    paint("red").save(os.fsdecode(b"\xff\xe4.png"))
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    files = "import os, sys; from eli5k.cli.messages import say; say('K\xe4se', *os.listdir('.'))"
    done = python("-c", files, env=environment)
    assert done.returncode == 0, done.stderr
    assert "K\\xe4se" in done.stdout
    assert "\\udcff\\udce4.png" in done.stdout


@pytest.mark.parametrize(
    ("of_library", "of_shell"),
    [
        ("Pass either targets or top_targets. Received both.", "either --targets or --top-targets"),
        ("leave layer=None to let eli5k choose", "leave --layer out to let eli5k choose"),
        ("layer 'cnov' is not among the layers", "--layer 'cnov' is not among the layers"),
        ("a.png: target_names must have one name", "a.png: --names must have one name"),
        ("preprocess=keras.applications.resnet.f", "--preprocess keras.applications.resnet:f"),
        ("Pass layer=[...].", "Pass --layer several times."),
        ("with method='fuse'", "with --method 'fuse'"),
        ("the score of each target at layer conv", "the score of each target at layer conv"),
    ],
)
def test_words_of_the_shell(of_library, of_shell):
    assert of_shell in in_shell_words(of_library)
