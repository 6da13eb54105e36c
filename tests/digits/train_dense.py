"""Train the nets of ``dense.py`` in some minutes: ``python -m tests.digits.train_dense``."""

from __future__ import annotations

import sys

import keras
import numpy as np

from tests.digits.dense import (
    DIGITS,
    STRIDE,
    build_detector,
    build_segmenter,
    centres,
    save_weights,
)
from tests.digits.scenes import make_scenes

ROUNDS = 8
SCENES = 3000  # of one and of two digits each, fresh ones in each round
BATCH = 32
# A cell stands for a digit if its centre is nearer to the digit's than this share of its sides.
NEAR = 0.3


def main(names: list[str]) -> None:
    """Train, report and save the named nets, or both."""
    if "segmenter" in names or not names:
        segmenter = build_segmenter()
        segmenter.compile(_optimizer(), mask_loss)
        _fit(segmenter, lambda scenes: np.stack([scene.mask for scene in scenes]))
        save_weights(segmenter)
        scenes = make_scenes(500, digits=2, split="test", seed=1)
        guesses = segmenter.predict(_images(scenes), verbose=0).argmax(-1)
        masks = np.stack([scene.mask for scene in scenes])
        print(f"held-out ink named right: {np.mean(guesses[masks > 0] == masks[masks > 0]):.1%}")
        print(f"held-out photograph: {np.mean(guesses[masks == 0] == 0):.1%}")
    if "detector" in names or not names:
        detector = build_detector()
        detector.compile(_optimizer(), {"boxes": box_loss, "scores": score_loss})
        _fit(detector, wanted_cells)
        save_weights(detector)


def wanted_cells(scenes: list) -> dict[str, np.ndarray]:
    """Return what the detector should say: boxes of zeros if a cell stands for no digit."""
    boxes = np.zeros((len(scenes), len(centres()), 4), "float32")
    scores = np.zeros((len(scenes), len(centres()), DIGITS), "float32")
    at = centres()[:, :2]
    for row, scene in enumerate(scenes):
        for label, box in zip(scene.labels, scene.boxes):
            low, high = np.array(box[:2]), np.array(box[2:])
            reach = np.maximum(NEAR * (high - low), STRIDE / 2)
            near = (np.abs(at - (low + high) / 2) <= reach).all(axis=1)
            boxes[row, near] = box
            scores[row, near, label] = 1
    return {"boxes": boxes, "scores": scores}


def mask_loss(wanted: keras.KerasTensor, given: keras.KerasTensor) -> keras.KerasTensor:
    """Cross entropy, with less weight for the photograph: nine pixels in ten show it."""
    ops = keras.ops
    loss = keras.losses.sparse_categorical_crossentropy(wanted, given)
    return ops.mean(loss * ops.where(wanted > 0, 1.0, 0.25))


def score_loss(wanted: keras.KerasTensor, given: keras.KerasTensor) -> keras.KerasTensor:
    """Focal loss, since few cells stand for a digit."""
    loss = keras.losses.BinaryFocalCrossentropy(reduction=None)(wanted, given)
    return 10 * keras.ops.mean(keras.ops.sum(loss, axis=1))


def box_loss(wanted: keras.KerasTensor, given: keras.KerasTensor) -> keras.KerasTensor:
    """Mean distance of a box's sides, in cells."""
    ops = keras.ops
    counts = ops.cast(ops.any(wanted != 0, axis=-1), "float32")
    distance = ops.mean(ops.abs(wanted - given), axis=-1) / STRIDE
    return ops.sum(counts * distance) / ops.maximum(ops.sum(counts), 1)


def _optimizer() -> keras.optimizers.Optimizer:
    steps = ROUNDS * -(-2 * SCENES // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(
        1e-4, steps - steps // 20, warmup_target=3e-3, warmup_steps=steps // 20
    )
    return keras.optimizers.AdamW(rate, weight_decay=1e-3)


def _fit(model: keras.Model, wanted) -> None:
    rng = np.random.default_rng(0)
    for number in range(ROUNDS):
        scenes = make_scenes(SCENES, seed=100 + number)
        scenes += make_scenes(SCENES, digits=2, seed=200 + number)
        # There are but two photographs: in false colours they pass for more.
        images = _images(scenes)[..., rng.permutation(3)]
        images = np.where(rng.random((len(images), 1, 1, 1)) < 0.5, images, 255 - images)
        model.fit(images, wanted(scenes), BATCH, epochs=number + 1, initial_epoch=number, verbose=2)


def _images(scenes: list) -> np.ndarray:
    return np.stack([scene.image for scene in scenes]).astype("float32")


if __name__ == "__main__":
    keras.utils.set_random_seed(0)
    main(sys.argv[1:])
