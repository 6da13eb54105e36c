"""Make the demo's photographs from scikit-image's: each as it is, and both side by side.

pip install scikit-image==0.26.0
python tools/demo_photos.py
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from skimage import data

from eli5k.demo import PHOTOS

SIDE = 300  # pixels, the height of the cat's photograph
QUALITY = 90


def main() -> None:
    """Save the three pictures, and print their sizes."""
    cat, cup = (Image.fromarray(array) for array in (data.chelsea(), data.coffee()))
    # Squares, which a net sees undistorted.
    pair = [square(cat, left=90), square(cup, left=100)]
    pair = [picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS) for picture in pair]
    both = Image.fromarray(np.hstack([np.asarray(picture) for picture in pair]))
    for name, picture in {"cat": cat, "cup": cup, "both": both}.items():
        picture.save(PHOTOS[name], quality=QUALITY, optimize=True)
        size = PHOTOS[name].stat().st_size
        print(f"{PHOTOS[name].name:16} {picture.width} x {picture.height}  {size:,} bytes")


def square(picture: Image.Image, left: int) -> Image.Image:
    """Cut the largest square out of a wide picture, ``left`` pixels from its left edge."""
    return picture.crop((left, 0, left + picture.height, picture.height))


if __name__ == "__main__":
    main()
