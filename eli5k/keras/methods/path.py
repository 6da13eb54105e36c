"""Integrated gradients: along a path from a baseline to the input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eli5k.keras.evidence.baselines import Baseline, baseline_of
from eli5k.keras.evidence.batching import add_perturbed, chunks
from eli5k.keras.evidence.probes import Input, Probe
from eli5k.keras.evidence.run import Attribution, Run
from eli5k.keras.methods.gradient import signed_gradient
from eli5k.keras.methods.registry import Cost, register


@register(
    "integrated-gradients",
    "input",
    Cost(1, each=Cost(1, 1), count=50, unit="step"),
    "If the map must sum to the score's difference from a meaningful baseline.",
)
@dataclass(frozen=True)
class IntegratedGradients:
    r"""Integrated gradients: averages gradients on the way from a baseline.

    .. math:: M^c_{ij} = \sum_k (x^k_{ij} - b^k_{ij}) \int_0^1
              \frac{\partial y^c}{\partial x^k_{ij}} \bigl( b + t (x - b) \bigr) \, dt

    The map sums to the score of the input minus that of the baseline, as exactly as the integral is
    computed. Gauss-Legendre quadrature is exact for polynomials in :math:`t` of a degree below
    ``2 * steps``.

    Attributes
    ----------
    steps : int
        Number of points on the way at which the gradient is taken.
    baseline : float, tuple of float, "mean", "blur" or callable
        An input that shows nothing, in the units of the model's input: see
        :func:`~eli5k.keras.evidence.baselines.baseline_of`.

    References
    ----------
    Sundararajan et al. 2017, https://arxiv.org/abs/1703.01365

    Examples
    --------
    >>> IntegratedGradients(steps=20, baseline=-1.0)
    IntegratedGradients(steps=20, baseline=-1.0)
    """

    steps: int = 50
    baseline: Baseline = 0.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1. Received: {self.steps}")

    def __call__(self, run: Run) -> Attribution:
        """Return signed maps ``(targets, batch, *grid)``, of the input's size."""
        scores = run.scores()
        run = run.with_classes(scores)
        image = run.image
        baseline = baseline_of(image, self.baseline)
        path = image - baseline
        nodes, weights = np.polynomial.legendre.leggauss(self.steps)
        weights = weights.astype("float32") / 2
        integral = np.zeros((scores.explained.shape[1], *path.shape), "float32")
        for chunk in chunks(run, self.steps):
            at = (nodes[chunk.numbers] / 2 + 0.5).astype("float32")
            at = at.reshape(-1, *(1,) * (path.ndim - 1))
            points = baseline[chunk.samples] + at * path[chunk.samples]
            gradients = (
                run.perturbed(points, chunk.samples).evidence(Probe(Input()), signed_gradient).maps
            )
            add_perturbed(integral, chunk, gradients, weights[chunk.numbers, np.newaxis])
        return Attribution(None, scores, (integral * path).sum(axis=-1))
