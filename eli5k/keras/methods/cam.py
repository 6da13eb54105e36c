"""Class activation maps: weighted sums over the channels of a layer."""

from __future__ import annotations

from math import prod

import numpy as np
from keras import ops

from eli5k.keras.backends import Tensor
from eli5k.keras.evidence.probes import Evidence
from eli5k.keras.methods.registry import Cost, register


def channel_weights(gradients: Tensor) -> Tensor:
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
    return ops.mean(gradients, axis=grid_axes(gradients))


def grid_axes(gradients: Tensor) -> tuple[int, ...]:
    """Axes of the grid in ``(targets, batch, *grid, channels)``."""
    return tuple(range(2, len(gradients.shape) - 1))


def sum_over_grid(tensor: Tensor) -> Tensor:
    """Sum over the grid: ``(targets, batch, 1, ..., channels)``."""
    return ops.sum(tensor, axis=grid_axes(tensor), keepdims=True)


def _safe_divide(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Divide, with zero if the denominator is zero."""
    is_zero = ops.equal(denominator, 0)
    return ops.where(is_zero, 0.0, numerator / ops.where(is_zero, 1.0, denominator))


@register(
    "grad-cam",
    "layer",
    Cost(1, to_layer=1),
    "The default: class-specific, robust and known to most readers.",
)
def grad_cam(evidence: Evidence) -> Tensor:
    r"""Grad-CAM: weights channels by the mean of their gradient.

    .. math:: M^c_{ij} = \sum_k \alpha^c_k A^k_{ij}, \quad
              \alpha^c_k = \frac{1}{Z} \sum_{ij} \frac{\partial y^c}{\partial A^k_{ij}}

    The paper's ReLU is applied only when the map is shown, so that the sign is kept.

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

    Examples
    --------
    >>> activations = ops.convert_to_tensor([[[2.0, 1.0], [4.0, 0.0]]])  # Two pixels, two channels.
    >>> gradients = ops.convert_to_tensor([[[[1.0, -1.0], [3.0, -1.0]]]])  # Of one target.
    >>> ops.convert_to_numpy(grad_cam(Evidence(activations, gradients))).tolist()
    [[[3.0, 8.0]]]
    """
    weights = channel_weights(evidence.gradients)
    for _ in evidence.activations.shape[1:-1]:
        weights = ops.expand_dims(weights, axis=2)
    return ops.sum(weights * evidence.activations, axis=-1)


@register(
    "grad-cam++",
    "layer",
    Cost(1, to_layer=1),
    "If several objects of the class are in the picture; pass logits=True.",
)
def grad_cam_plus_plus(evidence: Evidence) -> Tensor:
    r"""Grad-CAM++: weights each pixel's positive gradient by itself.

    .. math:: M^c_{ij} = \sum_k w^c_k A^k_{ij}, \quad
              w^c_k = \sum_{ij} \alpha^{kc}_{ij} \, \mathrm{relu}(g^{kc}_{ij}), \quad
              \alpha^{kc}_{ij} = \frac{(g^{kc}_{ij})^2}
              {2 (g^{kc}_{ij})^2 + \sum_{ab} A^k_{ab} \, (g^{kc}_{ij})^3}

    with :math:`g = \partial S^c / \partial A`. The weights follow from the paper's equation 10 for
    :math:`Y^c = \exp(S^c)` if :math:`S^c` is piecewise linear in :math:`A`, so that the derivatives
    of :math:`Y^c` are :math:`e^{S} g, e^{S} g^2, e^{S} g^3`. The weights omit the factor
    :math:`\exp(S^c)`: it is one positive number for the whole map, and overflows.

    :math:`S^c` is the explained score. The paper uses the score before the softmax, as
    ``logits=True`` does; a probability is not piecewise linear, and its small gradients make every
    :math:`\alpha` nearly 1/2.

    Parameters
    ----------
    evidence : Evidence

    Returns
    -------
    tensor
        ``(targets, batch, *grid)``, signed where the activations are: the weights are positive.

    References
    ----------
    Chattopadhay et al. 2018, https://arxiv.org/abs/1710.11063

    Examples
    --------
    >>> activations = ops.convert_to_tensor([[[2.0], [1.0]]])  # Two pixels, one channel.
    >>> gradients = ops.convert_to_tensor([[[[1.0], [-1.0]]]])  # alpha = 1 / (2 + 3)
    >>> map = ops.convert_to_numpy(grad_cam_plus_plus(Evidence(activations, gradients)))
    >>> map.round(3).tolist()
    [[[0.4..., 0.2...]]]
    """
    activations, gradients = evidence
    squares = ops.square(gradients)
    cubes = squares * gradients
    denominator = 2 * squares + sum_over_grid(activations[None]) * cubes
    weights = sum_over_grid(_safe_divide(squares, denominator) * ops.relu(gradients))
    return ops.sum(weights * activations, axis=-1)


@register(
    "hires-cam",
    "layer",
    Cost(1, to_layer=1),
    "If the map must be faithful to the score, and for heads other than a global pooling.",
)
def hires_cam(evidence: Evidence) -> Tensor:
    r"""HiResCAM: multiplies each activation by its own gradient, without any mean.

    .. math:: M^c_{ij} = \sum_k \frac{\partial y^c}{\partial A^k_{ij}} A^k_{ij}

    If the rest of the model after the layer is linear, such as one dense layer behind a pooling or
    a flattening, the map sums to the score minus its bias.

    Parameters
    ----------
    evidence : Evidence

    Returns
    -------
    tensor
        ``(targets, batch, *grid)``, signed.

    References
    ----------
    Draelos and Carin 2020, https://arxiv.org/abs/2011.08891
    """
    return ops.sum(evidence.gradients * evidence.activations, axis=-1)


@register(
    "layer-cam",
    "layer",
    Cost(1, to_layer=1),
    "For layers early in the model, whose maps are finer.",
)
def layer_cam(evidence: Evidence) -> Tensor:
    r"""LayerCAM: multiplies each activation by its own positive gradient.

    .. math:: M^c_{ij} = \sum_k \mathrm{relu}\left(
              \frac{\partial y^c}{\partial A^k_{ij}} \right) A^k_{ij}

    Parameters
    ----------
    evidence : Evidence

    Returns
    -------
    tensor
        ``(targets, batch, *grid)``, signed where the activations are: the weights are positive.

    References
    ----------
    Jiang et al. 2021, https://doi.org/10.1109/TIP.2021.3089943
    """
    return ops.sum(ops.relu(evidence.gradients) * evidence.activations, axis=-1)


@register(
    "xgrad-cam",
    "layer",
    Cost(1, to_layer=1),
    "Like Grad-CAM, if the gradient differs much between pixels.",
)
def xgrad_cam(evidence: Evidence) -> Tensor:
    r"""XGrad-CAM: weights channels by the mean gradient at their active pixels.

    .. math:: M^c_{ij} = \sum_k \alpha^c_k A^k_{ij}, \quad
              \alpha^c_k = \sum_{ij} \frac{A^k_{ij}}{\sum_{ab} A^k_{ab}}
              \frac{\partial y^c}{\partial A^k_{ij}}

    A channel that sums to zero has zero weight.

    Parameters
    ----------
    evidence : Evidence

    Returns
    -------
    tensor
        ``(targets, batch, *grid)``, signed.

    References
    ----------
    Fu et al. 2020, https://arxiv.org/abs/2008.02312
    """
    activations, gradients = evidence
    weights = _safe_divide(sum_over_grid(gradients * activations), sum_over_grid(activations[None]))
    return ops.sum(weights * activations, axis=-1)


@register(
    "eigen-cam",
    "layer",
    Cost(1, to_layer=1),
    "To see what the layer responds to most, for any class.",
)
def eigen_cam(evidence: Evidence) -> Tensor:
    r"""Eigen-CAM: projects the activations on their first principal component.

    .. math:: M = A v_1, \quad A = U \Sigma V^\top

    with the pixels as the rows of :math:`A` and, as in the paper, without subtracting the mean. A
    component has no sign of its own: it is chosen so that the map is positive at strong
    activations, :math:`\sum_{ij} M_{ij} \sum_k (A^k_{ij})^2 \geq 0`. The class plays no role: all
    targets of a sample have the same map.

    Parameters
    ----------
    evidence : Evidence

    Returns
    -------
    tensor
        ``(targets, batch, *grid)``, signed where the activations are.

    References
    ----------
    Muhammad and Yeasin 2020, https://arxiv.org/abs/2008.00299
    """
    activations = evidence.activations[None]
    component = _first_component(activations, ops.sum(ops.square(activations), axis=-1))
    return ops.zeros_like(evidence.gradients[..., 0]) + component


@register(
    "eigen-grad-cam",
    "layer",
    Cost(1, to_layer=1),
    "Like Eigen-CAM, but for a class: a smoother HiResCAM.",
)
def eigen_grad_cam(evidence: Evidence) -> Tensor:
    r"""Eigen-Grad-CAM: projects activations times gradients on their first principal component.

    .. math:: M^c = X^c v_1, \quad X^c = \frac{\partial y^c}{\partial A} \odot A = U \Sigma V^\top

    The sign of the component is chosen so that the map agrees with HiResCAM, the sum of :math:`X^c`
    over the channels: positive values are evidence for the target. As in Eigen-CAM's paper, but
    unlike in the code below, the mean is not subtracted.

    Parameters
    ----------
    evidence : Evidence

    Returns
    -------
    tensor
        ``(targets, batch, *grid)``, signed.

    References
    ----------
    Gildenblat 2021, https://github.com/jacobgil/pytorch-grad-cam
    """
    products = evidence.gradients * evidence.activations
    return _first_component(products, ops.sum(products, axis=-1))


def _first_component(tensor: Tensor, towards: Tensor) -> Tensor:
    """Project the pixels on their first principal component.

    Parameters
    ----------
    tensor : tensor
        ``(targets, batch, *grid, channels)``
    towards : tensor
        ``(targets, batch, *grid)``: the sign of the projection is chosen to agree with this.
    """
    shape = ops.shape(tensor)
    grid, channels = shape[2:-1], shape[-1]
    finite = ops.isfinite(tensor)
    axes = tuple(range(2, len(shape)))
    # A decomposition raises, or doesn't end, if something is not finite.
    tensor = ops.where(finite, tensor, 0.0)
    is_known = all(isinstance(length, int) for length in grid)
    rows = ops.reshape(tensor, (*shape[:2], prod(grid) if is_known else -1, channels))
    columns = ops.swapaxes(rows, -1, -2)
    # The smaller of the two Gram matrices is enough for the decomposition.
    if is_known and prod(grid) <= channels:
        values, vectors = ops.eigh(ops.matmul(rows, columns))
        projection = vectors[..., -1] * ops.sqrt(ops.relu(values[..., -1:]))
    else:
        _, vectors = ops.eigh(ops.matmul(columns, rows))
        projection = ops.matmul(rows, vectors[..., -1:])[..., 0]
    projection = ops.reshape(projection, shape[:-1])
    agreement = sum_over_grid((projection * towards)[..., None])[..., 0]
    projection = ops.where(agreement < 0, -projection, projection)
    return ops.where(ops.all(finite, axis=axes, keepdims=True)[..., 0], projection, np.nan)
