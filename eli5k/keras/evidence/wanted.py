"""Find out from a model which values it was trained on.

The first normalisation stores mean and variance of its training inputs. Its outputs for black,
white and artificial photographs tell which pixels those were. The user's document isn't used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import keras
import numpy as np

from eli5k.keras.evidence.run import Run
from eli5k.keras.evidence.scales import (
    BRIGHTNESS,
    CONTRAST,
    MEAN,
    SCALES,
    Scale,
    artificial_pictures,
    convert,
)
from eli5k.keras.evidence.scores import Target
from eli5k.keras.evidence.targets import class_count
from eli5k.keras.model.applications import find_backbone
from eli5k.keras.model.memory import remember, weakly
from eli5k.keras.model.state import array_of
from eli5k.keras.model.stem import (
    Statistics,
    channels_of,
    first_kernel,
    norms_of,
    run_until,
    statistics_of,
    stored_mean,
)
from eli5k.keras.model.structure import layer_at

# By how much the logits of a trained classifier differ between a photograph and a black picture.
# Trained on pixels up to 255, small nets had 20 to 50, and up to 1, 5 to 50.
LOGITS = {"0..1": (0.5, 128.0), "0..255": (4.0, 128.0)}
# Scale of the first kernel's input, relative to the model's input: outside these limits, the model
# scales its input itself.
INSIDE = (1 / 50, 50.0)
NOTHING = 1e-6
# Largest error of a linear stem, in deviations: others were off by 0.4 to 1.3.
LINEAR = 0.1
# Nonlinear stems fit artificial photographs to 0.3 in the right scale, to 0.5 in a wrong one.
FITS = 0.4
# Data of a larger deviation are pixels up to 255.
LARGE = 5.0
# Up to this many channels, each has its own mean.
COLOURS = 4
# Larger models are not run once more for this.
SMALL_MODEL = 5_000_000


class Wanted(NamedTuple):
    """What a model was trained on, as far as the model shows.

    Attributes
    ----------
    misfits : dict of str to float
        For each usual scale, how badly photographs in it fit.
    seen : (float, float) or None
        Mean and deviation of the values that it was trained on, if it stores statistics.
    is_photographic : bool
        Whether these were about as bright and as varied as photographs.
    """

    misfits: dict[str, float]
    seen: tuple[float, float] | None = None
    is_photographic: bool = False

    @property
    def best(self) -> str:
        """The scale that fits best."""
        return min(self.misfits, key=lambda name: self.misfits[name])


def wanted_by(run: Run, values: tuple[str, ...]) -> Wanted | None:
    """Find out what a model was trained on; None if unknown.

    Parameters
    ----------
    run : Run
    values : tuple of str
        Scales that the document may have: a model without stored statistics is only asked about
        these.
    """
    structure = run.survey.structure
    norms = run.remembered("norms", lambda: _first_norms(run))
    for norm, layer in norms:
        mean = stored_mean(layer())
        if mean is not None:
            by_mean = ("scale", run.image.shape[1:], hash(mean.tobytes()))
            find_out = partial(_from_memory, run, norm, layer())
            return remember(run.model, by_mean, structure, find_out)
    path = first_kernel(run.survey)
    if norms or path is None:
        return None  # Nothing was trained yet.
    first = run.remembered("first kernel", lambda: weakly(layer_at(run.model, path)))
    kernels = map(array_of, first().weights)
    about = (run.image.shape[1:], run.target.output, values)
    key = ("scale", about, tuple(hash(kernel.tobytes()) for kernel in kernels))
    return remember(run.model, key, structure, lambda: _from_kernels(run, values))


def _first_norms(run: Run) -> tuple[tuple[str, Callable[[], keras.Layer]], ...]:
    """Return the layers that may store statistics, with their paths.

    They are asked at each call.
    """
    found: list[tuple[str, Callable[[], keras.Layer]]] = []
    for path in norms_of(run.model, run.survey):
        layer = layer_at(run.model, path)
        found.append((path, weakly(layer)))
        if isinstance(layer, keras.layers.BatchNormalization):
            break  # Only a Normalization may be there without ever being adapted.
    return tuple(found)


def scales_itself(run: Run) -> bool:
    """Tell whether a model itself scales 0..255 before its first kernel."""
    gain = _gain(run)
    return gain is not None and gain < INSIDE[0]


def _from_memory(run: Run, norm: str, layer: keras.Layer) -> Wanted | None:
    """Compare what a normalisation stores with photographs in each scale."""
    stored = statistics_of(layer)
    found = _seen(run, norm, stored, 1.0)
    if found is not None and found[0][1] > LARGE:
        found = _seen(run, norm, stored, 255.0)
    if found is None:
        return None
    seen, is_linear = found
    misfits = {}
    for name, scale in SCALES.items():
        if _has_channels(scale, run.image.shape[-1]):
            factor, offset = float(np.mean(scale.factor)), float(np.mean(scale.offset))
            photographs = factor * BRIGHTNESS + offset, factor * CONTRAST
            misfits[name] = (
                divergence(*photographs, seen) if is_linear else _shown(run, norm, stored, name)
            )
    wanted = Wanted(misfits, seen)
    scale = SCALES[wanted.best]
    unit = (seen[0] - np.mean(scale.offset)) / np.mean(scale.factor)
    contrast = seen[1] / np.mean(scale.factor)
    is_usual = abs(unit - BRIGHTNESS) < 0.5 * CONTRAST and 0.5 < contrast / CONTRAST < 2
    fits = is_linear or misfits[wanted.best] < FITS
    return wanted._replace(is_photographic=bool(is_usual and fits))


def _shown(run: Run, norm: str, stored: Statistics, scale: str) -> float:
    """Show scaled photographs to a model with a nonlinear stem."""
    array = _stem_of(run, norm, convert(artificial_pictures(run.image.shape[1:]), "0..1", scale))
    if array is None:
        return float(np.inf)
    made = channels_of(layer_at(run.model, norm), array)
    ratio = np.maximum(made.variance / stored.variance, 1e-12)
    shift = (made.mean - stored.mean) ** 2 / stored.variance
    return float(np.median(ratio + shift - 1 - np.log(ratio)) / 2)


def divergence(mean: float, deviation: float, seen: tuple[float, float]) -> float:
    """Compare the values of a document with mean and deviation of others.

    It is the Kullback-Leibler divergence of two normal distributions.

    Examples
    --------
    >>> divergence(0.0, 1.0, (0.0, 1.0)), divergence(2.0, 1.0, (0.0, 1.0))
    (0.0, 2.0)
    """
    ratio = max((deviation / seen[1]) ** 2, 1e-12)
    return float(ratio + ((mean - seen[0]) / seen[1]) ** 2 - 1 - np.log(ratio)) / 2


def _has_channels(scale: Scale, channels: int) -> bool:
    return np.ndim(scale.offset) == 0 or channels == len(MEAN)


def _seen(
    run: Run, norm: str, stored: Statistics, scale: float
) -> tuple[tuple[float, float], bool] | None:
    """Estimate the training data's mean and deviation from a normalisation.

    ``scale`` is about the largest of these data. The second value tells whether the model is linear
    up to there; if it isn't, the estimate is rough.
    """
    one, two = scale * artificial_pictures(run.image.shape[1:])[:, np.newaxis]
    channels = one.shape[-1]
    # Black; white in each channel, or in all of many; and two photographs.
    whites = np.eye(channels) if channels <= COLOURS else np.ones((1, channels))
    whites = scale * whites.reshape(len(whites), *(1,) * (one.ndim - 2), channels)
    images = [np.zeros_like(one), np.broadcast_to(whites, (len(whites), *one.shape[1:])), one, two]
    array = _stem_of(run, norm, np.concatenate(images).astype("float32"))
    if array is None:
        return None
    layer = layer_at(run.model, norm)
    dark, *bright = (channels_of(layer, each[np.newaxis]).mean for each in array[:-2])
    gain = channels_of(layer, array[-2:-1] - array[-1:]).variance / (one - two).var()
    slopes = (np.stack(bright, axis=1) - dark[:, np.newaxis]) / scale
    if not (slopes.any() and (gain > 0).any()):
        return None
    deviations = np.sqrt(stored.variance)
    means, *_ = np.linalg.lstsq(
        slopes / deviations[:, np.newaxis], (stored.mean - dark) / deviations, rcond=None
    )
    deviation = np.sqrt(np.median(stored.variance[gain > 0] / gain[gain > 0]))
    # If linear, a photograph's mean output is that of its mean colour.
    colour = one.mean(axis=tuple(range(one.ndim - 1)))
    photo = channels_of(layer, array[-2:-1])
    expected = dark + slopes @ (colour if len(bright) == channels else [colour.mean()])
    off = np.abs(photo.mean - expected) / np.sqrt(photo.variance + 1e-12)
    return (float(means.mean()), float(deviation)), bool(np.median(off) < LINEAR)


def _stem_of(run: Run, path: str, images: np.ndarray) -> np.ndarray | None:
    """Return a layer's input for images; other inputs are zeros."""
    part = run.part(slice(0, 1))
    black = replace(part, inputs=keras.tree.map_structure(np.zeros_like, part.inputs))
    size = run.survey.fixed_batch or len(images)
    found = []
    for start in range(0, len(images), size):
        rows = np.minimum(np.arange(start, start + size), len(images) - 1)
        asked = black.perturbed(images[rows], np.zeros(size, int))
        array = run_until(run.model, path, asked.inputs)
        if array is None or len(array) != size:
            return None
        found.append(array)
    return np.concatenate(found)[: len(images)]


def _from_kernels(run: Run, values: tuple[str, ...]) -> Wanted | None:
    """Judge a model without statistics by its scaling and its logits."""
    gain = _gain(run)
    if gain is None:
        return None
    if not INSIDE[0] <= gain <= INSIDE[1]:
        return _only("0..255" if gain < INSIDE[0] else "0..1")
    backbone = find_backbone(run.model)
    if backbone is None:
        is_small = run.model.count_params() < SMALL_MODEL
        return _from_logits(run, ("0..1", "0..255")) if is_small else None
    if values == ("0..255",):
        return _only(backbone.values)
    # A head that was trained on small numbers needs them, even if the backbone doesn't.
    return _from_logits(run, ("0..1",)) or _only(backbone.values)


def _only(*names: str) -> Wanted:
    return Wanted({name: 0.0 if name in names else np.inf for name in SCALES})


def _gain(run: Run) -> float | None:
    """Return by how much a model scales pixels before its first kernel.

    None if it brings any picture to the same scale, or that can't be seen.
    """
    path = first_kernel(run.survey)
    unit = artificial_pictures(run.image.shape[1:])
    if path is None:
        return None
    small, large = (_stem_of(run, path, convert(unit, "0..1", name)) for name in ("0..1", "0..255"))
    if small is None or large is None:
        return None
    # Between two pictures, so that a number added to both doesn't matter.
    spread, wide = (float((each[0] - each[1]).std()) for each in (small, large))
    if wide < 100 * spread:
        return None
    # For example, ImageNet's mean in 0..255 is subtracted.
    is_far_off = abs(small.mean()) > 20 * spread
    return NOTHING if is_far_off else wide / float(255 * (unit[0] - unit[1]).std())


def _from_logits(run: Run, scales: tuple[str, ...]) -> Wanted | None:
    """Find the scale in which photographs move the logits as expected."""
    head = run.survey.heads[run.target.output]
    count = class_count(head)
    # New layers have biases of zero.
    biases = [weight for weight in run.model.weights if len(weight.shape) == 1]
    is_trained = all(array_of(bias).any() for bias in biases)
    if head.activation is None or count is None or run.survey.fixed_batch or not is_trained:
        return None
    unit = artificial_pictures(run.image.shape[1:])
    pictures = [convert(unit, "0..1", name) for name in scales]
    images = np.concatenate([np.zeros_like(unit[:1]), *pictures])
    part = run.part(slice(0, 1))
    black = replace(part, inputs=keras.tree.map_structure(np.zeros_like, part.inputs))
    asked = black.perturbed(images, np.zeros(len(images), int))
    target = Target(run.target.output, logits=True, best=count)
    scores = replace(asked, target=target, classes=None).scores()
    logits = np.zeros((len(images), count))
    np.put_along_axis(logits, scores.classes, scores.values, axis=1)
    moved = logits[1:] - logits[:1]
    moved = np.ptp(moved, axis=1) if count > 1 else np.abs(moved[:, 0])
    means = np.mean(np.split(moved, len(scales)), axis=1)
    limits = (LOGITS[name] for name in scales)
    sane = [name for name, (low, high), mean in zip(scales, limits, means) if low <= mean <= high]
    if len(sane) != 1:
        return None
    return _only("0..1", "-1..1", "imagenet") if sane == ["0..1"] else _only("0..255", "caffe")
