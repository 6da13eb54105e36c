"""The backend that a command runs on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from eli5k.cli.backend import choose_backend
from tests.cli.shell import python


class TestBackend:
    @pytest.mark.parametrize(
        ("installed", "asked", "chosen"),
        [
            ({"tensorflow", "torch", "jax"}, None, None),
            ({"torch", "jax"}, None, "torch"),
            ({"jax"}, None, "jax"),
            ({"jax"}, "torch", "torch"),
            (set(), None, None),
        ],
    )
    def test_choice(self, monkeypatch, installed, asked, chosen):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: name in installed or None)
        monkeypatch.setenv("KERAS_BACKEND", asked or "")
        if asked is None:
            monkeypatch.delenv("KERAS_BACKEND")
        choose_backend()
        assert os.environ.get("KERAS_BACKEND") == chosen

    @pytest.mark.parametrize(
        ("text", "chosen"),
        [('{"backend": "jax"}', None), ('{"backend": "tensorflow"}', "torch"), ("[]", "torch")],
    )
    def test_file_of_keras(self, monkeypatch, tmp_path, text, chosen):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: name in ("torch", "jax"))
        (tmp_path / "keras.json").write_text(text)
        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        monkeypatch.setenv("KERAS_BACKEND", "")
        monkeypatch.delenv("KERAS_BACKEND")
        choose_backend()
        assert os.environ.get("KERAS_BACKEND") == chosen

    def test_none_installed(self, here):
        Path("m.keras").write_text("never opened")
        code = (
            "import sys; sys.modules.update(tensorflow=None, torch=None, jax=None);"
            "from eli5k.cli import main; sys.exit(main(['explain', 'm.keras', 'red.png']))"
        )
        environment = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}
        done = python("-c", code, env=environment)
        assert done.returncode == 2
        [line] = done.stderr.splitlines()
        assert "pip install 'eli5k[tensorflow]'" in line
