"""All heads of a model in one explanation, one sheet and one page."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import eli5k
from eli5k.formatters.panels import Look, panels_of
from tests.keras.quadrants import SIDE, apart, head, peak, picture

pytestmark = pytest.mark.filterwarnings("error::eli5k.ExplanationWarning")

KIND, AGE = ["cat", "dog"], ["young", "old", "ancient"]


def two_heads(functional=True):
    """Kind looks at the top, age at the bottom; the brighter side wins."""
    inputs = keras.Input((SIDE, SIDE, 1))
    pixels = apart(inputs)
    kind = head(pixels, [[5, 0], [0, 5], [0, 0], [0, 0]], activation="softmax", name="kind")
    age = head(pixels, [[0, 0, 0], [0, 0, 0], [5, 0, 0], [0, 5, 0]], name="age")
    outputs = [kind, age] if functional else {"kind": kind, "age": age}
    return keras.Model(inputs, outputs)


DOC = picture(0.1, 1, 1, 0.1)


@pytest.mark.parametrize("functional", [True, False])
def test_each_head_is_explained(functional):
    model = two_heads(functional)
    expl = eli5k.explain_prediction(model, DOC, output="all")
    by_name = {part.output: part for part in (expl, *expl.others)}
    assert set(by_name) == {"kind", "age"}
    for name, best, where in (("kind", 1, 1), ("age", 0, 2)):
        [target] = by_name[name].targets
        alone = eli5k.explain_prediction(model, DOC, output=name)
        assert target.target == best
        assert peak(target.heatmap) == where
        np.testing.assert_array_equal(target.attribution, alone.targets[0].attribution)
        assert by_name[name].description == alone.description


def test_targets_and_names_of_each_head():
    names = {"kind": KIND, "age": AGE}
    expl = eli5k.explain_prediction(
        two_heads(), DOC, output="all", target_names=names, targets={"age": ["old", "young"]}
    )
    [age] = expl.others
    assert [target.target for target in expl.targets] == ["dog"]
    assert [target.target for target in age.targets] == ["old", "young"]


@pytest.mark.filterwarnings("ignore::eli5k.BlankMapWarning")
def test_the_same_targets_for_all():
    expl = eli5k.explain_prediction(two_heads(), DOC, output="all", targets=[0, 1])
    found = [[target.target for target in part.targets] for part in (expl, *expl.others)]
    assert found == [[0, 1], [0, 1]]


def test_many_documents():
    docs = np.concatenate([DOC, picture(1, 0.1, 0.1, 1)])
    found = list(eli5k.explain_predictions(two_heads(), docs, output="all"))
    best = [[part.targets[0].target for part in (expl, *expl.others)] for expl in found]
    assert best == [[1, 0], [0, 1]]


def test_each_input_of_each_output():
    left, right = keras.Input((SIDE, SIDE, 1), name="left"), keras.Input((SIDE, SIDE, 1))
    kernel = np.array([[1, 0], [0, 1], [0, 0], [0, 0]])
    both = keras.layers.Concatenate(axis=1)([apart(left), apart(right)])
    model = keras.Model([left, right], [head(both, kernel), head(both, kernel)])
    expl = eli5k.explain_prediction(model, [DOC, DOC], input="all", output="all", method="gradient")
    asked = [(part.output, part.input) for part in (expl, *expl.others)]
    assert len(set(asked)) == 4
    assert asked[0][1] == asked[2][1] == "left"


def test_sheet_text_and_page_name_the_head(tmp_path):
    expl = eli5k.explain_prediction(
        two_heads(), DOC, output="all", target_names={"kind": KIND, "age": AGE}
    )
    text = eli5k.format_as_text(expl)
    assert "y=dog" in text
    assert "of output kind" in text
    assert "y=young" in text
    assert "of output age" in text
    captions = [panel.caption for panel in panels_of([expl], Look()).panels]
    assert [caption[0] for caption in captions] == [["output kind"], ["output age"]]
    alone = eli5k.format_as_image(eli5k.explain_prediction(two_heads(), DOC, output="kind"))
    assert eli5k.format_as_image(expl).width > 1.5 * alone.width
    eli5k.save(expl, tmp_path / "why.html")
    page = (tmp_path / "why.html").read_text("utf-8")
    assert "output kind" in page
    assert "output age" in page


def test_warning_about_several_outputs_names_the_way_out():
    with pytest.warns(eli5k.AmbiguousOutputWarning, match='output="all"'):
        eli5k.explain_prediction(two_heads(), DOC)
