"""Turn a spectrogram and its maps: time across, low frequencies below."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image

from eli5k.base import Explanation, TargetExplanation

ORIGINS = ("upper", "lower")


def turned(expl: Explanation, origin: str = "upper", transpose: bool = False) -> Explanation:
    """Turn the picture and maps of an explanation, like matplotlib's ``imshow``.

    Parameters
    ----------
    expl : Explanation
        What is no picture stays as it is.
    origin : str
        Where the first row is drawn: "upper" or "lower".
    transpose : bool
        Exchange rows and columns before that.

    Returns
    -------
    Explanation
        A copy.

    Raises
    ------
    ValueError
        If ``origin`` is something else.

    Examples
    --------
    >>> from eli5k.base import TargetExplanation
    >>> target = TargetExplanation("tone", heatmap=np.array([[0.0, 1.0]]))
    >>> expl = Explanation("net", targets=[target], image=Image.new("L", (2, 1)))
    >>> turned(expl, "lower", transpose=True).targets[0].heatmap.tolist()
    [[1.0], [0.0]]
    """
    if origin not in ORIGINS:
        raise ValueError(f"origin must be 'upper' or 'lower'. Received: {origin!r}")
    is_turned = transpose or origin != "upper"
    if expl.kind is not None or expl.image is None or not is_turned:
        return expl
    image = expl.image

    def turn(values: np.ndarray | None) -> np.ndarray | None:
        if values is None or np.ndim(values) < 2:
            return values
        values = np.swapaxes(values, 0, 1) if transpose else values
        return values[::-1] if origin == "lower" else values

    left, top, right, bottom = expl.frame
    if transpose:
        image = image.transpose(Image.Transpose.TRANSPOSE)
        left, top, right, bottom = top, left, bottom, right
    if origin == "lower":
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        top, bottom = 1 - bottom, 1 - top

    def turned_target(target: TargetExplanation) -> TargetExplanation:
        check = target.check and replace(target.check, worth=turn(target.check.worth))
        box = target.box
        if box is not None and transpose:
            box = (box[1], box[0], box[3], box[2])
        if box is not None and origin == "lower":
            box = (box[0], 1 - box[3], box[2], 1 - box[1])
        return replace(
            target,
            heatmap=turn(target.heatmap),
            attribution=turn(target.attribution),
            region=turn(target.region),
            size=target.size and (target.size[::-1] if transpose else target.size),
            frame=(left, top, right, bottom),
            box=box,
            check=check,
        )

    targets = None if expl.targets is None else list(map(turned_target, expl.targets))
    return replace(
        expl,
        image=image,
        document=turn(expl.document),
        frame=(left, top, right, bottom),
        targets=targets,
        others=[turned(each, origin, transpose) for each in expl.others],
    )
