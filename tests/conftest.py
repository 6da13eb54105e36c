"""Fixtures that several folders of tests share; models that take long to make live a session."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(autouse=True)
def _same_random_numbers():
    """Seed Keras where a test module has imported it; this imports nothing."""
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(0)


@pytest.fixture(scope="session")
def shapes_model():
    """A small net that was trained to tell squares, rings and crosses apart."""
    from tests.zoo import train_on_shapes

    return train_on_shapes()


@pytest.fixture(scope="session")
def shapes_data() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images that ``shapes_model`` has not seen, their classes, and where the shapes are."""
    from tests.zoo import draw_shapes

    return draw_shapes(100, seed=2)
