"""Format an explanation as a dict, for JSON."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from PIL import Image

from eli5k.base import Explanation, TargetExplanation
from eli5k.formatters.image import image_to_data_uri


def format_as_dict(explanation: Explanation | TargetExplanation) -> dict[str, Any]:
    """Turn an explanation, or part of one, into a dict for JSON.

    Parameters
    ----------
    explanation : Explanation or TargetExplanation

    Returns
    -------
    dict
        One key for each field, in order. Arrays become lists of lists, pictures become data URIs of
        PNG files, and numbers that are not finite become None, since JSON has none.

    Raises
    ------
    TypeError
        If ``explanation`` is neither.

    Examples
    --------
    >>> target = TargetExplanation("cat", score=np.float32(0.5), heatmap=np.array([[0.0, 1.0]]))
    >>> format_as_dict(target)["score"], format_as_dict(target)["heatmap"]
    (0.5, [[0.0, 1.0]])
    >>> picture = Image.new("L", (2, 2))
    >>> format_as_dict(Explanation("net", targets=[target], image=picture))["image"]
    'data:image/png;base64,...'
    """
    if not dataclasses.is_dataclass(explanation) or isinstance(explanation, type):
        raise TypeError(
            f"explanation must be an Explanation or part of one. Received: {explanation!r}"
        )
    return _plain(explanation)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(_plain(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, Image.Image):
        return image_to_data_uri(value)
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return {field.name: _plain(getattr(value, field.name)) for field in fields}
    return str(value)
