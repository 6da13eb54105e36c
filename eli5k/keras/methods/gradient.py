"""Gradients of the score with respect to the input."""

from __future__ import annotations

from keras import ops

from eli5k.keras.backends import Tensor
from eli5k.keras.evidence.probes import Evidence
from eli5k.keras.methods.registry import Cost, register


@register(
    "gradient",
    "input",
    Cost(1, 1),
    "To see to which pixels the score is sensitive, on any model.",
)
def gradient(evidence: Evidence) -> Tensor:
    r"""Gradient: takes each pixel's largest gradient over the channels.

    .. math:: M^c_{ij} = \max_k \left| \frac{\partial y^c}{\partial x^k_{ij}} \right|

    The sign is dropped, as in the paper: it tells whether brighter or darker would raise the score,
    not whether the pixel is evidence for the class.

    Parameters
    ----------
    evidence : Evidence
        Evidence at the input.

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


@register(
    "gradient-x-input",
    "input",
    Cost(1, 1),
    "For inputs in which zero means nothing; signed.",
)
def gradient_x_input(evidence: Evidence) -> Tensor:
    r"""Gradient x input: multiplies the two, and sums over the channels.

    .. math:: M^c_{ij} = \sum_k \frac{\partial y^c}{\partial x^k_{ij}} x^k_{ij}

    For a net of linear layers, ReLUs and maxima without any bias, the map sums to the score.

    Parameters
    ----------
    evidence : Evidence
        Evidence at the input.

    Returns
    -------
    tensor
        ``(targets, batch, *grid)``, signed.

    References
    ----------
    Shrikumar et al. 2016, https://arxiv.org/abs/1605.01713
    """
    return ops.sum(evidence.gradients * evidence.activations, axis=-1)


def signed_gradient(evidence: Evidence) -> Tensor:
    """Return the gradient of each channel: ``(targets, batch, *grid, channels)``."""
    return evidence.gradients
