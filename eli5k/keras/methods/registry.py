"""Registry of the methods, which are described by their docstrings."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass, replace
from typing import Any, TypeVar

from eli5k.keras.backends import Tensor
from eli5k.keras.evidence.probes import Evidence, Input, Layer, Probe
from eli5k.keras.evidence.run import Attribution, Run
from eli5k.method_names import ALIASES, bare
from eli5k.options import MethodLike

T = TypeVar("T", bound=Callable[..., Any])

FAMILIES = ("layer", "input", "perturbation", "meta")
# Value of ``method=`` that lets eli5k choose; the explanation tells the choice.
BEST = "best"
# The best known come first in every list.
FIRST = ("cam", "grad-cam", "gradient", "score-cam", "smooth-grad")


@dataclass(frozen=True)
class Cost:
    """Number of model runs that a method needs for one sample.

    Attributes
    ----------
    forward, backward, to_layer : int
        Passes forward, backward to the input, and backward to a layer.
    method : int
        Runs of the method that it wraps.
    each : Cost or None
        What is repeated.
    count : int or None
        How many times by default; None if that depends on the model.
    unit : str
        What each repetition is for.

    Examples
    --------
    >>> str(Cost(1, each=Cost(1, 1), count=50, unit="step"))
    '1 forward, plus 1 forward and 1 backward for each of 50 steps'
    """

    forward: int = 0
    backward: int = 0
    to_layer: int = 0
    method: int = 0
    each: Cost | None = None
    count: int | None = None
    unit: str = ""

    def __str__(self) -> str:
        parts = [f"{self.forward} forward"] * bool(self.forward)
        parts += [f"{self.backward} backward"] * bool(self.backward)
        parts += [f"{self.to_layer} backward to the layer"] * bool(self.to_layer)
        parts += [f"{self.method} run of the wrapped method"] * bool(self.method)
        once = " and ".join(parts)
        if self.each is None:
            return once
        plural = f"{self.unit[:-1]}ies" if self.unit.endswith("y") else f"{self.unit}s"
        units = f"{self.count} {plural}" if self.count else self.unit
        again = f"{self.each} for each {'of ' if self.count else ''}{units}"
        return f"{once}, plus {again}" if once else again


@dataclass(frozen=True)
class Method:
    """One entry of the registry.

    Attributes
    ----------
    title : str
        Name of the method in its paper.
    family : str
        ``"layer"``, ``"input"``, ``"perturbation"`` or ``"meta"``, for a method that wraps another.
    explain : callable
        Function from a :class:`~eli5k.keras.evidence.run.Run` to an
        :class:`~eli5k.keras.evidence.run.Attribution`.
    what, when : str
        What it does and when to use it, a sentence each.
    cost : Cost
    paper : str
        Authors, year and link.
    """

    title: str
    family: str
    explain: Callable[[Run], Attribution]
    what: str = ""
    when: str = ""
    cost: Cost = Cost()
    paper: str = ""

    @property
    def needs_layer(self) -> bool:
        """Whether it needs a layer that has a grid.

        The others explain any image model.
        """
        return bool(getattr(self.explain, "needs_layer", self.family == "layer"))


METHODS: dict[str, Method] = {}


@dataclass(frozen=True)
class AtLayer:
    """Method of one layer and one run.

    ``function`` turns the evidence into maps.
    """

    function: Callable[[Evidence], Tensor]
    needs_layer = True

    def __call__(self, run: Run) -> Attribution:
        return run.evidence(Probe(Layer()), self.function)


@dataclass(frozen=True)
class AtInput:
    """Method of the input and one run.

    ``function`` turns the evidence into maps.
    """

    function: Callable[[Evidence], Tensor]

    def __call__(self, run: Run) -> Attribution:
        return run.evidence(Probe(Input()), self.function)


def register(
    name: str, family: str, cost: Cost, when: str, doc: str | None = None, **parameters: Any
) -> Callable[[T], T]:
    """Register a function or a class as a value of ``method=``.

    The docstring provides the rest: its first line is ``Title: what it does.``, and its
    ``References`` are the paper.

    Parameters
    ----------
    name : str
    family : str
        A method of the family ``"layer"`` is a function from the
        :class:`~eli5k.keras.evidence.probes.Evidence` of a layer to maps. Any other is a function
        from a :class:`~eli5k.keras.evidence.run.Run` to an
        :class:`~eli5k.keras.evidence.run.Attribution`, or a class of such objects. A function whose
        only parameter is called ``evidence`` gets the evidence of the layer or, in the family
        ``"input"``, of the input.
    cost : Cost
    when : str
        When to use it, in a sentence.
    doc : str, optional
        Replaces the docstring of a class that implements several methods.
    **parameters
        Parameters of the class for this name.

    Examples
    --------
    >>> from eli5k.keras.methods import METHODS
    >>> METHODS["grad-cam"].title, METHODS["grad-cam"].paper
    ('Grad-CAM', 'Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391')
    """

    def add(method: T) -> T:
        title, what, paper = _described(doc or inspect.getdoc(method) or "")
        METHODS[name] = Method(
            title, family, _explain(method, family, parameters), what, when, cost, paper
        )
        return method

    return add


def _explain(method: Any, family: str, parameters: dict[str, Any]) -> Callable[[Run], Attribution]:
    if isinstance(method, type):
        return method(**parameters)
    if _takes_evidence(method):
        return AtInput(method) if family == "input" else AtLayer(method)
    return method


def _takes_evidence(method: Callable[..., Any]) -> bool:
    """Tell whether a function makes maps of evidence alone."""
    return inspect.isfunction(method) and list(inspect.signature(method).parameters) == ["evidence"]


def _described(doc: str) -> tuple[str, str, str]:
    """Return title, sentence and paper of a docstring."""
    summary = " ".join(doc.split("\n\n", maxsplit=1)[0].split())
    title, _, what = summary.partition(": ")
    found = re.search(r"References\n-+\n(.*?)(?:\n\n|\Z)", doc, re.DOTALL)
    paper = " ".join(found.group(1).split()) if found else ""
    return title, what[:1].upper() + what[1:], paper


def in_order() -> None:
    """Sort the methods by family, the best known of each first."""
    known = list(METHODS.items())
    known.sort(key=lambda item: (FAMILIES.index(item[1].family), _rank(item[0])))
    METHODS.clear()
    METHODS.update(known)


def _rank(name: str) -> int:
    return FIRST.index(name) if name in FIRST else len(FIRST)


def names_without_layer() -> list[str]:
    """Names of the methods that need no layer with a grid.

    Examples
    --------
    >>> "gradient" in names_without_layer(), "grad-cam" in names_without_layer()
    (True, False)
    """
    return [name for name, method in METHODS.items() if not method.needs_layer]


def find_method(method: MethodLike) -> Method:
    """Return the method of a name, or of an object with parameters.

    Parameters
    ----------
    method : str or callable
        A key of ``METHODS``, however it is written: "GradCAM" and "Grad CAM" are "grad-cam", and
        "ig" is "integrated-gradients". Or a function from a
        :class:`~eli5k.keras.evidence.run.Run` to an
        :class:`~eli5k.keras.evidence.run.Attribution`, or one whose only parameter is called
        ``evidence``, from the :class:`~eli5k.keras.evidence.probes.Evidence` of the layer to maps.

    Raises
    ------
    TypeError
        If ``method`` is a class instead of an object.
    ValueError
        If there is no such method; the error suggests the nearest, and lists all. "best" is none.

    Examples
    --------
    >>> from eli5k.keras.methods import IntegratedGradients
    >>> find_method("grad-cam").title, find_method(IntegratedGradients(steps=20)).title
    ('Grad-CAM', 'Integrated gradients')
    >>> find_method("GradCAM").title, find_method("saliency").title
    ('Grad-CAM', 'Gradient')
    """
    if isinstance(method, type):
        raise TypeError(
            f"method must be a name or an object. Received the class {method.__name__}: pass "
            f"{method.__name__}() or, with parameters, {method.__name__}(...)."
        )
    if callable(method):
        for known in METHODS.values():
            if _likeness(known.explain) == _likeness(method):
                return replace(known, explain=method)
        if _takes_evidence(method):
            return Method(_name(method), "layer", AtLayer(method))
        return Method(_name(method), "", method)
    written = bare(str(method))
    for name in (*METHODS, *ALIASES) if isinstance(method, str) else ():
        if bare(name) == written:
            return METHODS[ALIASES.get(name, name)]
    if written == BEST:
        raise ValueError(
            "method='best' is for explain_prediction, explain_predictions, compare and audit, "
            "which tell which method they took. Here, pass a name: "
            "eli5k.rank_methods(model, docs)[0].name."
        )
    names = {bare(name): ALIASES.get(name, name) for name in (*ALIASES, *METHODS)}
    near = [names[each] for each in difflib.get_close_matches(written, names, n=1)]
    raise ValueError(
        f"method must be one of {', '.join(METHODS)}. Received: {method!r}"
        + (f". Did you mean {near[0]!r}?" if near else "")
    )


def _likeness(explain: Callable[..., Any]) -> Any:
    """Return what methods share that differ only in parameters."""
    has_parameters = is_dataclass(explain) and not isinstance(explain, AtLayer | AtInput)
    return (type(explain), getattr(explain, "kind", None)) if has_parameters else explain


def _name(explain: Callable[..., Any]) -> str:
    function = getattr(explain, "function", explain)
    named = getattr(function, "__name__", type(function).__name__)
    return str(getattr(explain, "title", named))
