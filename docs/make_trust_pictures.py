"""Make the pictures of two verdicts on the demo's net: one map supported, one contradicted.

python -m docs.make_trust_pictures
"""

from __future__ import annotations

import keras

import eli5k
from docs.make_pictures import IMAGES, paper_of_the_page, save
from eli5k.demo import NAMES, PHOTOS, load_model, preprocess

CAT, CUP = "Egyptian cat", "espresso"


def main() -> None:
    """Explain the cat, and pass the map of the cup off as that of the cat."""
    model = load_model()
    asked = {"logits": True, "preprocess": preprocess, "target_names": NAMES}
    right = eli5k.explain_prediction(model, PHOTOS["both"], targets=[CAT], check=True, **asked)
    other = eli5k.explain_prediction(model, PHOTOS["both"], targets=[CUP], **asked)
    picture = keras.utils.load_img(PHOTOS["both"], target_size=(224, 224))
    doc = preprocess(keras.utils.img_to_array(picture))[None]
    [wrong] = other.targets
    maps = wrong.attribution[None]
    [wrong.check] = eli5k.keras.check_maps(model, doc, maps, NAMES.index(CAT))
    [cat] = right.targets
    wrong.score, wrong.proba = cat.score, cat.proba
    wrong.target = f"{CAT}, but the map of {CUP}"
    for name, expl in (("supported", right), ("contradicted", other)):
        print(expl.targets[0].check.sentence)
        with paper_of_the_page():
            save(eli5k.format_as_image(expl, caption=True), IMAGES / f"{name}.webp")


if __name__ == "__main__":
    main()
