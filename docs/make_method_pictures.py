"""Draw a small picture of each method, which ``eli5k.methods()`` shows in a notebook.

    python docs/make_method_pictures.py

All methods are asked why the demo's net sees a cat in the picture of a cat and a cup.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from PIL import Image

import eli5k
from eli5k.demo import NAMES, PHOTOS, load_model, preprocess
from eli5k.formatters.panels import Look, panels_of
from eli5k.keras.methods import METHODS

FOLDER = Path(eli5k.__file__).parent / "keras" / "methods" / "pictures"
SIZE = (200, 100)


def draw(expl: eli5k.Explanation) -> Image.Image:
    [panel] = panels_of([expl], Look(caption=True)).panels
    return panel.draw(panel.image).convert("RGB").resize(SIZE, Image.Resampling.LANCZOS)


def main(names: list[str]) -> None:
    model = load_model()
    FOLDER.mkdir(exist_ok=True)
    for name in names or METHODS:
        with warnings.catch_warnings(action="ignore"):
            expl = eli5k.explain_prediction(
                model,
                PHOTOS["both"],
                targets=["Egyptian cat"],
                method=name,
                logits=True,
                target_names=NAMES,
                preprocess=preprocess,
                progress=False,
            )
        draw(expl).save(FOLDER / f"{name}.webp", quality=70, method=6)
        print(name, (FOLDER / f"{name}.webp").stat().st_size, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
