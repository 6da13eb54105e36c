"""Boxes of a detector: where they are, and which of them count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

# As in KerasHub: boxes that overlap more than this are the same, and boxes below this score are
# left out.
OVERLAP, CONFIDENCE = 0.5, 0.5
# At most this many boxes are compared.
MOST_COMPARED = 300
# Boxes in shares of the picture don't reach far beyond it.
LARGEST_SHARE = 2.0


class Detections(NamedTuple):
    """Boxes of one picture after non-maximum suppression, the best first.

    Attributes
    ----------
    places : numpy.ndarray
        ``(boxes,)``, int: which place of the output each is.
    classes : numpy.ndarray
        ``(boxes,)``, int
    confident : int
        How many of them are confident; the others are there to be asked for.
    """

    places: np.ndarray
    classes: np.ndarray
    confident: int


def corners_of(model: keras.Model, boxes: np.ndarray, grid: Sequence[int]) -> np.ndarray:
    """Return boxes (left, top, right, bottom) in shares of the input.

    A detector of KerasHub gives offsets from its anchors. Boxes of other models are read in the
    format that ``model.bounding_box_format`` names, such as ``"center_xywh"`` or ``"rel_yxyx"``;
    without it, they are left, top, right and bottom in pixels, or in shares if none is above 2.

    Parameters
    ----------
    model : keras.Model
    boxes : numpy.ndarray
        ``(batch, places, 4)``, as the model gives them.
    grid : sequence of int
        Height and width of the model's input.

    Raises
    ------
    ValueError
        If the corners are not in order.

    Examples
    --------
    >>> corners_of(keras.Sequential(), np.array([[[2.0, 0.0, 4.0, 8.0]]]), (8, 4)).tolist()
    [[[0.5, 0.0, 1.0, 1.0]]]
    """
    height, width = grid
    size = np.array([width, height, width, height], "float32")
    named = getattr(model, "bounding_box_format", None)
    if hasattr(model, "anchor_generator"):
        return _from_anchors(model, boxes, grid) / size
    relative = np.abs(boxes).max(initial=0) <= LARGEST_SHARE if named is None else "rel_" in named
    corners = _in_order(boxes, (named or "xyxy").replace("rel_", ""))
    if np.mean((corners[..., :2] > corners[..., 2:]).any(axis=-1)) > 0.01:
        raise ValueError(
            f"The boxes of {model.name!r}, read as {named or 'xyxy'!r}, have a right side left of "
            "the left one, or a bottom above the top. Set model.bounding_box_format to the format "
            "that they have, such as 'center_xywh', 'rel_center_xywh' or 'yxyx'. "
            f"Received: {boxes[0, 0].tolist()}"
        )
    return corners if relative else corners / size


def _in_order(boxes: np.ndarray, order: str) -> np.ndarray:
    first, second = boxes[..., :2], boxes[..., 2:]
    if order in ("yxyx", "yxhw", "center_yxhw"):
        first, second = first[..., ::-1], second[..., ::-1]
    if order in ("xywh", "yxhw"):
        second = first + second
    elif order in ("center_xywh", "center_yxhw"):
        first, second = first - second / 2, first + second / 2
    elif order not in ("xyxy", "yxyx"):
        raise ValueError(
            "model.bounding_box_format must be 'xyxy', 'yxyx', 'xywh', 'center_xywh' or "
            f"'center_yxhw', or one of these after 'rel_'. Received: {order!r}"
        )
    return np.concatenate([first, second], axis=-1)


def _from_anchors(model: Any, boxes: np.ndarray, grid: Sequence[int]) -> np.ndarray:
    """Decode the offsets that KerasHub's RetinaNet gives, as its ``predict`` does."""
    anchors = model.anchor_generator(np.zeros((1, *grid, 3), "float32"))
    decoded = keras.utils.bounding_boxes.decode_deltas_to_boxes(
        anchors=keras.ops.concatenate(list(anchors.values()), axis=0),
        boxes_delta=boxes,
        encoded_format="center_xywh",
        anchor_format=model.anchor_generator.bounding_box_format,
        box_format="xyxy",
        image_shape=(*grid, 3),
    )
    return keras.ops.convert_to_numpy(decoded)


def find_boxes(
    corners: np.ndarray, scores: np.ndarray, model: Any, allowed: np.ndarray | None = None
) -> Detections:
    """Suppress all boxes but the best of each place: non-maximum suppression.

    Boxes wholly outside the picture are left out.

    Parameters
    ----------
    corners : numpy.ndarray
        ``(places, 4)``
    scores : numpy.ndarray
        ``(places, classes)``: probabilities.
    model : keras.Model
        Its ``prediction_decoder``, if it has one, knows the thresholds.
    allowed : numpy.ndarray or None
        ``(places,)``, bool: where to look; None for everywhere.

    Examples
    --------
    >>> corners = np.array([[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.6], [0.5, 0.5, 1, 1]])
    >>> scores = np.array([[0.7, 0.0], [0.8, 0.1], [0.1, 0.6]])
    >>> find_boxes(corners, scores, None).places.tolist()
    [1, 2]
    """
    decoder = getattr(model, "prediction_decoder", None)
    overlap = getattr(decoder, "iou_threshold", OVERLAP)
    confidence = getattr(decoder, "confidence_threshold", CONFIDENCE)
    best = scores.max(axis=-1)
    seen = np.logical_and((corners[:, :2] < 1).all(axis=1), (corners[:, 2:] > 0).all(axis=1))
    if allowed is not None:
        seen = seen & allowed
    if not seen.any():
        # Even if no box lies in the picture, one is the best.
        seen = np.ones(len(corners), bool)
    waiting = np.argsort(-best, kind="stable")
    waiting = waiting[seen[waiting]]
    kept: list[int] = []
    while len(waiting) and len(kept) < MOST_COMPARED:
        first, waiting = waiting[0], waiting[1:]
        kept.append(int(first))
        waiting = waiting[overlap_with(corners[first], corners[waiting]) <= overlap]
    places = np.array(kept, int)
    classes = scores[places].argmax(axis=-1)
    return Detections(places, classes, int((best[places] >= confidence).sum()))


def overlap_with(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Compute intersection over union of one box with others ``(boxes, 4)``.

    Examples
    --------
    >>> overlap_with(np.array([0, 0, 2, 1]), np.array([[1, 0, 2, 1], [2, 0, 3, 1]])).tolist()
    [0.5, 0.0]
    """
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[2:], others[:, 2:])
    common = np.maximum(high - low, 0).prod(axis=-1)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=-1)
    union = (box[2:] - box[:2]).prod() + areas - common
    return np.divide(common, union, out=np.zeros(len(others)), where=union > 0)
