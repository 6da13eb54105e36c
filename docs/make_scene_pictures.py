"""Make the pictures of the pages about segmentation and detection.

    python -m docs.make_scene_pictures

No net that was trained for this comes with the package. So the demo's classifier is asked about
each cell of its last grid, which makes a segmenter of it, and about windows of cells, which makes a
detector. What the tests measure are nets that were trained on scenes.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops

import eli5k
from docs.make_pictures import IMAGES, paper_of_the_page, save
from eli5k.demo import NAMES, PHOTOS, load_model, preprocess

# The photograph is twice as wide as high.
SIZE = (224, 448, 3)
CELL, WINDOW = 32, 6  # pixels, cells
GROUPS = {
    "cat": ("Egyptian cat", "tabby", "tiger cat"),
    "cup": ("espresso", "cup", "coffee mug"),
}
# The score above which a cell shows a thing.
BACKGROUND = 5.0


def grid_of_classes() -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The input of the demo's net, and the scores of cat and cup in each cell."""
    net = load_model(SIZE)
    kernel, bias = (ops.convert_to_numpy(weight) for weight in net.get_layer("classes").weights)
    members = [[NAMES.index(name) for name in names] for names in GROUPS.values()]
    each = layers.Conv2D(len(GROUPS), 1, name="cells")
    scores = each(net.get_layer("head").output)
    columns = np.stack([kernel[:, group].mean(axis=1) for group in members], axis=-1)
    each.set_weights([columns[None, None], np.array([bias[group].mean() for group in members])])
    return net.inputs[0], scores


def segmenter() -> keras.Model:
    """Give each pixel to the background, the cat or the cup."""
    pixels, scores = grid_of_classes()
    background = ops.full_like(scores[..., :1], BACKGROUND)
    every = layers.Concatenate()([background, scores])
    fine = layers.UpSampling2D(CELL, interpolation="bilinear")(every)
    return keras.Model(pixels, layers.Softmax(name="mask")(fine))


class Windows(layers.Layer):
    """The windows of cells over which a pooling without padding goes, as boxes in pixels."""

    def call(self, pooled: keras.KerasTensor) -> keras.KerasTensor:
        _, rows, columns, _ = pooled.shape
        corners = np.stack(np.mgrid[:rows, :columns][::-1], axis=-1).reshape(-1, 2) * CELL
        boxes = np.concatenate([corners, corners + WINDOW * CELL], axis=-1).astype("float32")
        return ops.broadcast_to(boxes, (ops.shape(pooled)[0], *boxes.shape))


def detector() -> keras.Model:
    """Tell how much cat and how much cup is in each window."""
    pixels, scores = grid_of_classes()
    pooled = layers.AveragePooling2D(WINDOW, strides=1)(scores - BACKGROUND)
    flat = layers.Reshape((-1, len(GROUPS)))(pooled)
    model = keras.Model(
        pixels,
        {
            "boxes": Windows(name="boxes")(pooled),
            "scores": layers.Activation("sigmoid", name="scores")(flat),
        },
    )
    model.bounding_box_format = "xyxy"
    return model


def main() -> None:
    """Explain the photograph of the cat beside the cup with both."""
    things = list(GROUPS)
    asked = {"preprocess": preprocess, "logits": True, "top_targets": 2}
    mask = eli5k.explain_prediction(
        segmenter(), PHOTOS["both"], target_names=["background", *things], **asked
    )
    boxes = eli5k.explain_prediction(detector(), PHOTOS["both"], target_names=things, **asked)
    for name, expl in (("segmentation", mask), ("detection", boxes)):
        with paper_of_the_page():
            save(eli5k.format_as_image(expl, caption=True), IMAGES / name)


if __name__ == "__main__":
    main()
