"""The first waist: what one run of a model tells a method."""

from __future__ import annotations

from typing import Any, NamedTuple


class Evidence(NamedTuple):
    """Activations of a layer, and what the scores' gradients there are.

    Always channels last and in float32, whatever the model has.

    Attributes
    ----------
    activations : tensor
        ``(batch, *grid, channels)``
    gradients : tensor
        ``(targets, batch, *grid, channels)``: of each target's score.
    """

    activations: Any
    gradients: Any
