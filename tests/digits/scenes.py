"""Labelled pictures whose evidence is known: handwritten digits pasted on photographs.

Everything comes with scikit-learn (its digits and its two photographs), so nothing is downloaded.
A scene remembers where its digits are, so a heatmap can be scored: does it point at the digit that
it claims to explain? See :func:`pointing_game`.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image

SIDE = 96  # height and width of a scene in pixels
SIZES = (24, 40)  # smallest and largest side of the pasted square in pixels
GAP = 4  # least distance between two pasted squares in pixels
CONTRAST = 100.0  # wanted distance in brightness (0..255) between a digit and what is behind it
CROPS = (96, 176)  # smallest and largest side of the photograph's crop that becomes a background
LUMA = np.array([0.299, 0.587, 0.114])  # brightness of red, green and blue (ITU-R BT.601)


def make_scenes(count, digits=1, split="train", seed=0):
    """Make scenes of one or two digits of random class, size, colour and place.

    Held-out scenes share neither a handwritten digit nor a region of a photograph with the
    training scenes. The same arguments give the same scenes.

    Parameters
    ----------
    count : int
        How many scenes.
    digits : {1, 2}
        Digits in a scene. Two digits have different classes, and boxes a gap apart.
    split : {'train', 'test'}
        Which digits and which parts of the photographs to draw from.
    seed : int
        Seed of every random choice.

    Returns
    -------
    list of Scene

    Raises
    ------
    ValueError
        If `digits` or `split` is not one of the above.

    Examples
    --------
    >>> scene, = make_scenes(1, digits=2, split='test', seed=3)
    >>> scene.image.shape, len(scene.labels), len(scene.boxes)
    ((96, 96, 3), 2, 2)
    """
    if digits not in (1, 2):
        raise ValueError(f"`digits` should be 1 or 2. Received: digits={digits!r}")
    if split not in ("train", "test"):
        raise ValueError(f"`split` should be 'train' or 'test'. Received: split={split!r}")
    glyphs, photos = load_glyphs(split), load_photos(split)
    rng = np.random.default_rng([seed, digits, split == "test"])
    return [_make_scene(rng, glyphs, photos, digits) for _ in range(count)]


def pointing_game(maps, boxes_of_target, boxes_of_other=None):
    """Compute the share of heatmaps whose maximum lies on the target, and not on the other object.

    Each map is enlarged bilinearly to the scene's size, and its maximum is the pixel it points at.
    A map without a maximum, one that is constant or not finite, is a miss.

    Parameters
    ----------
    maps : array_like, shape (n, height, width)
        Heatmaps of any size, higher is more important.
    boxes_of_target : array_like, shape (n, 4)
        Left, top, right, bottom of the object that each map explains, in pixels of a 96x96 scene;
        right and bottom are exclusive.
    boxes_of_other : array_like, shape (n, 4), optional
        The same for the object that each map should not point at.

    Returns
    -------
    float
        Between 0 (never) and 1 (always).

    References
    ----------
    Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016,
    https://arxiv.org/abs/1608.00507

    Examples
    --------
    >>> heatmap = np.zeros((12, 12))
    >>> heatmap[2, 9] = 1.0
    >>> pointing_game([heatmap], [(64, 8, 88, 32)], [(8, 40, 40, 72)])
    1.0
    """
    others = [None] * len(maps) if boxes_of_other is None else boxes_of_other
    hits = []
    for heatmap, target, other in zip(maps, boxes_of_target, others, strict=True):
        point = _maximum(heatmap)
        hit = point is not None and _inside(point, target)
        hits.append(hit and not (other is not None and _inside(point, other)))
    return float(np.mean(hits))


class Scene(NamedTuple):
    """A picture, what is in it, and where.

    Attributes
    ----------
    image : numpy.ndarray, shape (96, 96, 3), uint8
        The picture, red, green and blue in 0..255.
    labels : tuple of int
        Class of each digit, 0..9.
    boxes : tuple of (int, int, int, int)
        Left, top, right, bottom of each digit's ink in pixels; right and bottom are exclusive.
    mask : numpy.ndarray, shape (96, 96), uint8, optional
        What each pixel shows: 0 is the photograph, 1 the ink of a zero, 10 that of a nine.

    Examples
    --------
    >>> scene = Scene(np.zeros((96, 96, 3), 'uint8'), labels=(7,), boxes=((8, 8, 40, 40),))
    >>> scene.labels
    (7,)
    """

    image: np.ndarray
    labels: tuple
    boxes: tuple
    mask: np.ndarray | None = None


@lru_cache(maxsize=2)
def load_glyphs(split):
    """Load the handwritten digits of one split, by class.

    Parameters
    ----------
    split : {'train', 'test'}
        Four fifths of the digits are for training, the other fifth is held out.

    Returns
    -------
    list of numpy.ndarray, shape (n, 8, 8), uint8
        Ten arrays, one for each class; 0 is paper and 255 is ink.

    Examples
    --------
    >>> [len(glyphs) > 25 for glyphs in load_glyphs('test')] == [True] * 10
    True
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    ink = np.clip(images.reshape(-1, 8, 8) * 16, 0, 255).astype("uint8")
    held_out = np.random.default_rng(0).permutation(len(labels)) % 5 == 0
    chosen = held_out if split == "test" else ~held_out
    return [ink[chosen & (labels == label)] for label in range(10)]


@lru_cache(maxsize=2)
def load_photos(split):
    """Load the part of scikit-learn's two photographs that belongs to one split.

    Parameters
    ----------
    split : {'train', 'test'}
        The left 40 % of each photograph is held out, the rest is for training: then each part has
        sky, leaves, petals and a piece of the pagoda.

    Returns
    -------
    list of PIL.Image.Image
        Two RGB pictures.

    Examples
    --------
    >>> [photo.size for photo in load_photos('train')]
    [(384, 427), (384, 427)]
    """
    from sklearn.datasets import load_sample_images

    photos = []
    for pixels in load_sample_images().images:
        border = int(0.4 * pixels.shape[1])
        part = pixels[:, :border] if split == "test" else pixels[:, border:]
        photos.append(Image.fromarray(np.ascontiguousarray(part)))
    return photos


def _make_scene(rng, glyphs, photos, digits):
    image = _background(rng, photos).astype("float32")
    labels = tuple(rng.choice(10, size=digits, replace=False).tolist())
    boxes, mask = [], np.zeros((SIDE, SIDE), "uint8")
    for label, square in zip(labels, _squares(rng, digits), strict=True):
        glyph = glyphs[label][rng.integers(len(glyphs[label]))]
        ink, box = _paste(rng, image, glyph, square)
        boxes.append(box)
        left, top, right, bottom = square
        mask[top:bottom, left:right][ink] = label + 1
    return Scene(np.rint(image).astype("uint8"), labels, tuple(boxes), mask)


def _background(rng, photos):
    photo = photos[rng.integers(len(photos))]
    side = int(rng.integers(CROPS[0], CROPS[1] + 1))
    left, top = (int(rng.integers(length - side + 1)) for length in photo.size)
    crop = photo.resize((SIDE, SIDE), Image.BILINEAR, (left, top, left + side, top + side))
    pixels = np.asarray(crop)
    return pixels[:, ::-1] if rng.random() < 0.5 else pixels


def _squares(rng, digits):
    while True:
        sizes = rng.integers(SIZES[0], SIZES[1] + 1, size=digits)
        lefts, tops = rng.integers(0, SIDE - sizes + 1, size=(2, digits))
        squares = np.stack([lefts, tops, lefts + sizes, tops + sizes], axis=1).tolist()
        if digits == 1 or _apart(*squares):
            return squares


def _apart(one, two):
    across = max(one[0], two[0]) - min(one[2], two[2])
    down = max(one[1], two[1]) - min(one[3], two[3])
    return max(across, down) >= GAP


def _paste(rng, image, glyph, square):
    left, top, right, bottom = square
    ink = Image.fromarray(glyph).resize((right - left, bottom - top), Image.BICUBIC)
    alpha = np.asarray(ink, "float32")[..., None] / 255
    # A steeper edge: half a stroke's ink would let the photograph show through, a trace would blot.
    alpha = np.clip((alpha - 0.2) / 0.5, 0, 1)
    behind = image[top:bottom, left:right]
    colour = _colour(rng, (behind * alpha).sum((0, 1)) / alpha.sum())
    behind += alpha * (colour - behind)
    drawn = alpha[..., 0] > 0.5
    rows, columns = (np.flatnonzero(drawn.any(axis=axis)) for axis in (1, 0))
    ends = (left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1)
    return drawn, tuple(int(end) for end in ends)


def _colour(rng, behind):
    candidates = rng.integers(0, 256, size=(12, 3))
    contrast = np.abs((candidates - behind) @ LUMA)
    fit = np.flatnonzero(contrast >= CONTRAST)
    return candidates[fit[0] if len(fit) else contrast.argmax()].astype("float32")


def _maximum(heatmap):
    heatmap = np.asarray(heatmap, "float32")
    if not np.isfinite(heatmap).all() or heatmap.min() == heatmap.max():
        return None
    large = np.asarray(Image.fromarray(heatmap).resize((SIDE, SIDE), Image.BILINEAR))
    top, left = np.unravel_index(large.argmax(), large.shape)
    return left, top


def _inside(point, box):
    (x, y), (left, top, right, bottom) = point, box
    return left <= x < right and top <= y < bottom
