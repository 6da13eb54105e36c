"""Train the classifier in ``digits.keras``: ``python -m tests.digits.train``.

It is a small residual network that names the one digit in a scene. It never sees two digits at
once nor a box, so where it looks for each of two digits is a fair test of an explanation.
"""

import json
from pathlib import Path

import keras
import numpy as np
from keras import layers
from PIL import Image

from tests.digits.scenes import SIDE, make_scenes, pointing_game

FOLDER = Path(__file__).parent
CLOSE_UP = 48  # height and width of a close-up in pixels, room for the largest digit
CLOSE_UPS = 16  # rounds on close-ups
ROUNDS = 16  # rounds on whole scenes
SCENES = 12_000  # scenes in a round, fresh ones each time
BATCH = 64
WIDTHS = (32, 64, 64)  # channels of the residual blocks


def main():
    """Train, report and save the model and its sample scenes.

    Examples
    --------
    >>> main()  # doctest: +SKIP
    """
    model = train_model()
    save_model(model)
    save_samples()
    print(f"{model.count_params()} parameters")
    print(f"held-out accuracy, one digit: {measure_accuracy(model):.1%}")
    for logits in (True, False):
        share = measure_pointing(model, logits=logits)
        print(f"pointing game, two digits, {'logits' if logits else 'softmax'}: {share:.1%}")


def build_model(side=SIDE):
    """Build the untrained network: raw pixels in, ten probabilities out, a 12x12 last grid.

    Parameters
    ----------
    side : int
        Height and width of the pictures in pixels, eight times those of the last grid.

    Returns
    -------
    keras.Model
        Input (batch, side, side, 3) in 0..255, output (batch, 10), a softmax. The last
        convolutional output is that of the layer ``block3``, (batch, side / 8, side / 8, 64).

    Examples
    --------
    >>> build_model().get_layer('block3').output.shape
    (None, 12, 12, 64)
    """
    pixels = keras.Input((side, side, 3), name="pixels")
    x = layers.Rescaling(1 / 255, name="rescale")(pixels)
    x = _convolve(x, 24, 5, 2, "stem_conv")
    x = layers.Activation("relu", name="stem")(x)
    for number, width in enumerate(WIDTHS, start=1):
        x = _residual(x, width, f"block{number}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    probabilities = layers.Dense(10, activation="softmax", name="digit")(x)
    return keras.Model(pixels, probabilities, name="digits")


def train_model(close_ups=CLOSE_UPS, rounds=ROUNDS, scenes=SCENES, seed=0):
    """Train a network on one-digit scenes: first on close-ups of the digits, then on whole scenes.

    A digit fills a tenth of a scene, and the average pooling drowns it: training on whole scenes
    alone stays at the level of chance for many rounds.

    Parameters
    ----------
    close_ups : int
        Rounds on close-ups. Each round makes fresh scenes and passes over them once.
    rounds : int
        Rounds on whole scenes.
    scenes : int
        Scenes in a round.
    seed : int
        Seed of the weights, the shuffling and the scenes.

    Returns
    -------
    keras.Model
        The trained network, still compiled.

    Examples
    --------
    >>> model = train_model(close_ups=1, rounds=1, scenes=64)  # doctest: +SKIP
    """
    keras.utils.set_random_seed(seed)
    near, model = build_model(CLOSE_UP), build_model()
    _fit(near, close_ups, scenes, peak=4e-3, seed=[seed, 0])
    model.set_weights(near.get_weights())
    _fit(model, rounds, scenes, peak=2e-3, seed=[seed, 1])
    return model


def save_model(model, folder=FOLDER):
    """Save a model as ``digits.keras``.

    Parameters
    ----------
    model : keras.Model
    folder : path-like

    Examples
    --------
    >>> save_model(build_model(), folder='/tmp')  # doctest: +SKIP
    """
    # A compiled model is saved with its optimizer, thrice the size; a clone is compiled as well.
    copy = type(model).from_config(model.get_config())
    copy.set_weights(model.get_weights())
    copy.save(Path(folder) / "digits.keras")


def save_samples(folder=FOLDER, seed=11):
    """Save three two-digit and one one-digit held-out scenes as PNG, and ``scenes.json``.

    The file ``scenes.json`` is a list of ``{"file": ..., "labels": [...], "boxes": [...]}``.

    Parameters
    ----------
    folder : path-like
    seed : int
        Picks the scenes; their explanations had no say in it.

    Examples
    --------
    >>> save_samples(folder='/tmp')  # doctest: +SKIP
    """
    scenes = make_scenes(3, digits=2, split="test", seed=seed)
    scenes += make_scenes(1, digits=1, split="test", seed=seed)
    entries = []
    for number, scene in enumerate(scenes, start=1):
        file = f"scene{number}.png"
        Image.fromarray(scene.image).save(Path(folder) / file, optimize=True)
        entries.append({"file": file, "labels": scene.labels, "boxes": scene.boxes})
    lines = ",\n ".join(json.dumps(entry) for entry in entries)
    (Path(folder) / "scenes.json").write_text(f"[{lines}]\n", encoding="utf-8")


def measure_accuracy(model, count=4000, seed=1):
    """Compute the share of held-out one-digit scenes that a model names right.

    Parameters
    ----------
    model : keras.Model
    count : int
        How many scenes.
    seed : int
        Seed of the scenes.

    Returns
    -------
    float
        Between 0 and 1.

    Examples
    --------
    >>> measure_accuracy(build_model(), count=64) < 0.5
    True
    """
    scenes = make_scenes(count, split="test", seed=seed)
    images = np.stack([scene.image for scene in scenes])
    guesses = model.predict(images, batch_size=256, verbose=0).argmax(axis=1)
    return float(np.mean(guesses == _labels(scenes)))


def measure_pointing(model, count=400, logits=True, seed=1):
    """Play the pointing game with Grad-CAM: both digits of each held-out two-digit scene.

    Parameters
    ----------
    model : keras.Model
    count : int
        How many scenes; each makes two maps.
    logits : bool
        Whether to explain the scores before the softmax, or the probabilities.
    seed : int
        Seed of the scenes.

    Returns
    -------
    float
        Share of the maps that point at their digit, between 0 and 1.

    Examples
    --------
    >>> measure_pointing(model, logits=False) > 0.9  # doctest: +SKIP
    True
    """
    from eli5k.keras import attribute

    scenes = make_scenes(count, digits=2, split="test", seed=seed)
    images = np.stack([scene.image for scene in scenes]).astype("float32")
    targets = [list(scene.labels) for scene in scenes]
    _, maps = attribute(model, images, targets=targets, logits=logits)
    maps = np.asarray(maps).reshape(2 * count, *maps.shape[-2:])
    boxes = np.array([scene.boxes for scene in scenes])
    return pointing_game(maps, boxes.reshape(-1, 4), boxes[:, ::-1].reshape(-1, 4))


def _fit(model, rounds, scenes, peak, seed):
    steps = rounds * -(-scenes // BATCH)
    warmup = steps // 10
    rate = keras.optimizers.schedules.CosineDecay(
        peak / 20, steps - warmup, warmup_target=peak, warmup_steps=warmup
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=1e-2)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    rng = np.random.default_rng(seed)
    for number in range(rounds):
        fresh = make_scenes(scenes, seed=int(rng.integers(2**31)))
        near = (_close_up(scene, model.input_shape[1], rng) for scene in fresh)
        images = np.stack([_recolour(image, rng) for image in near])
        model.fit(images, _labels(fresh), BATCH, epochs=number + 1, initial_epoch=number, verbose=2)


def _close_up(scene, side, rng):
    left, top, right, bottom = scene.boxes[0]
    x = rng.integers(max(0, right - side), min(left, SIDE - side) + 1)
    y = rng.integers(max(0, bottom - side), min(top, SIDE - side) + 1)
    return scene.image[y : y + side, x : x + side]


def _recolour(image, rng):
    # There are but two photographs: in false colours they pass for more.
    image = image[..., rng.permutation(3)]
    return image if rng.random() < 0.5 else 255 - image


def _labels(scenes):
    return np.array([scene.labels[0] for scene in scenes])


def _residual(x, width, name):
    stride = 1 if x.shape[-1] == width else 2
    y = _convolve(x, width, 3, stride, f"{name}_conv1")
    y = layers.Activation("relu", name=f"{name}_relu")(y)
    y = _convolve(y, width, 3, 1, f"{name}_conv2")
    if stride == 2:
        x = _convolve(x, width, 1, stride, f"{name}_shortcut")
    x = layers.Add(name=f"{name}_add")([x, y])
    return layers.Activation("relu", name=name)(x)


def _convolve(x, width, size, stride, name):
    x = layers.Conv2D(width, size, stride, padding="same", use_bias=False, name=name)(x)
    return layers.BatchNormalization(name=f"{name}_norm")(x)


if __name__ == "__main__":
    main()
