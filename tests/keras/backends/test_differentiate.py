"""Gradients of functions small enough to be differentiated by hand."""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np
import pytest
from keras import ops

from eli5k.keras.backends import active_backend
from tests.close import assert_close

X = np.array([[1.0, 2.0, -3.0], [4.0, -0.5, 6.0]], "float32")


def arrays(structure):
    return keras.tree.map_structure(
        lambda x: None if x is None else ops.convert_to_numpy(x), structure
    )


def differentiate(forward):
    """Scores, tapped tensors and gradients as arrays; ``forward(tap, x)`` returns the scores."""
    x = ops.convert_to_tensor(X)
    (scores, _), tapped, gradients = active_backend().differentiate(
        lambda tap: (forward(tap, x), 0)
    )
    return arrays(scores), arrays(tapped), arrays(gradients)


def column(x):
    return ops.sum(x, axis=1, keepdims=True)


class TestMathematics:
    def test_one_target(self):
        scores, [tapped], [gradient] = differentiate(lambda tap, x: column(tap(x) ** 3))
        np.testing.assert_allclose(scores, (X**3).sum(axis=1, keepdims=True), rtol=1e-6)
        np.testing.assert_array_equal(tapped, X)
        np.testing.assert_allclose(gradient, [3 * X**2], rtol=1e-6)

    def test_several_targets_in_their_order(self):
        def forward(tap, x):
            a = tap(x)
            return ops.concatenate([column(a), column(a * a), a[:, :1] * a[:, 1:2]], axis=1)

        _, _, [gradient] = differentiate(forward)
        swapped = np.stack([X[:, 1], X[:, 0], 0 * X[:, 0]], axis=1)
        np.testing.assert_allclose(gradient, [np.ones_like(X), 2 * X, swapped], rtol=1e-6)

    def test_more_axes(self):
        def forward(tap, x):
            grid = ops.reshape(ops.concatenate([x, x + 1], axis=1), (2, 3, 1, 2))
            return ops.sum(tap(grid) ** 2, axis=(1, 2))

        _, [tapped], [gradient] = differentiate(forward)
        assert gradient.shape == (2, 2, 3, 1, 2)
        np.testing.assert_allclose(gradient[0], 2 * tapped * [1, 0], rtol=1e-6)
        np.testing.assert_allclose(gradient[1], 2 * tapped * [0, 1], rtol=1e-6)

    def test_chain_of_taps(self):
        def forward(tap, x):
            first = tap(x)
            second = tap(first * first)
            third = tap(ops.sin(second))
            return column(5 * third)

        _, tapped, gradients = differentiate(forward)
        np.testing.assert_allclose(tapped[2], np.sin(X**2), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(gradients[2], [5 + 0 * X], rtol=1e-6)
        np.testing.assert_allclose(gradients[1], [5 * np.cos(X**2)], rtol=1e-5)
        np.testing.assert_allclose(gradients[0], [10 * X * np.cos(X**2)], rtol=1e-5)

    def test_taps_side_by_side(self):
        def forward(tap, x):
            left, right = tap(x), tap(2 * x)
            return ops.concatenate([column(left * right), column(right)], axis=1)

        _, _, [left, right] = differentiate(forward)
        np.testing.assert_allclose(left, [2 * X, 0 * X], rtol=1e-6)
        np.testing.assert_allclose(right, [X, np.ones_like(X)], rtol=1e-6)

    def test_way_around_a_tap_does_not_count(self):
        _, _, [gradient] = differentiate(lambda tap, x: column(tap(x) * x + x))
        np.testing.assert_allclose(gradient, [X], rtol=1e-6)

    def test_same_tensor_tapped_again(self):
        """As where an identity, such as dropout at inference, lies beside a skip connection."""

        def forward(tap, x):
            before = tap(x)
            after = tap(before)
            return column(before + 2 * after)

        _, _, [before, after] = differentiate(forward)
        np.testing.assert_array_equal(before, [np.full_like(X, 3)])
        np.testing.assert_array_equal(after, [np.full_like(X, 2)])


class TestDisconnected:
    @pytest.mark.parametrize("targets", [1, 3])
    @pytest.mark.parametrize(
        "ending",
        [
            lambda tapped, x: x,
            lambda tapped, x: x + ops.stop_gradient(tapped),
            lambda tapped, x: x + ops.cast(ops.argmax(tapped, axis=1, keepdims=True), "float32"),
            lambda tapped, x: x + ops.cast(tapped > 0, "float32"),
        ],
        ids=["unused", "stop_gradient", "argmax", "comparison"],
    )
    def test_is_none(self, ending, targets):
        _, [tapped], gradients = differentiate(lambda tap, x: ending(tap(x), x)[:, :targets])
        assert gradients == [None]
        np.testing.assert_array_equal(tapped, X)

    @pytest.mark.parametrize("targets", [1, 3])
    def test_is_none_beside_one_that_is_connected(self, targets):
        def forward(tap, x):
            dead, alive = tap(x), tap(x)
            return ops.repeat(column(alive + ops.stop_gradient(dead)), targets, axis=1)

        _, _, [dead, alive] = differentiate(forward)
        assert dead is None
        np.testing.assert_array_equal(alive, np.ones((targets, *X.shape)))

    @pytest.mark.parametrize("targets", [1, 3])
    def test_gradient_that_happens_to_be_zero_is_not_none(self, targets):
        def forward(tap, x):
            return ops.repeat(column(ops.relu(tap(x) - 100)), targets, axis=1)

        _, _, [gradient] = differentiate(forward)
        np.testing.assert_array_equal(gradient, np.zeros((targets, *X.shape)))

    def test_nothing_tapped(self):
        scores, tapped, gradients = differentiate(lambda tap, x: x)
        np.testing.assert_array_equal(scores, X)
        assert tapped == []
        assert gradients == []


class Rest(NamedTuple):
    some: object
    none: object


class TestResults:
    def test_come_back_as_they_were(self):
        def forward(tap):
            x = tap(ops.convert_to_tensor(X))
            return column(x), {"a": Rest(x + 1, None), "b": [ops.argmax(x, axis=1)]}

        (scores, rest), _, _ = active_backend().differentiate(forward)
        assert_close(arrays(scores), X.sum(axis=1, keepdims=True))
        assert isinstance(rest["a"], Rest)
        assert rest["a"].none is None
        np.testing.assert_array_equal(arrays(rest["a"].some), X + 1)
        np.testing.assert_array_equal(arrays(rest["b"][0]), [1, 2])

    def test_error_comes_through_and_the_next_run_is_as_before(self):
        class OwnError(Exception):
            pass

        def fail(tap, x):
            column(tap(x))
            raise OwnError("mine")

        with pytest.raises(OwnError) as raised:
            differentiate(fail)
        assert raised.value.args == ("mine",)
        _, _, [gradient] = differentiate(lambda tap, x: column(2 * tap(x)))
        np.testing.assert_array_equal(gradient, [np.full_like(X, 2)])
