"""A folder of saved models, and a working folder with pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.colours import colours_model, paint


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Path:
    """A folder of saved models."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def colours(models) -> str:
    """A model that names the colour of which there is most; its score is the mean of a channel."""
    file = str(models / "colours.keras")
    colours_model().save(file)
    return file


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """An empty working folder, which has ``red.png`` and ``blue.png``."""
    monkeypatch.chdir(tmp_path)
    paint("red").save("red.png")
    paint("blue").save("blue.png")
    return tmp_path
