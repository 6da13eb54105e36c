"""The methods: each a pure function from evidence to maps, and the registry that names them."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from eli5k.keras.methods.cam import grad_cam

if TYPE_CHECKING:
    from eli5k.keras.run import Answer, Run


class Method(NamedTuple):
    """One line of the registry.

    Attributes
    ----------
    title : str
        Name of the method in its paper.
    explain : callable
        From a :class:`~eli5k.keras.run.Run` to an :class:`~eli5k.keras.run.Answer`.
    paper : str
        Where it was published.
    """

    title: str
    explain: Callable[[Run], Answer]
    paper: str


class AtLayer(NamedTuple):
    """A method that looks at one layer in one run: ``function`` makes maps of its evidence."""

    function: Callable

    def __call__(self, run: Run) -> Answer:
        return run.at_layer(self.function)


METHODS = {
    "grad-cam": Method(
        "Grad-CAM", AtLayer(grad_cam), "Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391"
    ),
}


def find_method(method: str | Callable) -> Method:
    """Return the method of a name, or make one of an object with parameters.

    Parameters
    ----------
    method : str or callable
        A key of ``METHODS``, or what maps a :class:`~eli5k.keras.run.Run` to an answer.

    Raises
    ------
    ValueError
        If there is no such method; the error lists them.

    Examples
    --------
    >>> find_method("grad-cam").title
    'Grad-CAM'
    """
    if callable(method):
        return Method(type(method).__name__, method, "")
    if method in METHODS:
        return METHODS[method]
    near = difflib.get_close_matches(str(method), METHODS, n=1)
    raise ValueError(
        f"method must be one of {', '.join(METHODS)}. Received: {method!r}"
        + (f". Did you mean {near[0]!r}?" if near else "")
    )
