"""``--engine ray`` fills the same folder; what can't be done is said before Keras loads."""

from __future__ import annotations

import pytest

from eli5k.demo import PHOTOS
from eli5k.keras.engines import on_ray
from eli5k.keras.store.folder import Counts
from tests.cli.shell import assert_one_line, run


@pytest.fixture
def asked(monkeypatch):
    """What Ray was asked for."""
    found = {}

    def explain(model, source, out, **keywords):
        found.update(keywords, model=model, source=source, out=str(out))
        return Counts(documents=3, rows=3, explained=3)

    monkeypatch.setattr(on_ray, "explain_on_ray", explain)
    return found


def test_words_of_the_shell_reach_ray(asked, tmp_path, capsys):
    model = tmp_path / "model.keras"
    model.touch()
    photos, out = PHOTOS["cat"].parent, tmp_path / "results"
    words = ["--engine", "ray", "--address", "auto", "--workers", "3", "--gpus-per-worker", "0.5"]
    more = ["--method", "ig", "--targets", "7"]
    assert run("explain", model, photos, "--out", out, *words, *more) == 0
    assert "3 documents (3 of them new)" in capsys.readouterr().out
    assert asked["model"] == str(model)
    assert (asked["source"], asked["out"]) == (str(photos), str(out))
    assert (asked["address"], asked["workers"], asked["gpus_per_worker"]) == ("auto", 3, 0.5)
    assert (asked["method"], asked["targets"]) == ("integrated-gradients", [7])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--engine", "ray"], "--engine ray fills a folder"),
        (["--address", "auto"], "--address is for --engine ray"),
        (["--gpus-per-worker", "1"], "--gpus-per-worker is for --engine ray"),
        (["--engine", "ray", "--out", "OUT", "--unsafe"], "without --import and --unsafe"),
    ],
)
def test_mistake_is_one_line(words, message, tmp_path, capsys):
    model = tmp_path / "model.keras"
    model.touch()
    words = [str(tmp_path / "out") if word == "OUT" else word for word in words]
    assert run("explain", model, PHOTOS["cat"].parent, *words) == 2
    assert_one_line(capsys, message)
