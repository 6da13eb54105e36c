"""From the input: what the score's gradient says about each of its pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops

from eli5k.keras.methods.cam import grad_cam
from eli5k.keras.methods.evidence import Evidence
from eli5k.keras.methods.resize import resize
from eli5k.keras.methods.tries import add_tries, ask_again, chunks, settle

if TYPE_CHECKING:
    from eli5k.keras.run import Answer, Run


def gradient(evidence: Evidence) -> Any:
    r"""Gradient: how much the score changes with the channel of a pixel that matters most.

    .. math:: M^c_{ij} = \max_k \left| \frac{\partial y^c}{\partial x^k_{ij}} \right|

    The sign is dropped, as in the paper: it says whether brighter or darker would raise the score,
    not whether the pixel speaks for or against it.

    Parameters
    ----------
    evidence : Evidence
        At the input.

    Returns
    -------
    tensor
        ``(targets, batch, *grid)``, not negative.

    References
    ----------
    Simonyan et al. 2013, https://arxiv.org/abs/1312.6034

    Examples
    --------
    >>> import numpy as np
    >>> image = np.ones((1, 2, 2), "float32")  # Two pixels, two channels.
    >>> gradients = np.array([[[[1.0, -3.0], [0.0, 2.0]]]], "float32")  # Of one target.
    >>> np.asarray(gradient(Evidence(image, gradients))).tolist()
    [[[3.0, 2.0]]]
    """
    return ops.max(ops.abs(evidence.gradients), axis=-1)


def gradient_x_input(evidence: Evidence) -> Any:
    r"""Gradient times input, summed over the channels.

    .. math:: M^c_{ij} = \sum_k \frac{\partial y^c}{\partial x^k_{ij}} x^k_{ij}

    For a net of linear layers, ReLUs and maxima without any bias the map sums to the score.

    Parameters
    ----------
    evidence : Evidence
        At the input.

    Returns
    -------
    tensor
        ``(targets, batch, *grid)``, signed.

    References
    ----------
    Shrikumar et al. 2016, https://arxiv.org/abs/1605.01713
    """
    return ops.sum(evidence.gradients * evidence.activations, axis=-1)


@dataclass(frozen=True)
class IntegratedGradients:
    r"""Integrated gradients: the gradient's mean on the way from a baseline, times the way.

    .. math:: M^c_{ij} = \sum_k (x^k_{ij} - b^k_{ij}) \int_0^1
              \frac{\partial y^c}{\partial x^k_{ij}} \bigl( b + t (x - b) \bigr) \, dt

    The map sums to the score of the input less that of the baseline, as exactly as the integral
    is computed: by Gauss and Legendre's rule, which is exact for polynomials in :math:`t` of a
    degree below ``2 * steps``.

    Attributes
    ----------
    steps : int
        At how many points of the way the gradient is taken.
    baseline : float, tuple of float or callable
        An input that shows nothing, in the units of the model's input: a number, one for each
        channel, or what makes baselines of images, both ``(batch, *grid, channels)``.

    References
    ----------
    Sundararajan et al. 2017, https://arxiv.org/abs/1703.01365

    Examples
    --------
    >>> IntegratedGradients(steps=20, baseline=-1.0)
    IntegratedGradients(steps=20, baseline=-1.0)
    """

    steps: int = 50
    baseline: float | tuple[float, ...] | Callable[[np.ndarray], Any] = 0.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1. Received: {self.steps}")

    def __call__(self, run: Run) -> Answer:
        """Return signed maps ``(targets, batch, *grid)``, of the input's size."""
        answer = run.at_output()
        run = settle(run, answer.scores)
        image = run.image
        baseline = self._baseline_of(image)
        path = image - baseline
        nodes, weights = np.polynomial.legendre.leggauss(self.steps)
        weights = weights.astype("float32") / 2
        integral = np.zeros((answer.scores.explained.shape[1], *path.shape), "float32")
        for chunk in chunks(run, self.steps):
            at = (nodes[chunk.tries] / 2 + 0.5).astype("float32")
            at = at.reshape(-1, *(1,) * (path.ndim - 1))
            points = baseline[chunk.samples] + at * path[chunk.samples]
            gradients = ask_again(run, chunk, points).at_input(_gradients).maps
            add_tries(integral, chunk, gradients, weights[chunk.tries, np.newaxis])
        return answer._replace(maps=(integral * path).sum(axis=-1))

    def _baseline_of(self, image: np.ndarray) -> np.ndarray:
        """Baselines as many and as large as the images."""
        baseline = self.baseline(image) if callable(self.baseline) else self.baseline
        try:
            return np.broadcast_to(np.asarray(baseline, "float32"), image.shape)
        except ValueError as error:
            raise ValueError(
                "baseline must be a number, one for each channel, or a callable that returns an "
                f"array of the images' shape {image.shape}. Received: {self.baseline!r}"
            ) from error


def _gradients(evidence: Evidence) -> Any:
    return evidence.gradients


def full_gradient(run: Run) -> Answer:
    r"""Full-gradient: gradient times input, and gradient times bias at each layer.

    .. math:: M^c = \psi\left( \frac{\partial y^c}{\partial x} \odot x \right) + \sum_l \sum_k
              \psi\left( \frac{\partial y^c}{\partial b_l} \odot b_l \right)_k

    where :math:`\psi` takes the absolute value, scales each layer's part from 0 to 1 and
    interpolates it to the size of the input. The gradient of a bias is taken at each pixel at which
    it is added. The bias of a batch normalisation is what it adds at inference,
    :math:`\beta - \mu \gamma / \sigma`. Layers without a grid of the input's rank, such as dense
    ones and those of a transformer, have no place in the map; :func:`full_gradient_parts` has them
    too.

    Parameters
    ----------
    run : Run

    Returns
    -------
    Answer
        Its maps are ``(targets, batch, *grid)`` with the grid of the input, not negative.

    References
    ----------
    Srinivas and Fleuret 2019, https://arxiv.org/abs/1905.00780
    """
    answer = run.at_biases(_scaled_parts)
    at_input, *at_biases = answer.maps
    with_grid = [part for part in at_biases if part[0, 0].size > 1]
    maps = at_input + sum(resize(part, at_input.shape[2:]) for part in with_grid)
    return answer._replace(maps=maps)


def _scaled_parts(evidence: list[Evidence]) -> list[Any]:
    rank = len(evidence[0].gradients.shape)
    return [_scaled_part(part) for part in evidence if len(part.gradients.shape) == rank]


def _scaled_part(evidence: Evidence) -> Any:
    part = ops.abs(evidence.gradients * evidence.activations)
    axes = tuple(range(2, len(part.shape)))
    part = part - ops.min(part, axis=axes, keepdims=True)
    highest = ops.max(part, axis=axes, keepdims=True)
    return ops.sum(part / ops.where(highest > 0, highest, 1.0), axis=-1)


def full_gradient_parts(run: Run) -> Answer:
    """The signed parts of the full-gradient: they sum to the score.

    They do where the model is made of layers that are affine at inference (dense, convolution,
    batch normalisation, rescaling, pooling) and of maxima such as ReLU, leaky ReLU and max-pooling.

    Parameters
    ----------
    run : Run

    Returns
    -------
    Answer
        Its ``maps`` are a list: first the input's part ``(targets, batch, *grid)``, then one for
        each call of a layer with a bias, ``(targets, batch, ...)`` with the grid of the layer.

    References
    ----------
    Srinivas and Fleuret 2019, https://arxiv.org/abs/1905.00780
    """
    return run.at_biases(_signed_parts)


def _signed_parts(evidence: list[Evidence]) -> list[Any]:
    return [gradient_x_input(part) for part in evidence]


@dataclass(frozen=True)
class GuidedGradCAM:
    r"""Guided Grad-CAM: guided backpropagation, where Grad-CAM says that the target is.

    .. math:: M^c_{ij} = G^c_{ij} \cdot \mathrm{relu}(L^c)_{ij}

    with :math:`G` the map of guided backpropagation and :math:`L` the map of Grad-CAM, interpolated
    to the size of the input.

    References
    ----------
    Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391
    """

    needs_layer = True

    def __call__(self, run: Run) -> Answer:
        """Return maps ``(targets, batch, *grid)`` of the input's size, not negative."""
        coarse = run.at_layer(grad_cam)
        fine = settle(run, coarse.scores).at_input(gradient, guided=True).maps
        return coarse._replace(maps=fine * resize(np.maximum(coarse.maps, 0), fine.shape[2:]))
