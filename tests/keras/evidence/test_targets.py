"""Which number is explained: each kind of target against the closed form of its map."""

from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers, ops

from eli5k import explain_prediction
from eli5k.keras.evidence.scores import Target as Asked
from eli5k.keras.evidence.targets import TargetNames, choose_targets, class_count, find_head
from eli5k.keras.model.structure import Head
from tests.close import assert_close
from tests.zoo import (
    CLASSES,
    SHAPE,
    Subclassed,
    backbone_and_head,
    closed_form,
    functional,
    net_layers,
    noise,
    run_in_numpy,
    sequential_of_list,
)

# The nets have statistics of their own, which the documents do not fit.
pytestmark = [
    pytest.mark.filterwarnings("ignore::eli5k.BlankMapWarning"),
    pytest.mark.filterwarnings("ignore::eli5k.UnscaledInputWarning"),
]

DOC = noise(1, *SHAPE, seed=1)


def twice(model, doc=DOC, **kwargs):
    """The first answer comes from an eager run, the second from a compiled one."""
    return [explain_prediction(model, doc, **kwargs) for _ in range(2)]


def assert_map(target, expected):
    assert_close(target.attribution, expected)


def many_classes(count=9, activation="softmax"):
    return net_layers(activation=activation, classes=count)


class TestClasses:
    @pytest.mark.parametrize("targets", [[0], [2, 0], [1, 1], [0, 1, 2], [np.int64(2), True]])
    def test_several_in_one_run_equal_single_runs(self, targets):
        net = net_layers()
        scores = run_in_numpy(net, DOC)[0]
        for explanation in twice(functional(net), targets=targets):
            assert [target.target for target in explanation.targets] == targets
            for target in explanation.targets:
                assert_map(target, closed_form(net, DOC, target.target))
                assert target.score == pytest.approx(scores[target.target], abs=1e-6)
                assert isinstance(target.target, int)

    def test_one_run_of_the_model_for_all(self):
        """However many targets there are, each layer is called as often as for one."""
        calls = []

        class Counts(layers.Layer):
            def call(self, x):
                calls.append(None)
                return x

        net = net_layers()
        model = Subclassed([*net[:5], Counts(), *net[5:]])
        counts = []
        for targets in ([1], [0, 1, 2]):
            explain_prediction(model, DOC)  # The survey.
            calls.clear()
            explain_prediction(model, DOC, targets=targets)
            counts.append(len(calls))
        assert counts[0] == counts[1] > 0

    @pytest.mark.parametrize("top_targets", [1, 3, 9, 100, -1, -3, -100])
    def test_best_and_worst(self, top_targets):
        net = many_classes()
        scores = run_in_numpy(net, DOC)[0]
        order = np.argsort(-scores if top_targets > 0 else scores)[: abs(top_targets)]
        for explanation in twice(functional(net), top_targets=top_targets):
            assert [target.target for target in explanation.targets] == order.tolist()
            for target in explanation.targets:
                assert_map(target, closed_form(net, DOC, target.target))
                assert target.score == pytest.approx(scores[target.target], abs=1e-6)

    def test_best_of_each_document_anew(self):
        net = many_classes()
        model = functional(net)
        best = set()
        for seed in range(12):
            doc = noise(1, *SHAPE, seed=seed) + noise(3, seed=seed, low=-3, high=3)
            [target] = explain_prediction(model, doc).targets
            assert target.target == run_in_numpy(net, doc).argmax()
            best.add(target.target)
        assert len(best) > 1

    @pytest.mark.parametrize(
        ("kwargs", "error", "message"),
        [
            ({"targets": 1.0}, TypeError, r"targets must be a list.*Received: 1\.0 of type float"),
            ({"targets": {1, 2}}, TypeError, "targets must be a list.*set"),
            ({"targets": "cat"}, TypeError, "To use the class name 'cat', pass target_names="),
            ({"targets": []}, ValueError, "targets.*at least one.*empty"),
            ({"targets": [3]}, ValueError, r"targets must be in \[0, 3\). Received: 3"),
            ({"targets": [0, -1]}, ValueError, r"targets must be in \[0, 3\). Received: -1"),
            ({"targets": [1.0]}, TypeError, "targets.*Received: 1.0 of type float"),
            ({"targets": [None]}, TypeError, "targets.*Received: None"),
            ({"targets": [0, len]}, TypeError, "targets.*only callables.*Received"),
            ({"targets": [1], "top_targets": 2}, ValueError, "either targets or top_targets"),
            ({"top_targets": 0}, ValueError, "top_targets.*Received: 0"),
            ({"top_targets": 1.5}, TypeError, "top_targets.*Received: 1.5"),
            ({"top_targets": "3"}, TypeError, "top_targets.*Received: '3'"),
        ],
    )
    def test_bad_targets_are_named(self, kwargs, error, message):
        with pytest.raises(error, match=f"(?s){message}"):
            explain_prediction(functional(net_layers()), DOC, **kwargs)


class TestNames:
    names = ("cat", "dog", "owl")

    @pytest.mark.parametrize("kind", [list, tuple, np.array, lambda names: dict(enumerate(names))])
    def test_list_and_dict(self, kind):
        net = net_layers()
        model = functional(net)
        target_names = kind(self.names)
        best = int(run_in_numpy(net, DOC).argmax())
        explanation = explain_prediction(model, DOC, target_names=target_names)
        assert explanation.targets[0].target == self.names[best]
        explanation = explain_prediction(
            model, DOC, target_names=target_names, targets=["owl", 0, "dog"]
        )
        assert [target.target for target in explanation.targets] == ["owl", "cat", "dog"]
        for target, index in zip(explanation.targets, (2, 0, 1)):
            assert_map(target, closed_form(net, DOC, index))

    def test_dict_of_some(self):
        explanation = explain_prediction(
            functional(net_layers()), DOC, target_names={2: "owl"}, top_targets=3
        )
        assert {target.target for target in explanation.targets} == {0, 1, "owl"}

    @pytest.mark.parametrize(
        ("kwargs", "error", "message"),
        [
            ({"target_names": ["a", "b"]}, ValueError, "target_names.*3 classes.*Received 2"),
            ({"target_names": ["a"] * 4}, ValueError, "target_names.*3 classes.*Received 4"),
            ({"target_names": "abc"}, TypeError, "target_names must be.*'abc'"),
            ({"target_names": 3}, TypeError, "target_names must be.*3"),
            ({"target_names": {"a": "b"}}, TypeError, "target_names.*Received.*'a': 'b'"),
            (
                {"target_names": ["a", "b", "c"], "targets": ["d"]},
                ValueError,
                r"'d'.*target_names.*\['a', 'b', 'c'\]",
            ),
            # eli5 has no names, and says TypeError.
            ({"targets": ["cat"]}, TypeError, "'cat'.*target_names"),
        ],
    )
    def test_bad_names_are_named(self, kwargs, error, message):
        with pytest.raises(error, match=f"(?s){message}"):
            explain_prediction(functional(net_layers()), DOC, **kwargs)

    @given(st.lists(st.text(), min_size=1, max_size=20, unique=True))
    def test_there_and_back(self, names):
        for target_names in (names, dict(enumerate(names))):
            translate = TargetNames(target_names, len(names))
            assert [translate.name(index) for index in range(len(names))] == names
            assert [translate.index(name) for name in names] == list(range(len(names)))
            assert translate.name(len(names)) == len(names)


def first_class(outputs):
    return outputs[:, 0]


class TestCallables:
    def test_score_of_a_class(self):
        net = net_layers()
        for explanation in twice(functional(net), targets=[first_class]):
            [target] = explanation.targets
            assert_map(target, closed_form(net, DOC, 0))
            assert target.target == "first_class"
            assert target.score == pytest.approx(run_in_numpy(net, DOC)[0, 0], abs=1e-6)
            assert target.proba is None

    def test_without_a_list(self):
        net = net_layers()
        for explanation in twice(functional(net), targets=first_class):
            assert_map(explanation.targets[0], closed_form(net, DOC, 0))

    def test_difference_of_two_classes(self):
        """Why this class rather than that one."""
        net = net_layers(activation=None)

        def rather(outputs):
            return outputs[:, 1] - outputs[:, 2]

        expected = closed_form(net, DOC, 1) - closed_form(net, DOC, 2)
        for explanation in twice(functional(net), targets=[rather, first_class]):
            assert_map(explanation.targets[0], expected)
            assert_map(explanation.targets[1], closed_form(net, DOC, 0))

    def segmenter(self):
        net = net_layers()
        pixels = layers.Conv2D(2, 1, name="pixels")
        inputs = x = keras.Input(SHAPE)
        for layer in net[:5]:
            x = layer(x)
        model = keras.Model(inputs, pixels(x))
        activations = run_in_numpy(net[:5], DOC)[0]
        return model, activations, pixels.get_weights()[0][0, 0].astype("float64")

    def test_box_of_a_segmentation(self):
        model, activations, kernel = self.segmenter()

        def box(outputs):
            return ops.sum(outputs[:, 1:3, 0:3, 1], axis=(1, 2))

        # The score's gradient is the kernel in the six pixels of the box and zero elsewhere.
        expected = activations @ kernel[:, 1] * 6 / 16
        for explanation in twice(model, targets=[box], layer="top"):
            assert_map(explanation.targets[0], expected)

    def test_set_of_pixels(self):
        model, activations, kernel = self.segmenter()
        mask = np.zeros((4, 4, 1), "float32")
        mask[[0, 2, 3], [1, 1, 3]] = 1

        def where_the_mask_is(outputs):
            return ops.sum(ops.multiply(outputs[..., :1], mask), axis=(1, 2, 3))

        expected = activations @ kernel[:, 0] * 3 / 16
        for explanation in twice(model, targets=where_the_mask_is, layer="top"):
            assert_map(explanation.targets[0], expected)

    def test_similarity_of_an_embedding(self):
        net = net_layers(activation=None, classes=5)
        reference = noise(5, seed=9)
        kernel, _ = (array.astype("float64") for array in net[-1].get_weights())

        def similarity(outputs):
            return ops.sum(ops.multiply(outputs, reference), axis=1)

        def cosine(outputs):
            return ops.sum(ops.multiply(ops.normalize(outputs, axis=1), reference), axis=1)

        activations = run_in_numpy(net[:5], DOC)[0]
        embedding = run_in_numpy(net, DOC)[0]
        norm = np.linalg.norm(embedding)
        slopes = [
            reference,
            reference / norm - embedding * (embedding @ reference) / norm**3,
        ]
        for explanation in twice(functional(net), targets=[similarity, cosine]):
            assert [target.target for target in explanation.targets] == ["similarity", "cosine"]
            for target, slope in zip(explanation.targets, slopes):
                assert_map(target, activations @ kernel @ slope / 16)

    def test_several_outputs_at_once(self):
        net = net_layers(activation=None)
        inputs = keras.Input(SHAPE)
        x = inputs
        for layer in net[:6]:
            x = layer(x)
        model = keras.Model(inputs, {"class": net[6](x), "mean": layers.Dense(1, name="other")(x)})

        def both(outputs):
            return outputs["class"][:, 1] + 0 * outputs["mean"][:, 0]

        for explanation in twice(model, targets=[both]):
            assert_map(explanation.targets[0], closed_form(net, DOC, 1))

    def test_logits(self):
        net = net_layers()
        for explanation in twice(functional(net), targets=[first_class], logits=True):
            assert_map(explanation.targets[0], closed_form(net_layers(activation=None), DOC, 0))

    class Class:
        def __init__(self, index):
            self.index = index

        def __call__(self, outputs):
            return outputs[:, self.index]

        def method(self, outputs):
            return outputs[:, self.index]

    @pytest.mark.parametrize(
        "make",
        [
            lambda: TestCallables.Class(2),
            lambda: TestCallables.Class(2).method,
            lambda: partial(lambda index, outputs: outputs[:, index], 2),
            lambda: lambda outputs: outputs[:, 2],
        ],
        ids=["object", "method", "partial", "lambda"],
    )
    def test_each_kind_of_callable(self, make):
        net = net_layers()
        model = functional(net)
        for _ in range(3):
            explanation = explain_prediction(model, DOC, targets=[make()])
            assert_map(explanation.targets[0], closed_form(net, DOC, 2))
            assert isinstance(explanation.targets[0].target, str)

    def test_callable_that_changes_between_calls(self):
        """A new function is a new question, even where the old one is gone."""
        net = net_layers()
        model = functional(net)
        for index in (0, 1, 2, 0):
            for _ in range(2):
                explanation = explain_prediction(
                    model, DOC, targets=[lambda outputs, index=index: outputs[:, index]]
                )
                assert_map(explanation.targets[0], closed_form(net, DOC, index))

    @pytest.mark.parametrize(
        ("function", "message"),
        [
            (lambda outputs: outputs, r"\(batch,\).*lambda.*\(1, 3\)"),
            (lambda outputs: ops.sum(outputs, None), r"\(batch,\).*lambda.*\(\)"),
            (lambda outputs: None, r"\(batch,\).*lambda.*NoneType"),
            (lambda outputs: 3.0, r"\(batch,\).*lambda.*float"),
        ],
    )
    def test_callable_that_returns_something_else(self, function, message):
        with pytest.raises(ValueError, match=f"(?s){message}"):
            explain_prediction(functional(net_layers()), DOC, targets=[function])

    def test_output_that_is_no_vector_needs_no_callable(self):
        model, *_ = self.segmenter()
        for kwargs in ({}, {"targets": [1]}, {"top_targets": 2}):
            [target] = explain_prediction(model, DOC, **kwargs).targets
            assert (target.target, target.region.shape) == (1, (4, 4))


def unit(activation="sigmoid"):
    return net_layers(activation=activation, classes=1)


class TestSingleUnit:
    def test_target_0_is_the_unit(self):
        net = unit()
        for kwargs in ({}, {"targets": [0]}, {"target_names": ["hot"], "targets": ["hot"]}):
            for explanation in twice(functional(net), **kwargs):
                [target] = explanation.targets
                assert_map(target, closed_form(net, DOC, 0))
                assert target.score == pytest.approx(run_in_numpy(net, DOC)[0, 0], abs=1e-6)

    def test_target_1_is_an_error_that_says_what_to_do(self):
        with pytest.raises(ValueError, match=r"(?s)single unit.*target 0.*target_names.*binary"):
            explain_prediction(functional(unit()), DOC, targets=[1])

    @pytest.mark.parametrize("names", [["no", "yes"], {0: "no", 1: "yes"}])
    def test_two_names_make_it_a_binary_classifier(self, names):
        net = unit()
        p = run_in_numpy(net, DOC)[0, 0]
        expected = closed_form(net, DOC, 0)
        for explanation in twice(functional(net), target_names=names, targets=["no", "yes", 0, 1]):
            no, yes, *again = explanation.targets
            assert [target.target for target in explanation.targets] == ["no", "yes"] * 2
            assert_map(yes, expected)
            assert_map(no, -expected)
            assert (yes.score, no.score) == pytest.approx((p, 1 - p), abs=1e-6)
            assert (yes.proba, no.proba) == pytest.approx((p, 1 - p), abs=1e-6)
            assert [target.score for target in again] == [no.score, yes.score]

    def test_logits_of_both_classes(self):
        net, linear = unit(), unit(activation=None)
        p, z = run_in_numpy(net, DOC)[0, 0], run_in_numpy(linear, DOC)[0, 0]
        expected = closed_form(linear, DOC, 0)
        for explanation in twice(
            functional(net), target_names=["no", "yes"], targets=[0, 1], logits=True
        ):
            no, yes = explanation.targets
            assert_map(yes, expected)
            assert_map(no, -expected)
            assert (no.score, yes.score) == pytest.approx((-z, z), abs=1e-5)
            assert (no.proba, yes.proba) == pytest.approx((1 - p, p), abs=1e-6)

    def test_linear_unit_of_two_classes(self):
        net = unit(activation=None)
        z = run_in_numpy(net, DOC)[0, 0]
        for explanation in twice(functional(net), target_names=["no", "yes"], targets=[0, 1]):
            no, yes = explanation.targets
            assert (no.score, yes.score) == pytest.approx((-z, z), abs=1e-5)
            assert (no.proba, yes.proba) == (None, None)
            assert_map(no, -closed_form(net, DOC, 0))

    def test_predicted_class_of_two(self):
        net = unit()
        p = run_in_numpy(net, DOC)[0, 0]
        explanation = explain_prediction(functional(net), DOC, target_names=["no", "yes"])
        assert explanation.targets[0].target == ("yes" if p > 0.5 else "no")
        best = explain_prediction(functional(net), DOC, target_names=["no", "yes"], top_targets=2)
        assert {target.target for target in best.targets} == {"no", "yes"}

    def test_output_without_a_class_axis(self):
        """A subclassed model may return one number for each sample."""
        net = unit()

        class Scalar(Subclassed):
            def call(self, x, training=None):
                return ops.squeeze(super().call(x), axis=-1)

        for explanation in twice(Scalar(net)):
            assert_map(explanation.targets[0], closed_form(net, DOC, 0))


class OpsSoftmax(keras.Model):
    """A subclassed model that ends in an operation."""

    def __init__(self, net, function):
        super().__init__()
        self.body, self.function = sequential_of_list(net), function

    def call(self, x):
        return self.function(self.body(x))


def with_layer(layer):
    return lambda net: sequential_of_list([*net, layer])


def with_operation(function):
    def make(net):
        inputs = keras.Input(SHAPE)
        return keras.Model(inputs, function(sequential_of_list(net)(inputs)))

    return make


def with_argument(name, structure=functional):
    def make(net):
        net[-1].activation = keras.activations.get(name)
        return structure(net)

    return make


ENDS = {
    "softmax argument": ("softmax", with_argument("softmax")),
    "softmax argument, nested": ("softmax", with_argument("softmax", backbone_and_head)),
    "softmax argument, subclassed": ("softmax", with_argument("softmax", Subclassed)),
    "Activation layer": ("softmax", with_layer(layers.Activation("softmax"))),
    "Softmax layer": ("softmax", with_layer(layers.Softmax())),
    "keras.ops in a graph": ("softmax", with_operation(ops.softmax)),
    "keras.activations in a graph": ("softmax", with_operation(keras.activations.softmax)),
    "keras.ops in call": ("softmax", lambda net: OpsSoftmax(net, ops.softmax)),
    "keras.activations in call": (
        "softmax",
        lambda net: OpsSoftmax(net, keras.activations.softmax),
    ),
    "sigmoid argument": ("sigmoid", with_argument("sigmoid")),
    "sigmoid layer": ("sigmoid", with_layer(layers.Activation("sigmoid"))),
    "sigmoid in a graph": ("sigmoid", with_operation(ops.sigmoid)),
    "sigmoid in call": ("sigmoid", lambda net: OpsSoftmax(net, ops.sigmoid)),
    "dropout after it": (
        "softmax",
        lambda net: sequential_of_list([*net, layers.Softmax(), layers.Dropout(0.5)]),
    ),
}


class TestLogits:
    @pytest.mark.parametrize("end", ENDS)
    def test_score_before_the_final_activation_in_each_form(self, end):
        activation, make = ENDS[end]
        linear = net_layers(activation=None)
        model = make(net_layers(activation=None))
        logits = run_in_numpy(linear, DOC)[0]
        squashed = net_layers(activation=activation)
        probabilities = run_in_numpy(squashed, DOC)[0]
        for explanation in twice(model, targets=[0, 2], logits=True, layer="top"):
            for target in explanation.targets:
                assert_map(target, closed_form(linear, DOC, target.target))
                assert target.score == pytest.approx(logits[target.target], abs=1e-5)
                assert target.proba == pytest.approx(probabilities[target.target], abs=1e-6)
        for explanation in twice(model, targets=[0, 2], layer="top"):
            for target in explanation.targets:
                assert_map(target, closed_form(squashed, DOC, target.target))
                assert target.score == target.proba
                assert target.score == pytest.approx(probabilities[target.target], abs=1e-6)

    def test_of_a_linear_model_are_its_scores(self):
        net = net_layers(activation=None)
        for explanation in twice(functional(net), targets=[1], logits=True):
            [target] = explanation.targets
            assert_map(target, closed_form(net, DOC, 1))
            assert target.proba is None

    def test_softmax_in_the_middle_is_not_the_final_one(self):
        """Attention has a softmax too."""
        net = net_layers(activation=None)
        inputs = x = keras.Input(SHAPE)
        for layer in net[:5]:
            x = layer(x)
        attention = layers.Softmax(axis=[1, 2], name="attention")(layers.Conv2D(1, 1)(x))
        x = layers.Multiply(name="attended")([x, attention])
        model = keras.Model(inputs, net[6](net[5](x)))
        for logits in (False, True):
            for explanation in twice(model, targets=[1], logits=logits, layer="attended"):
                [target] = explanation.targets
                assert target.proba is None
                score = keras.ops.convert_to_numpy(model(DOC))[0, 1]
                assert target.score == pytest.approx(float(score), abs=1e-5)

    def test_best_class_is_the_same(self):
        net = many_classes()
        for seed in range(5):
            doc = noise(1, *SHAPE, seed=seed)
            best = [
                [target.target for target in explanation.targets]
                for explanation in (
                    explain_prediction(functional(net), doc, top_targets=4),
                    explain_prediction(functional(net), doc, top_targets=4, logits=True),
                )
            ]
            assert best[0] == best[1]

    def test_each_output_has_its_own(self):
        net, other = net_layers(), unit()
        other[-1].name = "other"
        inputs = x = keras.Input(SHAPE)
        for layer in net[:6]:
            x = layer(x)
        model = keras.Model(inputs, [net[6](x), other[6](x)])
        for explanation in twice(model, targets=[1], output="head", logits=True):
            assert_map(explanation.targets[0], closed_form(net_layers(activation=None), DOC, 1))
        linear = [*net[:6], unit(activation=None)[-1]]
        for explanation in twice(model, output="other", logits=True):
            assert_map(explanation.targets[0], closed_form(linear, DOC, 0))

    def test_description_says_what_was_explained(self):
        model = functional(net_layers())
        plain, before = (
            explain_prediction(model, DOC, targets=[1], logits=logits) for logits in (False, True)
        )
        assert "(logit)" in before.description
        assert "(logit)" not in plain.description


class TestFindHead:
    heads = [Head(name, (1, 3), None, None) for name in ("kind", "colour", "size")]

    @given(st.integers(-3, 2))
    def test_index_counts_as_in_a_list(self, index):
        assert find_head(self.heads, index) == range(3)[index]

    @given(st.integers().filter(lambda index: not -3 <= index <= 2))
    def test_other_indices_are_errors(self, index):
        with pytest.raises(ValueError, match="output"):
            find_head(self.heads, index)

    def test_name_and_default(self):
        assert [find_head(self.heads, name) for name in ("size", None)] == [2, 0]


@pytest.mark.parametrize(
    ("shape", "count"),
    [((1, 7), 7), ((5,), 1), ((1, 1), 1), ((1, 4, 4, 2), None), ((), None), (None, None)],
)
def test_class_count(shape, count):
    assert class_count(Head("head", shape, None, None)) == count


@given(st.integers(1, 12), st.integers(-20, 20).filter(bool))
def test_best_never_asks_for_more_classes_than_there_are(count, best):
    head = Head("head", (1, count), None, None)
    target, classes = choose_targets(head, None, best, TargetNames(None, count), target=Asked())
    assert classes is None
    assert abs(target.best) == min(count, abs(best))
    assert (target.best > 0) == (best > 0)


def test_classes_of_the_zoo():
    assert run_in_numpy(net_layers(), DOC).shape == (1, CLASSES)
