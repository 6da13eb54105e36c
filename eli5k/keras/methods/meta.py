"""Methods around another one: many of its maps in one, or its map of another question."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from eli5k.keras import methods
from eli5k.keras.layers import candidate_calls, map_grid, preparing_paths
from eli5k.keras.methods.gradient import gradient
from eli5k.keras.methods.resize import resize
from eli5k.keras.methods.tries import Chunk, add_tries, ask_again, chunks, settle
from eli5k.keras.targets import class_count

if TYPE_CHECKING:
    from eli5k.keras.methods.evidence import Evidence
    from eli5k.keras.run import Answer, Run


@dataclass(frozen=True)
class Smooth:
    r"""SmoothGrad, and with ``kind`` SquareGrad or VarGrad: the moments of a map under noise.

    .. math:: M^c = \frac{1}{n} \sum_{i=1}^n m^c \left( X + \mathcal N(0, \sigma^2) \right), \quad
              \sigma = \mathrm{noise} \cdot (\max X - \min X)

    where :math:`m^c` is the map of ``method``. SquareGrad has the mean of :math:`(m^c)^2` in the
    place of it, and VarGrad the variance. Of ``"gradient"`` and ``"guided-backprop"`` it is the
    gradient of each channel, as in the papers: the largest size is taken afterwards, when what the
    noise made has cancelled out.

    Map ``(targets, batch, *grid)`` as the method's: with ``kind="mean"`` signed as it is, with the
    others never negative. Runs the method once, and once for each sample of the noise.

    Attributes
    ----------
    method : str or callable
    samples : int
        How many noisy inputs; each document has the same noise.
    noise : float
        Its standard deviation as a share of the input's range. The paper has 0.1 to 0.2.
    kind : {"mean", "square", "variance"}
    seed : int
        The same seed gives the same map.

    References
    ----------
    SmoothGrad: Smilkov et al. 2017, https://arxiv.org/abs/1706.03825. SquareGrad: Hooker et al.
    2019, https://arxiv.org/abs/1806.10758. VarGrad: Adebayo et al. 2018,
    https://arxiv.org/abs/1810.03307

    Examples
    --------
    >>> import keras
    >>> from eli5k.keras import attribute
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3), keras.layers.Flatten()]
    >>> model = keras.Sequential([*layers, keras.layers.Dense(3)])
    >>> method = Smooth("grad-cam", samples=8)
    >>> scores, maps = attribute(model, np.ones((5, 8, 8, 1)), method=method)
    >>> maps.shape
    (5, 6, 6)
    """

    method: str | Callable = "gradient"
    samples: int = 50
    noise: float = 0.15
    kind: Literal["mean", "square", "variance"] = "mean"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 1 or self.noise < 0 or self.kind not in ("mean", "square", "variance"):
            raise ValueError(
                "samples must be positive, noise not negative, and kind 'mean', 'square' or "
                f"'variance'. Received: {self}"
            )

    @property
    def needs_layer(self) -> bool:
        return methods.find_method(self.method).needs_layer

    def __call__(self, run: Run) -> Answer:
        explain, finish = _signed(_explain_by(self.method))
        plain = explain(run)
        run = settle(run, plain.scores)
        image = run.image
        axes = tuple(range(1, image.ndim))
        size = self.noise * np.ptp(image, axis=axes, keepdims=True).astype("float32")
        shift, square = np.zeros_like(plain.maps), np.zeros_like(plain.maps)
        for chunk in chunks(run, self.samples):
            noise = self._noise(chunk, image.shape[1:])
            noise *= size[chunk.samples]
            noise += image[chunk.samples]
            # Moments about the plain map: where the noise changes nothing, they are exactly zero.
            change = explain(ask_again(run, chunk, noise)).maps - plain.maps[:, chunk.samples]
            add_tries(shift, chunk, change)
            add_tries(square, chunk, np.square(change, out=change))
        shift, square = shift / self.samples, square / self.samples
        mean, variance = plain.maps + shift, np.maximum(square - shift**2, 0)
        kinds = {"mean": mean, "variance": variance, "square": mean**2 + variance}
        return plain._replace(maps=finish(kinds[self.kind]))

    def _noise(self, chunk: Chunk, shape: Sequence[int]) -> np.ndarray:
        """Draw the noise of each row, which depends on the seed and the try alone."""
        noise = np.empty((len(chunk.tries), *shape), "float32")

        def draw(row: np.ndarray, number: int) -> None:
            np.random.default_rng((self.seed, number)).standard_normal(dtype="float32", out=row)

        # Next to the model, drawing takes long enough to do it on all cores.
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            list(threads.map(draw, noise, chunk.tries.tolist()))
        return noise


def _explain_by(method: str | Callable) -> Callable[[Run], Answer]:
    return methods.find_method(method).explain


def _signed(explain: Callable) -> tuple[Callable, Callable]:
    """Split a method into one with a sign and what takes it away; most have it to the end."""
    if isinstance(explain, methods.AtInput) and explain.function is gradient:
        return replace(explain, function=_gradients), _largest_size
    return explain, np.asarray


def _gradients(evidence: Evidence) -> Any:
    return evidence.gradients


def _largest_size(gradients: np.ndarray) -> np.ndarray:
    return np.abs(gradients).max(axis=-1)


@dataclass(frozen=True)
class TTA:
    r"""Test-time augmentation: the mean over views of the input, each map turned back.

    .. math:: M^c_p = \frac{1}{|\{v \ni p\}|} \sum_{v \ni p} v^{-1} \left( m^c(v(X)) \right)_p

    The views are all combinations of a flip, or none, of each of some axes, and a scale about the
    centre. The input keeps its size: of a larger scale its border is cut off, and a point counts
    only where a view shows it; of a smaller one it is continued by its border.

    Map ``(targets, batch, *grid)`` and signed as the method's. Runs the model forward once, and
    the method once for each view.

    Attributes
    ----------
    method : str or callable
    flips : tuple of int
        Axes of the grid: -1 is left to right.
    scales : tuple of float

    References
    ----------
    For class activation maps: Ahn and Kwak 2018, https://arxiv.org/abs/1803.10464

    Examples
    --------
    >>> import keras
    >>> from eli5k.keras import attribute
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3), keras.layers.Flatten()]
    >>> model = keras.Sequential([*layers, keras.layers.Dense(3)])
    >>> scores, maps = attribute(model, np.ones((5, 8, 8, 1)), method=TTA())
    >>> maps.shape
    (5, 6, 6)
    """

    method: str | Callable = "grad-cam"
    flips: tuple[int, ...] = (-1,)
    scales: tuple[float, ...] = (0.8, 1.0, 1.25)

    def __post_init__(self) -> None:
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"scales must be positive numbers. Received: {self}")

    @property
    def needs_layer(self) -> bool:
        return methods.find_method(self.method).needs_layer

    def __call__(self, run: Run) -> Answer:
        explain = _explain_by(self.method)
        scores = run.scores()
        run = settle(run, scores)
        image = run.image
        factors = self._factors(image.ndim - 2)
        total: Any = None
        for chunk in chunks(run, len(factors)):
            zooms = factors[chunk.tries]
            channels = np.moveaxis(image[chunk.samples].astype("float32", copy=False), -1, 1)
            views = np.moveaxis(_zoom(channels, zooms), 1, -1)
            answer = explain(ask_again(run, chunk, views))
            maps = np.moveaxis(_zoom(np.moveaxis(answer.maps, 0, 1), 1 / zooms), 1, 0)
            if total is None:
                total = np.zeros((len(maps), len(image), *maps.shape[2:]), "float32")
            add_tries(total, chunk, maps * _shown(zooms, maps.shape[2:]))
        times_shown = _shown(factors, total.shape[2:]).sum(axis=0)
        return answer._replace(scores=scores, maps=total / np.maximum(times_shown, 1))

    def _factors(self, rank: int) -> np.ndarray:
        """Factor of each axis in each view, ``(views, axes)``: negative where it is flipped."""
        if not all(-rank <= axis < rank for axis in self.flips):
            raise ValueError(
                f"flips must be axes of the input's grid, from {-rank} to {rank - 1}. "
                f"Received: {self.flips}"
            )
        flipped = {range(rank)[axis] for axis in self.flips}
        signs = product(*[(1, -1) if axis in flipped else (1,) for axis in range(rank)])
        return np.array([np.multiply(s, scale) for s, scale in product(signs, self.scales)])


def _zoom(arrays: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Enlarge each row about its centre by its factors: ``(rows, parts, *grid)``, as it was."""
    for axis, factor in enumerate(factors.T, start=2):
        size = arrays.shape[axis]
        at = np.clip(_origins(size, factor) + (size - 1) / 2, 0, size - 1)
        distances = np.abs(np.arange(size)[:, np.newaxis] - at[:, np.newaxis])
        by_row = np.maximum(1 - distances, 0).astype("float32")
        by_row = by_row.reshape(len(arrays), *(1,) * (arrays.ndim - 3), size, size)
        arrays = (arrays.swapaxes(axis, -1) @ by_row).swapaxes(axis, -1)
    return arrays


def _origins(size: int, factors: np.ndarray) -> np.ndarray:
    """Where each point of a zoomed axis comes from, ``(rows, size)``, counted from the centre."""
    return (np.arange(size) - (size - 1) / 2) / factors[:, np.newaxis]


def _shown(factors: np.ndarray, grid: Sequence[int]) -> np.ndarray:
    """Whether each point is inside of each zoomed view: ``(rows, *grid)``, float32."""
    shown = np.ones((len(factors), *grid), "float32")
    for axis, (size, factor) in enumerate(zip(grid, factors.T), start=1):
        inside = np.abs(_origins(size, 1 / factor)) <= size / 2
        shown *= np.expand_dims(inside, [a for a in range(1, shown.ndim) if a != axis])
    return shown


@dataclass(frozen=True)
class Fuse:
    r"""Several layers in one map: where they are, and as sharp as the largest grid among them.

    .. math:: M^c = \Big( \frac{1}{L} \sum_l p_l \Big) \cdot
              \operatorname{combine}_l \mathrm{Up}(m^c_l) / p_l, \quad p_l = \max |m^c_l|

    so that each layer has the same say, whatever the size of its gradients, and one layer alone
    has the map that it had.

    Map ``(targets, batch, *grid)`` of the largest grid, signed as the method's. Runs the method
    once for each layer. The answer names the layer with the smallest grid.

    Attributes
    ----------
    method : str or callable
        One that looks at a layer.
    combine : {"mean", "max"}
        The mean of the layers, or at each point the largest (as LayerCAM's paper does).
    levels : int
        Where no list of layers is passed: how many, from the default layer on and each with a grid
        of at least twice the size.

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
    (5, 6, 6)
    """

    method: str | Callable = "layer-cam"
    combine: Literal["mean", "max"] = "mean"
    levels: int = 3
    needs_layer = True

    def __post_init__(self) -> None:
        if self.combine not in ("mean", "max") or self.levels < 1:
            raise ValueError(
                f"combine must be 'mean' or 'max', and levels positive. Received: {self}"
            )

    def __call__(self, run: Run) -> Answer:
        answers = list(self._answers(run))
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

    def _answers(self, run: Run) -> Iterator[Answer]:
        explain = _explain_by(self.method)
        layers = run.layer if isinstance(run.layer, list | tuple) else [run.layer]
        if not layers:
            raise ValueError("layer must name at least one layer. Received an empty list.")
        for layer in layers:
            answer = explain(replace(run, layer=layer))
            run = settle(run, answer.scores)
            yield answer
        if run.layer is None:
            yield from self._larger(run, explain, answer.maps.shape[2:])

    def _larger(
        self, run: Run, explain: Callable[[Run], Answer], grid: Sequence[int]
    ) -> Iterator[Answer]:
        """Explain layers before the default one, each with a grid of twice the size or more."""
        seen = run.seen
        levels = 1
        preparing = preparing_paths(seen.calls)
        for call in candidate_calls(run.model, seen.calls, seen.rank, seen.channels_first):
            of_call = map_grid(call, seen.rank, seen.channels_first)
            is_larger = all(new >= 2 * old for new, old in zip(of_call, grid))
            if levels == self.levels or not is_larger or call.path in preparing:
                continue
            try:
                yield explain(replace(run, layer=call.path))
            except ValueError:
                # The score does not depend on it, or the method cannot use it.
                continue
            levels, grid = levels + 1, of_call


@dataclass(frozen=True)
class Contrast:
    r"""Finer-CAM: what speaks for a class and not for those that the model takes it for.

    .. math:: M^c = m \Big[ f^c - \frac{\alpha}{k} \sum_{d \in D_c} f^d \Big]

    where :math:`D_c` are the :math:`k` classes with the scores nearest to that of :math:`c`: the
    method explains the difference, in one run. Best with ``logits=True``, since a softmax has
    compared the classes already.

    Map ``(targets, batch, *grid)`` and signed as the method's; the scores are those of the classes.
    Runs the model twice forward, and the method once.

    Attributes
    ----------
    method : str or callable
    similar : int
        How many classes :math:`c` is compared with.
    alpha : float
        How much of what they share is taken away.

    References
    ----------
    Zhang et al. 2025, https://arxiv.org/abs/2501.11309

    Examples
    --------
    >>> import keras
    >>> from eli5k.keras import attribute
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3), keras.layers.Flatten()]
    >>> model = keras.Sequential([*layers, keras.layers.Dense(3)])
    >>> scores, maps = attribute(model, np.ones((5, 8, 8, 1)), method=Contrast())
    >>> maps.shape
    (5, 6, 6)
    """

    method: str | Callable = "grad-cam"
    similar: int = 3
    alpha: float = 0.6

    def __post_init__(self) -> None:
        if self.similar < 1:
            raise ValueError(f"similar must be positive. Received: {self}")

    @property
    def needs_layer(self) -> bool:
        return methods.find_method(self.method).needs_layer

    def __call__(self, run: Run) -> Answer:
        plain = replace(run, mix=(1.0,))
        every = replace(plain, classes=_every_class(run)).scores().values
        scores = plain.scores()
        own = np.take_along_axis(every, scores.classes, axis=1)
        distance = np.abs(every[:, np.newaxis] - own[:, :, np.newaxis])
        # Nothing is nearer to a class than itself, not even one with the same score.
        np.put_along_axis(distance, scores.classes[..., np.newaxis], -1, axis=2)
        groups = np.argsort(distance, axis=2, kind="stable")[..., : 1 + self.similar]
        others = groups.shape[2] - 1
        mix = (1.0, *[-self.alpha / others] * others)
        classes = groups.reshape(len(groups), -1).astype("int32")
        explain = _explain_by(self.method)
        return explain(replace(run, classes=classes, mix=tuple(run.mix[0] * w for w in mix)))


def _every_class(run: Run) -> np.ndarray:
    """All classes of the explained output, for each sample: ``(batch, classes)``."""
    head = run.seen.heads[run.selection.head]
    count = 2 if run.selection.binary else class_count(head)
    if run.selection.functions or len(run.mix) > 1 or count is None or count < 2:
        raise ValueError(
            "contrast compares a class with others: targets must be classes, of an output of two "
            "or more, and not be contrasts already. Received a callable, a contrast, or the output "
            f"{head.name!r} of shape {head.output}."
        )
    return np.tile(np.arange(count, dtype="int32"), (len(run.image), 1))


@dataclass(frozen=True)
class Counterfactual:
    r"""Counterfactual of Grad-CAM: where there is what speaks against a class.

    .. math:: M^c = m \left[ -f^c \right]

    The method explains the negated score, so that each of its gradients is negated: what would
    raise the score if it were not there.

    Map ``(targets, batch, *grid)`` as the method's; the scores are those of the classes. Costs
    what the method costs.

    Attributes
    ----------
    method : str or callable

    References
    ----------
    Selvaraju et al. 2017, section 3.3, https://arxiv.org/abs/1610.02391

    Examples
    --------
    >>> import keras
    >>> from eli5k.keras import attribute
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3), keras.layers.Flatten()]
    >>> model = keras.Sequential([*layers, keras.layers.Dense(3)])
    >>> docs = np.ones((5, 8, 8, 1))
    >>> scores, against = attribute(model, docs, method=Counterfactual())
    >>> bool(np.allclose(against, -attribute(model, docs)[1]))
    True
    """

    method: str | Callable = "grad-cam"

    @property
    def needs_layer(self) -> bool:
        return methods.find_method(self.method).needs_layer

    def __call__(self, run: Run) -> Answer:
        return _explain_by(self.method)(replace(run, mix=tuple(-weight for weight in run.mix)))
