"""The comparison that the tests make lets rounding pass, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from tests.close import assert_close

MAP = np.array([[1.0, -0.5], [1e-3, 0.0]], "float32")


def test_last_bit_does_not_matter():
    assert_close(np.nextafter(MAP, np.float32(np.inf)), MAP)


def test_what_is_not_finite_is_the_same_in_both():
    holes = np.where(MAP < 0, np.nan, MAP)
    assert_close(holes, holes)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (MAP[::-1], MAP),
        (MAP * 1.001, MAP),
        (MAP + 1e-4, MAP),
        (MAP[:1], MAP),
        (MAP[None], MAP),
        (np.where(MAP < 0, np.nan, MAP), MAP),
        (MAP * 0, MAP * 0),
    ],
    ids=["other", "scaled", "shifted", "cut", "another axis", "with a hole", "nothing"],
)
def test_anything_else_does(found, expected):
    with pytest.raises(AssertionError):
        assert_close(found, expected)
