"""The metrics that others have too: against closed forms and plain loops in NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from eli5k.keras import metrics, run
from eli5k.keras.attribution import explain_samples
from eli5k.keras.evidence.baselines import baseline_of
from eli5k.keras.methods import METHODS, IntegratedGradients
from eli5k.keras.metrics.places import name_of, place_of
from eli5k.keras.metrics.pointing import region_mask
from eli5k.keras.metrics.randomisation import spearman
from eli5k.keras.metrics.road import impute, removed
from tests.zoo import noise

SHAPE = (6, 5, 2)
PICTURES = noise(3, *SHAPE, seed=1)
MAPS = noise(2, 3, *SHAPE[:2], seed=2)
CLASSES = np.array([[0, 2], [1, 0], [2, 1]])


@pytest.fixture
def asked():
    model = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(3, "tanh")])
    model.set_weights([noise(60, 3, seed=3), noise(3, seed=4)])
    return run(model, PICTURES, CLASSES, batch_size=7)


def predict(asked, picture, label):
    kernel, bias = (keras.ops.convert_to_numpy(weight) for weight in asked.model.weights)
    return np.tanh(picture.ravel() @ kernel + bias)[label]


def by_hand(asked, order_of, start, end, steps):
    """Replace pixel by pixel in an order, and ask the model as each share is reached."""
    curves = np.zeros((2, 3, steps + 1))
    for target in range(2):
        for sample in range(3):
            picture = start[sample].copy()
            order, done = order_of(MAPS[target, sample]), 0
            for step in range(steps + 1):
                while done < round(step * 30 / steps):
                    row, column = divmod(order[done], 5)
                    picture[row, column] = end[sample, row, column]
                    done += 1
                curves[target, sample, step] = predict(asked, picture, CLASSES[sample, target])
    return curves


@pytest.mark.parametrize("baseline", [0.0, "mean", "blur"])
def test_deletion_and_insertion_follow_the_order_of_the_heat(asked, baseline):
    base = baseline_of(PICTURES, baseline)

    def hottest(found):
        return np.argsort(-found.ravel())

    def coldest(found):
        return np.argsort(found.ravel())

    close = {"rtol": 1e-4, "atol": 1e-5}
    removed_first = by_hand(asked, hottest, PICTURES, base, 6)
    np.testing.assert_allclose(
        metrics.deletion(asked, MAPS, 6, baseline=baseline), removed_first, **close
    )
    np.testing.assert_allclose(
        metrics.insertion(asked, MAPS, 6, baseline=baseline),
        by_hand(asked, hottest, base, PICTURES, 6),
        **close,
    )
    removed_last = by_hand(asked, coldest, PICTURES, base, 6)
    expected = [np.trapezoid(curve, dx=1 / 6) for curve in (removed_last, removed_first)]
    found = metrics.lerf_minus_morf(asked, MAPS, 6, baseline=baseline)
    np.testing.assert_allclose(found, expected[0] - expected[1], atol=1e-5)


def test_the_area_is_that_of_the_trapezoids():
    curves = noise(4, 11)
    np.testing.assert_allclose(metrics.area(curves), np.trapezoid(curves, dx=0.1), rtol=1e-5)


def test_what_is_imputed_is_the_mean_of_its_neighbours():
    picture = noise(9, 8, 3, seed=5).astype("float64")
    missing = noise(9, 8, seed=6) > -0.2
    found = impute(picture, missing, noise=0)
    np.testing.assert_array_equal(found[~missing], picture[~missing])
    for row, column in np.argwhere(missing):
        total, weights = 0, 0
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                at = row + down, column + right
                if (down or right) and 0 <= at[0] < 9 and 0 <= at[1] < 8:
                    weight = 1 / 12 if down and right else 1 / 6
                    total, weights = total + weight * found[at], weights + weight
        np.testing.assert_allclose(found[row, column], total / weights, atol=1e-6)


def test_noise_is_added_to_what_is_imputed_and_to_nothing_else():
    picture, missing = np.zeros((60, 60, 1)), np.zeros((60, 60), bool)
    missing[:30] = True
    found = impute(picture, missing, noise=0.5, random=np.random.default_rng(0))
    assert found[:30].std() == pytest.approx(0.5, rel=0.1)
    assert not found[30:].any()


def test_road_is_half_the_difference_of_coldest_and_hottest(asked):
    shares = (0.2, 0.6)
    found = metrics.road(asked, MAPS, shares, noise=0)
    for target in range(2):
        for sample in range(3):
            label, heat = CLASSES[sample, target], MAPS[target, sample]
            scores = [
                [
                    predict(asked, impute(PICTURES[sample], removed(heat, share, cold), 0), label)
                    for share in shares
                ]
                for cold in (True, False)
            ]
            expected = (np.mean(scores[0]) - np.mean(scores[1])) / 2
            assert found[target, sample] == pytest.approx(expected, abs=1e-5)


def test_road_is_for_pictures():
    model = keras.Sequential([keras.Input((9, 1)), layers.Flatten()])
    with pytest.raises(ValueError, match="two axes"):
        metrics.road(run(model, np.ones((1, 9, 1)), 0), np.ones((1, 1, 9)))


def test_infidelity_is_the_squared_error_of_what_is_foretold(asked):
    changes = noise(5, *SHAPE, seed=7, low=-0.3, high=0.3)
    given = iter([0, 1, 2, 3, 4] * 3)

    def perturb(random, pictures):
        # The first of each picture's rows is the picture itself.
        return np.stack([changes[next(given)] if row % 6 else pictures[row] for row in range(18)])

    whole = metrics.infidelity(
        run(asked.model, PICTURES, CLASSES, batch_size=18), MAPS, perturb, samples=5
    )
    for target in range(2):
        for sample in range(3):
            label, picture = CLASSES[sample, target], PICTURES[sample]
            errors = [
                (change.sum(axis=-1) * MAPS[target, sample]).sum()
                - (predict(asked, picture, label) - predict(asked, picture - change, label))
                for change in changes
            ]
            assert whole[target, sample] == pytest.approx(np.square(errors).mean(), rel=1e-3)


@pytest.mark.parametrize("batch_size", [2, 64])
def test_a_gradient_foretells_a_linear_model(batch_size):
    model = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(3)])
    kernel = noise(60, 3, seed=8)
    model.set_weights([kernel, noise(3)])
    maps = kernel.T[CLASSES].reshape(3, 2, *SHAPE).swapaxes(0, 1)
    asked = run(model, PICTURES, CLASSES, batch_size=batch_size)
    assert metrics.infidelity(asked, maps).max() < 1e-8
    assert metrics.infidelity(asked, 0 * maps).min() > 1e-3


def test_max_sensitivity_is_the_largest_relative_change():
    # The gradient of a sum of squares is twice the picture.
    model = keras.Sequential(
        [keras.Input(SHAPE), layers.Flatten(), layers.Dense(2), layers.Lambda(lambda x: x * x)]
    )
    model.set_weights([np.eye(60, 2), np.zeros(2)])
    picture = np.zeros((1, *SHAPE))
    picture[0, 0, 0, 0] = 4
    found = metrics.max_sensitivity(run(model, picture, 0), "gradient", 0.5, samples=40)
    assert 0.08 < found.item() <= 0.125 + 1e-6
    blank = metrics.max_sensitivity(run(model, 0 * picture, 0), "gradient", 0.0, samples=1)
    assert np.isnan(blank).all()
    assert "gradient" in METHODS


def test_points_and_heat_are_in_a_region():
    found = np.zeros((4, 4))
    found[1, 2], found[3, 0], found[0, 0] = 3, 1, -9
    box = (20, 10, 30, 20)
    assert metrics.points_at(found, box, (40, 40))
    assert not metrics.points_at(-found, box, (40, 40))
    assert metrics.heat_in(found, box, (40, 40)) == pytest.approx(0.75)
    mask = region_mask(box, (40, 40)).astype(bool)
    assert metrics.heat_in(found, mask, (40, 40)) == pytest.approx(0.75)
    for blank in (np.ones((4, 4)), np.full((4, 4), np.nan)):
        assert not metrics.points_at(blank, box, (40, 40))
    assert metrics.heat_in(np.zeros((4, 4)), box, (40, 40)) == 0


def test_sparseness_is_the_gini_index():
    maps = np.abs(noise(2, 5, 6))
    found = metrics.sparseness(maps)
    for one, gini in zip(maps, found):
        differences = np.abs(one.ravel()[:, np.newaxis] - one.ravel())
        assert gini == pytest.approx(differences.mean() / (2 * one.mean()), rel=1e-5)
    assert np.isnan(metrics.sparseness(np.zeros((3, 3))))


@pytest.mark.parametrize(
    ("point", "name"),
    [
        ((0.1, 0.1), "at the top left"),
        ((0.5, 0.9), "at the right"),
        ((0.9, 0.5), "at the bottom"),
        ((0.5, 0.5), "in the middle"),
        ((0.99, 0.99), "at the bottom right"),
        ((0.1,), "at the start"),
        ((0.5,), "in the middle"),
        ((0.2, 0.5, 0.8), "at 20 %, 50 %, 80 % of the axes"),
    ],
)
def test_places_have_names(point, name):
    assert name_of(point) == name
    grid = np.zeros((100,) * len(point))
    grid[tuple(int(100 * share) for share in point)] = 1
    assert place_of(grid) == name or len(point) == 3


@pytest.mark.parametrize("baseline", [0.0, "mean"])
def test_integrated_gradients_are_complete(asked, baseline):
    method = IntegratedGradients(steps=200, baseline=baseline)
    maps = explain_samples(asked, method).maps
    assert np.abs(metrics.completeness(asked, maps, baseline)).max() < 1e-3
    base = baseline_of(PICTURES, baseline)
    missing = metrics.completeness(asked, 0 * maps, baseline)
    for target in range(2):
        for sample in range(3):
            label = CLASSES[sample, target]
            gain = predict(asked, PICTURES[sample], label) - predict(asked, base[sample], label)
            assert missing[target, sample] == pytest.approx(-gain, abs=1e-4)


def test_the_rival_is_the_runner_up(asked):
    scores = np.array([[predict(asked, each, label) for label in range(3)] for each in PICTURES])
    order = scores.argsort(axis=1)[:, ::-1]
    best = explain_samples(run(asked.model, PICTURES, order[:, :2]), "gradient").maps
    expected = [spearman(one, other) for one, other in zip(*best)]
    np.testing.assert_allclose(metrics.rival_likeness(asked, "gradient"), expected, atol=1e-6)
    assert max(expected) < 0.9
    single = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(1)])
    with pytest.raises(ValueError, match="two classes or more"):
        metrics.rival_likeness(run(single, PICTURES), "gradient")
