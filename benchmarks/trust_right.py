"""Which maps does a check support when it supports few Grad-CAM maps? Photographs and boxes.

    pip install --group benchmarks
    PYTHONPATH=. python benchmarks/trust_right.py photographs
    PYTHONPATH=. python benchmarks/trust_right.py boxes

For photographs alone a map is solved from other halves, as ``check.worth`` is, and judged like any
other. For the boxes of the detector in the tests, the maps of several methods are judged, and the
box itself.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
from grid_pointing import load_photos
from trust import auroc, explain, fields

import eli5k
from eli5k.base import Check
from eli5k.demo import load_model
from eli5k.keras.aims import aimed, names_of
from eli5k.keras.attribution import ask
from eli5k.keras.inputs import read_document
from eli5k.keras.metrics.agreement import on_cells
from eli5k.keras.metrics.check import PAIRS, judge
from eli5k.keras.metrics.halves import Halves, cells_of, measure_halves
from eli5k.keras.metrics.worth import worth_of
from eli5k.options import Options
from tests.digits.dense import load_detector
from tests.digits.scenes import SIDE, make_scenes

OTHER_PAIRS, SCENES = 64, 16
METHODS = (
    "grad-cam",
    "grad-cam++",
    "hires-cam",
    "layer-cam",
    "gradient",
    "gradient-x-input",
    "full-grad",
    "guided-backprop",
    "guided-grad-cam",
)


def judged(found: np.ndarray, halves: Halves, target: int = 0) -> Check:
    return judge(halves, on_cells(found, halves.signs.shape[1:]), 0, target)


def told(kind: str, checks: list[Check]) -> None:
    verdicts = [each.verdict for each in checks]
    mean = np.mean([np.nan_to_num(each.agreement) for each in checks])
    print(
        f"{kind:24} agreement {mean:5.2f}  supported {verdicts.count('supported'):3} of "
        f"{len(checks)}",
        flush=True,
    )


def photographs() -> None:
    """A map from other halves, and those of the other photographs."""
    model = load_model()
    halves, solved, cams = [], [], []
    for photo in load_photos(model):
        run = eli5k.keras.run(model, photo.pixels[np.newaxis], photo.label, logits=True)
        halves.append(measure_halves(run, PAIRS))
        solved.append(worth_of(measure_halves(run, OTHER_PAIRS, seed=1))[0, 0])
        cams.append(explain(run, "grad-cam")[0, 0])
    others = [(i, j) for i in range(len(solved)) for j in range(len(solved)) if i != j]
    found = {
        "Grad-CAM": [judged(cams[i], halves[i]) for i in range(len(cams))],
        "from other halves": [judged(solved[i], halves[i]) for i in range(len(solved))],
        "another's Grad-CAM": [judged(cams[j], halves[i]) for i, j in others],
        "another's from halves": [judged(solved[j], halves[i]) for i, j in others],
        "random field": [
            judged(each, halves[i]) for i in range(len(solved)) for each in fields((SIDE, SIDE), i)
        ],
    }
    for kind, checks in found.items():
        told(kind, checks)
    agreements = {kind: [each.agreement for each in checks] for kind, checks in found.items()}
    wrong = agreements["another's Grad-CAM"] + agreements["random field"]
    for kind in ("Grad-CAM", "from other halves"):
        print(f"AUROC of {kind}: {auroc(agreements[kind], wrong):.2f}")
    cells = cells_of((224, 224))
    alike = [
        np.corrcoef(on_cells(cam, cells).ravel(), own.ravel())[0, 1]
        for cam, own in zip(cams, solved)
    ]
    print(f"Correlation of Grad-CAM with the map from other halves: {np.mean(alike):.2f}")


def boxes() -> None:
    """Boxes that the detector puts on a digit of its class."""
    model = load_detector()
    options = Options(top_targets=2, preprocess=False, batch_size=64)
    found: dict[str, list[Check]] = {}
    for scene in make_scenes(SCENES, digits=2, split="test", seed=11):
        document = read_document(model, scene.image.astype("float32"), preprocess=False)
        run = ask(model, document.inputs, options)
        run, [aim] = aimed(run, [document], names_of(run), [None])
        maps = {name: explain(run, name) for name in METHODS}
        halves = measure_halves(run, PAIRS)
        for target, (box, label) in enumerate(zip(aim.boxes, aim.classes)):
            left, top, right, bottom = SIDE * np.asarray(box)
            x, y = (left + right) / 2, (top + bottom) / 2
            is_right = any(
                own == label and own_box[0] <= x <= own_box[2] and own_box[1] <= y <= own_box[3]
                for own, own_box in zip(scene.labels, scene.boxes)
            )
            if not is_right:
                continue
            rows, columns = np.indices((SIDE, SIDE)) + 0.5
            inside = (rows > top) & (rows < bottom) & (columns > left) & (columns < right)
            own_maps = {name: each[target, 0] for name, each in maps.items()}
            for kind, each in (own_maps | {"the box itself": inside}).items():
                found.setdefault(kind, []).append(judged(each, halves, target))
    for kind, checks in found.items():
        told(kind, checks)


if __name__ == "__main__":
    warnings.simplefilter("ignore", eli5k.ExplanationWarning)
    {"photographs": photographs, "boxes": boxes}[sys.argv[1]]()
