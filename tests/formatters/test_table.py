"""print(explanation): a table of a screen's height."""

import numpy as np
import pytest

from eli5k.base import BlankMapWarning, Check, Explanation, TargetExplanation

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def screen(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "24")


def target(name, **kwargs):
    return TargetExplanation(name, heatmap=np.eye(3)[:, ::-1], **kwargs)


def test_a_line_for_each_target_in_columns():
    check = Check("supported", "It is right.")
    expl = Explanation(
        "net",
        method="RISE",
        layer="conv",
        source="/photos/cat.jpg",
        targets=[target("cat", score=2.5, proba=0.75, check=check), target("cow", score=-12.0)],
    )
    assert str(expl).splitlines() == [
        "net: cat.jpg, RISE, layer conv",
        "target  probability  score  check      where",
        "y=cat   0.75         2.5    supported  hottest top right, 83% across and 17% down",
        "y=cow                -12               hottest top right, 83% across and 17% down",
    ]


def test_a_thousand_targets_and_warnings_fit_on_the_screen():
    expl = Explanation("net", targets=[target(number) for number in range(1000)])
    expl.warnings = [BlankMapWarning(f"{number} is blank.") for number in range(1000)]
    lines = str(expl).splitlines()
    assert len(lines) <= 24
    assert sum(line.startswith("y=") for line in lines) == 13
    assert "… 987 more" in lines
    assert lines[-1] == "… 994 more warnings"


def test_long_names_are_cut_at_the_edge_of_the_screen():
    expl = Explanation("net", error="x" * 500, targets=[target("a\nb" * 200)])
    assert max(map(len, str(expl).splitlines())) == 100


def test_an_error_and_other_outputs_are_told():
    other = Explanation("net", output="b", targets=[target("dog")])
    expl = Explanation("net", output="a", targets=[target("cat")], others=[other])
    assert "y=cat in output a" in str(expl)
    assert "y=dog in output b" in str(expl)
    assert "Error: not supported" in str(Explanation("net", error="not supported"))
