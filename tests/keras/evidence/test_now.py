"""What is explained is the model and the target as they are now, whatever was compiled before."""

from __future__ import annotations

import operator
import pickle
import time
import warnings
from dataclasses import dataclass
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers

import eli5k
from eli5k import explain_prediction, explain_predictions
from eli5k.keras import attribute
from eli5k.keras.evidence import asking
from eli5k.keras.evidence.probes import Input, Layer, Probe
from eli5k.keras.methods.cam import grad_cam
from tests.close import assert_close
from tests.zoo import CLASSES, SHAPE, functional, net_layers, noise

DOC = noise(1, *SHAPE, seed=1)
CALLS = 4  # The first may be eager, the second compiles, the others are what was compiled.


def maps_of(model, **kwargs):
    """Score and signed map, as explained several times."""
    found = []
    for _ in range(CALLS):
        [target] = explain_prediction(model, DOC, **kwargs).targets
        found.append((target.score, target.attribution))
    return found


def assert_all_are(found, expected):
    score, attribution = expected
    for other_score, other in found:
        assert other_score == pytest.approx(score, abs=1e-5)
        assert_close(other, attribution)


class TestCallableWithState:
    def test_closure(self):
        model = functional(net_layers())
        chosen = 0

        def score(outputs):
            return outputs[:, chosen]

        expected = [maps_of(model, targets=[each])[0] for each in range(CLASSES)]
        for chosen in (0, 1, 2, 1):
            assert_all_are(maps_of(model, targets=[score]), expected[chosen])

    def test_attribute_of_an_object(self):
        class Chosen:
            index = 0

            def __call__(self, outputs):
                return outputs[:, self.index]

        model, score = functional(net_layers()), Chosen()
        expected = [maps_of(model, targets=[each])[0] for each in range(CLASSES)]
        for score.index in (0, 2, 1):
            assert_all_are(maps_of(model, targets=[score], logits=False), expected[score.index])

    def test_improbable_classes(self):
        """Their probabilities differ by less than rounding would explain."""
        net = net_layers("softmax", 3)
        kernel, _ = net[-1].get_weights()
        net[-1].set_weights([kernel, np.float32([30, 1, 0])])
        model = functional(net)
        chosen = 0

        def score(outputs):
            return outputs[:, chosen]

        expected = [explain_prediction(model, DOC, targets=[each]).targets[0] for each in (1, 2)]
        for chosen in (1, 2):
            for found, _ in maps_of(model, targets=[score]):
                assert found == pytest.approx(expected[chosen - 1].score, rel=1e-3, abs=0)

    def test_counter_is_never_wrong(self):
        """Each call asks for another class: what is compiled never holds."""
        model = functional(net_layers())
        asked = []

        def next_class(outputs):
            asked.append(len(asked) % CLASSES)
            return outputs[:, asked[-1]]

        expected = [maps_of(model, targets=[each])[0] for each in range(CLASSES)]
        for _ in range(6):
            [target] = explain_prediction(model, DOC, targets=[next_class]).targets
            scores = [score for score, _ in expected]
            nearest = int(np.argmin(np.abs(np.subtract(scores, target.score))))
            assert_all_are([(target.score, target.attribution)], expected[nearest])


class Scaled(layers.Layer):
    """A layer with an argument of its own."""

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        return x * keras.ops.convert_to_tensor(self.factor, x.dtype)


class Switched(layers.Layer):
    """A layer that a set turns over."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.switches = set()

    def call(self, x):
        return -3 * x if "negative" in self.switches else x


@dataclass
class Configuration:
    factor: float = 1.0


class Configured(layers.Layer):
    """A layer that reads an object."""

    def __init__(self, configuration, **kwargs):
        super().__init__(**kwargs)
        self.configuration = configuration

    def call(self, x):
        return x * self.configuration.factor


class Flagged(keras.Model):
    """A subclassed model with a flag that it reads at each call."""

    is_negated = False

    def __init__(self):
        super().__init__()
        self.net = net_layers(None)

    def call(self, x):
        for layer in self.net:
            x = layer(x)
        return -x if self.is_negated else x


class TestChangedLayer:
    @pytest.mark.parametrize(
        ("make", "change"),
        [
            (lambda: layers.Rescaling(1.0), lambda layer: setattr(layer, "scale", -2.0)),
            (lambda: layers.LeakyReLU(0.3), lambda layer: setattr(layer, "negative_slope", -2.0)),
            (lambda: Scaled(1.0), lambda layer: setattr(layer, "factor", -3.0)),
            (lambda: Scaled([1.0]), lambda layer: layer.factor.__setitem__(0, -3.0)),
            (lambda: Scaled([[1.0]]), lambda layer: layer.factor[0].__setitem__(0, -3.0)),
            (lambda: Scaled(np.ones(1)), lambda layer: layer.factor.__setitem__(0, -3.0)),
            (lambda: Scaled(np.float32(1)), lambda layer: setattr(layer, "factor", np.float32(-3))),
            (Switched, lambda layer: layer.switches.add("negative")),
            (
                lambda: Configured(Configuration()),
                lambda layer: setattr(layer.configuration, "factor", -3.0),
            ),
            (
                lambda: Configured(SimpleNamespace(factor=1.0)),
                lambda layer: setattr(layer.configuration, "factor", -3.0),
            ),
            (lambda: layers.Rescaling(1.0), lambda layer: setattr(layer, "call", lambda x: -3 * x)),
        ],
        ids=[
            *("rescaling", "leaky relu", "own argument", "own list", "nested", "array", "numpy"),
            *("set", "dataclass", "namespace", "call"),
        ],
    )
    def test_is_seen(self, make, change):
        changing = make()
        model = keras.Sequential([keras.Input(SHAPE), changing, *net_layers()])
        maps_of(model, targets=[1])
        change(changing)
        predicted = keras.ops.convert_to_numpy(model(DOC, training=False))[0, 1]
        fresh = keras.Sequential([keras.Input(SHAPE), *model.layers])
        expected = maps_of(fresh, targets=[1])[0]
        assert expected[0] == pytest.approx(predicted, abs=1e-6)
        assert_all_are(maps_of(model, targets=[1]), expected)

    def test_flag_of_a_subclassed_model(self):
        """Which the class had until now."""
        model = Flagged()
        before = maps_of(model, targets=[1])[-1]
        model.is_negated = True
        assert_all_are(maps_of(model, targets=[1]), (-before[0], -before[1]))

    def test_fitting_compiles_nothing_anew(self, monkeypatch):
        """Weights are operands: only their values change."""
        model = functional(net_layers())
        maps_of(model, targets=[1])
        model.compile("sgd", "mse")
        model.fit(DOC, np.ones((1, CLASSES)), verbose=0)
        made = []
        compiled = asking._compiled
        monkeypatch.setattr(asking, "_compiled", lambda q: made.append(q) or compiled(q))
        [(score, _), *_] = maps_of(model, targets=[1])
        assert made == []
        predicted = keras.ops.convert_to_numpy(model(DOC, training=False))[0, 1]
        assert score == pytest.approx(predicted, abs=1e-6)


@dataclass(frozen=True)
class OfClass:
    """A target that is equal to another one of the same class."""

    index: int

    def __call__(self, outputs):
        return outputs[:, self.index]


@dataclass(frozen=True, slots=True)
class Slotted:
    """A target that takes no weak references."""

    index: int

    def __call__(self, outputs):
        return outputs[:, self.index]


class TestEqualQuestions:
    @pytest.mark.parametrize("kind", [OfClass, Slotted])
    def test_share_what_was_compiled(self, monkeypatch, kind):
        model = functional(net_layers())
        made = []
        compiled = asking._compiled
        monkeypatch.setattr(asking, "_compiled", lambda q: made.append(q) or compiled(q))
        for _ in range(CALLS):
            explain_prediction(model, DOC, targets=[kind(1)])
        assert len(made) == 1

    def test_targets_without_weak_references_work(self):
        model = functional(net_layers())
        first = operator.itemgetter((slice(None), 1))
        assert_all_are(maps_of(model, targets=[first]), maps_of(model, targets=[1])[0])

    def test_a_fresh_lambda_costs_no_compilation(self):
        model = functional(net_layers())
        for _ in range(3):  # What its operations need is there now.
            explain_prediction(model, DOC, targets=[lambda outputs: outputs[:, 1]])
        took = []
        for _ in range(5):
            started = time.perf_counter()
            explain_prediction(model, DOC, targets=[lambda outputs: outputs[:, 1]])
            took.append(time.perf_counter() - started)
        started = time.perf_counter()
        fresh = functional(net_layers())
        for _ in range(2):
            explain_prediction(fresh, DOC, targets=[1])
        assert np.median(took) < time.perf_counter() - started

    def test_a_fresh_lambda_of_a_method_waits_to_be_compiled(self, monkeypatch):
        model = functional(net_layers())
        is_new = []
        compiled = asking.compiled

        def spy(*args, **kwargs):
            is_new.append(kwargs["is_new"])
            return compiled(*args, **kwargs)

        monkeypatch.setattr(asking, "compiled", spy)
        asked = eli5k.keras.run(model, DOC, 1)
        for function in (lambda evidence: evidence.gradients, grad_cam):
            asked.evidence(Probe(Input()), function)
        assert is_new == [True, False]


class Branching(keras.Model):
    """A model with a branch in Python on a number that it computed."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.net = net_layers(None)

    def call(self, x):
        for layer in self.net[:-1]:
            x = layer(x)
        if keras.ops.sum(x) > 1e9:  # JAX has no float() of what it differentiates.
            x = -x
        return self.net[-1](x)


class TestUntraceable:
    def test_python_branch_on_a_tensor(self):
        assert_all_are(
            maps_of(Branching(), targets=[1]), maps_of(functional(net_layers(None)), targets=[1])[0]
        )

    def test_callable_with_a_branch(self):
        def score(outputs):
            return outputs[:, 1] if outputs[0, 1] > -1e9 else outputs[:, 0]

        model = functional(net_layers())
        assert_all_are(maps_of(model, targets=[score]), maps_of(model, targets=[1])[0])

    def test_run_eagerly(self):
        model = functional(net_layers())
        expected = maps_of(functional(net_layers()), targets=[1])[0]
        model.compile(run_eagerly=True)
        assert_all_are(maps_of(model, targets=[1]), expected)

    def test_stream_goes_on(self):
        docs = np.repeat(DOC, 7, axis=0)
        found = list(explain_predictions(Branching(), docs, targets=[1], batch_size=2))
        assert [explanation.error for explanation in found] == [""] * 7


class TestPoisonedFirstDocument:
    """What one document showed decides nothing for the next."""

    @pytest.mark.parametrize(
        "method", ["grad-cam", "cam", "ablation-cam", "fuse", "guided-grad-cam"]
    )
    @pytest.mark.parametrize("value", [np.nan, 0.0])
    def test_does_not_matter(self, method, value):
        poisoned, clean = functional(net_layers()), functional(net_layers())
        with warnings.catch_warnings(action="ignore"):
            explain_prediction(poisoned, np.full_like(DOC, value), targets=[1], method=method)
            expected = explain_prediction(clean, DOC, targets=[1], method=method)
            found = explain_prediction(poisoned, DOC, targets=[1], method=method)
        assert found.layer == expected.layer
        wanted = expected.targets[0].attribution
        assert_close(found.targets[0].attribution, wanted)


class TestManyTargets:
    def test_each_is_the_one_alone(self):
        model = functional(net_layers())
        many = [0, 1, 2, 2, 1, 0, 1, 1, 2, 0]
        _, maps = attribute(model, DOC, [many])
        for column, each in enumerate(many):
            _, expected = attribute(model, DOC, each)
            assert_close(maps[:, column], expected)

    def test_of_a_hundred_classes(self):
        """More than are written out one by one: a loop in the graph."""
        model = functional(net_layers(classes=100))
        scores, maps = attribute(model, DOC, [list(range(100))])
        assert maps.shape[:2] == (1, 100)
        for each in (0, 41, 99):
            score, expected = attribute(model, DOC, each)
            assert scores[0, each] == pytest.approx(score[0], abs=1e-6)
            assert_close(maps[:, each], expected)

    def test_duplicates_are_computed_once(self, monkeypatch):
        seen = []
        ask = asking.ask_model

        def spy(question, *args):
            seen.append(question.classes.shape[1])
            return ask(question, *args)

        monkeypatch.setattr("eli5k.keras.evidence.run.ask_model", spy)
        attribute(functional(net_layers()), DOC, [[1, 1, 1, 2]])
        assert seen == [2]


class TestFixedBatch:
    def test_is_filled_up(self):
        net = net_layers()
        fixed = keras.Sequential([keras.Input(SHAPE, batch_size=4), *net])
        docs = noise(3, *SHAPE, seed=2)
        for method in ("grad-cam", "occlusion", "ablation-cam"):
            _, expected = attribute(functional(net), docs, 1, method=method)
            _, maps = attribute(fixed, docs, 1, method=method)
            assert_close(maps, expected)


class TestRun:
    def test_is_pickled_and_asked_elsewhere(self):
        model = functional(net_layers())
        asked = eli5k.keras.run(model, DOC, 1)
        expected = asked.evidence(Probe(Layer()), grad_cam)
        copied = pickle.loads(pickle.dumps(asked))
        found = copied.evidence(Probe(Layer()), grad_cam)
        assert found.layer == expected.layer
        np.testing.assert_allclose(found.maps, expected.maps, atol=1e-6)

    def test_answers_after_its_call(self):
        """It holds its model, its batch and its question, and nothing that ends with a call."""
        asked = eli5k.keras.run(functional(net_layers()), DOC, 1)
        [first, second] = [
            asked.evidence(Probe(Input()), lambda evidence: evidence.gradients) for _ in range(2)
        ]
        assert_close(first.maps, second.maps)


def _two(array):
    return np.concatenate([array, array])


class TestCallablesAreChecked:
    @pytest.mark.parametrize(
        "preprocess", [_two, lambda array: None, lambda array: array[0], lambda array: "text"]
    )
    def test_preprocess(self, preprocess):
        with pytest.raises(ValueError, match="preprocess must return"):
            explain_prediction(functional(net_layers()), DOC, preprocess=preprocess)

    def test_preprocess_that_is_not_finite(self):
        with pytest.raises(ValueError, match="preprocess must return finite"):
            explain_prediction(functional(net_layers()), DOC, preprocess=lambda x: x * np.inf)

    def test_target_with_a_row_too_many(self):
        model = functional(net_layers())
        with pytest.raises(ValueError, match="one number for each sample"):
            explain_prediction(
                model, DOC, targets=[lambda y: keras.ops.concatenate([y[:, 0], y[:, 0]])]
            )

    def test_reshape(self):
        model = functional(net_layers())
        for wrong in (lambda x: keras.ops.concatenate([x, x]), lambda x: None):
            with pytest.raises(ValueError, match="reshape must return"):
                explain_prediction(model, DOC, layer="top", reshape=wrong)

    def test_baseline(self):
        model = functional(net_layers())
        for wrong in (lambda x: x[:, :2], lambda x: None, lambda x: x * np.nan, "black"):
            with pytest.raises(ValueError, match="baseline must be"):
                attribute(model, DOC, 1, method=eli5k.keras.methods.Occlusion(baseline=wrong))

    def test_baseline_may_work_in_place(self):
        doc = DOC.copy()
        method = eli5k.keras.methods.Occlusion(window=6, baseline=lambda x: x.__imul__(0))
        attribute(functional(net_layers()), doc, 1, method=method)
        np.testing.assert_array_equal(doc, DOC)

    def test_a_name_of_two_classes_is_refused(self):
        model = functional(net_layers())
        names = ["crane", "cat", "crane"]
        explain_prediction(model, DOC, targets=["cat"], target_names=names)
        with pytest.raises(ValueError, match=r"'crane'.*\[0, 2\]"):
            explain_prediction(model, DOC, targets=["crane"], target_names=names)

    def test_what_is_no_whole_number(self):
        model = functional(net_layers())
        with pytest.raises(TypeError, match="class"):
            explain_prediction(model, DOC, targets=[np.array(1.7)])
        with pytest.raises(TypeError, match=r"batch_size.*'4'"):
            list(explain_predictions(model, [DOC], batch_size="4"))


class TestWarningsOfAnExplanation:
    def test_are_its_own(self):
        model = functional(net_layers())
        docs = [DOC[0], np.full(SHAPE, np.nan), DOC[0], np.full(SHAPE, np.nan)]
        with pytest.warns(eli5k.BlankMapWarning) as caught:
            found = list(explain_predictions(model, docs, targets=[1]))
        assert [len(explanation.warnings) for explanation in found] == [0, 1, 0, 1]
        assert str(found[1].warnings[0]).startswith("document 1: ")
        assert str(found[3].warnings[0]).startswith("document 3: ")
        ours = [each for each in caught if issubclass(each.category, eli5k.ExplanationWarning)]
        assert {str(each.message) for each in ours} == {
            str(each) for explanation in found for each in explanation.warnings
        }
        assert "warnings" not in repr(found[1])

    def test_score_that_is_not_finite(self):
        model = functional(net_layers(None))
        with pytest.warns(eli5k.ExplanationWarning, match="score is nan: .* callable in targets"):
            explain_prediction(model, DOC, targets=[lambda y: y[:, 0] * 0 + np.nan + 0 * y[:, 1]])

    def test_reshape_that_is_not_finite(self):
        model = functional(net_layers())
        with pytest.warns(eli5k.BlankMapWarning, match="not finite: the model or reshape="):
            explain_prediction(model, DOC, layer="top", reshape=lambda x: x * np.nan)


class Counting(layers.Layer):
    """A layer that notes down what it did, as layers with attention scores do."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.calls, self.scale = 0, 2.0

    def call(self, inputs):
        self.calls += 1
        self.last_output = inputs
        return self.scale * inputs


class TestNotesOfALayer:
    def test_compile_nothing_anew(self, monkeypatch):
        model = keras.Sequential([keras.Input(SHAPE), Counting(), *net_layers()])
        expected = maps_of(model, targets=[1])[0]
        made = []
        compiled = asking._compiled
        monkeypatch.setattr(asking, "_compiled", lambda q: made.append(q) or compiled(q))
        assert_all_are(maps_of(model, targets=[1]), expected)
        assert made == []

    def test_hide_no_change(self):
        layer = Counting()
        model = keras.Sequential([keras.Input(SHAPE), layer, *net_layers()])
        maps_of(model, targets=[1])
        layer.scale = -1.0
        predicted = keras.ops.convert_to_numpy(model(DOC, training=False))[0, 1]
        assert [score for score, _ in maps_of(model, targets=[1])] == pytest.approx(
            [predicted] * CALLS, abs=1e-6
        )
