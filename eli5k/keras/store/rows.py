"""Explanations as the rows of a table."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from eli5k.base import Check, Explanation, TargetExplanation
from eli5k.keras.evidence.targets import TargetNames

if TYPE_CHECKING:
    import pyarrow

# Version of the columns; raise it if their meaning changes.
SCHEMA_VERSION = "1"
# Numbers of a check, as its fields are called.
CHECK_NUMBERS = ("agreement", "p_value", "p_against", "score", "blurred")
CHECK_CURVES = ("shares", "dropped", "kept", "dropped_elsewhere", "kept_elsewhere")


def arrow(module: str = "pyarrow") -> Any:
    """Import pyarrow or one of its modules, only when needed.

    Raises
    ------
    ImportError
        If it isn't installed; the message says how to install it.

    Examples
    --------
    >>> arrow().__name__
    'pyarrow'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            "A table of explanations needs pyarrow: pip install 'eli5k[scale]'."
        ) from error


def schema(key: pyarrow.DataType) -> pyarrow.Schema:
    """Return the columns of a table of explanations.

    Parameters
    ----------
    key : pyarrow.DataType

    Returns
    -------
    pyarrow.Schema
        ``number`` tells the targets of a document apart; ``target`` is the class, ``name`` its
        name. ``map`` is the raw, signed map on its own grid, divided by ``map_scale``, as float16
        in C order; ``map_low`` and ``map_high`` are its smallest and largest value, ``frame`` is
        where it lies in the picture, as in :class:`~eli5k.Explanation`. ``verdict`` and ``check``
        are null unless a check was asked for.

    Examples
    --------
    >>> import pyarrow
    >>> schema(pyarrow.string()).names[:4]
    ['key', 'number', 'target', 'name']
    """
    pa = arrow()
    whole, real, text, data = pa.int32(), pa.float32(), pa.string(), pa.binary()
    check = {"sentence": text} | dict.fromkeys(CHECK_NUMBERS, real)
    check |= dict.fromkeys(CHECK_CURVES, pa.list_(real))
    check |= {"worth": data, "worth_shape": pa.list_(whole), "runs": whole}
    columns = {
        "key": key,
        "number": whole,
        "target": whole,
        "name": text,
        "score": real,
        "probability": real,
        "layer": text,
        "method": text,
        "map": data,
        "map_shape": pa.list_(whole),
        "map_scale": real,
        "map_low": real,
        "map_high": real,
        "frame": pa.list_(real),
        "size": pa.list_(whole),
        "box": pa.list_(real),
        "region": data,
        "region_shape": pa.list_(whole),
        "verdict": text,
        "check": pa.struct(list(check.items())),
        "warnings": pa.list_(pa.struct([("category", text), ("message", text)])),
        "model": text,
        "description": text,
        "output": text,
        "input": text,
        "kind": text,
        "is_regression": pa.bool_(),
        "source": text,
        "error": text,
    }
    return pa.schema(columns, metadata={"eli5k.schema": SCHEMA_VERSION})


def table_of(
    keys: Sequence[Any], kind: pyarrow.DataType | None, explanations: Iterable[Explanation]
) -> pyarrow.Table:
    """Return a table of explanations: a row a target or error.

    Parameters
    ----------
    keys : sequence
        One for each explanation.
    kind : pyarrow.DataType or None
        Type of the keys; None takes the one that fits.
    explanations : iterable of Explanation

    Examples
    --------
    >>> table = table_of(["cat.jpg"], None, [Explanation("net", error="not a picture")])
    >>> table.select(["key", "target", "error"]).to_pylist()
    [{'key': 'cat.jpg', 'target': None, 'error': 'not a picture'}]
    """
    pa = arrow()
    column = pa.array(keys, kind)
    if pa.types.is_null(column.type):
        column = column.cast(pa.string())
    owners, rows = [], []
    for owner, explanation in enumerate(explanations):
        own = list(_rows(explanation))
        rows += own
        owners += [owner] * len(own)
    columns = schema(column.type)
    made = {
        field.name: pa.array([row.get(field.name) for row in rows], field.type)
        for field in columns
        if field.name != "key"
    }
    made["key"] = column.take(pa.array(owners, pa.int64()))
    return pa.table([made[name] for name in columns.names], schema=columns)


def _rows(explanation: Explanation) -> Iterable[dict[str, Any]]:
    common = {
        "layer": explanation.layer,
        "method": explanation.method,
        "warnings": [
            {"category": type(each).__name__, "message": text_of(str(each))}
            for each in explanation.warnings
        ],
        "model": explanation.estimator,
        "description": explanation.description,
        "output": explanation.output,
        "input": explanation.input,
        "kind": explanation.kind,
        "is_regression": explanation.is_regression,
        "source": None if explanation.source is None else text_of(explanation.source),
    }
    targets = explanation.targets or ()
    for number, target in enumerate(targets):
        yield common | _of_target(target) | {"number": number}
    if not targets:
        reason = explanation.error or "no target was explained"
        yield common | {"number": 0, "error": text_of(reason)}


def text_of(path: str) -> str:
    r"""Return a path or name as text that any encoding has.

    Examples
    --------
    >>> print(text_of("caf\udce9.png"))
    caf\udce9.png
    """
    return path.encode("utf-8", "backslashreplace").decode("utf-8")


def _of_target(target: TargetExplanation) -> dict[str, Any]:
    values = np.asarray(target.attribution, "float32")
    finite = values[np.isfinite(values)]
    scale = float(np.abs(finite).max(initial=0)) or 1.0
    called = target.target
    is_class = isinstance(called, int)
    region = target.region
    return {
        "target": called if is_class else getattr(called, "number", None),
        "name": None if is_class else str(called),
        "score": target.score,
        "probability": target.proba,
        "map": (values / scale).astype("float16").tobytes(),
        "map_shape": values.shape,
        "map_scale": scale,
        "map_low": float(finite.min()) if finite.size else None,
        "map_high": float(finite.max()) if finite.size else None,
        "frame": target.frame,
        "size": target.size,
        "box": target.box,
        "region": None if region is None else np.packbits(region).tobytes(),
        "region_shape": None if region is None else region.shape,
        "verdict": None if target.check is None else target.check.verdict,
        "check": None if target.check is None else _of_check(target.check),
    }


def _of_check(check: Check) -> dict[str, Any]:
    numbers = {name: getattr(check, name) for name in (*CHECK_NUMBERS, *CHECK_CURVES)}
    worth = None if check.worth is None else np.asarray(check.worth, "float32")
    return numbers | {
        "sentence": check.sentence,
        "worth": None if worth is None else worth.tobytes(),
        "worth_shape": None if worth is None else worth.shape,
        "runs": check.runs,
    }


class _Numbered(str):
    """Class name that knows its class, since names may be shared."""

    number: int

    def __new__(cls, name: str, number: int) -> _Numbered:
        made = super().__new__(cls, name)
        made.number = number
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return _Numbered, (str(self), self.number)


def numbered(names: Any) -> Any:
    """Return class names that know their class, for rows with both.

    Parameters
    ----------
    names : object
        As ``target_names`` of :func:`eli5k.explain_prediction`.

    Examples
    --------
    >>> [name.number for name in numbered(["ant", "bee", "ant"])]
    [0, 1, 2]
    """
    if names is None:
        return None
    by_class = TargetNames(names, None).by_class
    found = {number: _Numbered(name, number) for number, name in by_class.items()}
    # A list must have a name for each class; other forms may name some.
    return list(found.values()) if isinstance(names, list | tuple | np.ndarray) else found
