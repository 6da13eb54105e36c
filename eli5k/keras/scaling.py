"""Tell whether a document has the values of the training.

A model that was trained on photographs shows in which scale they were; one that was trained on
something else is judged by mean and deviation of its training data.
"""

from __future__ import annotations

import numpy as np

from eli5k.base import UnscaledInputWarning
from eli5k.keras.evidence.run import Run
from eli5k.keras.evidence.scales import SCALES, convert
from eli5k.keras.evidence.wanted import Wanted, divergence, scales_itself, wanted_by
from eli5k.keras.model.applications import find_backbone

# A scale is wrong if it fits worse than the best one by this much.
FACTOR, MARGIN = 2.0, 0.2
# Even unusual documents in the right scale are nearer than this.
FAR = 10.0
OTHER = "other"
SAMPLE = 4096
# How far bicubic interpolation goes beyond 1.
OVERSHOOT = 1.1


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
    # Only photographs, and clips or volumes of them: nobody knows a signal's units.
    if run.image.dtype.kind != "f" or len(run.survey.picture_grid) < 2:
        return found
    known: dict[tuple[str, ...], Wanted | None] = {(): None}
    for row in range(run.count):
        values = scales_of(run.image[row])
        if values not in known:
            known[values] = wanted_by(run, values)
        wanted = known[values]
        if wanted is not None and _is_wrong(run.image[row], values, wanted):
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
            # A picture without dark pixels may also be a bright one in [-1, 1].
            return ("0..1",) if low < 0.1 else ("0..1", "-1..1", "imagenet")
        if high <= 3:
            return ()  # A bright picture around 0, or a black one.
        return ("0..255",) if high <= 255 else (OTHER,)
    if low >= -OVERSHOOT and high <= OVERSHOOT:
        # With the deviation of ImageNet, only a dull picture stays within these limits.
        return ("-1..1",) if high - low > 1.5 else ("-1..1", "imagenet")
    if low >= -4 and high <= 4:
        return ("imagenet",)
    return ("caffe",) if low >= -130 and 30 < high <= 160 else (OTHER,)


def _is_wrong(image: np.ndarray, values: tuple[str, ...], wanted: Wanted) -> bool:
    best = wanted.misfits[wanted.best]
    if values != (OTHER,) and (wanted.seen is None or wanted.is_photographic):
        worst = max(best * FACTOR, best + MARGIN)
        return all(wanted.misfits[name] > worst for name in values)
    if wanted.seen is None:
        return False
    # The model was trained on something else than photographs: the document itself decides. Some
    # thousand pixels tell its mean and deviation; an odd step doesn't follow the columns.
    pixels = image.reshape(-1, image.shape[-1])
    image = pixels[:: (len(pixels) // SAMPLE) | 1]
    own = _divergence(image, wanted.seen)
    if values == (OTHER,):
        return own > FAR
    others = (
        _divergence(convert(image, values[0], name), wanted.seen)
        for name in wanted.misfits
        if name not in values
    )
    return own > FACTOR * (1 + min(others))


def _divergence(image: np.ndarray, seen: tuple[float, float]) -> float:
    return divergence(float(image.mean()), float(image.std()), seen)


def _message(run: Run, row: int, have: str, wanted: Wanted) -> str:
    want = SCALES[wanted.best]
    low, high = run.image[row].min(), run.image[row].max()
    text = (
        f"The document's values go from {low:.4g} to {high:.4g}, but the model was trained on "
        f"values {want.words}: its score and map mean nothing. "
    )
    if wanted.best == "0..255":
        inside = ", which the model scales itself" if scales_itself(run) else ""
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
