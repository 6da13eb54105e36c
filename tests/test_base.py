"""The data: eli5's fields and repr, and what Python expects of plain data."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest

from eli5k.base import Explanation, TargetExplanation
from eli5k.formatters import format_as_html

ELI5_EXPLANATION = {
    "estimator": dataclasses.MISSING,
    "description": None,
    "error": None,
    "method": None,
    "is_regression": False,
    "targets": None,
    "feature_importances": None,
    "decision_tree": None,
    "highlight_spaces": None,
    "transition_features": None,
    "image": None,
}
ELI5_TARGET = {
    "target": dataclasses.MISSING,
    "feature_weights": None,
    "proba": None,
    "score": None,
    "weighted_spans": None,
    "heatmap": None,
}


@pytest.mark.parametrize(
    ("kind", "expected"), [(Explanation, ELI5_EXPLANATION), (TargetExplanation, ELI5_TARGET)]
)
def test_the_fields_are_eli5s_and_new_ones_come_last_and_stay_out_of_the_repr(kind, expected):
    fields = dataclasses.fields(kind)
    theirs, ours = fields[: len(expected)], fields[len(expected) :]
    assert {field.name: field.default for field in theirs} == expected
    assert [field.name for field in theirs] == list(expected)
    assert all(field.repr for field in theirs)
    assert not any(field.repr for field in ours)
    # Each warning list is its own.
    defaults = {f.name: f.default for f in ours if f.default_factory is not list}
    assert defaults.pop("frame", (0, 0, 1, 1)) == (0, 0, 1, 1)
    assert set(defaults.values()) == {None}


def test_the_repr_is_eli5s():
    target = TargetExplanation(3, score=0.5, heatmap=np.eye(2), attribution=np.eye(2))
    expl = Explanation(
        "net", "Done.", "", "Grad-CAM", targets=[target], layer="conv", output="head"
    )
    assert repr(expl) == (
        "Explanation(estimator='net', description='Done.', error='', method='Grad-CAM', "
        "is_regression=False, targets=[TargetExplanation(target=3, feature_weights=None, "
        "proba=None, score=0.5, weighted_spans=None, heatmap=array([[1., 0.],\n       "
        "[0., 1.]]))], feature_importances=None, decision_tree=None, highlight_spaces=None, "
        "transition_features=None, image=None)"
    )


def test_a_misspelt_field_is_an_error():
    with pytest.raises(AttributeError, match="scores"):
        TargetExplanation(3).scores = 1.0


@pytest.mark.parametrize(
    "twin", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_an_explanation_can_be_copied_and_sent(twin):
    target = TargetExplanation(3, heatmap=np.eye(2), attribution=-np.eye(2))
    found = twin(Explanation("net", targets=[target], layer="conv"))
    assert (found.estimator, found.layer) == ("net", "conv")
    np.testing.assert_array_equal(found.targets[0].heatmap, np.eye(2))
    np.testing.assert_array_equal(found.targets[0].attribution, -np.eye(2))


def test_jupyter_shows_an_explanation_as_html():
    expl = Explanation("net", method="CAM", targets=[TargetExplanation("<b>")])
    assert expl._repr_html_() == format_as_html(expl)
