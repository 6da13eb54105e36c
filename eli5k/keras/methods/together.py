"""Let methods that look at the same evidence share the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from eli5k.keras.backends import Tensor
from eli5k.keras.evidence.probes import Evidence
from eli5k.keras.evidence.run import Attribution, Run
from eli5k.keras.methods.registry import AtInput, AtLayer, find_method
from eli5k.options import MethodLike


@dataclass(frozen=True)
class _Each:
    """Several functions of one evidence, as one."""

    functions: tuple[Callable[[Evidence], Tensor], ...]

    def __call__(self, evidence: Evidence) -> tuple[Tensor, ...]:
        return tuple(function(evidence) for function in self.functions)


@dataclass(frozen=True)
class Together:
    """Several methods of one evidence, as one whose maps are a tuple.

    Attributes
    ----------
    methods : tuple
        Objects of one type, :class:`~eli5k.keras.methods.AtLayer` or
        :class:`~eli5k.keras.methods.AtInput`.

    Examples
    --------
    >>> Together((AtLayer(len), AtLayer(sum))).needs_layer
    True
    """

    methods: tuple[AtLayer | AtInput, ...]

    @property
    def needs_layer(self) -> bool:
        return isinstance(self.methods[0], AtLayer)

    def __call__(self, run: Run) -> Attribution:
        each = _Each(tuple(method.function for method in self.methods))
        return (AtLayer(each) if self.needs_layer else AtInput(each))(run)


def sharing(methods: Sequence[MethodLike]) -> Iterator[tuple[list[int], MethodLike]]:
    """Yield methods to ask, and which given ones each answers.

    Parameters
    ----------
    methods : sequence of str or callable

    Yields
    ------
    tuple
        The numbers of the methods, and the method that stands for them.

    Examples
    --------
    >>> [numbers for numbers, _ in sharing(["grad-cam", "rise", "layer-cam", "gradient"])]
    [[0, 2], [1], [3]]
    """
    groups: dict[Any, list[int]] = {}
    simple: dict[int, AtLayer | AtInput] = {}
    for number, method in enumerate(methods):
        explain = find_method(method).explain
        if isinstance(explain, AtLayer | AtInput):
            simple[number] = explain
        groups.setdefault(type(explain) if number in simple else number, []).append(number)
    for numbers in groups.values():
        if len(numbers) == 1:
            yield numbers, methods[numbers[0]]
        else:
            yield numbers, Together(tuple(simple[number] for number in numbers))


def answers_of(method: MethodLike, answer: Attribution) -> list[Attribution]:
    """Return the answer of each method that another one stood for.

    Examples
    --------
    >>> answers_of("grad-cam", "its answer")
    ['its answer']
    """
    if not isinstance(method, Together):
        return [answer]
    return [answer._replace(maps=maps) for maps in answer.maps]
