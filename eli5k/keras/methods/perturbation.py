"""Methods that try: change the input or a layer, and look at what becomes of the score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import ceil
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from eli5k.keras.memory import remember
from eli5k.keras.methods.resize import resize
from eli5k.keras.methods.tries import add_tries, ask_again, chunks, settle
from eli5k.keras.progress import progress_bar

if TYPE_CHECKING:
    from eli5k.keras.methods.evidence import Evidence
    from eli5k.keras.run import Answer, Run


@dataclass(frozen=True)
class ScoreCAM:
    r"""Score-CAM: each channel has the weight of the score of what its activation lets through.

    .. math:: M^c = \sum_k \alpha^c_k A^k, \quad
              \alpha^c_k = \operatorname{softmax}_k \left( f^c(X \circ H^k) - f^c(X_b) \right),
              \quad H^k = s(\mathrm{Up}(A^k))

    where :math:`s` scales to [0, 1]. The baseline :math:`X_b` takes the same from the score of each
    channel, which the softmax does not see: the model is not run on it. A channel that is constant
    lets nothing through. On probabilities the weights are nearly equal, by the paper's definition:
    with ``logits=True`` they differ.

    Map ``(targets, batch, *grid)`` of the layer, signed as its activations are. Runs the model
    once forward and backward, and once forward for each channel.

    Attributes
    ----------
    max_channels : int or None
        Try only so many channels, those of which the activation varies most (Faster Score-CAM);
        None for all.

    References
    ----------
    Wang et al. 2020, https://arxiv.org/abs/1910.01279

    Examples
    --------
    >>> import keras
    >>> from eli5k.keras import attribute
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3), keras.layers.Flatten()]
    >>> model = keras.Sequential([*layers, keras.layers.Dense(3)])
    >>> scores, maps = attribute(model, np.ones((5, 8, 8, 1)), method=ScoreCAM())
    >>> maps.shape
    (5, 6, 6)
    """

    max_channels: int | None = None
    needs_layer = True

    def __post_init__(self) -> None:
        if self.max_channels is not None and self.max_channels < 1:
            raise ValueError(f"max_channels must be positive or None. Received: {self}")

    def __call__(self, run: Run) -> Answer:
        answer = run.at_layer(_activations)
        run = settle(run, answer.scores)
        activations = _most_varied(answer.maps, self.max_channels)
        batch, channels = activations.shape[0], activations.shape[-1]
        image = run.image.astype("float32", copy=False)
        scores = np.zeros((batch, channels, answer.scores.explained.shape[1]), "float32")
        for chunk in chunks(run, channels):
            masks = resize(activations[chunk.samples, ..., chunk.tries], image.shape[1:-1])
            masked = image[chunk.samples]
            masked *= _scale_to_one(masks)[..., np.newaxis]
            scores[chunk.samples, chunk.tries] = ask_again(run, chunk, masked).scores().explained
        return answer._replace(maps=_weighted_sum(activations, _softmax_over_channels(scores)))


def _activations(evidence: Evidence) -> Any:
    return evidence.activations


def _most_varied(activations: np.ndarray, count: int | None) -> np.ndarray:
    """Keep, of each sample, the channels with the largest variance: ``(batch, *grid, count)``."""
    if count is None or count >= activations.shape[-1]:
        return activations
    grid_axes = tuple(range(1, activations.ndim - 1))
    variance = activations.var(axis=grid_axes, keepdims=True)
    order = np.argsort(-variance, axis=-1, kind="stable")[..., :count]
    return np.take_along_axis(activations, order, axis=-1)


def _scale_to_one(masks: np.ndarray) -> np.ndarray:
    grid_axes = tuple(range(1, masks.ndim))
    low, high = (part(masks, axis=grid_axes, keepdims=True) for part in (np.min, np.max))
    # Enlarged, a constant channel is one no more in its last digit.
    is_flat = high - low <= 1e-6 * np.maximum(np.abs(low), np.abs(high))
    return np.where(is_flat, 0, masks - low) / np.where(is_flat, 1, high - low)


def _softmax_over_channels(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _weighted_sum(activations: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sum over the channels: weights ``(batch, channels, targets)`` to maps of each target."""
    batch, *grid, channels = activations.shape
    maps = activations.reshape(batch, -1, channels) @ weights
    return np.moveaxis(maps, -1, 0).reshape(-1, batch, *grid)


@dataclass(frozen=True)
class AblationCAM:
    r"""Ablation-CAM: each channel has the weight of what the score loses without it.

    .. math:: M^c = \sum_k \frac{y^c - y^c_k}{|y^c|} A^k

    where :math:`y^c_k` is the score when channel :math:`k` of the layer is zero. The paper divides
    by :math:`y^c`, which is the same for a positive score; of a negative one it would turn the map
    round.

    Map ``(targets, batch, *grid)`` of the layer, signed. Runs the model once forward and backward,
    and what comes after the layer once for each channel: all of the model, where what comes after
    does not depend on the layer alone.

    References
    ----------
    Desai and Ramaswamy 2020, https://openaccess.thecvf.com/content_WACV_2020/html/Desai_Ablation-CAM_Visual_Explanations_for_Deep_Convolutional_Network_via_Gradient-free_Localization_WACV_2020_paper.html

    Examples
    --------
    >>> import keras
    >>> from eli5k.keras import attribute
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3), keras.layers.Flatten()]
    >>> model = keras.Sequential([*layers, keras.layers.Dense(3)])
    >>> scores, maps = attribute(model, np.ones((5, 8, 8, 1)), method=AblationCAM())
    >>> maps.shape
    (5, 6, 6)
    """

    needs_layer = True

    def __call__(self, run: Run) -> Answer:
        answer = run.at_layer(_activations)
        run = settle(run, answer.scores)
        batch, channels = answer.maps.shape[0], answer.maps.shape[-1]
        _check_channels_stay(run, str(answer.layer), channels)
        drops = np.zeros((batch, channels, answer.scores.explained.shape[1]), "float32")
        for sample in progress_bar(range(run.count), progress=run.progress, unit="sample"):
            drops[sample] = _drops(run.part(slice(sample, sample + 1)), str(answer.layer), channels)
        size = np.maximum(np.abs(answer.scores.explained), keras.config.epsilon())
        weights = drops / size[:, np.newaxis]
        return answer._replace(maps=_weighted_sum(answer.maps, weights))


def _check_channels_stay(run: Run, layer: str, channels: int) -> None:
    """Raise a ValueError if ``reshape=`` makes other channels than those that the layer has."""
    shape = next((c.shape for c in reversed(run.seen.calls) if c.path == layer), None)
    if run.reshape is None or shape is None:
        return
    output = np.random.default_rng(0).standard_normal(shape, "float32")
    factors = np.random.default_rng(1).standard_normal(channels, "float32")
    if shape[-1] == channels:
        before, after = (
            keras.ops.convert_to_numpy(run.reshape(keras.ops.convert_to_tensor(array)))
            for array in (output * factors, output)
        )
        if np.array_equal(before, after * factors):
            return
    raise ValueError(
        "ablation-cam leaves out channels of the layer itself, so reshape must keep its last axis "
        f"as it is. Received a callable that makes other channels of {shape}. "
        "Use method='score-cam'."
    )


def _drops(run: Run, layer: str, channels: int) -> np.ndarray:
    """What the score of one sample loses without each channel: ``(channels, targets)``."""
    alone = _rest_runs_alone(run, layer, channels)
    scores = []
    # Nothing is left out at the first try: a score to compare with that is rounded alike.
    for chunk in chunks(run, 1 + channels):
        factors = chunk.tries[:, np.newaxis] != 1 + np.arange(channels)
        found = _scores_without(run, layer, factors.astype("float32"), alone)
        scores.append(found[: chunk.kept])
    of_all, *without = np.concatenate(scores)
    return of_all - np.stack(without)


def _scores_without(run: Run, layer: str, factors: np.ndarray, alone: bool) -> np.ndarray:
    """Scores of one sample for each row of factors: ``(rows, targets)``."""
    rows = np.zeros(len(factors), int)
    classes = None if run.classes is None else run.classes[rows]
    run = replace(run, classes=classes) if alone else run.on(run.image[rows], rows, classes)
    return run.scores_with_channels(layer, factors).explained


def _rest_runs_alone(run: Run, layer: str, channels: int) -> bool:
    """Tell whether one sample may become many rows at the layer.

    Where a concatenation or a reshape brings in what was before the layer, it may not.
    """

    def try_it() -> bool:
        try:
            values = _scores_without(run, layer, np.ones((2, channels), "float32"), True)
        except Exception:  # Each backend has its own for shapes that do not match.
            return False
        expected = run.scores().explained
        return values.shape == (2, expected.shape[1]) and np.allclose(values, expected, rtol=0.01)

    return remember(run.model, ("rest runs alone", layer, run.selection), try_it)


@dataclass(frozen=True)
class Occlusion:
    r"""Occlusion: what the score loses when a window of the input is hidden.

    .. math:: M^c_p = \frac{1}{|\{w \ni p\}|} \sum_{w \ni p} f^c(X) - f^c(X_{\setminus w})

    The mean is over all windows :math:`w` that hide the point :math:`p`; the last window of each
    axis ends where the axis ends.

    Map ``(targets, batch, *grid)`` of the input, signed, in units of the score. Runs the model
    forward once, and once for each window.

    Attributes
    ----------
    window, stride : int, tuple of int or None
        For all axes or for each: size of the window, None for an eighth of the axis; and how far
        apart windows begin, None for half a window.
    fill : float or None
        What is put in the place of the window; None for the mean of each channel of the input.

    References
    ----------
    Zeiler and Fergus 2014, https://arxiv.org/abs/1311.2901

    Examples
    --------
    >>> import keras
    >>> from eli5k.keras import attribute
    >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    >>> method = Occlusion(window=2, stride=2, fill=0)
    >>> _, maps = attribute(model, np.ones((1, 8, 8, 1)), 9, method=method)
    >>> maps[0, :4, :4]
    array([[1., 1., 0., 0.],
           [1., 1., 0., 0.],
           [0., 0., 0., 0.],
           [0., 0., 0., 0.]], dtype=float32)
    """

    window: int | tuple[int, ...] | None = None
    stride: int | tuple[int, ...] | None = None
    fill: float | None = None

    def __call__(self, run: Run) -> Answer:
        plain = run.at_output()
        run = settle(run, plain.scores)
        # Of whole numbers, too, what hides may lie between two of them until it is asked about.
        image = run.image.astype("float32", copy=False)
        fill = _fill_of(image, self.fill)
        windows = _windows(image.shape[1:-1], self.window, self.stride)
        targets = plain.scores.explained.shape[1]
        maps = np.zeros((*image.shape[:-1], targets), "float32")
        for chunk in chunks(run, len(windows)):
            occluded = image[chunk.samples]
            for row, (sample, number) in enumerate(zip(chunk.samples, chunk.tries)):
                occluded[row, *windows[number]] = fill[sample]
            scores = ask_again(run, chunk, occluded).scores().explained
            drops = plain.scores.explained[chunk.samples] - scores
            for row in range(chunk.kept):
                maps[chunk.samples[row], *windows[chunk.tries[row]]] += drops[row]
        times_hidden = np.zeros(image.shape[1:-1], "float32")
        for window in windows:
            times_hidden[window] += 1
        return plain._replace(maps=np.moveaxis(maps, -1, 0) / np.maximum(times_hidden, 1))


def _fill_of(image: np.ndarray, fill: float | None) -> np.ndarray:
    """What hides a point of each sample: ``(batch, channels)``, float32."""
    mean = image.mean(axis=tuple(range(1, image.ndim - 1)), dtype="float32")
    return mean if fill is None else np.full_like(mean, fill)


def _windows(
    grid: Sequence[int],
    window: int | tuple[int, ...] | None,
    stride: int | tuple[int, ...] | None,
) -> list[tuple[slice, ...]]:
    """What each window hides: one slice for each axis."""
    sizes = _for_each_axis("window", window, [ceil(size / 8) for size in grid], grid)
    strides = _for_each_axis("stride", stride, [ceil(size / 2) for size in sizes], grid)
    by_axis = [
        [slice(start, start + size) for start in (*range(0, length - size, step), length - size)]
        for length, size, step in zip(grid, sizes, strides)
    ]
    return list(product(*by_axis))


def _for_each_axis(
    name: str, value: int | tuple[int, ...] | None, default: list[int], grid: Sequence[int]
) -> Sequence[int]:
    if value is None:
        return default
    values = value if isinstance(value, tuple) else (value,) * len(grid)
    if len(values) != len(grid) or not all(1 <= v <= size for v, size in zip(values, grid)):
        raise ValueError(
            f"{name} must be from 1 to the size of the input's grid {tuple(grid)}, one number for "
            f"all axes or a tuple of one for each. Received: {value}"
        )
    return values


@dataclass(frozen=True)
class RISE:
    r"""RISE: the mean of random masks, weighted by the score of what they let through.

    .. math:: M^c = \frac{1}{N \cdot E[H]} \sum_{i=1}^N f^c(X \circ H_i) \, H_i

    The masks are grids of ``cells`` that are open with ``probability``, which is :math:`E[H]` at
    each point: enlarged by linear interpolation, to one cell more than the input has room for, and
    cut to it at a random shift.

    Map ``(targets, batch, *grid)`` of the input, in units of the score and signed as it is. All of
    the map is about as high as the mean score: only differences within it mean something. Runs
    the model forward once, and once for each mask.

    Attributes
    ----------
    masks : int
        How many are tried; all samples have the same.
    cells : int
        How many along each axis.
    probability : float
        In (0, 1].
    fill : float or None
        What a closed mask shows; None for the mean of each channel of the input. The paper has 0.
    seed : int
        The same seed gives the same map.

    References
    ----------
    Petsiuk et al. 2018, https://arxiv.org/abs/1806.07421

    Examples
    --------
    >>> import keras
    >>> from eli5k.keras import attribute
    >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    >>> _, maps = attribute(model, np.ones((1, 8, 8, 1)), 27, method=RISE(masks=500))
    >>> np.unravel_index(maps[0].argmax(), (8, 8)) == (27 // 8, 27 % 8)
    True
    """

    masks: int = 4000
    cells: int = 7
    probability: float = 0.5
    fill: float | None = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.masks < 1 or self.cells < 1 or not 0 < self.probability <= 1:
            raise ValueError(
                f"masks and cells must be positive and probability in (0, 1]. Received: {self}"
            )

    def __call__(self, run: Run) -> Answer:
        plain = run.at_output()
        run = settle(run, plain.scores)
        image = run.image
        grid = image.shape[1:-1]
        fill = np.expand_dims(_fill_of(image, self.fill), tuple(range(1, 1 + len(grid))))
        shown = image - fill
        cell = [ceil(size / self.cells) for size in grid]
        random = np.random.default_rng(self.seed)
        # A byte for each cell: the masks themselves are made as they are needed.
        is_open = random.random((self.masks, *[self.cells] * len(grid))) < self.probability
        shifts = random.integers(cell, size=(self.masks, len(grid)))
        maps = np.zeros((plain.scores.explained.shape[1], *image.shape[:-1]), "float32")
        for chunk in chunks(run, self.masks):
            masks = _shifted(is_open[chunk.tries], shifts[chunk.tries], cell, grid)
            masked = shown[chunk.samples]
            masked *= masks[..., np.newaxis]
            if self.fill != 0:
                masked += fill[chunk.samples]
            weights = ask_again(run, chunk, masked).scores().explained
            add_tries(maps, chunk, masks[np.newaxis], weights)
        return plain._replace(maps=maps / np.float32(self.masks * self.probability))


def _shifted(
    is_open: np.ndarray, shifts: np.ndarray, cell: Sequence[int], grid: Sequence[int]
) -> np.ndarray:
    """Enlarge cells and cut each mask at its shift: ``(rows, *grid)``, float32 in [0, 1]."""
    large = [(cells + 1) * size for cells, size in zip(is_open.shape[1:], cell)]
    masks = resize(is_open.astype("float32"), large)
    windows = np.lib.stride_tricks.sliding_window_view(masks, grid, tuple(range(1, masks.ndim)))
    return windows[np.arange(len(masks)), *shifts.T]
