"""Find the user's modules and functions that options name."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from eli5k.cli.arguments import did_you_mean
from eli5k.cli.errors import UserError, raised_by_others, reason_of


def find_function(option: str, name: str) -> Callable[..., Any]:
    """Import the function that ``module:function`` names.

    Modules in the working folder are found too.

    Parameters
    ----------
    option : str
        What errors begin with.
    name : str

    Returns
    -------
    callable

    Raises
    ------
    UserError
        If it can't be imported, or is no function.

    Examples
    --------
    >>> find_function("--preprocess", "os.path:join").__name__
    'join'
    """
    module, attribute = _parts(option, name)
    look_here_too()
    try:
        function: Any = importlib.import_module(module)
        for part in attribute.split("."):
            function = getattr(function, part)
    except raised_by_others() as error:
        raise UserError(f"{option} {name}: {reason_of(error)}") from error
    if not callable(function):
        raise UserError(f"{option} {name}: expected a function, got {type(function).__name__}")
    return function


def check_function(option: str, name: str) -> None:
    """Look, without importing anything, whether there can be such a function.

    Raises
    ------
    UserError
        If there is no such module, or the name of the function isn't in it.

    Examples
    --------
    >>> check_function("--preprocess", "os.path:join")
    >>> check_function("--preprocess", "json:lods")
    Traceback (most recent call last):
    eli5k.cli.errors.UserError: --preprocess json:lods: ... Did you mean 'loads'?
    """
    module, attribute = _parts(option, name)
    spec = _spec_of(option, module, name)
    source = _source_of(spec)
    first = attribute.partition(".")[0]
    words = set(re.findall(r"\w+", source))
    # A module may also create its names dynamically.
    can_tell = source and "import *" not in source and not words & {"__getattr__", "globals"}
    if can_tell and first not in words and not hasattr(ModuleType, first):
        hint = did_you_mean(first, words)
        raise UserError(f"{option} {name}: module {module} has no {first}.{hint}")


def check_module(option: str, module: str) -> None:
    """Look whether there is such a module, without importing anything.

    Raises
    ------
    UserError
        If it doesn't exist.
    """
    _spec_of(option, module, module)


def look_here_too() -> None:
    """Let modules in the working folder be found."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


def _parts(option: str, name: str) -> tuple[str, str]:
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise UserError(f"{option} takes MODULE:FUNCTION. Received: {name}")
    return module, attribute


def _spec_of(option: str, module: str, name: str) -> ModuleSpec | None:
    """Find a module without importing the packages around it."""
    look_here_too()
    if module in sys.modules:
        return sys.modules[module].__spec__
    first, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(first)
    except (ImportError, ValueError):
        spec = None
    path = first
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            break
        path = f"{path}.{part}"
        found = PathFinder.find_spec(path, list(spec.submodule_search_locations))
        if found is None and _makes_modules(spec):
            return None
        spec = found
    if spec is None:
        raise UserError(f"{option} {name}: No module named {path!r}")
    return spec if path == module else None


def _makes_modules(spec: ModuleSpec) -> bool:
    """Tell whether a package may have modules without files, like ``os.path``."""
    return "sys.modules" in _source_of(spec)


def _source_of(spec: ModuleSpec | None) -> str:
    """Return the text of a module, if it has one."""
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return ""
    try:
        with open(spec.origin, encoding="utf-8") as file:
            return file.read()
    except (OSError, ValueError):
        return ""
