"""The command as a process: what it imports, and how it ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

import eli5k
from tests.cli.shell import python, run

pytestmark = pytest.mark.once


class TestProcess:
    def test_help_imports_nothing_heavy(self):
        done = python("-X", "importtime", "-m", "eli5k", "--help")
        assert done.returncode == 0
        assert all(command in done.stdout for command in ("demo", "explain", "layers", "methods"))
        imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert "eli5k.cli" in imported
        assert not imported & {"keras", "tensorflow", "torch", "jax", "matplotlib.pyplot"}

    def test_version(self, capsys):
        with pytest.raises(SystemExit):
            run("--version")
        assert capsys.readouterr().out.strip() == eli5k.__version__

    @pytest.mark.slow
    def test_reader_that_goes_away(self, colours):
        code = "import sys; from eli5k.cli import main; sys.exit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", code, "layers", colours]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.close()
        assert process.stderr.read() == b""
        process.stderr.close()
        assert process.wait() == 2
