"""Class activation maps: sums over the channels of a layer, each with its weight."""

from __future__ import annotations

from typing import Any

from keras import ops

from eli5k.keras.methods.evidence import Evidence


def channel_weights(gradients: Any) -> Any:
    """Mean of the gradients over the grid: Grad-CAM's weight of each channel.

    Parameters
    ----------
    gradients : tensor
        ``(targets, batch, *grid, channels)``

    Returns
    -------
    tensor
        ``(targets, batch, channels)``
    """
    return ops.mean(gradients, axis=tuple(range(2, len(gradients.shape) - 1)))


def grad_cam(evidence: Evidence) -> Any:
    r"""Grad-CAM: channels weighted by the mean of their gradient.

    .. math:: M^c_{ij} = \sum_k \alpha^c_k A^k_{ij}, \quad
              \alpha^c_k = \frac{1}{Z} \sum_{ij} \frac{\partial y^c}{\partial A^k_{ij}}

    The paper's ReLU is left to what shows the map, so that the sign is kept.

    Parameters
    ----------
    evidence : Evidence

    Returns
    -------
    tensor
        ``(targets, batch, *grid)``, signed.

    References
    ----------
    Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391
    """
    weights = channel_weights(evidence.gradients)
    for _ in evidence.activations.shape[1:-1]:
        weights = ops.expand_dims(weights, axis=2)
    return ops.sum(weights * evidence.activations, axis=-1)
