"""Tell whether a document has the values that a model was trained on.

The evidence is in the model: its first normalisation stores mean and variance of what it saw in
training. Artificial photographs in each usual scale show which of them the model was trained on.
What a document then makes there is only computed if its values are of another scale.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any, NamedTuple

import keras
import numpy as np

from eli5k.base import UnscaledInputWarning
from eli5k.keras.evidence.run import Run
from eli5k.keras.evidence.scores import Target
from eli5k.keras.evidence.targets import class_count
from eli5k.keras.model.applications import find_backbone
from eli5k.keras.model.memory import remember
from eli5k.keras.model.stem import (
    channels_of,
    first_kernel,
    first_norm,
    run_until,
    statistics_of,
)
from eli5k.keras.model.structure import layer_at

# Mean and standard deviation of the photographs of ImageNet, red, green and blue in [0, 1].
MEAN = np.array((0.485, 0.456, 0.406), "float32")
DEVIATION = np.array((0.229, 0.224, 0.225), "float32")


class Scale(NamedTuple):
    """One usual scale of pixels, as a linear function of pixels from 0 to 1.

    Attributes
    ----------
    factor, offset : float or numpy.ndarray ``(channels,)``
    words : str
        How a message names the values.
    code : str
        How to get them from pixels between 0 and 255.
    """

    factor: Any
    offset: Any
    words: str
    code: str


SCALES = {
    "0..255": Scale(255.0, 0.0, "from 0 to 255", "pixels as they are"),
    "0..1": Scale(1.0, 0.0, "from 0 to 1", "preprocess=lambda pixels: pixels / 255"),
    "-1..1": Scale(2.0, -1.0, "from -1 to 1", "preprocess=lambda pixels: pixels / 127.5 - 1"),
    "imagenet": Scale(
        1 / DEVIATION,
        -MEAN / DEVIATION,
        "around 0 with standard deviation 1",
        "preprocess=keras.applications.densenet.preprocess_input",
    ),
    "caffe": Scale(
        255.0,
        -255 * MEAN,
        "from -124 to 151",
        "preprocess=keras.applications.resnet.preprocess_input",
    ),
}
# A layer's memory fits artificial photographs in the right scale to 0.3, and in a wrong one to 0.5
# at best: the median Kullback-Leibler divergence over its channels.
FITS, FACTOR, MARGIN = 0.4, 2.0, 0.3
# No document whose scale is right is so far away, however unusual it is.
FAR = 10.0
# Logits of a trained classifier differ by some units between a photograph and a black picture.
LOGITS = (0.5, 128.0)
# What a first kernel gets, by the scale of what the model gets: below and above that, the model
# scales its input itself.
INSIDE = (1 / 50, 50.0)
NOTHING = 1e-6
# A larger model is not run once more to find out.
SMALL_MODEL = 5_000_000
OTHER = "other"


class Wanted(NamedTuple):
    """What a model was trained on, as far as the model shows.

    Attributes
    ----------
    misfits : dict of str to float
        For each usual scale, how badly photographs in it fit.
    norm : str or None
        Path of the layer whose memory shows that.
    """

    misfits: dict[str, float]
    norm: str | None = None

    @property
    def best(self) -> str:
        """The scale that fits best."""
        return min(self.misfits, key=lambda name: self.misfits[name])


def warnings_of_scale(run: Run) -> list[UnscaledInputWarning | None]:
    """Find documents with other values than the model was trained on.

    Parameters
    ----------
    run : Run
        Documents without any preprocessing.

    Returns
    -------
    list of UnscaledInputWarning or None
        One for each document.
    """
    found: list[UnscaledInputWarning | None] = [None] * run.count
    if run.image.dtype.kind != "f" or run.image.ndim < 3:
        return found
    known: dict[tuple[str, ...], Wanted | None] = {(): None}
    for row in range(run.count):
        values = scales_of(run.image[row])
        if values not in known:
            known[values] = _wanted(run, values)
        wanted = known[values]
        if wanted is not None and _is_wrong(run, row, values, wanted):
            found[row] = UnscaledInputWarning(_message(run, row, values[0], wanted))
    return found


def scales_of(image: np.ndarray) -> tuple[str, ...]:
    """Return the scales that a document may have, the likeliest first.

    Parameters
    ----------
    image : numpy.ndarray
        ``(*grid, channels)``

    Returns
    -------
    tuple of str
        Keys of :data:`SCALES`, or ``"other"``; empty if the values tell nothing.

    Examples
    --------
    >>> scales_of(np.float32([[[0.0, 250.0]]])), scales_of(np.float32([[[-1.0, 0.8]]]))
    (('0..255',), ('-1..1',))
    """
    low, high = float(image.min()), float(image.max())
    if not np.isfinite((low, high)).all() or low == high:
        return ()
    if low >= 0:
        if high <= 1:
            # A picture without any dark pixel may as well be a bright one from -1 to 1.
            return ("0..1",) if low < 0.1 else ("0..1", "-1..1", "imagenet")
        if high <= 3:
            return ()  # A bright one around 0, or a black one.
        return ("0..255",) if high <= 255 else (OTHER,)
    if low >= -1 and high <= 1:
        # With the deviation of ImageNet, only a dull picture stays within these limits.
        return ("-1..1",) if high - low > 1.5 else ("-1..1", "imagenet")
    if low >= -4 and high <= 4:
        return ("imagenet",)
    return ("caffe",) if low >= -130 and 30 < high <= 160 else (OTHER,)


def _is_wrong(run: Run, row: int, values: tuple[str, ...], wanted: Wanted) -> bool:
    if values != (OTHER,):
        best = wanted.misfits[wanted.best]
        likeliest, *unlikely = (_is_worse(wanted.misfits[name], best) for name in values)
        if not likeliest:
            return False
        if all(unlikely) and (wanted.norm is None or best <= FITS):
            return True
    if wanted.norm is None:
        return False
    # The values are ambiguous, or the model was trained on something else than photographs: what
    # the document makes in the model decides.
    about, image = _about(run, row), run.image[row : row + 1]
    own = _misfit(about, wanted.norm, image)
    if values == (OTHER,):
        return own > FAR
    converted = convert(image, values[0], wanted.best)
    return _is_worse(own, _misfit(about, wanted.norm, converted))


def _is_worse(misfit: float, best: float) -> bool:
    return misfit > max(best * FACTOR, best + MARGIN)


def convert(image: np.ndarray, have: str, want: str) -> np.ndarray:
    """Convert pixels from one usual scale to another, channels last.

    Examples
    --------
    >>> convert(np.float32([0.0, 255.0]), "0..255", "-1..1").tolist()
    [-1.0, 1.0]
    """
    unit = (image - SCALES[have].offset) / SCALES[have].factor
    return (unit * SCALES[want].factor + SCALES[want].offset).astype("float32")


def _message(run: Run, row: int, have: str, wanted: Wanted) -> str:
    want = SCALES[wanted.best]
    low, high = run.image[row].min(), run.image[row].max()
    text = (
        f"The document's values go from {low:.4g} to {high:.4g}, but the model was trained on "
        f"values {want.words}: its score and map mean nothing. "
    )
    if wanted.best == "0..255":
        inside = ", which the model scales itself" if (_gain(run) or 1) < INSIDE[0] else ""
        return f"{text}Pass pixels from 0 to 255{inside}."
    backbone = find_backbone(run.model)
    code = want.code
    if backbone is not None and backbone.values == wanted.best:
        code = f"preprocess=keras.applications.{backbone.module}.preprocess_input"
    return (
        f"{text}Pass {code}."
        if have == "0..255"
        else f"{text}Pass pixels from 0 to 255 and {code}."
    )


def _wanted(run: Run, values: tuple[str, ...]) -> Wanted | None:
    """Find out what a model was trained on, or None if nothing shows it.

    A model without stored statistics is only asked about the document's kind of values.
    """
    structure = run.survey.structure
    norm = run.remembered("first norm", lambda: (first_norm(run.model, run.survey),))[0]
    if norm is not None:
        stored = statistics_of(layer_at(run.model, norm))
        if stored is None:
            return None  # Nothing was trained yet.
        key = ("scale", run.image.shape[1:], *(each.tobytes() for each in stored))
        return remember(run.model, key, structure, lambda: _from_memory(run, norm))
    path = first_kernel(run.survey)
    if path is None:
        return None
    kernels = map(keras.ops.convert_to_numpy, layer_at(run.model, path).weights)
    about = (run.image.shape[1:], run.target.output, values)
    key = ("scale", about, tuple(hash(kernel.tobytes()) for kernel in kernels))
    return remember(run.model, key, structure, lambda: _from_kernels(run, values))


def _from_memory(run: Run, norm: str) -> Wanted:
    """Show photographs in each scale to the model, up to its first normalisation."""
    pictures = artificial_pictures(run.image.shape[1:])
    scales = [name for name, scale in SCALES.items() if _has_channels(scale, pictures.shape[-1])]
    misfits = {name: _misfit(_about(run), norm, convert(pictures, "0..1", name)) for name in scales}
    return Wanted(misfits, norm)


def _has_channels(scale: Scale, channels: int) -> bool:
    return np.ndim(scale.offset) == 0 or channels == len(MEAN)


def _misfit(run: Run, norm: str, images: np.ndarray) -> float:
    """Compare what a normalisation gets with what it remembers."""
    array = _stem_of(run, norm, images)
    layer = layer_at(run.model, norm)
    stored = statistics_of(layer)
    if array is None or stored is None:
        return 0.0
    made = channels_of(layer, array)
    ratio = np.maximum(made.variance / stored.variance, 1e-12)
    shift = (made.mean - stored.mean) ** 2 / stored.variance
    return float(np.median(ratio + shift - 1 - np.log(ratio)) / 2)


def _stem_of(run: Run, path: str, images: np.ndarray) -> np.ndarray | None:
    size = run.survey.fixed_batch or len(images)
    found = []
    for start in range(0, len(images), size):
        rows = np.minimum(np.arange(start, start + size), len(images) - 1)
        asked = run.perturbed(images[rows], np.zeros(size, int))
        array = run_until(run.model, path, asked.inputs)
        if array is None or len(array) != size:
            return None
        found.append(array)
    return np.concatenate(found)[: len(images)]


def _about(run: Run, row: int | None = None) -> Run:
    """Take the other inputs from one document; without one, they are zeros."""
    part = run.part(slice(row or 0, (row or 0) + 1))
    if row is not None:
        return part
    return replace(part, inputs=keras.tree.map_structure(np.zeros_like, part.inputs))


def _from_kernels(run: Run, values: tuple[str, ...]) -> Wanted | None:
    """Judge a model that stores no statistics by what it does itself, and by its logits."""
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
    # Whoever trained a head on small numbers made the best of it, whatever the backbone wants.
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
    small, large = (
        _stem_of(_about(run), path, convert(unit, "0..1", name)) for name in ("0..1", "0..255")
    )
    if small is None or large is None:
        return None
    # Between two pictures, whatever number is added to both.
    spread, wide = (float((each[0] - each[1]).std()) for each in (small, large))
    if wide < 100 * spread:
        return None
    # Such as a mean of ImageNet in 0..255 that is subtracted.
    is_far_off = abs(small.mean()) > 20 * spread
    return NOTHING if is_far_off else wide / float(255 * (unit[0] - unit[1]).std())


def _from_logits(run: Run, scales: tuple[str, ...]) -> Wanted | None:
    """Find the one scale in which a photograph moves the logits as a trained model's would."""
    head = run.survey.heads[run.target.output]
    count = class_count(head)
    if head.activation is None or count is None or run.survey.fixed_batch:
        return None
    unit = artificial_pictures(run.image.shape[1:])
    pictures = [convert(unit, "0..1", name) for name in scales]
    images = np.concatenate([np.zeros_like(unit[:1]), *pictures])
    asked = _about(run).perturbed(images, np.zeros(len(images), int))
    target = Target(run.target.output, logits=True, best=count)
    scores = replace(asked, target=target, classes=None).scores()
    logits = np.zeros((len(images), count))
    np.put_along_axis(logits, scores.classes, scores.values, axis=1)
    moved = logits[1:] - logits[:1]
    moved = np.ptp(moved, axis=1) if count > 1 else np.abs(moved[:, 0])
    low, high = LOGITS
    means = np.mean(np.split(moved, len(scales)), axis=1)
    [*sane] = (name for name, mean in zip(scales, means) if low <= mean <= high)
    if len(sane) != 1:
        return None
    return _only("0..1", "-1..1", "imagenet") if sane == ["0..1"] else _only("0..255", "caffe")


@functools.lru_cache(maxsize=4)
def artificial_pictures(shape: tuple[int, ...], count: int = 2) -> np.ndarray:
    """Make noise with the statistics of photographs, the same at each call.

    Its spectrum falls with the frequency, as theirs does, and so do its channels agree.

    Parameters
    ----------
    shape : tuple of int
        ``(*grid, channels)``
    count : int

    Returns
    -------
    numpy.ndarray
        ``(count, *grid, channels)``, float32, in [0, 1].

    Examples
    --------
    >>> pictures = artificial_pictures((32, 48, 3))
    >>> pictures.shape, abs(pictures.mean() - 0.45) < 0.1, abs(pictures.std() - 0.25) < 0.05
    ((2, 32, 48, 3), True, True)
    """
    random = np.random.default_rng(0)
    *steps, height, width, channels = shape
    rows, columns = np.fft.fftfreq(height)[:, np.newaxis], np.fft.rfftfreq(width)
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = 1 / max(height, width)

    def draw(planes: int) -> np.ndarray:
        noise = np.fft.rfft2(random.standard_normal((count, planes, height, width)))
        field = np.fft.irfft2(noise / frequency, s=(height, width))
        field -= field.mean(axis=(2, 3), keepdims=True)
        scaled: np.ndarray = field / np.maximum(field.std(axis=(2, 3), keepdims=True), 1e-6)
        return scaled

    fields = 0.95 * draw(1) + 0.3 * draw(channels)
    brightness = random.uniform(0.35, 0.55, (count, 1, 1, 1))
    pictures = np.moveaxis(np.clip(brightness + 0.25 * fields, 0, 1), 1, -1).astype("float32")
    pictures = pictures.reshape(count, *(1,) * len(steps), height, width, channels)
    return np.broadcast_to(pictures, (count, *shape))
