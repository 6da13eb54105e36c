"""How close two answers must be when each was computed."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

TOLERANCE = 1e-5


def assert_close(found: ArrayLike, expected: ArrayLike, tolerance: float = TOLERANCE) -> None:
    """Compare what was computed anew: maps, scores, predictions, trained weights.

    The last bits depend on the processor, the batch, the threads, and on whether the code was
    compiled. What is only copied or restored (weights, classes, masks) is compared bit by bit
    instead, with ``np.testing.assert_array_equal``.

    Parameters
    ----------
    found, expected : array_like
        Of the same shape. What is not finite must be the same in both.
    tolerance : float
        Greatest difference allowed, as a part of the greatest finite number expected, since sums
        that cancel leave small numbers with the errors of the great ones.
    """
    found, expected = np.asarray(found, "float64"), np.asarray(expected, "float64")
    peak = np.abs(expected[np.isfinite(expected)]).max(initial=0)
    assert peak > 0, "what is expected is zero everywhere: this compares nothing"
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * peak, strict=True)
