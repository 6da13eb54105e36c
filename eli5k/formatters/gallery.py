"""Several explanations that a notebook shows as one sheet."""

from __future__ import annotations

import io
from collections.abc import Sequence

from eli5k.base import Explanation
from eli5k.formatters.drawing import is_drawable
from eli5k.formatters.image import draw_picture
from eli5k.formatters.panels import Look

# Nobody reads a sheet of more pictures.
MOST = 48


class Explanations(list[Explanation]):
    """A list of explanations that shows itself in a notebook.

    Examples
    --------
    >>> import numpy as np
    >>> from PIL import Image
    >>> from eli5k.base import TargetExplanation
    >>> cat = TargetExplanation("cat", heatmap=np.eye(7))
    >>> expl = Explanation("net", targets=[cat], image=Image.new("RGB", (64, 48)))
    >>> Explanations([expl, expl])._repr_png_()[1:4]
    b'PNG'
    """

    def _repr_png_(self) -> bytes | None:
        return gallery(self)


def gallery(explanations: Sequence[Explanation]) -> bytes | None:
    """Draw explanations in one sheet, captioned.

    Parameters
    ----------
    explanations : sequence of Explanation
        Only the first are drawn if there are very many.

    Returns
    -------
    bytes or None
        A file in PNG format; None if there is nothing to draw.

    Examples
    --------
    >>> gallery([Explanation("net", error="not supported")]) is None
    True
    """
    drawn = [expl for expl in explanations if is_drawable(expl)]
    if not drawn:
        return None
    file = io.BytesIO()
    draw_picture(drawn[:MOST], Look(caption=True, on_paper=False), len(drawn) - MOST).save(
        file, "PNG"
    )
    return file.getvalue()


def gallery_of_list(values: list[object]) -> bytes | None:
    """Draw a plain list, if it is one of explanations.

    Parameters
    ----------
    values : list

    Returns
    -------
    bytes or None
        None for any other list, which a notebook then shows as it always does.

    Examples
    --------
    >>> gallery_of_list([1, 2]) is None
    True
    """
    explanations = [value for value in values if isinstance(value, Explanation)]
    return gallery(explanations) if values and len(explanations) == len(values) else None
