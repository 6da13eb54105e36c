"""The methods: each a pure function from evidence to maps, and the registry that names them."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import NamedTuple

from eli5k.keras.methods.cam import grad_cam


class Method(NamedTuple):
    """One line of the registry.

    Attributes
    ----------
    title : str
        Name of the method in its paper.
    function : callable
        From :class:`~eli5k.keras.methods.evidence.Evidence` to maps ``(targets, batch, *grid)``.
    paper : str
        Where it was published.
    """

    title: str
    function: Callable
    paper: str


METHODS = {
    "grad-cam": Method(
        "Grad-CAM", grad_cam, "Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391"
    ),
}


def find_method(name: str) -> Method:
    """Return the method of a name.

    Parameters
    ----------
    name : str
        A key of ``METHODS``.

    Raises
    ------
    ValueError
        If there is no such method; the error lists them.

    Examples
    --------
    >>> find_method("grad-cam").title
    'Grad-CAM'
    """
    if name in METHODS:
        return METHODS[name]
    near = difflib.get_close_matches(str(name), METHODS, n=1)
    raise ValueError(
        f"method must be one of {', '.join(METHODS)}. Received: {name!r}"
        + (f". Did you mean {near[0]!r}?" if near else "")
    )
