"""Full-gradient: contributions of the input and of each bias."""

from __future__ import annotations

from keras import ops

from eli5k.keras.backends import Tensor
from eli5k.keras.evidence.probes import Biases, Evidence, Probe
from eli5k.keras.evidence.run import Attribution, Run
from eli5k.keras.methods.gradient import gradient_x_input
from eli5k.keras.methods.registry import Cost, register
from eli5k.maps import resize


@register(
    "full-grad",
    "input",
    Cost(1, 1),
    "When you want contributions from the input and from every layer.",
)
def full_gradient(run: Run) -> Attribution:
    r"""Full-gradient: adds gradient times input and gradient times each bias.

    .. math:: M^c = \psi\left( \frac{\partial y^c}{\partial x} \odot x \right) + \sum_l \sum_k
              \psi\left( \frac{\partial y^c}{\partial b_l} \odot b_l \right)_k

    where :math:`\psi` takes the absolute value, scales each layer's part from 0 to 1 and
    interpolates it to the size of the input. The gradient of a bias is taken at each pixel where it
    is added. The bias of a batch normalisation is what it adds at inference,
    :math:`\beta - \mu \gamma / \sigma`. The map omits layers without a grid of the input's rank,
    such as dense ones and those of a transformer; :func:`full_gradient_parts` includes them.

    Parameters
    ----------
    run : Run

    Returns
    -------
    Attribution
        Its maps are ``(targets, batch, *grid)`` with the grid of the input, not negative.

    References
    ----------
    Srinivas and Fleuret 2019, https://arxiv.org/abs/1905.00780
    """
    answer = run.evidence(Probe(Biases()), _scaled_parts)
    at_input, *at_biases = answer.maps
    with_grid = [part for part in at_biases if part[0, 0].size > 1]
    maps = at_input + sum(resize(part, at_input.shape[2:]) for part in with_grid)
    return answer._replace(maps=maps)


def _scaled_parts(evidence: list[Evidence]) -> list[Tensor]:
    rank = len(evidence[0].gradients.shape)
    return [_scaled_part(part) for part in evidence if len(part.gradients.shape) == rank]


def _scaled_part(evidence: Evidence) -> Tensor:
    part = ops.abs(evidence.gradients * evidence.activations)
    axes = tuple(range(2, len(part.shape)))
    part = part - ops.min(part, axis=axes, keepdims=True)
    highest = ops.max(part, axis=axes, keepdims=True)
    return ops.sum(part / ops.where(highest > 0, highest, 1.0), axis=-1)


def full_gradient_parts(run: Run) -> Attribution:
    """Return the signed parts of the full-gradient, which sum to the score.

    They do if the model consists of layers that are affine at inference (dense, convolution, batch
    normalisation, rescaling, pooling) and of maxima such as ReLU, leaky ReLU and max-pooling.

    Parameters
    ----------
    run : Run

    Returns
    -------
    Attribution
        Its ``maps`` are a list: the input's part ``(targets, batch, *grid)``, then one part for
        each call of a layer with a bias, ``(targets, batch, ...)`` with the grid of the layer.

    References
    ----------
    Srinivas and Fleuret 2019, https://arxiv.org/abs/1905.00780
    """
    return run.evidence(Probe(Biases()), _signed_parts)


def _signed_parts(evidence: list[Evidence]) -> list[Tensor]:
    return [gradient_x_input(part) for part in evidence]
