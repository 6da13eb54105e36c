"""Halves of a picture and their agreement with a map: against closed forms and plain loops."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from eli5k.keras import run
from eli5k.keras.evidence.baselines import baseline_of
from eli5k.keras.metrics.agreement import agreement, copies_of, on_cells
from eli5k.keras.metrics.halves import cells_of, draw_halves, measure_halves
from eli5k.maps import resize
from tests.zoo import noise

GRID = (16, 20)
PICTURES = noise(2, *GRID, 3, seed=1)


def linear_model(activation=None):
    model = keras.Sequential(
        [keras.Input((*GRID, 3)), layers.Flatten(), layers.Dense(4, activation)]
    )
    model.set_weights([noise(np.prod(GRID) * 3, 4, seed=2), noise(4, seed=3)])
    return model, model.get_weights()[0].reshape(*GRID, 3, 4)


@pytest.mark.parametrize("activation", [None, "softmax"])
@pytest.mark.parametrize("batch_size", [5, 64])
def test_what_halves_are_worth_to_a_linear_model_is_known(activation, batch_size):
    model, kernel = linear_model(activation)
    classes = np.array([[0, 2], [3, 1]])
    found = measure_halves(run(model, PICTURES, classes, batch_size=batch_size), pairs=6)
    shown = PICTURES - baseline_of(PICTURES, "blur")
    lean = resize(found.signs, GRID)
    expected = np.einsum("phw,nhwc,hwck->pnk", lean, shown, kernel)
    expected = np.take_along_axis(expected, classes[np.newaxis], axis=2)
    np.testing.assert_allclose(found.worth, expected, rtol=1e-3, atol=1e-3)
    scores = np.einsum("nhwc,hwck->nk", PICTURES, kernel) + model.get_weights()[1]
    np.testing.assert_allclose(
        found.plain, np.take_along_axis(scores, classes, axis=1), rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(
        found.plain - found.blurred, (found.first + found.second)[0] - 2 * found.blurred, atol=2e-3
    )


def test_other_masks_are_measured_in_the_same_batches():
    model, kernel = linear_model()
    box = np.zeros((2, *GRID), "float32")
    box[0, 3:7], box[1, :, 2:9] = 1, 1
    shared = np.ones((1, 3, 3), "float32")
    asked = run(model, PICTURES, 2, batch_size=7)
    found = measure_halves(asked, pairs=3, extra=[box, shared])
    blurred = baseline_of(PICTURES, "blur")
    kept = blurred + box[..., np.newaxis] * (PICTURES - blurred)
    expected = np.einsum("nhwc,hwc->n", kept, kernel[..., 2]) + model.get_weights()[1][2]
    np.testing.assert_allclose(found.extra[0, :, 0], expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.extra[1], found.plain, rtol=1e-4)


def test_without_targets_the_best_class_of_the_whole_picture_is_asked_about():
    model, kernel = linear_model("softmax")
    found = measure_halves(run(model, PICTURES), pairs=2)
    best = (np.einsum("nhwc,hwck->nk", PICTURES, kernel) + model.get_weights()[1]).argmax(axis=1)
    assert found.classes.ravel().tolist() == best.tolist()


def test_a_callable_is_asked_for_its_own_score():
    model, _ = linear_model("softmax")
    found = measure_halves(run(model, PICTURES, lambda outputs: outputs[:, 1]), pairs=2)
    assert found.plain.ravel() == pytest.approx(model.predict(PICTURES, verbose=0)[:, 1], rel=1e-4)


@pytest.mark.parametrize("cells", [(14, 28), (5, 5), (56,), (8, 8, 8), (1, 9)])
def test_halves_are_halves_and_smooth(cells):
    signs = draw_halves(cells, pairs=200)
    assert set(np.unique(signs)) == {-1, 1}
    assert np.abs(signs.reshape(200, -1).sum(axis=1)).max() <= 1
    neighbours = (signs[:, ..., 1:] == signs[:, ..., :-1]).mean()
    # Each cell is as often in a half as out of it, at borders too.
    assert neighbours > (0.7 if max(cells) > 5 else 0.5)
    assert np.abs(signs.mean(axis=0)).max() < 0.35


@pytest.mark.parametrize(
    ("grid", "cells"),
    [((224, 224), (14, 14)), ((6, 300), (6, 56)), ((1000,), (56,)), ((64, 64, 32), (16, 16, 8))],
)
def test_cells_are_about_as_wide_as_high(grid, cells):
    assert cells_of(grid) == cells


def test_finer_maps_are_averaged_and_coarser_ones_interpolated():
    fine = noise(3, 12, 20)
    blocks = fine.reshape(3, 4, 3, 5, 4).mean(axis=(2, 4))
    np.testing.assert_allclose(on_cells(fine, (4, 5)), blocks, rtol=1e-5)
    assert on_cells(fine, (5, 7)).mean() == pytest.approx(fine.mean(), rel=1e-4)
    assert on_cells(np.array([0.0, 1.0]), (4,)).tolist() == [0, 0.25, 0.75, 1]


def brute_force_copies(on_grid):
    turned = [np.rot90(flipped, k) for flipped in (on_grid, on_grid[::-1]) for k in range(4)]
    return [
        np.roll(each, (down, right), (0, 1))
        for each in turned
        if each.shape == on_grid.shape
        for down in range(on_grid.shape[0])
        for right in range(on_grid.shape[1])
    ]


@pytest.mark.parametrize("cells", [(4, 4), (3, 5)])
def test_the_copies_are_all_turned_flipped_and_moved_ones(cells):
    on_grid = noise(*cells)
    found = {copy.tobytes() for copy in copies_of(on_grid)}
    assert found == {copy.tobytes() for copy in brute_force_copies(on_grid)}


def test_agreement_is_the_correlation_and_p_the_share_of_copies_that_do_as_well():
    signs, on_grid = draw_halves((6, 6), 20), noise(6, 6, seed=4)
    worth = (signs * on_grid).sum(axis=(1, 2)) + 6 * noise(20, seed=5)

    def correlation(candidate):
        return np.corrcoef((signs * candidate).sum(axis=(1, 2)), worth)[0, 1]

    others = [
        correlation(copy)
        for copy in brute_force_copies(on_grid)
        if np.corrcoef(copy.ravel(), on_grid.ravel())[0, 1] <= 0.5
    ]
    found = agreement(on_grid, signs, worth)
    own = correlation(on_grid)
    assert found.value == pytest.approx(own, rel=1e-6)
    assert found.copies == len(others)
    total = len(others) + 1
    assert found.p_value == pytest.approx((sum(o >= own - 1e-12 for o in others) + 1) / total)
    assert found.p_against == pytest.approx((sum(o <= own + 1e-12 for o in others) + 1) / total)
    inverted = agreement(-3 * on_grid + 7, signs, worth)
    assert inverted.value == pytest.approx(-own)
    assert inverted.p_against == pytest.approx(found.p_value)


def test_chance_is_kept_to_for_maps_that_know_nothing():
    signs = draw_halves((10, 10), 24)
    spot = np.zeros((10, 10))
    spot[2:5, 6:9] = 1
    worth = (signs * spot).sum(axis=(1, 2))
    fields = draw_halves((10, 10), 100, seed=7)
    below = np.mean([agreement(field, signs, worth).p_value <= 0.05 for field in fields])
    assert below <= 0.13


@pytest.mark.parametrize(
    ("on_grid", "worth"),
    [
        (np.full((5, 5), 0.1), np.arange(8.0)),
        (np.eye(5), np.full(8, 3.3)),
        (np.full((5, 5), np.nan), np.arange(8.0)),
    ],
)
def test_nothing_agrees_with_what_is_flat_or_not_finite(on_grid, worth):
    found = agreement(on_grid, draw_halves((5, 5), 8), worth)
    assert np.isnan(found[:3]).all()
