"""Make the pictures of the pages about segmentation and detection.

    python -m docs.make_scene_pictures

The nets and the scenes are those of the tests, which measure where their maps point.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

import eli5k
from docs.make_pictures import IMAGES, paper_of_the_page, save
from tests.digits.dense import DIGITS, NAMES, load_detector, load_segmenter
from tests.digits.samples import load_samples

SCALE = 4


def main() -> None:
    """Explain the first sample scene with both nets."""
    path = load_samples(digits=2)[1].path
    photo = Image.open(path).convert("RGB")
    large = photo.resize((SCALE * photo.width, SCALE * photo.height), Image.Resampling.LANCZOS)
    asked = {"image": large, "preprocess": False, "logits": True, "top_targets": 2}
    pixels = np.asarray(photo, "float32")
    mask = eli5k.explain_prediction(load_segmenter(), pixels, target_names=NAMES, **asked)
    boxes = eli5k.explain_prediction(
        load_detector(), pixels, target_names=list(map(str, range(DIGITS))), **asked
    )
    for name, expl in (("segmentation", mask), ("detection", boxes)):
        with paper_of_the_page():
            save(eli5k.format_as_image(expl, style="side", caption=True), IMAGES / name)


if __name__ == "__main__":
    main()
