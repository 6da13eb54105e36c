"""The same metrics as captum and grad-cam: ROAD and infidelity of the same maps of the same net."""

from __future__ import annotations

import sys
import types

import captum.metrics
import keras
import numpy as np
import pytest
import torch
from keras import layers

from eli5k.keras import metrics, run
from eli5k.keras.metrics.road import SHARES, impute, removed
from tests.zoo import noise

try:
    import torchvision  # noqa: F401
except (ImportError, RuntimeError):
    # As in test_against_explainers: only grad-cam's picture helpers need it.
    for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["torchvision"].transforms = sys.modules["torchvision.transforms"]
    for name in ("Compose", "Normalize", "ToTensor"):
        setattr(sys.modules["torchvision.transforms"], name, None)
    sys.modules["torchvision.transforms.functional"].resize = None

from pytorch_grad_cam.metrics.road import NoisyLinearImputer, ROADCombined
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

# grad-cam gives tensors to functions of NumPy.
pytestmark = pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")

SHAPE = (18, 15, 3)
PICTURES = noise(3, *SHAPE, seed=1)
MAPS = noise(1, 3, *SHAPE[:2], seed=2, low=0)
LABELS = np.array([2, 0, 1])


@pytest.fixture(scope="module")
def model():
    net = keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Conv2D(6, 3, activation="relu"),
            layers.GlobalMaxPooling2D(),
            layers.Dense(3),
        ]
    )
    net.set_weights([noise(*weight.shape, seed=3 + i) for i, weight in enumerate(net.weights)])
    return net


class Twin(torch.nn.Module):
    """The same net to PyTorch: channels first."""

    def __init__(self, net):
        super().__init__()
        self.net = [net]  # In a list, so that PyTorch makes it no part of this one.

    def forward(self, x):
        inputs = np.moveaxis(x.detach().numpy(), 1, -1)
        return torch.from_numpy(np.array(self.net[0].predict(inputs, verbose=0)))


def channels_first(array):
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, -1, 1)))


@pytest.mark.parametrize("share", SHARES[::2])
@pytest.mark.parametrize("cold", [False, True])
def test_road_imputes_the_pixels_that_grad_cam_does(share, cold):
    missing = removed(MAPS[0, 0], share, cold)
    assert missing.mean() == pytest.approx(share, abs=0.01)
    theirs = NoisyLinearImputer(noise=0)(
        channels_first(PICTURES)[0], torch.from_numpy(1 - missing.astype("float32"))
    )
    ours = impute(PICTURES[0], missing, noise=0)
    np.testing.assert_allclose(ours, np.moveaxis(theirs.numpy(), 0, -1), atol=1e-5)


def test_road_is_grad_cams(model, monkeypatch):
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    theirs = ROADCombined()(
        channels_first(PICTURES),
        MAPS[0],
        [ClassifierOutputTarget(int(label)) for label in LABELS],
        Twin(model),
    )
    ours = metrics.road(run(model, PICTURES, LABELS), MAPS, noise=0)
    np.testing.assert_allclose(ours[0], theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("batch_size", [5, 64])
def test_infidelity_is_captums(model, batch_size):
    changes = noise(3, *SHAPE, seed=9, low=-0.1, high=0.1)

    def perturb(random, rows):
        """Change each picture by noise of its own, which does not depend on the batch."""
        known = [int(np.abs(PICTURES - row).sum(axis=(1, 2, 3)).argmin()) for row in rows]
        return changes[known]

    theirs = captum.metrics.infidelity(
        Twin(model),
        lambda inputs: (channels_first(changes), inputs - channels_first(changes)),
        channels_first(PICTURES),
        channels_first(np.repeat(MAPS[0][..., np.newaxis], 3, axis=-1)),
        target=LABELS.tolist(),
        n_perturb_samples=1,
    )
    asked = run(model, PICTURES, LABELS, batch_size=batch_size)
    ours = metrics.infidelity(asked, MAPS, perturb, samples=1)
    np.testing.assert_allclose(ours[0], theirs.numpy(), rtol=2e-5)


def test_max_sensitivity_is_captums_of_the_same_noise(model, monkeypatch):
    noises = noise(4, 3, *SHAPE, seed=11, low=-0.02, high=0.02)

    class Given:
        def uniform(self, low, high, shape):
            return next(given)

    given = iter(noises)
    monkeypatch.setattr(np.random, "default_rng", lambda seed: Given())
    ours = metrics.max_sensitivity(run(model, PICTURES, LABELS), "gradient", samples=4)
    monkeypatch.undo()
    again = iter(noises)

    def explain(inputs, **kwargs):
        from eli5k.keras import attribute

        # Captum passes a tuple once, and the tensor itself afterwards.
        tensor = inputs[0] if isinstance(inputs, tuple) else inputs
        pictures = np.moveaxis(tensor.numpy(), 1, -1)
        return (torch.from_numpy(attribute(model, pictures, LABELS, method="gradient")[1]),)

    theirs = captum.metrics.sensitivity_max(
        explain,
        channels_first(PICTURES),
        perturb_func=lambda inputs, *args: inputs + channels_first(next(again)),
        n_perturb_samples=4,
        max_examples_per_batch=3,
    )
    np.testing.assert_allclose(ours[0], theirs.numpy(), rtol=1e-4)
