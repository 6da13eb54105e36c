"""Fuse the maps of several layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

import numpy as np

from eli5k.keras.backends import Tensor
from eli5k.keras.evidence.asking import DisconnectedError
from eli5k.keras.evidence.choice import is_map
from eli5k.keras.evidence.probes import Evidence, Layer, Layers, Point, Probe, frame_of
from eli5k.keras.evidence.run import Attribution, Run, on_whole_picture
from eli5k.keras.methods.registry import AtLayer, Cost, find_method, register
from eli5k.keras.model.geometry import view_of
from eli5k.keras.model.layers import candidate_calls
from eli5k.keras.model.structure import Call
from eli5k.maps import resize
from eli5k.options import MethodLike


@register(
    "fuse",
    "meta",
    Cost(method=1),
    "If one layer is too coarse and another too noisy; pass layer=[...].",
)
@dataclass(frozen=True)
class Fuse:
    r"""Fused layers: combines several layers' maps at the largest grid.

    .. math:: M^c = \Big( \frac{1}{L} \sum_l p_l \Big) \cdot
              \operatorname{combine}_l \mathrm{Up}(m^c_l) / p_l, \quad p_l = \max |m^c_l|

    so that all layers count alike, however large their gradients are, and a single layer keeps its
    map.

    The map is ``(targets, batch, *grid)`` of the largest grid, signed like the method's. If the
    layers look at different parts of the picture, it covers all of it. A method of one layer and
    one run explains all layers in one run; any other method runs once for each. The result names
    the layer with the smallest grid.

    Attributes
    ----------
    method : str or callable
        A method that looks at a layer.
    combine : {"mean", "max"}
        The mean of the layers, or the largest value at each point (as in LayerCAM's paper).
    levels : int
        How many layers to use if none are listed: from the default layer back, each with a grid at
        least twice as large.

    References
    ----------
    Jiang et al. 2021, https://doi.org/10.1109/TIP.2021.3089943

    Examples
    --------
    >>> import keras
    >>> from eli5k.keras import attribute
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3, name="a")]
    >>> layers += [keras.layers.Conv2D(2, 3, name="b"), keras.layers.Flatten()]
    >>> model = keras.Sequential([*layers, keras.layers.Dense(3)])
    >>> docs = np.ones((5, 8, 8, 1))
    >>> scores, maps = attribute(model, docs, layer=["a", "b"], method=Fuse())
    >>> maps.shape
    (5, 8, 8)
    """

    method: MethodLike = "layer-cam"
    combine: Literal["mean", "max"] = "mean"
    levels: int = 3
    needs_layer = True

    def __post_init__(self) -> None:
        if self.combine not in ("mean", "max") or self.levels < 1:
            raise ValueError(
                f"combine must be 'mean' or 'max', and levels positive. Received: {self}"
            )

    def __call__(self, run: Run) -> Attribution:
        answers = self._answers(run)
        if len({answer.frame for answer in answers}) > 1:
            answers = [on_whole_picture(each, run.survey.picture_grid) for each in answers]
        grid = max((answer.maps.shape[2:] for answer in answers), key=prod)
        axes = tuple(range(2, 2 + len(grid)))
        peaks = [np.abs(answer.maps).max(axis=axes, keepdims=True) for answer in answers]
        scaled = [
            resize(answer.maps / np.where(peak > 0, peak, 1), grid)
            for answer, peak in zip(answers, peaks)
        ]
        fused = np.mean(scaled, axis=0) if self.combine == "mean" else np.max(scaled, axis=0)
        maps = fused * np.mean(peaks, axis=0)
        deepest = min(answers, key=lambda answer: prod(answer.maps.shape[2:]))
        return deepest._replace(maps=maps)

    def _answers(self, run: Run) -> list[Attribution]:
        explain = find_method(self.method).explain
        layers = run.options.layer
        if layers is not None and not isinstance(layers, list | tuple):
            layers = [layers]
        if layers is not None and not layers:
            raise ValueError("layer must name at least one layer. Received an empty list.")
        points = (
            self._points(run)
            if layers is None
            else [run.at_layer(each).layer_point() for each in layers]
        )
        at_layers = [point for _, point in points if isinstance(point, Layer)]
        if isinstance(explain, AtLayer) and len(at_layers) == len(points):
            return _in_one_run(run, at_layers, explain.function)
        answers: list[Attribution] = []
        for path, _ in points:
            answers.append(explain(run.at_layer(path)))
            run = run.with_classes(answers[0].scores)
        return answers

    def _points(self, run: Run) -> list[tuple[str, Point]]:
        """Choose the default layer, and earlier ones with ever larger grids.

        Each grid has at least twice the size of the one before, along each axis.
        """
        path, point = run.layer_point()
        points = [(path, point)]
        if not isinstance(point, Layer) or point.view is None:
            return points
        grid = point.view.grid(_shape_of(run, point))
        for call in candidate_calls(run.model, run.survey):
            if len(points) == self.levels:
                break
            if not _may_be_larger(call, grid):
                continue
            view = view_of(run.model, run.survey, run.inputs, call)
            of_call = view.grid(call.shape or ())
            if not is_map(view) or not all(new >= 2 * old for new, old in zip(of_call, grid)):
                continue
            at_call = run.at_layer(call.path)
            if at_call.is_connected():
                points.append(at_call.layer_point())
                grid = of_call
        return points


def _shape_of(run: Run, point: Layer) -> tuple[int, ...]:
    own = (
        call for call in run.survey.calls if (call.path, call.number) == (point.path, point.number)
    )
    return next(own).shape or ()


def _may_be_larger(call: Call, grid: tuple[int, ...]) -> bool:
    """Tell whether a call has cells enough, before its geometry is known."""
    return call.shape is not None and prod(call.shape[1:]) >= 2 ** len(grid) * prod(grid)


def _in_one_run(
    run: Run, layers: list[Layer], function: Callable[[Evidence], Tensor]
) -> list[Attribution]:
    """Explain several layers in one run, with a tap at each."""
    answer = run.evidence(Probe(Layers(tuple(layers))), _ByLayer(function))
    missing = [layer.path for layer in layers if layer.key not in answer.maps]
    if missing:
        raise DisconnectedError(
            f"The explained score does not depend on the layers {missing}. Leave them out."
        )
    return [
        Attribution(
            layer.path, answer.scores, answer.maps[layer.key], answer.peaks, frame_of(layer)
        )
        for layer in layers
    ]


@dataclass(frozen=True)
class _ByLayer:
    """Apply one function to the evidence of each layer."""

    function: Callable[[Evidence], Tensor]

    def __call__(self, evidence: dict[str, Evidence]) -> dict[str, Any]:
        return {key: self.function(part) for key, part in evidence.items()}
