"""Run a command, in this process or in one of its own, and look at what it printed."""

from __future__ import annotations

import subprocess
import sys

from eli5k.cli import main


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def python(*arguments: str, **kwargs) -> subprocess.CompletedProcess:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **kwargs)


def assert_one_line(capsys, part: str) -> None:
    """Nothing was printed but one line on standard error, with this in it."""
    printed = capsys.readouterr()
    assert printed.out == ""
    [line] = printed.err.splitlines()
    assert line.startswith("eli5k: ")
    assert part in line
