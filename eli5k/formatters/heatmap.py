"""Colour a heatmap and lay it over a picture."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from numbers import Real

import numpy as np
from PIL import Image

from eli5k.base import WHOLE, TargetExplanation
from eli5k.formatters.frame import Frame, spread

# Axes of a map that can be drawn, by what the document is.
SHAPES: dict[str | None, tuple[tuple[int, ...], str]] = {
    None: ((2,), "(height, width)"),
    "signal": ((1, 2), "(length,) or (length, frequencies)"),
    "text": ((1,), "(length,)"),
    "volume": ((3,), "(depth, height, width)"),
    "clip": ((3,), "(frames, height, width)"),
}


def heatmap_to_image(heatmap: np.ndarray) -> Image.Image:
    r"""Turn a heatmap into a picture, one pixel for each cell.

    Parameters
    ----------
    heatmap : numpy.ndarray
        ``(height, width)`` grey, ``(height, width, 3)`` RGB or ``(height, width, 4)`` RGBA, in
        [0, 1].

    Returns
    -------
    PIL.Image.Image
        In mode L, RGB or RGBA.

    Raises
    ------
    TypeError
        If ``heatmap`` is not a NumPy array.
    ValueError
        If its values are not in [0, 1] or its shape is not one of these.

    Examples
    --------
    >>> heatmap_to_image(np.array([[0.0, 0.5, 1.0]])).tobytes()
    b'\x00\x7f\xff'
    """
    _check_heatmap(heatmap)
    if heatmap.ndim != 2 and not (heatmap.ndim == 3 and heatmap.shape[2] in (3, 4)):
        raise ValueError(
            "heatmap must be (height, width), or (height, width, channels) with 3 or 4 channels. "
            f"Received: shape {heatmap.shape}"
        )
    return Image.fromarray((heatmap * 255).astype(np.uint8))


def expand_heatmap(
    heatmap: np.ndarray,
    image: Image.Image,
    resampling_filter: int | None = Image.Resampling.LANCZOS,
) -> Image.Image:
    r"""Enlarge a heatmap to the size of a picture.

    Parameters
    ----------
    heatmap : numpy.ndarray
        As in :func:`heatmap_to_image`.
    image : PIL.Image.Image
        Picture of the size to enlarge it to.
    resampling_filter : int or None
        As in :func:`format_as_image`.

    Returns
    -------
    PIL.Image.Image
        In mode L, RGB or RGBA.

    Raises
    ------
    TypeError
        If ``image`` is not a Pillow image, or ``heatmap`` is not a NumPy array.
    ValueError
        If the values of ``heatmap`` are not in [0, 1], its shape is wrong, or the filter is
        unknown.

    Examples
    --------
    >>> picture = Image.new("RGB", (4, 2))
    >>> expand_heatmap(np.array([[0.0, 1.0]]), picture, resampling_filter=Image.BOX).tobytes()
    b'\x00\x00\xff\xff\x00\x00\xff\xff'
    """
    if not isinstance(image, Image.Image):
        raise TypeError(f"image must be a Pillow image. Received: {image!r}")
    return heatmap_to_image(heatmap).resize(image.size, resample=resampling_filter)


def colourise(
    heatmap: np.ndarray,
    colormap: str | Callable[[np.ndarray], np.ndarray] = "viridis",
    alpha_limit: float | None = 0.65,
) -> np.ndarray:
    """Colour a heatmap, opaque where it is hot.

    Parameters
    ----------
    heatmap : numpy.ndarray
        ``(height, width)``, in [0, 1].
    colormap, alpha_limit
        As in :func:`format_as_image`.

    Returns
    -------
    numpy.ndarray
        ``(height, width, 4)``, in [0, 1].

    Raises
    ------
    TypeError, ValueError
        As in :func:`format_as_image`, for ``colormap`` and ``alpha_limit``.

    Examples
    --------
    >>> colourise(np.array([[0.0, 1.0]]), "binary", alpha_limit=0.5)
    array([[[1. , 1. , 1. , 0. ],
            [0. , 0. , 0. , 0.5]]])
    """
    if not np.issubdtype(heatmap.dtype, np.floating):
        heatmap = heatmap.astype(float)  # matplotlib takes a whole number for an index
    coloured = np.array(find_colormap(colormap)(heatmap))
    if coloured.shape != (*heatmap.shape, 4):
        raise ValueError(
            f"colormap must return (height, width, 4), here {(*heatmap.shape, 4)}. "
            f"Received: shape {coloured.shape}"
        )
    coloured[..., 3] = _limit_alpha(heatmap, alpha_limit)
    return coloured


def find_colormap(
    colormap: str | Callable[[np.ndarray], np.ndarray],
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the colormap of a name, or the function itself.

    Parameters
    ----------
    colormap : str or callable

    Returns
    -------
    callable
        From ``(height, width)`` to ``(height, width, 4)``, both in [0, 1].

    Raises
    ------
    TypeError
        If ``colormap`` is neither a name nor callable.
    ValueError
        If matplotlib has no colormap with this name; the error suggests the nearest.

    Examples
    --------
    >>> find_colormap("jet").name
    'jet'
    """
    if callable(colormap):
        return colormap
    if not isinstance(colormap, str):
        raise TypeError(f"colormap must be a name or a callable. Received: {colormap!r}")
    import matplotlib

    if colormap in matplotlib.colormaps:
        return matplotlib.colormaps[colormap]
    near = difflib.get_close_matches(colormap, matplotlib.colormaps, n=1)
    raise ValueError(
        f"colormap must be a callable or a name that matplotlib knows. Received: {colormap!r}"
        + (f". Did you mean {near[0]!r}?" if near else "")
    )


def overlay(
    coloured: np.ndarray,
    image: Image.Image,
    resampling_filter: int | None = Image.Resampling.LANCZOS,
    frame: Frame = WHOLE,
) -> Image.Image:
    """Lay a coloured heatmap over a picture.

    Parameters
    ----------
    coloured : numpy.ndarray
        ``(height, width, 4)``, in [0, 1], as :func:`colourise` returns it.
    image : PIL.Image.Image
        A picture of any size.
    resampling_filter : int or None
        As in :func:`format_as_image`.
    frame : tuple of float
        As in :class:`~eli5k.Explanation`.

    Returns
    -------
    PIL.Image.Image
        In mode RGBA, as large as the picture.

    Examples
    --------
    >>> red = np.array([[[1.0, 0.0, 0.0, 0.4]]])
    >>> overlay(red, Image.new("L", (9, 9), "white")).getpixel((4, 4))
    (255, 153, 153, 255)
    """
    expanded = spread(heatmap_to_image(coloured), image.size, frame, resampling_filter)
    return Image.alpha_composite(image.convert("RGBA"), expanded)


def drawable_heatmap(target: TargetExplanation, kind: str | None = None) -> np.ndarray:
    """Return the heatmap of a target if it can be drawn.

    Parameters
    ----------
    target : TargetExplanation
    kind : str or None
        What the document is, as in :class:`~eli5k.Explanation`.

    Returns
    -------
    numpy.ndarray
        In [0, 1]: ``(height, width)`` for a picture, ``(length,)`` or ``(length, frequencies)`` for
        a signal, ``(length,)`` for a text, ``(depth, height, width)`` for a volume or a clip.

    Raises
    ------
    TypeError
        If the heatmap is not a NumPy array.
    ValueError
        If there is no heatmap, it has other axes, or its values are not in [0, 1].

    Examples
    --------
    >>> drawable_heatmap(TargetExplanation(7, heatmap=np.ones((7, 7)))).shape
    (7, 7)
    """
    heatmap = target.heatmap
    if heatmap is None:
        raise ValueError(
            f"target {target.target!r} must have a heatmap to be drawn. Received: heatmap None"
        )
    _check_heatmap(heatmap)
    axes, shape = SHAPES[kind]
    if heatmap.ndim not in axes:
        raise ValueError(
            f"The heatmap of target {target.target!r} must be {shape} to be drawn. "
            f"Received: shape {heatmap.shape}. format_as_text says where its maximum is."
        )
    return heatmap


def _check_heatmap(heatmap: np.ndarray) -> None:
    if not isinstance(heatmap, np.ndarray):
        raise TypeError(f"heatmap must be a numpy.ndarray. Received: {heatmap!r}")
    if heatmap.size == 0:
        raise ValueError(f"heatmap must have cells. Received: shape {heatmap.shape}")
    low, high = heatmap.min(), heatmap.max()
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"heatmap must have values in [0, 1]. Received: minimum {low}, maximum {high}"
        )


def _limit_alpha(alpha: np.ndarray, limit: float | None) -> np.ndarray:
    if limit is None:
        return alpha
    if not isinstance(limit, Real):
        raise TypeError(f"alpha_limit must be a number or None. Received: {limit!r}")
    if not 0 <= limit <= 1:
        raise ValueError(f"alpha_limit must be in [0, 1]. Received: {limit!r}")
    return np.minimum(alpha, limit)
