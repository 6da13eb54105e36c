"""Play the pointing game with every method, on held-out scenes of two digits.

    PYTHONPATH=. python benchmarks/pointing.py --rst docs/benchmarks/pointing.rst

Each method explains both digits of each scene with ``logits=True``; the figure is the share of maps
whose maximum lies in the box of the digit asked for and not in the box of the other. Chance is the
mean share of the scene that the box of a digit covers. Needs scikit-learn.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
from methods import is_slow
from run import rst_table

import eli5k
from eli5k.keras.methods import METHODS
from tests.digits.samples import load_model
from tests.digits.scenes import make_scenes, pointing_game


def play(scenes: list, method: str) -> tuple[float, float, float]:
    """Shares of maps that point at their digit and at the other; milliseconds a scene, compiled."""
    model = load_model()
    images = np.stack([scene.image for scene in scenes]).astype("float32")
    targets = [list(scene.labels) for scene in scenes]
    boxes = np.array([scene.boxes for scene in scenes])
    # Run eagerly and then compiled before the clock starts.
    for _ in range(2):
        eli5k.keras.attribute(model, images[:1], targets[:1], method=method, logits=True)
    maps = []
    start = time.perf_counter()
    for image, of_scene in zip(images, targets):
        _, found = eli5k.keras.attribute(
            model, image[np.newaxis], [of_scene], method=method, logits=True
        )
        maps.extend(found[0])
    seconds = time.perf_counter() - start
    asked, other = boxes.reshape(-1, 4), boxes[:, ::-1].reshape(-1, 4)
    shares = pointing_game(maps, asked, other), pointing_game(maps, other, asked)
    return *shares, 1000 * seconds / len(scenes)


def main() -> None:
    """Play, print a line for each method and, if asked, write the table for the docs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", default=list(METHODS))
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--slow-scenes", type=int, default=25, help="for methods of many runs")
    parser.add_argument("--rst", help="file to write the table to")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", eli5k.ExplanationWarning)
    scenes = make_scenes(arguments.scenes, digits=2, split="test", seed=3)
    sides = np.array([box for scene in scenes for box in scene.boxes])
    chance = np.mean((sides[:, 2:] - sides[:, :2]).prod(axis=1)) / 96**2
    print(f"chance {chance:.1%}")
    headings = ("pointing", "at the other digit", "ms a scene", "model runs")
    columns: dict[str, dict[str, object]] = {heading: {} for heading in headings}
    for name in arguments.methods:
        method = METHODS[name]
        slow = is_slow(method.cost)
        count = min(arguments.slow_scenes, len(scenes)) if slow else len(scenes)
        share, other, milliseconds = play(scenes[:count], name)
        print(
            f"{name:22} {share:6.1%} {other:6.1%} {milliseconds:9.1f} ms   {count} scenes",
            flush=True,
        )
        columns["pointing"][name] = f"{share:.1%} of {2 * count}"
        columns["at the other digit"][name] = f"{other:.1%}"
        columns["ms a scene"][name] = f"{milliseconds:.0f}"
        columns["model runs"][name] = str(method.cost)
    if arguments.rst:
        with open(arguments.rst, "w") as file:
            file.write(f"Chance is {chance:.1%}.\n\n" + rst_table(columns))


if __name__ == "__main__":
    main()
