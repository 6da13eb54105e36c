"""Find the user's function that an option names."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

from eli5k.cli.errors import UserError, raised_by_others, reason_of


def find_function(name: str | None) -> Callable[..., Any] | None:
    """Import the function that ``--preprocess module:function`` names.

    Modules in the working folder are found too.

    Parameters
    ----------
    name : str or None

    Returns
    -------
    callable or None
        None if there is no name.

    Raises
    ------
    UserError
        If it cannot be imported, or is no function.

    Examples
    --------
    >>> find_function("os.path:join").__name__
    'join'
    """
    if name is None:
        return None
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise UserError(f"--preprocess takes MODULE:FUNCTION. Received: {name}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        function = importlib.import_module(module)
        for part in attribute.split("."):
            function = getattr(function, part)
    except raised_by_others() as error:
        raise UserError(f"--preprocess {name}: {reason_of(error)}") from error
    if not callable(function):
        raise UserError(f"--preprocess {name}: expected a function, got {type(function).__name__}")
    return function
