"""Draw an explanation into the axes of a matplotlib figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from eli5k.base import Explanation
from eli5k.formatters.image import format_as_image
from eli5k.formatters.panels import Look, panels_of, picture_of
from eli5k.formatters.sheet import Panel, fit
from eli5k.options import optional_keywords, shows_keywords

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Size of a panel in our own figure, in inches, and of letters in points.
WIDE, LETTERS = 4.0, 9


@shows_keywords(*optional_keywords(format_as_image))
def plot(expl: Explanation, ax: Any = None, *, caption: bool = True, **look: Any) -> Any:
    """Draw an explanation into your own axes or a new figure.

    Coordinates are pixels of the picture, so that your own marks land where they belong.

    Parameters
    ----------
    expl : Explanation
    ax : matplotlib.axes.Axes or array of them, optional
        One for each target; with ``style="side"`` one for the original before them. None makes a
        new figure with pyplot.
    caption : bool
        Tell name, score, probability, method and layer as the title.
    **look
        Other keywords of :func:`~eli5k.format_as_image`, such as ``style`` and ``colormap``;
        ``colorbar=True`` adds matplotlib's own.

    Returns
    -------
    matplotlib.axes.Axes or numpy.ndarray of them
        What was drawn into.

    Raises
    ------
    TypeError, ValueError
        As :func:`~eli5k.format_as_image`; also if there are not as many axes as panels.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from PIL import Image
    >>> from eli5k.base import TargetExplanation
    >>> cat = TargetExplanation("cat", heatmap=np.eye(7))
    >>> expl = Explanation("net", targets=[cat], image=Image.new("RGB", (64, 48)))
    >>> left, right = Figure().subplots(1, 2)
    >>> plot(expl, ax=left).get_title()
    'y=cat'
    """
    has_bar = look.pop("colorbar", False)
    style = Look(caption=caption, colorbar=has_bar, **look)
    panels, footer, columns = panels_of([expl], style)
    if not panels:
        picture = picture_of(expl)
        panels = [Panel(picture, lambda image: image, [])]
    axes = _new_axes(panels, columns) if ax is None else list(np.ravel(np.asarray(ax, object)))
    if len(axes) != len(panels):
        raise ValueError(
            f"ax must have one axis for each of the {len(panels)} panels. Received: {len(axes)}"
        )
    for each, panel in zip(axes, panels):
        _draw(each, panel, footer, caption)
    if ax is not None and not np.ndim(np.asarray(ax, object)):
        return ax
    return axes[0] if len(axes) == 1 else np.array(axes, object)


def _new_axes(panels: Sequence[Panel], columns: int | None) -> list[Axes]:
    from matplotlib import pyplot

    columns = columns or len(panels)
    rows = -(-len(panels) // columns)
    shapes = [panel.image.height / panel.image.width for panel in panels]
    size = (WIDE * columns, (WIDE * max(shapes) + 1) * rows)
    figure, grid = pyplot.subplots(rows, columns, figsize=size, squeeze=False, layout="tight")
    for hole in grid.flat[len(panels) :]:
        figure.delaxes(hole)
    return list(grid.flat[: len(panels)])


def _draw(ax: Axes, panel: Panel, footer: Sequence[str], caption: bool) -> None:
    width, height = panel.image.size
    picture = np.asarray(panel.draw(fit(panel.image)))
    ax.imshow(picture, extent=(0, width, height, 0))
    ax.set_axis_off()
    lines = [", ".join(words) for words in (*panel.caption, footer) if words]
    if lines and caption:
        ax.set_title("\n".join(lines), fontsize=LETTERS)
    if panel.bar:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import ListedColormap, Normalize

        scale = Normalize(float(panel.bar.low), float(panel.bar.high))
        colours = ListedColormap(panel.bar.colours[0])
        ax.figure.colorbar(ScalarMappable(scale, colours), ax=ax, shrink=0.8)
