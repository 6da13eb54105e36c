"""Perturbation of a layer: weight channels by their effect on the score."""

from __future__ import annotations

from dataclasses import dataclass, replace

import keras
import numpy as np

from eli5k.keras.backends import Tensor
from eli5k.keras.evidence.batching import chunks
from eli5k.keras.evidence.patches import ScaledChannels
from eli5k.keras.evidence.probes import Evidence, Layer, Point, Probe
from eli5k.keras.evidence.run import Attribution, Run
from eli5k.keras.methods.registry import Cost, register
from eli5k.maps import inside, on_axes, resize
from eli5k.progress import progress_bar


@register(
    "score-cam",
    "perturbation",
    Cost(1, to_layer=1, each=Cost(1), unit="channel"),
    "If gradients vanish or mislead; pass logits=True; max_channels= makes it faster.",
)
@dataclass(frozen=True)
class ScoreCAM:
    r"""Score-CAM: weights each channel by the score of the picture it masks.

    .. math:: M^c = \sum_k \alpha^c_k A^k, \quad
              \alpha^c_k = \operatorname{softmax}_k \left( f^c(X \circ H^k) - f^c(X_b) \right),
              \quad H^k = s(\mathrm{Up}(A^k))

    where :math:`s` scales to [0, 1]. The score of the baseline :math:`X_b` is the same for all
    channels, so the softmax cancels it and the model isn't run on it. A constant channel masks
    everything. On probabilities the weights are nearly equal, by the paper's definition; with
    ``logits=True`` they differ.

    The map is ``(targets, batch, *grid)`` of the layer, signed like its activations. The model runs
    once forward and backward, and once forward for each channel.

    Attributes
    ----------
    max_channels : int or None
        Maximum number of channels to try: those whose activations vary most (Faster Score-CAM);
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

    def __call__(self, run: Run) -> Attribution:
        answer = run.evidence(Probe(Layer()), _activations)
        run = run.with_classes(answer.scores)
        activations = _most_varied(answer.maps, self.max_channels)
        batch, channels = activations.shape[0], activations.shape[-1]
        image = run.image.astype("float32", copy=False)
        grid = image.shape[1:-1]
        frame = on_axes(activations[..., 0], answer.frame, 1, len(grid))[1]
        shown = inside(grid, frame)
        scores = np.zeros((batch, channels, answer.scores.explained.shape[1]), "float32")
        for chunk in chunks(run, channels):
            chosen = activations[chunk.samples, ..., chunk.numbers]
            masks = resize(on_axes(chosen, None, 1, len(grid))[0], grid, frame)
            masked = image[chunk.samples]
            masked *= (_scale_to_one(masks) * shown)[..., np.newaxis]
            found = run.perturbed(masked, chunk.samples).scores().explained
            scores[chunk.samples, chunk.numbers] = found
        return answer._replace(maps=_weighted_sum(activations, _softmax_over_channels(scores)))


def _activations(evidence: Evidence) -> Tensor:
    return evidence.activations


def _most_varied(activations: np.ndarray, count: int | None) -> np.ndarray:
    """Keep each sample's most varied channels: ``(batch, *grid, count)``."""
    if count is None or count >= activations.shape[-1]:
        return activations
    grid_axes = tuple(range(1, activations.ndim - 1))
    variance = activations.var(axis=grid_axes, keepdims=True)
    order = np.argsort(-variance, axis=-1, kind="stable")[..., :count]
    return np.take_along_axis(activations, order, axis=-1)


def _scale_to_one(masks: np.ndarray) -> np.ndarray:
    grid_axes = tuple(range(1, masks.ndim))
    low, high = (part(masks, axis=grid_axes, keepdims=True) for part in (np.min, np.max))
    # An enlarged constant channel differs in its last digit.
    is_flat = high - low <= 1e-6 * np.maximum(np.abs(low), np.abs(high))
    return np.where(is_flat, 0, masks - low) / np.where(is_flat, 1, high - low)


def _softmax_over_channels(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _weighted_sum(activations: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Sum over the channels, with weights ``(batch, channels, targets)``."""
    batch, *grid, channels = activations.shape
    maps = activations.reshape(batch, -1, channels) @ weights
    return np.moveaxis(maps, -1, 0).reshape(-1, batch, *grid)


@register(
    "ablation-cam",
    "perturbation",
    Cost(1, to_layer=1, each=Cost(1), unit="channel, from the layer on"),
    "If gradients vanish or mislead; much faster than Score-CAM at a late layer.",
)
@dataclass(frozen=True)
class AblationCAM:
    r"""Ablation-CAM: weights each channel by what the score loses without it.

    .. math:: M^c = \sum_k \frac{y^c - y^c_k}{|y^c|} A^k

    where :math:`y^c_k` is the score when channel :math:`k` of the layer is zero. The paper divides
    by :math:`y^c`, which is the same for a positive score, but inverts the map of a negative one.

    The map is ``(targets, batch, *grid)`` of the layer, signed. The model runs once forward and
    backward. The part after the layer then runs once for each channel; if that part depends on more
    than the layer, the whole model does.

    References
    ----------
    Desai and Ramaswamy 2020, https://doi.org/10.1109/WACV45572.2020.9093360

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

    def __call__(self, run: Run) -> Attribution:
        answer = run.evidence(Probe(Layer()), _activations)
        run = run.with_classes(answer.scores)
        batch, channels = answer.maps.shape[0], answer.maps.shape[-1]
        _, point = run.layer_point()
        if isinstance(point, Layer):
            _check_channels_stay(run, point, channels)
        drops = np.zeros((batch, channels, answer.scores.explained.shape[1]), "float32")
        for sample in progress_bar(range(run.count), progress=run.options.progress, unit="sample"):
            drops[sample] = _drops(run.part(slice(sample, sample + 1)), point, channels)
        size = np.maximum(np.abs(answer.scores.explained), keras.config.epsilon())
        weights = drops / size[:, np.newaxis]
        return answer._replace(maps=_weighted_sum(answer.maps, weights))


def _drops(run: Run, point: Point, channels: int) -> np.ndarray:
    """Measure what the score loses without each channel: ``(channels, targets)``."""
    alone = isinstance(point, Layer) and _rest_runs_alone(run, point, channels)
    scores = []
    # The first row leaves out nothing: a score to compare with, rounded in the same way.
    for chunk in chunks(run, 1 + channels):
        factors = chunk.numbers[:, np.newaxis] != 1 + np.arange(channels)
        found = _scores_without(run, point, factors.astype("float32"), alone)
        scores.append(found[: chunk.n_valid])
    of_all, *without = np.concatenate(scores)
    return of_all - np.stack(without)


def _scores_without(run: Run, point: Point, factors: np.ndarray, alone: bool) -> np.ndarray:
    """Scores of one sample for each row of factors: ``(rows, targets)``."""
    rows = np.zeros(len(factors), int)
    if not isinstance(point, Layer):
        image = run.image
        scale = factors.reshape(len(factors), *(1,) * (image.ndim - 2), -1)
        return run.perturbed(image[rows] * scale, rows).scores().explained
    if alone:
        classes, places = run.chosen(rows)
        run = replace(run, classes=classes, places=places)
    else:
        run = run.perturbed(run.image[rows], rows)
    return run.scores((ScaledChannels(point),), (factors,)).explained


def _rest_runs_alone(run: Run, point: Layer, channels: int) -> bool:
    """Tell whether one sample may become many rows at the layer.

    It may not if a concatenation or a reshape brings in tensors from before the layer. This is
    tried on noise: the user's document, which may hold NaN, must not decide it.
    """
    if run.survey.fixed_batch:
        return False
    noise = run.on_noise(1)

    def try_it() -> bool:
        try:
            values = _scores_without(noise, point, np.ones((2, channels), "float32"), True)
        except Exception:  # Each backend has its own for shapes that do not match.
            return False
        expected = noise.scores().explained
        return values.shape == (2, expected.shape[1]) and np.allclose(values, expected, rtol=0.01)

    if run.target.functions:
        return try_it()
    return bool(run.remembered(("rest runs alone", point.key, run.target.output), try_it))


def _check_channels_stay(run: Run, point: Layer, channels: int) -> None:
    """Raise ValueError if ``reshape=`` mixes the layer's channels."""
    shape = next((c.shape for c in run.survey.calls if c.path == point.path), None)
    if run.options.reshape is None or shape is None:
        return
    output = np.random.default_rng(0).standard_normal(shape, "float32")
    factors = np.random.default_rng(1).standard_normal(channels, "float32")
    if shape[-1] == channels:
        before, after = (
            keras.ops.convert_to_numpy(run.options.reshape(keras.ops.convert_to_tensor(array)))
            for array in (output * factors, output)
        )
        if np.array_equal(before, after * factors):
            return
    raise ValueError(
        "ablation-cam leaves out channels of the layer itself, so reshape must keep its last axis. "
        f"Received a callable that changes the channels of {shape}. Use method='score-cam'."
    )
