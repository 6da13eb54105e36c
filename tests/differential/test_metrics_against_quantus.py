"""Pixel flipping as Quantus does it, where both do the same.

Quantus flips channels one by one, and takes the baseline of a picture already flipped in part: with
one channel and a number as baseline, neither matters.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest
import quantus
from keras import layers

from eli5k.keras import metrics, run
from tests.zoo import noise

SHAPE = (8, 6, 1)
PICTURES = noise(3, *SHAPE, seed=1)
MAPS = noise(1, 3, *SHAPE[:2], seed=2)
LABELS = np.array([2, 0, 1])


class Asked:
    """What Quantus asks of a model."""

    def __init__(self, net):
        self.net = net

    def shape_input(self, x, shape, **kwargs):
        return np.moveaxis(x.reshape(shape), 1, -1)

    def predict(self, x):
        return self.net.predict(x, verbose=0)


@pytest.mark.parametrize("step", [4, 8])
def test_deletion_is_quantus_pixel_flipping(step):
    net = keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(3, "softmax")])
    net.set_weights([noise(48, 3, seed=3), noise(3, seed=4)])
    flipping = quantus.PixelFlipping(
        features_in_step=step, perturb_baseline=0.0, disable_warnings=True
    )
    theirs = flipping.evaluate_batch(
        Asked(net), np.moveaxis(PICTURES, -1, 1), LABELS, MAPS[0][:, np.newaxis]
    )
    steps = 48 // step
    ours = metrics.deletion(run(net, PICTURES, LABELS), MAPS, steps, baseline=0.0)
    # Quantus leaves the whole picture out of its curve.
    np.testing.assert_allclose(ours[0, :, 1:], np.array(theirs), rtol=1e-5, atol=1e-6)
