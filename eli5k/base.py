"""Explanations as plain data, with eli5's fields, order and defaults."""

from __future__ import annotations

import functools
import math
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from eli5k.maps import bounds_of, over_picture

if TYPE_CHECKING:
    from PIL import Image


class ExplanationWarning(UserWarning):
    """Warning that an explanation can't be trusted as it stands.

    Every warning of this project has this category or a derived one, so
    ``warnings.filterwarnings("error", category=eli5k.ExplanationWarning)`` turns them all into
    errors.

    Examples
    --------
    >>> issubclass(ExplanationWarning, UserWarning)
    True
    """


class BlankMapWarning(ExplanationWarning):
    """Warning that a map shows nothing: no positive evidence, or NaN."""


class AmbiguousOutputWarning(ExplanationWarning):
    """Warning that a model has several outputs: the first is explained."""


class MisplacedMapWarning(ExplanationWarning):
    """Warning that a map is drawn where its cells don't look."""


class UnscaledInputWarning(ExplanationWarning):
    """Warning that a document's values differ from those of the training."""


# Frame of a map over the whole picture: left, top, right, bottom.
WHOLE = (0.0, 0.0, 1.0, 1.0)

# Warnings of the explanation in progress, separate for each thread and task.
_collected: ContextVar[list[ExplanationWarning] | None] = ContextVar("collected", default=None)
# The beginning of warnings meanwhile: the name of one document among many.
_prefix: ContextVar[str] = ContextVar("prefix", default="")


@contextmanager
def collected_warnings() -> Iterator[list[ExplanationWarning]]:
    """Collect what :func:`warn` issues meanwhile; it is still shown.

    Python shows a repeated warning only once, so each explanation carries its own.

    Yields
    ------
    list of ExplanationWarning
        In order, without repetition.

    Examples
    --------
    >>> with collected_warnings() as found, warnings.catch_warnings(action="ignore"):
    ...     warn("The map is blank.", BlankMapWarning)
    >>> found
    [BlankMapWarning('The map is blank.')]
    """
    found: list[ExplanationWarning] = []
    token = _collected.set(found)
    try:
        yield found
    finally:
        _collected.reset(token)


@contextmanager
def warnings_name(document: str) -> Iterator[None]:
    """Let each warning of :func:`warn` begin with the name of a document.

    Examples
    --------
    >>> with collected_warnings() as found, warnings.catch_warnings(action="ignore"):
    ...     with warnings_name("document 3"):
    ...         warn("The map is blank.", BlankMapWarning)
    >>> found
    [BlankMapWarning('document 3: The map is blank.')]
    """
    token = _prefix.set(f"{document}: ")
    try:
        yield
    finally:
        _prefix.reset(token)


def warn(message: str, category: type[ExplanationWarning]) -> None:
    """Issue a warning at the user's line of code that led here.

    Parameters
    ----------
    message : str
    category : type of ExplanationWarning

    Examples
    --------
    >>> with warnings.catch_warnings(record=True, action="always") as caught:
    ...     warn("The map is blank.", BlankMapWarning)
    >>> caught[0].category.__name__
    'BlankMapWarning'
    """
    if not message.startswith(_prefix.get()):
        message = f"{_prefix.get()}{message}"
    found = _collected.get()
    if found is not None and message not in map(str, found):
        found.append(category(message))
    own = str(Path(__file__).parent)
    level, frame = 1, sys._getframe()
    # functools dispatches explain_prediction.
    while frame.f_back and frame.f_code.co_filename.startswith((own, functools.__file__)):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


@dataclass(slots=True)
class Check:
    """Verdict on a map, from runs on parts of the picture.

    It tells whether the map is faithful to the model, never whether the model is right. All scores
    are taken before a final softmax or sigmoid.

    Attributes
    ----------
    verdict : str
        ``"supported"``; ``"contradicted"``, if the map shows what counts against the score or
        belongs to another class; ``"not shown"``, if it does no better than the same map moved
        elsewhere; ``"untestable"``, if the map is flat or the score is not clearly above that
        of the blurred picture.
    sentence : str
        The reason, for a person.
    agreement : float
        Correlation, over random halves of the picture, between their worth according to the map and
        their worth to the model; NaN if it can't be computed.
    p_value, p_against : float
        Share of moved, turned and flipped copies of the map that agree at least as well, or at
        least as badly.
    score, blurred : float
        Scores of the picture, and of the picture blurred.
    shares : tuple of float
        Shares of the picture that were tried for the next four.
    dropped, kept : tuple of float
        Scores without the hottest share, and with it alone; the rest is blurred.
    dropped_elsewhere, kept_elsewhere : tuple of float
        The same for a random blob of that size.
    worth : numpy.ndarray or None
        ``(*cells)``, float32: worth of each place to the score, estimated from the halves.
    runs : int
        How many runs of the model the check took.
    region_heat, region_covered : float or None
        Share of the map's heat in the region asked about, and the score with the region blurred.

    Examples
    --------
    >>> Check("not shown", "A map moved elsewhere does as well in 40 % of the cases.").verdict
    'not shown'
    """

    verdict: str
    sentence: str
    agreement: float = math.nan
    p_value: float = math.nan
    p_against: float = math.nan
    score: float = math.nan
    blurred: float = math.nan
    shares: tuple[float, ...] = ()
    dropped: tuple[float, ...] = ()
    kept: tuple[float, ...] = ()
    dropped_elsewhere: tuple[float, ...] = ()
    kept_elsewhere: tuple[float, ...] = ()
    worth: np.ndarray | None = field(default=None, repr=False, compare=False)
    runs: int = 0
    region_heat: float | None = None
    region_covered: float | None = None


@dataclass(slots=True)
class TargetExplanation:
    """Explanation of one target: a class or another number of the output.

    Attributes
    ----------
    target : int or str
        Index of the class, or its name if ``target_names`` has one.
    feature_weights, weighted_spans : None
        Fields of eli5 that mean nothing for an image.
    proba : float or None
        Probability in [0, 1], if the output is a softmax or a sigmoid.
    score : float or None
        The explained number: the model's output, or its logit.
    heatmap : numpy.ndarray or None
        ``(*grid)``, float, in [0, 1]: the map after ReLU and scaling.
    attribution : numpy.ndarray or None
        ``(*grid)``, float32: the raw signed map, before ReLU and scaling.
    check : Check or None
        What runs of the model say about the map, with ``check=True``.
    size : tuple of int or None
        Size of the document along each axis: ``(height, width)`` of a picture, ``(length,)`` of a
        signal or of tokens, ``(depth, height, width)`` of a volume or a clip.
    frame : tuple of float
        Where the map lies in the document, as in :class:`Explanation`.
    box : tuple of float or None
        Left, top, right and bottom of the explained box of a detector, in shares of the picture's
        width and height.
    region : numpy.ndarray or None
        ``(*grid)``, bool, over the whole picture: the pixels whose mean score is explained, if the
        model gives each pixel a class.

    Examples
    --------
    >>> TargetExplanation(target=7, score=0.9)  # doctest: +ELLIPSIS
    TargetExplanation(target=7, feature_weights=None, proba=None, score=0.9, ..., heatmap=None)
    """

    target: int | str
    feature_weights: Any = None
    proba: float | None = None
    score: float | None = None
    weighted_spans: Any = None
    heatmap: np.ndarray | None = None
    attribution: np.ndarray | None = field(default=None, repr=False)
    check: Check | None = field(default=None, repr=False)
    box: tuple[float, float, float, float] | None = field(default=None, repr=False)
    region: np.ndarray | None = field(default=None, repr=False)
    size: tuple[int, ...] | None = field(default=None, repr=False)
    frame: tuple[float, ...] = field(default=WHOLE, repr=False)

    def enlarged(self, field: Literal["heatmap", "attribution"] = "heatmap") -> np.ndarray:
        """Return the map at the size of the document.

        Parameters
        ----------
        field : str
            "heatmap", or "attribution" for the raw signed map.

        Returns
        -------
        numpy.ndarray
            One number for each pixel, sample, step or voxel of the document, interpolated linearly;
            0 outside the frame. If a map has frequencies that the document doesn't have, the
            largest value is taken.

        Raises
        ------
        ValueError
            If there is no such map, or the size of the document isn't known.

        Examples
        --------
        >>> target = TargetExplanation("beat", heatmap=np.array([0.0, 1.0]), size=(4,))
        >>> target.enlarged()
        array([0.  , 0.25, 0.75, 1.  ])
        """
        values = getattr(self, field)
        if values is None or self.size is None:
            raise ValueError(
                f"target {self.target!r} must have a map and the size of its document to be "
                f"enlarged. Received: {field}={values!r}, size={self.size!r}"
            )
        values = np.asarray(values)
        bounds, axes = bounds_of(self.frame, values.ndim), len(self.size)
        if values.ndim < axes:
            raise ValueError(
                f"The {field} of target {self.target!r} must have the {axes} axes of its document. "
                f"Received: shape {values.shape}, size={self.size}"
            )
        if values.ndim > axes:
            values = values.max(axis=tuple(range(axes, values.ndim)))
            bounds = bounds and (bounds[0][:axes], bounds[1][:axes])
        return over_picture(values, self.size, bounds)


@dataclass(slots=True)
class Explanation:
    """Explanation of a prediction: plain data for every format.

    Attributes
    ----------
    estimator : str
        Name of the model.
    description, method : str or None
        What was done, as a sentence and as a name.
    error : str or None
        Why there is no explanation; empty when there is one.
    is_regression : bool
        Whether the explained output certainly holds numbers: it has no activation, and its loss is
        one for numbers, such as the squared error.
    targets : list of TargetExplanation or None
        One for each target, in the given order.
    feature_importances, decision_tree, highlight_spaces, transition_features : None
        Fields of eli5 that mean nothing for an image.
    image : PIL.Image.Image or None
        The picture over which the heatmaps are laid.
    layer : str or None
        Path of the layer whose activations were explained.
    output : str or None
        Name of the explained output, if the model has several.
    source : str or None
        Path of the document, if it came from a file.
    warnings : list of ExplanationWarning
        The warnings about this document.
    frame : tuple of float
        ``(left, top, right, bottom)``: where the heatmaps lie, in shares of the picture's width
        and height. The default is the whole picture. A crop has less; a padded picture has values
        below 0 and above 1. In general these are the beginnings of the axes, last axis first, and
        then their ends: ``(start, stop)`` for a signal, ``(left, top, front, right, bottom, back)``
        for a volume.
    input : str or None
        Name of the explained input, if the model has several images.
    others : list of Explanation
        Explanations of the model's other images with ``input="all"``, and of its other outputs with
        ``output="all"``.
    kind : str or None
        What the explained document is, if it is no picture: "signal", "text", "volume" or "clip".
    document : numpy.ndarray or None
        ``(*grid, channels)`` or ``(*grid)``: the explained input as the model takes it, channels
        last, if it is no picture, or one of other than three channels.
    tokens : list of str or None
        The words of a text, with ``token_names``.

    Examples
    --------
    >>> Explanation("model", error="not supported").error
    'not supported'
    """

    estimator: str
    description: str | None = None
    error: str | None = None
    method: str | None = None
    is_regression: bool = False
    targets: list[TargetExplanation] | None = None
    feature_importances: Any = None
    decision_tree: Any = None
    highlight_spaces: bool | None = None
    transition_features: Any = None
    image: Image.Image | None = None
    layer: str | None = field(default=None, repr=False)
    output: str | None = field(default=None, repr=False)
    source: str | None = field(default=None, repr=False)
    warnings: list[ExplanationWarning] = field(default_factory=list, repr=False)
    frame: tuple[float, ...] = field(default=WHOLE, repr=False)
    input: str | None = field(default=None, repr=False)
    others: list[Explanation] = field(default_factory=list, repr=False)
    kind: str | None = field(default=None, repr=False)
    document: np.ndarray | None = field(default=None, repr=False, compare=False)
    tokens: list[str] | None = field(default=None, repr=False)
