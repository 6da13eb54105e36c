"""All labels of a picture: those that reach a threshold, and no others."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import eli5k
from eli5k.keras.evidence.run import Run
from tests.keras.quadrants import net, peak, picture

pytestmark = pytest.mark.filterwarnings("ignore::eli5k.UnscaledInputWarning")

NAMES = ["north-west", "north-east", "south-west", "south-east"]


def tagger():
    """One sigmoid a quadrant: 0.5 at brightness 0.5."""
    return net(10 * np.eye(4), bias=-5.0, activation="sigmoid")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(
    ("brightness", "labels"),
    [
        ((0.9, 0.1, 0.7, 0.2), [0, 2]),
        ((0.6, 0.8, 0.7, 0.9), [3, 1, 2, 0]),
        ((0.1, 0.1, 0.1, 0.6), [3]),
    ],
)
def test_all_labels_above_it_highest_first(brightness, labels):
    model = tagger()
    for logits in (False, True):
        expl = eli5k.explain_prediction(
            model, picture(*brightness), threshold=0.5, target_names=NAMES, logits=logits
        )
        assert [target.target for target in expl.targets] == [NAMES[label] for label in labels]
        for target, label in zip(expl.targets, labels):
            assert target.proba == pytest.approx(sigmoid(10 * brightness[label] - 5), abs=1e-5)
            assert peak(target.heatmap) == label
        assert expl.warnings == []


def test_none_above_it_explains_the_best_and_says_so():
    with pytest.warns(eli5k.ExplanationWarning, match=r"at least 0.5.*best.*0\.269") as record:
        expl = eli5k.explain_prediction(tagger(), picture(0.1, 0.4, 0.2, 0.3), threshold=0.5)
    assert [target.target for target in expl.targets] == [1]
    [warning] = [each for each in record if issubclass(each.category, eli5k.ExplanationWarning)]
    assert warning.filename == __file__
    assert len(expl.warnings) == 1


def test_at_it_counts_as_above():
    expl = eli5k.explain_prediction(tagger(), picture(0.5, 0, 0, 0.5), threshold=0.5)
    assert {target.target for target in expl.targets} == {0, 3}


def test_a_score_without_probability_is_compared_itself():
    model = net(np.diag([1, 2, 3, 4]))
    expl = eli5k.explain_prediction(model, picture(1, 1, 1, 1), threshold=2.5)
    assert [target.target for target in expl.targets] == [3, 2]


def test_each_document_of_a_stream_has_its_own_number():
    model = tagger()
    shown = [(0, 1, 1, 1), (0, 0, 0, 1), (0, 0, 0, 0), (1, 1, 0, 0), (1, 1, 1, 1)]
    docs = np.concatenate([picture(*each) for each in shown])
    for batch_size in (1, 2, 32):
        with warnings.catch_warnings(record=True, action="always") as caught:
            found = list(
                eli5k.explain_predictions(model, docs, batch_size=batch_size, threshold=0.5)
            )
        labels = [{target.target for target in expl.targets} for expl in found]
        wanted = [set(np.flatnonzero(each)) for each in shown]
        assert labels[:2] + labels[3:] == wanted[:2] + wanted[3:]
        assert len(labels[2]) == 1
        # One of them is black: it has no label, and its map is blank.
        own = [each for each in caught if issubclass(each.category, eli5k.ExplanationWarning)]
        assert own
        assert all(str(each.message).startswith("document 2: ") for each in own)
        assert [bool(expl.warnings) for expl in found] == [False, False, True, False, False]


def test_surplus_is_neither_warned_of_nor_checked():
    """The number of targets is rounded up: what was not asked for must not be seen anywhere."""
    model = net(10 * np.eye(4), bias=-5.0, activation="sigmoid")
    with warnings.catch_warnings(action="error", category=eli5k.ExplanationWarning):
        expl = eli5k.explain_prediction(model, picture(1, 1, 1, 0), threshold=0.5, check=True)
    assert {target.target for target in expl.targets} == {0, 1, 2}
    assert all(target.check is not None for target in expl.targets)


def test_one_more_forward_pass(monkeypatch):
    runs = []

    def scores(self, *args):
        runs.append(self.rows)
        return original(self, *args)

    original = Run.scores
    monkeypatch.setattr(Run, "scores", scores)
    docs = np.concatenate([picture(1, 0, 1, 0)] * 5)
    list(eli5k.explain_predictions(tagger(), docs, threshold=0.5))
    assert runs == [5]


def test_lone_unit_with_two_names():
    model = net(np.array([[20.0], [0], [0], [0]]), bias=-10.0, activation="sigmoid")
    expl = eli5k.explain_prediction(
        model, picture(1, 0, 0, 0), threshold=0.5, target_names=["no", "yes"], logits=True
    )
    assert [target.target for target in expl.targets] == ["yes"]


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("0.5", TypeError, "threshold must be a number.*'0.5' of type str"),
        (True, TypeError, "threshold must be a number.*True"),
        (float("nan"), ValueError, "threshold must be a number.*nan"),
    ],
)
def test_bad_thresholds_are_named(value, error, message):
    with pytest.raises(error, match=message):
        eli5k.explain_prediction(tagger(), picture(1), threshold=value)


@pytest.mark.parametrize("other", [{"targets": [1]}, {"top_targets": 2}])
def test_one_way_to_choose(other):
    with pytest.raises(ValueError, match=f"either threshold or {next(iter(other))}"):
        eli5k.explain_prediction(tagger(), picture(1), threshold=0.5, **other)
