"""Several explanations that a notebook shows as one sheet."""

from __future__ import annotations

import io

from eli5k.base import Explanation
from eli5k.formatters.drawing import is_drawable
from eli5k.formatters.image import draw_picture
from eli5k.formatters.panels import Look


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
        drawn = [expl for expl in self if is_drawable(expl)]
        if not drawn:
            return None
        file = io.BytesIO()
        draw_picture(drawn, Look(caption=True)).save(file, "PNG")
        return file.getvalue()
