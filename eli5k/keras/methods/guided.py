"""Guided backpropagation, alone and multiplied by Grad-CAM."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eli5k.base import ExplanationWarning, warn
from eli5k.keras.backends import Tensor
from eli5k.keras.evidence.patches import guided_relus
from eli5k.keras.evidence.probes import Both, Evidence, Input, Layer, Probe, frame_of
from eli5k.keras.evidence.run import Attribution, Run
from eli5k.keras.methods.cam import grad_cam
from eli5k.keras.methods.gradient import gradient, signed_gradient
from eli5k.keras.methods.registry import Cost, register
from eli5k.maps import on_axes, over_picture


@register(
    "guided-backprop",
    "input",
    Cost(1, 1),
    "For sharp pictures of edges; it hardly depends on the class.",
)
def guided_backprop(run: Run) -> Attribution:
    """Guided backpropagation: takes the input gradient through positive paths only.

    Each ReLU passes only the positive part of the gradient back. The map takes the largest absolute
    value over the channels.

    Parameters
    ----------
    run : Run

    Returns
    -------
    Attribution
        Its maps are ``(targets, batch, *grid)`` with the grid of the input, not negative.

    Warns
    -----
    ExplanationWarning
        If the model computes no ReLU.

    References
    ----------
    Springenberg et al. 2014, https://arxiv.org/abs/1412.6806
    """
    warn_without_relu(run)
    return run.evidence(Probe(Input(), (guided_relus,)), gradient)


def warn_without_relu(run: Run) -> None:
    """Warn if the model has no ReLU to guide gradients at."""
    if run.survey.last_relu is None:
        warn(
            "Guided backpropagation guides the gradient at ReLUs, but sees none in this model: it "
            "has none, or its own code calls a function of the framework, such as tf.nn.relu. This "
            "is the plain gradient. Pass another method, such as 'smooth-grad'.",
            ExplanationWarning,
        )


def guided_gradients(run: Run) -> Attribution:
    """Guided backpropagation with its sign: ``(..., *grid, channels)``."""
    return run.evidence(Probe(Input(), (guided_relus,)), signed_gradient)


@register(
    "guided-grad-cam",
    "input",
    Cost(1, backward=1),
    "For sharp pictures of edges at the place that Grad-CAM finds for the class.",
)
@dataclass(frozen=True)
class GuidedGradCAM:
    r"""Guided Grad-CAM: multiplies guided backpropagation by the Grad-CAM map.

    .. math:: M^c_{ij} = G^c_{ij} \cdot \mathrm{relu}(L^c)_{ij}

    with :math:`G` the map of guided backpropagation and :math:`L` the map of Grad-CAM, interpolated
    to the size of the input. If no ReLU follows the layer, one run gives both.

    References
    ----------
    Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391
    """

    needs_layer = True

    def __call__(self, run: Run) -> Attribution:
        """Return maps ``(targets, batch, *grid)`` of the input's size, not negative."""
        warn_without_relu(run)
        path, point = run.layer_point()
        if isinstance(point, Layer) and not run.computes_relu_after(point):
            answer = run.evidence(Probe(Both(point), (guided_relus,)), _both_maps)
            coarse, fine = answer.maps
            frame = frame_of(point)
            answer = answer._replace(layer=path)
        else:
            answer = run.evidence(Probe(Layer()), grad_cam)
            coarse, frame = answer.maps, answer.frame
            guided = Probe(Input(), (guided_relus,))
            fine = run.with_classes(answer.scores).evidence(guided, gradient).maps
        coarse, frame = on_axes(np.maximum(coarse, 0), frame, leading=2, axes=fine.ndim - 2)
        coarse = over_picture(coarse, fine.shape[2:], frame)
        return answer._replace(maps=fine * coarse, frame=None)


def _both_maps(evidence: tuple[Evidence, Evidence]) -> tuple[Tensor, Tensor]:
    at_layer, at_input = evidence
    return grad_cam(at_layer), gradient(at_input)
