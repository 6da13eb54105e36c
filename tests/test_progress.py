"""Progress bars: a notebook's own where there are widgets, a terminal's elsewhere."""

from types import SimpleNamespace

import pytest
import tqdm
import tqdm.auto

from eli5k.progress import _bar_of_here, progress_bar


class Widget(tqdm.tqdm):
    """What ``tqdm.auto`` has in a notebook with ipywidgets."""

    made = []

    def __init__(self, rows=None, **options):
        self.made.append(options)
        super().__init__(rows, **options | {"disable": True})


Widget.__module__ = "tqdm.notebook"


@pytest.fixture(autouse=True)
def anew():
    _bar_of_here.cache_clear()
    Widget.made.clear()
    yield
    _bar_of_here.cache_clear()


def test_a_notebook_with_widgets_gets_its_own_bar_if_the_loop_takes_long(monkeypatch):
    monkeypatch.setattr(tqdm, "auto", SimpleNamespace(tqdm=Widget))
    assert list(progress_bar([1, 2], progress=None)) == [1, 2]
    [asked] = Widget.made
    assert asked["disable"] is False
    assert asked["delay"] > 1


def test_it_can_be_turned_off_there_and_asked_for(monkeypatch):
    monkeypatch.setattr(tqdm, "auto", SimpleNamespace(tqdm=Widget))
    for progress, disabled in ((False, True), (True, False)):
        list(progress_bar([1, 2], progress=progress))
        assert Widget.made[-1]["disable"] is disabled
        assert Widget.made[-1]["delay"] in (0, 3)


def test_elsewhere_it_is_that_of_a_terminal(capsys):
    assert _bar_of_here() is tqdm.tqdm
    list(progress_bar([1, 2], progress=None))
    assert capsys.readouterr().err == ""
    list(progress_bar([1, 2], progress=True))
    assert "2/2" in capsys.readouterr().err
