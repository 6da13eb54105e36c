"""Draw an audit, where maps meet, as HTML that loads nothing."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from eli5k.maps import resize

LONGEST = 256  # pixels
STYLES = """\
<style>
.eli5k-audit { font-family: sans-serif; line-height: 1.4; }
.eli5k-audit p { margin: 0.4em 0; max-width: 42em; }
.eli5k-audit div { display: flex; flex-wrap: wrap; gap: 1em; }
.eli5k-audit figure { margin: 0.5em 0; width: 256px; max-width: 100%; }
.eli5k-audit figure.eli5k-group { width: 160px; }
.eli5k-audit img { display: block; width: 100%; height: auto; }
.eli5k-audit figcaption { font-size: 0.9em; overflow-wrap: anywhere; }
</style>
"""
STYLES_OF_PAGE = """\
<style>
:root { color-scheme: light dark; }
body { margin: 1em auto; max-width: 60em; padding: 0 1em; }
h1 { font: bold 1.4em sans-serif; }
</style>
"""


def html_of(
    lines: Sequence[str],
    main: Sequence[tuple[Image.Image, str]],
    groups: Sequence[tuple[Image.Image, str]] = (),
) -> str:
    """Return a fragment of HTML: paragraphs, and pictures with captions.

    Parameters
    ----------
    lines : sequence of str
    main, groups : sequence of (PIL.Image.Image, str)
        Pictures and their captions; those of groups are smaller.

    Examples
    --------
    >>> html = html_of(["<1 %"], [(Image.new("L", (2, 2)), "mean")])
    >>> "<p>&lt;1 %</p>" in html, "<figcaption>mean</figcaption>" in html
    (True, True)
    """
    # Without these classes Jupyter would take a dollar in a path for mathematics.
    parts = [
        STYLES,
        '<div class="eli5k-audit mathjax_ignore tex2jax_ignore" style="display: block">',
    ]
    parts += [f"<p>{escape(line)}</p>" for line in lines if line]
    for figures, name in ((main, ""), (groups, ' class="eli5k-group"')):
        drawn = [
            f'<figure{name}><img src="{_uri(image)}" alt="{escape(caption)}">'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
            for image, caption in figures
        ]
        parts += ["<div>", *drawn, "</div>"] if drawn else []
    return "\n".join([*parts, "</div>"])


def page_of(fragment: str, title: str) -> str:
    """Return a whole page, light or dark as its reader likes.

    Examples
    --------
    >>> page_of("<p>one</p>", "An audit").startswith("<!DOCTYPE html>")
    True
    """
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n{STYLES_OF_PAGE}</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{fragment}\n</body>\n</html>\n"
    )


def draw_map(
    heat: np.ndarray, area: np.ndarray | None = None, grid: Sequence[int] | None = None
) -> Image.Image:
    """Draw a map, and a line around an area.

    Parameters
    ----------
    heat : numpy.ndarray
        ``(*cells)``; of a volume, the mean over its first axis is drawn, and a signal is a strip.
    area : numpy.ndarray, optional
        ``(*cells)``: 1 in it.
    grid : sequence of int, optional
        Size of the picture, if the cells aren't square.

    Examples
    --------
    >>> draw_map(np.eye(4)).size, draw_map(np.ones(8)).size
    ((256, 256), (256, 32))
    """
    import matplotlib

    drawn = _flat(np.asarray(heat, "float32"))
    height, width = _size(drawn.shape if grid is None or len(grid) != 2 else tuple(grid))
    smooth = resize(drawn, (height, width))
    highest = float(smooth.max())
    colours = matplotlib.colormaps["viridis"](smooth / highest if highest > 0 else smooth)
    image = Image.fromarray((255 * colours[..., :3]).astype("uint8"))
    return image if area is None else draw_area(image, area)


def draw_area(image: Image.Image, area: np.ndarray) -> Image.Image:
    """Draw a line around an area of a picture.

    Parameters
    ----------
    image : PIL.Image.Image
    area : numpy.ndarray
        ``(*cells)``: 1 in it.

    Examples
    --------
    >>> grey = Image.new("RGB", (64, 64), "grey")
    >>> drawn = draw_area(grey, np.kron(np.eye(2), np.ones((2, 2))))
    >>> drawn.getpixel((127, 64)), drawn.getpixel((64, 64))
    ((255, 255, 255), (128, 128, 128))
    """
    height, width = _size((image.height, image.width))
    image = image.convert("RGB").resize((width, height))
    inside = Image.fromarray((255 * (_flat(area) > 0)).astype("uint8")).resize(
        (width, height), Image.Resampling.NEAREST
    )
    # Anything outside the picture counts as outside the area.
    framed = Image.new("L", (width + 16, height + 16))
    framed.paste(inside, (8, 8))
    for steps, colour in ((3, "black"), (1, "white")):
        smaller = framed
        for _ in range(steps):
            smaller = smaller.filter(ImageFilter.MinFilter(3))
        line = ImageChops.subtract(framed, smaller).crop((8, 8, width + 8, height + 8))
        image.paste(colour, mask=line)
    return image


def _flat(array: np.ndarray) -> np.ndarray:
    """Return two axes of any."""
    if array.ndim == 1:
        return np.repeat(array[np.newaxis], max(1, len(array) // 8), axis=0)
    return array.mean(axis=tuple(range(array.ndim - 2)))


def _size(shape: Sequence[int]) -> tuple[int, int]:
    """Scale height and width to the longest that may be."""
    height, width = (max(1, round(each * LONGEST / max(shape))) for each in shape)
    return height, width


def _uri(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, format="png")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
