"""The user's options: one frozen record, checked once."""

from __future__ import annotations

import inspect
import math
import numbers
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeVar

# A name, or an object with parameters.
MethodLike = str | Callable[..., Any]
# Words by index, ``{index: word}``, ``{word: index}``, or a function from index to word.
TokenNames = Sequence[str] | Mapping[int, str] | Mapping[str, int] | Callable[[int], str] | None
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Options:
    """The keywords of :func:`eli5k.explain_prediction_keras`.

    They are checked at once, except for what needs the model.

    Picklable if its values are: pass functions by name, and layers by path.

    Attributes
    ----------
    method : str or callable
        Name of a method, "best", or an object with parameters.
    layer : str, int, keras.Layer, list of these or None
        Layer to explain; None leaves the choice to eli5k.
    targets : list, tuple or array, int, str, callable or None
        Classes, names or callables; None explains the best class.
    top_targets : int or None
        Explain the N best classes, or the N worst if negative.
    threshold : float or None
        Explain all classes with at least this probability, or this score without probabilities.
    target_names : sequence of str, mapping, object with ``classes_``, path, or None
        Names of the classes.
    token_names : sequence of str, mapping, callable or None
        Words of the tokens of a text.
    output : str, int or None
        Which of several outputs to explain, by name or index; None for the first, "all" for each.
    input : str, int or None
        Which of several image inputs to explain, by name or index; None for the first, "all" for
        each.
    logits : bool or None
        Explain the score before the final softmax or sigmoid. None does so for an output with a
        score for each pixel, whose ``score`` stays the probability, and for no other.
    preprocess : callable, False or None
        Preprocessing of each image array. None applies the model's own ``preprocessor``, if it has
        one; False takes documents as they are.
    region : sequence of float, array of bool or None
        Part of the picture to ask about, if the output has scores at many places.
    reshape : callable or None
        Function from the layer's output to ``(batch, *grid, channels)``.
    batch_size : int
        Maximum number of rows that go through the model together.
    progress : bool or None
        Show a progress bar; None shows it on a terminal if the run takes long.
    check : bool or "quick"
        Check each map with 80 further runs of the model.

    Raises
    ------
    TypeError
        If a value has the wrong type.
    ValueError
        If a number is out of range, or more than one of ``targets``, ``top_targets`` and
        ``threshold`` is given.

    Examples
    --------
    >>> Options(layer="conv", batch_size=8).layer
    'conv'
    """

    method: MethodLike = "grad-cam"
    layer: Any = None
    targets: Any = None
    top_targets: int | None = None
    threshold: float | None = None
    target_names: Any = None
    token_names: TokenNames = None
    output: str | int | None = None
    input: str | int | None = None
    logits: bool | None = None
    preprocess: Callable[..., Any] | Literal[False] | None = None
    region: Any = None
    reshape: Callable[..., Any] | None = None
    batch_size: int = 32
    progress: bool | None = None
    check: bool | Literal["quick"] = False

    def __post_init__(self) -> None:
        if _whole_number("batch_size", self.batch_size) < 1:
            raise ValueError(f"batch_size must be at least 1. Received: {self.batch_size}")
        if self.top_targets is not None:
            if _whole_number("top_targets", self.top_targets) == 0:
                raise ValueError("top_targets must be a positive or negative number. Received: 0")
            if self.targets is not None:
                raise ValueError("Pass either targets or top_targets. Received both.")
        if self.threshold is not None:
            _check_threshold(self.threshold)
            if not (self.targets is None and self.top_targets is None):
                other = "top_targets" if self.targets is None else "targets"
                raise ValueError(f"Pass either threshold or {other}. Received both.")
        if not isinstance(self.check, bool) and self.check != "quick":
            raise TypeError(f"check must be True, False or 'quick'. Received: {self.check!r}")
        for name in ("preprocess", "reshape"):
            value = getattr(self, name)
            is_off = name == "preprocess" and value is False
            if not (value is None or is_off or callable(value)):
                other = (
                    "a callable, False or None" if name == "preprocess" else "a callable or None"
                )
                raise TypeError(f"{name} must be {other}. Received: {value!r}")


def shows_options(
    *others: inspect.Parameter, without: Iterable[str] = (), closed: bool = False
) -> Callable[[F], F]:
    """Show ``help`` and completion the keywords that a function passes on.

    Parameters
    ----------
    *others : inspect.Parameter
        Keywords besides these.
    without : iterable of str
        Keywords that the function doesn't take.
    closed : bool
        Whether it takes no others: handlers of other models may take any.

    Returns
    -------
    callable
        A decorator. The function stays as it is, and takes the keywords by ``**kwargs``.

    Examples
    --------
    >>> @shows_options(closed=True)
    ... def explain(model, doc, **kwargs):
    ...     return kwargs
    >>> inspect.signature(explain).parameters["batch_size"].default
    32
    """
    keyword = inspect.Parameter.KEYWORD_ONLY
    passed = [
        inspect.Parameter(each.name, keyword, default=each.default, annotation=each.type)
        for each in fields(Options)
        if each.name not in without
    ]
    return shows_keywords(*passed, *others, closed=closed)


def shows_keywords(*keywords: inspect.Parameter, closed: bool = True) -> Callable[[F], F]:
    """Let ``help`` and completion show keywords that a function takes by ``**kwargs``.

    Parameters
    ----------
    *keywords : inspect.Parameter
        A function's own parameters go before them.
    closed : bool
        Whether it takes no others.

    Returns
    -------
    callable
        A decorator.

    Examples
    --------
    >>> @shows_keywords(*optional_keywords(lambda style=None: style))
    ... def draw(picture, **look):
    ...     return look
    >>> str(inspect.signature(draw))
    '(picture, *, style=None)'
    """

    def decorate(function: F) -> F:
        own = inspect.signature(function)
        *first, last = own.parameters.values()
        known = {each.name for each in first}
        shown = {each.name: each for each in keywords if each.name not in known}
        parameters = [*first, *shown.values(), *([] if closed else [last])]
        function.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        return function

    return decorate


def split_options(keywords: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the keywords that :class:`Options` takes, and the others.

    Examples
    --------
    >>> split_options({"layer": 3, "image": "cat.jpg"})
    ({'layer': 3}, {'image': 'cat.jpg'})
    """
    known = {each.name for each in fields(Options)}
    of_options = {name: value for name, value in keywords.items() if name in known}
    return of_options, {name: keywords[name] for name in keywords if name not in known}


def optional_keywords(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters of a function that have a default, as keywords.

    Examples
    --------
    >>> [each.name for each in optional_keywords(lambda model, *, layer=None: model)]
    ['layer']
    """
    return [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for each in inspect.signature(function).parameters.values()
        if each.default is not each.empty
    ]


def _check_threshold(value: Any) -> None:
    # An array or a string is refused too; NaN is not above anything.
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number:
        raise TypeError(
            f"threshold must be a number, such as 0.5. Received: {value!r} of type "
            f"{type(value).__name__}"
        )
    if math.isnan(value):
        raise ValueError("threshold must be a number, such as 0.5. Received: nan")


def _whole_number(name: str, value: Any) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    # True is 1 to Python, but no number of rows.
    if number is None or isinstance(value, bool):
        raise TypeError(
            f"{name} must be a whole number. Received: {value!r} of type {type(value).__name__}"
        )
    return number
