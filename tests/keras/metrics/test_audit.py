"""Audits of one model on pictures whose evidence lies at one place, or anywhere."""

from __future__ import annotations

import base64
import io
import re
from html import escape

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from eli5k import audit
from eli5k.keras import run
from eli5k.keras.metrics.audit import audit_maps, audit_run
from eli5k.keras.metrics.effects import changes, follows, predicted
from eli5k.keras.metrics.halves import cells_of
from tests.keras.metrics.test_check import SIDE, spot_model
from tests.zoo import noise

BOTTOM_LEFT = (SIDE - 6, 1)


def pictures(places, seed=0):
    """Pictures with a spot of one of two channels each, which is the class."""
    classes = np.random.default_rng(seed).integers(0, 2, len(places))
    found = noise(len(places), SIDE, SIDE, 2, seed=seed, low=0, high=0.05)
    for picture, label, (row, column) in zip(found, classes, places):
        picture[row : row + 4, column : column + 4, label] = 1
    return found, classes


def anywhere(count, seed=1):
    return np.random.default_rng(seed).integers(0, SIDE - 4, (count, 2))


def test_a_place_that_all_maps_share_is_remarkable():
    docs, classes = pictures([BOTTOM_LEFT] * 30)
    model = spot_model()
    assert model.predict(docs, verbose=0).argmax(axis=1).tolist() == classes.tolist()
    found = audit(model, docs)
    assert found.remarkable
    assert (found.place, found.peaks) == ("at the bottom left", 1)
    assert found.likeness > 0.9
    # Without the spot nothing fires, and the first class is as good as the other.
    assert found.changed == pytest.approx(classes.mean())
    assert found.changed_elsewhere == 0
    assert found.groups[0].place == "at the bottom left"
    assert str(found).startswith("100 % of these maps peak at the bottom left; with it covered")
    assert str(found).endswith("yours to judge.")


def test_evidence_anywhere_is_not():
    docs, _ = pictures(anywhere(40))
    found = audit(spot_model(), docs)
    assert not found.remarkable
    assert found.peaks < 0.35
    assert abs(found.likeness) < 0.2
    assert sum(group.share for group in found.groups) == pytest.approx(1)
    assert str(found).endswith("point at a shortcut.")


def test_evidence_in_the_middle_is_what_photographers_make():
    docs, _ = pictures([(12, 12)] * 20)
    found = audit(spot_model(), docs)
    assert (found.place, found.peaks, found.remarkable) == ("in the middle", 1, False)


def test_a_part_of_the_pictures_is_enough():
    docs, _ = pictures([BOTTOM_LEFT] * 15 + anywhere(15).tolist())
    found = audit(spot_model(), docs)
    assert found.remarkable
    assert found.place == "at the bottom left"
    assert 0.5 <= found.peaks < 0.7


def test_a_border_is_a_place_too():
    docs = noise(40, SIDE, SIDE, 2, low=0, high=0.05)
    rim = np.ones((SIDE, SIDE), bool)
    rim[2:-2, 2:-2] = False
    for number, picture in enumerate(docs):
        picture[rim, number % 2] = 1
    found = audit(spot_model(), docs)
    assert found.remarkable
    assert found.place == "along the border"
    assert (found.changed, found.changed_elsewhere) == (1, 0)
    assert "with it exchanged between pictures the class goes along in 100 %" in str(found)
    assert "as much of the middle exchanged in 0 %" in str(found)


def test_a_border_that_the_maps_do_not_show_is_found_too():
    docs = noise(40, SIDE, SIDE, 2, low=0, high=0.05)
    for number, picture in enumerate(docs):
        picture[[0, -1], :, number % 2] = 1
        picture[12:16, 12:16, 0] = 1
    middle = np.zeros((40, 7, 7))
    middle[:, 3, 3] = 1
    found = audit_run(run(spot_model(), docs, 0), middle)
    assert (found.place, found.peaks, found.remarkable) == ("along the border", 0, True)


def test_pictures_of_one_class_have_no_border_to_exchange():
    docs, _ = pictures(anywhere(12))
    docs[..., 1] = 0
    everything = np.ones(cells_of((SIDE, SIDE)), "float32")
    asked = run(spot_model(), docs, 0)
    assert follows(asked, predicted(asked), [everything]) == [0]


def test_what_is_exchanged_takes_the_class_along():
    docs, classes = pictures([BOTTOM_LEFT] * 12)
    place = np.zeros(cells_of((SIDE, SIDE)), "float32")
    place[9:, :4] = 1
    assert 0 < classes.mean() < 1
    asked = run(spot_model(), docs, 0, batch_size=5)
    given = predicted(asked)
    assert given.tolist() == classes.tolist()
    assert follows(asked, given, [place, place[::-1], 0 * place]) == [1, 0, 0]


def test_changes_are_those_of_the_models_own_class():
    docs, classes = pictures(anywhere(12))
    model = spot_model()
    everything = np.ones(cells_of((SIDE, SIDE)), "float32")
    nothing = 0 * everything
    covered, untouched = changes(run(model, docs, 0), classes, [everything, nothing])
    assert untouched == 0
    # Of a picture's mean colour nothing fires, and the first class is as good as the other.
    assert covered == pytest.approx(np.mean(classes != 0))


def test_a_single_unit_has_two_classes():
    model = spot_model()
    unit = layers.Dense(1, "sigmoid")
    whole = keras.Sequential([*model.layers, unit])
    whole.build((None, SIDE, SIDE, 2))
    unit.set_weights([np.array([[400.0], [-400.0]]), np.zeros(1)])
    docs, _ = pictures([BOTTOM_LEFT] * 30)
    found = audit(whole, docs)
    assert found.remarkable
    assert found.changed > 0.2
    # Both sides are explained, each by the spot that speaks for it.
    assert found.note == ""
    assert found.peaks == 1


def test_too_few_pictures_and_blank_maps_are_refused():
    docs, _ = pictures(anywhere(12))
    with pytest.raises(ValueError, match="10 documents or more"):
        audit(spot_model(), docs[:9])
    for value in (0, 0.3):
        with pytest.raises(ValueError, match="docs have blank or flat maps only"):
            audit_run(run(spot_model(), docs, 0), np.full((12, 7, 7), value))


def test_blank_maps_are_left_out_and_counted():
    docs, _ = pictures([BOTTOM_LEFT] * 12)
    docs[:4] = 0
    found = audit(spot_model(), docs)
    assert (found.pictures, found.peaks) == (12, 1)
    assert str(found).endswith(" 4 of 12 maps are blank or flat, and left out.")
    # The numbers are those of the documents.
    assert all(number >= 4 for group in found.groups for number in group.examples)


def test_a_model_that_sees_one_class_is_told():
    docs, classes = pictures([BOTTOM_LEFT] * 30)
    found = audit(spot_model(), docs[classes == 0][:10])
    assert (found.peaks, found.changed, found.remarkable) == (1, 0, False)
    assert "clearly matter more than another place" in str(found)
    assert str(found).endswith("the same class: audit pictures of several.")


def test_the_page_shows_the_place_and_the_groups():
    docs, _ = pictures([BOTTOM_LEFT] * 24 + [(2, 12)] * 6)
    found = audit(spot_model(), docs)
    assert [group.place for group in found.groups[:2]] == ["at the bottom left", "at the top"]
    html = found._repr_html_()
    assert html.count("<img") == 2 + len(found.groups)
    assert escape(found.sentence) in html
    assert "80 % of the maps: they peak at the bottom left. Most typical: " in html
    first = base64.b64decode(re.search('base64,([^"]+)', html)[1])
    pixels = np.asarray(Image.open(io.BytesIO(first))).astype(int)
    # Bright where the maps meet, dark where they don't, and a white line between.
    assert pixels[230, 30].sum() > 400
    assert pixels[128, 200].sum() < 250
    column = pixels[:, 30]
    assert (column[150:230] == 255).all(axis=1).any()
    assert not (column[:100] == 255).all(axis=1).any()


def test_without_a_model_only_the_place_is_told():
    maps = np.zeros((12, 7, 7))
    maps[:9, 6, 6] = 1
    maps[9:, 3, 3] = 1
    found = audit_maps(maps, (7, 7), names=range(100, 112))
    assert (found.place, found.peaks, found.how) == ("at the bottom right", 0.75, "not tried")
    assert found.remarkable
    assert np.isnan(found.changed)
    assert str(found) == (
        "75 % of these maps peak at the bottom right: they meet at one place. Whether it matters, "
        "only the model can tell."
    )
    assert [group.share for group in found.groups] == [0.75, 0.25]
    assert found.groups[1].examples == (109, 110, 111)
    middle = audit_maps(maps[9:], (7, 7))
    assert (middle.place, middle.remarkable) == ("in the middle", False)


@pytest.mark.parametrize("seed", range(3))
def test_a_place_does_not_follow_the_peaks_of_any_maps(seed):
    rows, columns = np.random.default_rng(seed).integers(0, 14, (2, 40))
    maps = np.zeros((40, 14, 14))
    maps[np.arange(40), rows, columns] = 1
    found = audit_maps(maps, (14, 14))
    assert not found.remarkable
    # Chance is a tenth; the best box of all has some more.
    assert found.peaks < 0.25
