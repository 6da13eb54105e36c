"""Checks of maps, on nets whose evidence lies at a known place."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import eli5k
from eli5k.base import Check
from eli5k.formatters.place import place_of_heat
from eli5k.keras import run
from eli5k.keras.evidence.probes import Layer, Probe
from eli5k.keras.methods.cam import grad_cam
from eli5k.keras.metrics.agreement import Agreement, agreement
from eli5k.keras.metrics.check import PAIRS, QUICK_PAIRS, SHARES, check_maps, check_run, largest
from eli5k.keras.metrics.halves import cells_of, draw_halves, measure_halves
from eli5k.keras.metrics.verdict import sentence_on, verdict_on
from eli5k.keras.metrics.worth import attainable, worth_of
from tests.zoo import noise

SIDE = 28
# Rows and columns of the spot that each class looks for, in the two channels.
PLACES = [(slice(4, 10), slice(16, 24)), (slice(18, 26), slice(3, 9))]


def two_spots():
    """A picture with a spot in each channel, and its maps ``(1, targets, height, width)``."""
    picture = noise(1, SIDE, SIDE, 2, low=0, high=0.05)
    maps = np.zeros((1, 2, SIDE, SIDE), "float32")
    for channel, place in enumerate(PLACES):
        picture[0, *place, channel] = 1
        maps[0, channel, *place] = 1
    return picture, maps


def spot_model(rank=2, activation=None):
    """A net that scores how much of each channel is bright: blurred, nothing is."""
    shape = (SIDE,) * rank
    pool = {1: layers.GlobalAveragePooling1D, 2: layers.GlobalAveragePooling2D}[rank]()
    conv = {1: layers.Conv1D, 2: layers.Conv2D}[rank](2, 1, activation="relu")
    model = keras.Sequential([keras.Input((*shape, 2)), conv, pool])
    conv.set_weights([np.eye(2).reshape(*[1] * rank, 2, 2) * 20, np.full(2, -12.0)])
    if activation:
        dense = layers.Dense(2, activation)
        model.add(dense)
        dense.set_weights([np.eye(2), np.zeros(2)])
    return model


@pytest.mark.parametrize("activation", [None, "softmax", "sigmoid"])
def test_maps_of_the_right_place_are_supported_and_of_the_other_contradicted(activation):
    picture, maps = two_spots()
    model = spot_model(activation=activation)
    [[right, also_right]] = check_maps(model, picture, maps, [[0, 1]])
    [swapped] = check_maps(model, picture, maps[:, 1], 0)
    [inverted] = check_maps(model, picture, -maps[:, 0], 0)
    [flat] = check_maps(model, picture, np.ones((1, 7, 7)), 0)
    assert [right.verdict, also_right.verdict] == ["supported"] * 2
    assert right.agreement > 0.9
    assert swapped.verdict in ("not shown", "contradicted")
    assert inverted.verdict == "contradicted"
    assert inverted.agreement == pytest.approx(-right.agreement, abs=1e-6)
    assert flat.verdict == "untestable"
    assert "flat" in flat.sentence
    assert "at the top" in right.sentence
    assert "left" in also_right.sentence


def test_the_scores_are_the_models_own():
    picture, maps = two_spots()
    model = spot_model()
    [found] = check_maps(model, picture, maps[:, 0], 0, region=(16, 4, 24, 10))
    assert found.score == pytest.approx(model.predict(picture, verbose=0)[0, 0], rel=1e-5)
    assert found.region_heat == pytest.approx(1)
    assert found.region_covered == pytest.approx(found.blurred, abs=0.05)
    mask = np.zeros((SIDE, SIDE), bool)
    mask[4:10, 20:24] = True
    [half] = check_maps(model, picture, maps[:, 0], 0, quick=True, region=mask)
    assert half.region_heat == pytest.approx(0.5)
    assert found.region_covered < half.region_covered < found.score


def test_the_hottest_parts_are_removed_and_kept():
    picture, maps = two_spots()
    [found] = check_maps(spot_model(), picture, maps[:, 0], 0)
    assert found.shares == SHARES
    # The spot is 6 % of the picture.
    assert found.kept[2] > 0.8 * found.score
    assert found.dropped[1] < found.blurred + 0.1 * found.score
    assert max(found.kept_elsewhere[:2]) < found.kept[1]
    assert found.dropped[1] < min(found.dropped_elsewhere[:2])


def test_the_runs_are_as_many_as_said(monkeypatch):
    rows = []
    from eli5k.keras.evidence.run import Run

    scores = Run.scores

    def spy(self, *args, **kwargs):
        rows.append(self.rows)
        return scores(self, *args, **kwargs)

    monkeypatch.setattr(Run, "scores", spy)
    picture, maps = two_spots()
    [found] = check_maps(spot_model(), picture, maps[:, 0], 0, batch_size=1)
    assert sum(rows) == found.runs == 2 * PAIRS + 18 == 80
    rows.clear()
    [quick] = check_maps(spot_model(), picture, maps[:, 0], 0, batch_size=1, quick=True)
    assert sum(rows) == quick.runs == 2 * QUICK_PAIRS + 2 == 34
    assert quick.shares == ()


def test_worth_is_largest_at_the_evidence_and_adds_up():
    picture, _ = two_spots()
    halves = measure_halves(run(spot_model(), picture, [[0, 1]]))
    worth = worth_of(halves)
    gain = (halves.plain - halves.blurred).T
    np.testing.assert_allclose(worth.sum(axis=(2, 3)), gain, rtol=1e-4)
    for target, place in enumerate(PLACES):
        peak = np.unravel_index(worth[target, 0].argmax(), cells_of((SIDE, SIDE)))
        row, column = (2 * index for index in peak)
        assert place[0].start - 3 <= row <= place[0].stop + 2
        assert place[1].start - 3 <= column <= place[1].stop + 2


def test_signals_are_checked_too():
    signal = noise(1, SIDE, 2, low=0, high=0.05)
    signal[0, 4:7, 0] = 1
    heat = np.zeros((1, SIDE))
    heat[0, 4:7] = 1
    [found] = check_maps(spot_model(rank=1), signal, heat, 0)
    assert found.verdict == "supported"
    assert "start" in found.sentence


def test_volumes_are_checked_too():
    pool = layers.GlobalAveragePooling3D()
    conv = layers.Conv3D(1, 1, activation="relu")
    model = keras.Sequential([keras.Input((12, 12, 12, 1)), conv, pool])
    conv.set_weights([np.full((1, 1, 1, 1, 1), 20.0), np.full(1, -12.0)])
    volume = noise(1, 12, 12, 12, 1, low=0, high=0.05)
    volume[0, 1:4, 7:11, 2:5] = 1
    [found] = check_maps(model, volume, volume[..., 0], 0)
    [wrong] = check_maps(model, volume, volume[:, ::-1, ::-1, ::-1, 0], 0)
    assert (found.verdict, found.worth.shape) == ("supported", (8, 8, 8))
    assert wrong.verdict != "supported"


def test_whole_numbers_and_a_second_input_stay_as_they_are():
    picture, maps = two_spots()
    image = keras.Input((SIDE, SIDE, 2), dtype="uint8", name="image")
    factor = keras.Input((1,), name="factor")
    scores = spot_model()(layers.Rescaling(1 / 255)(image))
    model = keras.Model({"image": image, "factor": factor}, layers.Multiply()([scores, factor]))
    docs = {"image": np.rint(255 * picture).astype("uint8"), "factor": np.array([[3.0]])}
    [found] = check_maps(model, docs, maps[:, 0], 0)
    [plain] = check_maps(spot_model(), docs["image"] / 255, maps[:, 0], 0)
    assert found.verdict == "supported"
    assert found.score == pytest.approx(3 * plain.score, rel=1e-4)
    assert found.agreement == pytest.approx(plain.agreement, abs=0.01)


def test_a_batch_is_checked_as_its_samples_are():
    picture, maps = two_spots()
    pictures = np.concatenate([picture, picture[:, ::-1]])
    both = np.concatenate([maps[:, 0], maps[:, 0]])
    together = check_maps(spot_model(), pictures, both, 0, batch_size=9)
    alone = [check_maps(spot_model(), p[np.newaxis], maps[:, 0], 0)[0] for p in pictures]
    assert [each.verdict for each in together] == ["supported", "not shown"]
    for one, other in zip(together, alone):
        assert one.agreement == pytest.approx(other.agreement, abs=1e-4)
        assert one.kept == pytest.approx(other.kept, abs=1e-4)


def test_what_is_not_finite_is_untestable():
    picture, maps = two_spots()
    model = keras.Sequential([keras.Input((SIDE, SIDE, 2)), layers.Flatten(), layers.Dense(1)])
    [found] = check_maps(model, np.full_like(picture, np.nan), maps[:, 0], 0)
    assert (found.verdict, found.sentence.split(",")[0]) == (
        "untestable",
        "The map or the score is not finite",
    )
    [of_map] = check_maps(spot_model(), picture, np.full_like(maps[:, 0], np.inf), 0)
    assert of_map.verdict == "untestable"


@pytest.mark.parametrize(
    ("maps", "targets"),
    [
        (np.ones((2, 7, 7)), 0),
        (np.ones((1, 7, 7, 1)), 0),
        (np.ones((1, 7, 7)), [[0, 1]]),
        (np.array([[["a"]]]), 0),
    ],
)
def test_maps_that_do_not_fit_are_refused(maps, targets):
    with pytest.raises(ValueError, match=r"maps must be numbers of shape \(batch"):
        check_maps(spot_model(), two_spots()[0], maps, targets)


@pytest.mark.parametrize("region", [(0, 0, 29, 5), (5, 5, 5, 9), (0.0, 0.0, 3.0, 3.0), "left"])
def test_a_region_that_does_not_fit_is_refused(region):
    picture, maps = two_spots()
    with pytest.raises(ValueError, match="region must be a box"):
        check_maps(spot_model(), picture, maps[:, 0], 0, quick=True, region=region)


def test_only_the_samples_asked_about_are_checked():
    picture, maps = two_spots()
    asked = run(spot_model(), np.repeat(picture, 3, axis=0), 0)
    part = asked.part(np.arange(3), n_valid=2)
    checks = check_run(part, np.repeat(maps[:, 0], 2, axis=0)[np.newaxis], quick=True)
    assert [each.verdict for [each] in checks] == ["supported"] * 2


@pytest.mark.parametrize("method", ["grad-cam", "finer-cam", "tta"])
def test_an_explanation_comes_with_its_checks(method):
    picture, _ = two_spots()
    model = spot_model(activation="softmax")
    kwargs = {"method": method, "top_targets": 2}
    explained = eli5k.explain_prediction(model, picture, check=True, **kwargs)
    for target in explained.targets:
        assert target.check.verdict == "supported"
        assert target.check.runs == 80
        assert np.exp(target.check.score) > target.score
    unchecked = eli5k.explain_prediction(model, picture, **kwargs)
    assert [target.check for target in unchecked.targets] == [None, None]


def test_a_contradicted_map_warns():
    def inverted(run):
        return run.evidence(Probe(Layer()), lambda evidence: -grad_cam(evidence) + 1)

    picture, _ = two_spots()
    with pytest.warns(eli5k.ExplanationWarning, match="The map is contradicted. The map peaks"):
        explained = eli5k.explain_prediction(
            spot_model(), picture, targets=[0], method=inverted, check=True
        )
    assert explained.targets[0].check.verdict == "contradicted"
    assert len(explained.warnings) == 1


def test_a_callable_and_a_stream_are_checked_too():
    picture, _ = two_spots()

    def first(outputs):
        return outputs[:, 0]

    stream = eli5k.explain_predictions(
        spot_model(), np.repeat(picture, 3, axis=0), batch_size=2, targets=[first], check=True
    )
    assert [each.targets[0].check.verdict for each in stream] == ["supported"] * 3


@pytest.mark.parametrize(
    ("found", "gain", "word"),
    [
        (Agreement(0.9, 0.01, 0.99, 900), 3.0, "supported"),
        (Agreement(0.9, 0.06, 0.95, 900), 3.0, "not shown"),
        (Agreement(0.7, 0.01, 0.99, 900, 0.9), 3.0, "supported"),
        (Agreement(0.7, 0.01, 0.99, 900, 0.95), 3.0, "not shown"),
        (Agreement(0.5, 0.01, 0.99, 900), 3.0, "not shown"),
        (Agreement(-0.9, 0.99, 0.01, 900), 3.0, "contradicted"),
        (Agreement(-0.9, 0.99, 0.06, 900), 3.0, "not shown"),
        (Agreement(0.9, 0.01, 0.99, 900), 0.9, "untestable"),
        (Agreement(0.9, 0.01, 0.99, 0), 3.0, "untestable"),
        (Agreement(np.nan, np.nan, np.nan, 0), 3.0, "untestable"),
    ],
)
def test_the_four_verdicts(found, gain, word):
    scores = np.array([1.0, -1.0]), np.array([-1.0, 1.0])
    assert verdict_on(found, scores, gain) == word
    sentence = sentence_on(word, found, np.eye(3), (2.0, 1.0), (gain, 0.0))
    assert sentence.endswith((".", "target."))
    assert isinstance(Check(word, sentence), Check)


def test_a_map_that_is_better_than_chance_but_not_good_enough_says_so():
    found = Agreement(0.65, 0.01, 0.99, 900, attainable=0.96)
    sentence = sentence_on("not shown", found, np.eye(3), (2.0, 1.0), (3.0, 0.0))
    assert "1 % of the cases, but it agrees with the model to 0.65 only, and 0.72" in sentence
    assert "chance" not in sentence


@pytest.mark.parametrize("noise", [0, 1, 3])
def test_no_map_agrees_much_better_than_is_attainable(noise):
    # With much noise, what is left to predict is what correlation of signal and sum allows.
    signs = draw_halves((14, 14), 31)
    spot = np.zeros((14, 14))
    spot[2:9, 5:12] = 1
    signal = (signs * spot).sum(axis=(1, 2))
    worth = signal + noise * signal.std() * np.random.default_rng(0).standard_normal(31)
    limit = np.corrcoef(signal, worth)[0, 1]
    assert attainable(signs, worth) == pytest.approx(limit, abs=0.1 + 0.1 * noise)
    assert agreement(spot, signs, worth).attainable == attainable(signs, worth)


def test_the_largest_cells_are_as_many_as_the_share():
    fields = noise(3, 10, 10)
    for share in SHARES:
        found = largest(fields, share)
        assert found.sum(axis=(1, 2)).tolist() == [round(100 * share)] * 3
        assert fields[found == 1].min() > np.sort(fields[found == 0])[0]


def test_the_check_and_the_text_name_the_same_place():
    # The peak is just left of the first third: on cells of another grid it would not be.
    docs = np.zeros((1, 40, 40, 1), "float32")
    docs[:, 18:22, 12:14] = 1
    model = keras.Sequential([keras.Input((40, 40, 1)), layers.GlobalMaxPooling2D()])
    heat = docs[..., 0]
    [check] = check_maps(model, docs, heat, targets=0)
    assert place_of_heat(heat[0]).startswith("hottest left,")
    assert "peaks at the left." in check.sentence


def test_the_place_and_the_worth_are_those_in_the_photograph_that_the_model_gets_a_crop_of():
    model = keras.Sequential([keras.Input((SIDE, SIDE, 3)), layers.GlobalMaxPooling2D()])
    model.preprocessor = layers.Resizing(SIDE, SIDE, crop_to_aspect_ratio=True)
    photo = noise(SIDE, 2 * SIDE, 3, low=0, high=0.05)
    # Left in the crop, and in the middle of the photograph.
    photo[10:18, 20:24, 0] = 1
    asked = {"targets": [0], "method": "gradient", "check": True}
    [target] = eli5k.explain_prediction(model, photo, **asked).targets
    check = target.check
    assert target.frame == pytest.approx((0.25, 0, 0.75, 1), abs=0.02)
    assert "The map peaks in the middle." in check.sentence
    assert check.worth.shape == (14, 28)
    assert (check.worth[:, :6] == 0).all()
    assert (check.worth[:, 22:] == 0).all()
    assert check.worth.sum() == pytest.approx(check.score - check.blurred, rel=1e-4)
    hottest = np.unravel_index(check.worth.argmax(), check.worth.shape)
    assert abs(hottest[0] - 6.5) < 2
    assert abs(hottest[1] - 10.5) < 2


def test_the_quick_form_takes_fewer_runs_and_has_no_curve():
    picture, _ = two_spots()
    asked = {"targets": [0, 1], "preprocess": False}
    found = eli5k.explain_prediction(spot_model(), picture, check="quick", **asked)
    for target in found.targets:
        assert (target.check.verdict, target.check.runs) == ("supported", 2 * QUICK_PAIRS + 2)
        assert target.check.shares == ()
    with pytest.raises(TypeError, match=r"check must be True, False or 'quick'\. Received: 'fast'"):
        eli5k.explain_prediction(spot_model(), picture, check="fast", **asked)
