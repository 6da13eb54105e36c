"""Measure what checks, rankings, the weights test and audits are worth, on planted truths.

    pip install --group benchmarks
    python benchmarks/trust.py check --rst docs/benchmarks/trust-check.rst
    python benchmarks/trust.py rank --rst docs/benchmarks/trust-rank.rst
    python benchmarks/trust.py weights --rst docs/benchmarks/trust-weights.rst
    python benchmarks/trust.py cost

The nets are the demo's, on photographs alone and on two side by side, and a small one trained on
each kind of scene of ``cues.py``. ``trust_audit.py`` is about audits.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cues
import keras
import numpy as np
from grid_pointing import SIDE, Photo, load_photos, make_montages
from run import rst_table

import eli5k
from eli5k.base import Check
from eli5k.demo import load_model
from eli5k.keras.attribution import explain_samples
from eli5k.keras.evidence.baselines import baseline_of
from eli5k.keras.evidence.run import Run
from eli5k.keras.metrics import weights_test
from eli5k.keras.metrics.agreement import on_cells
from eli5k.keras.metrics.check import PAIRS, judge
from eli5k.keras.metrics.halves import Halves, cells_of, draw_fields, measure_halves
from eli5k.keras.metrics.randomisation import spearman, with_shuffled_weights
from eli5k.keras.metrics.ranking import rank_of

# Where trained nets are kept, if the environment names a folder.
NETS = Path(os.environ["ELI5K_NETS"]) if "ELI5K_NETS" in os.environ else None
METHODS = ("grad-cam", "layer-cam", "guided-grad-cam", "gradient-x-input")
RIGHT = "Grad-CAM"
# Wrong for sure. Edges, a blob in the middle, and what a net with shuffled weights responds to may
# well lie on the evidence.
WRONG = (
    "another class",
    "inverted",
    "elsewhere",
    "random field",
    "another picture's",
)
UNCLEAR = ("shuffled weights", "edges", "blob in the middle")
NAMES = {
    "grad-cam": "Grad-CAM",
    "layer-cam": "LayerCAM",
    "guided-grad-cam": "guided Grad-CAM",
    "gradient-x-input": "gradient x input",
}
# Methods that take part in the ranking: all of few runs.
RANKED = (
    "cam",
    "grad-cam",
    "grad-cam++",
    "hires-cam",
    "layer-cam",
    "xgrad-cam",
    "eigen-cam",
    "gradient",
    "gradient-x-input",
    "full-grad",
    "guided-backprop",
    "guided-grad-cam",
)


class Case(NamedTuple):
    """A run with its halves, and for each of its targets the maps to judge, by kind."""

    run: Run
    halves: Halves
    maps: list[dict[str, np.ndarray]]


def explain(run: Run, method: str) -> np.ndarray:
    """The maps of a method: ``(targets, batch, *grid)``."""
    return np.asarray(explain_samples(run, method).maps)


def field(grid: tuple[int, ...], seed: int) -> np.ndarray:
    return draw_fields(cells_of(grid), 1, 1000 + seed)[0]


def edges(picture: np.ndarray) -> np.ndarray:
    """How much the picture changes from pixel to pixel, a little smoothed."""
    grey = picture.mean(axis=-1)
    steep = np.hypot(*np.gradient(grey))
    return baseline_of(steep[np.newaxis, ..., np.newaxis], "blur")[0, ..., 0]


def blob(grid: tuple[int, int]) -> np.ndarray:
    rows, columns = np.indices(grid) / np.reshape(grid, (2, 1, 1)) - 0.5
    return np.exp(-(rows**2 + columns**2) / 0.08)


def montages(count: int, seed: int) -> Iterator[Case]:
    """Two photographs side by side, and the classes of both."""
    model = load_model((SIDE, 2 * SIDE, 3))
    before = None
    for number, montage in enumerate(make_montages(load_photos(load_model()), count, seed)):
        labels = [list(montage.labels)]
        run = eli5k.keras.run(model, montage.pixels[np.newaxis], labels, logits=True, batch_size=16)
        own = {name: explain(run, name)[:, 0] for name in METHODS}
        shuffled = explain(with_shuffled_weights(run, 0.5, number), "grad-cam")[:, 0]
        cam = own["grad-cam"]
        before = cam if before is None else before
        maps = [
            {NAMES[name]: found[side] for name, found in own.items()}
            | {
                "another class": cam[1 - side],
                "inverted": -cam[side],
                "elsewhere": np.roll(cam[side], cam.shape[2] // 2, axis=1),
                "random field": field((SIDE, 2 * SIDE), 2 * number + side),
                "another picture's": before[1 - side],
                "shuffled weights": shuffled[side],
                "edges": edges(montage.pixels),
            }
            for side in range(2)
        ]
        before = cam
        yield Case(run, measure_halves(run, PAIRS), maps)


def photos_alone(chosen: list[Photo]) -> Iterator[Case]:
    """Photographs as they are: most have one object, near the middle."""
    model = load_model()
    for number, photo in enumerate(chosen):
        classes = [[photo.label, chosen[number - 1].label]]
        run = eli5k.keras.run(model, photo.pixels[np.newaxis], classes, logits=True, batch_size=16)
        own = {NAMES[name]: explain(run, name)[0, 0] for name in METHODS}
        cam = explain(run, "grad-cam")[:, 0]
        other = chosen[number - 1]
        of_other = eli5k.keras.run(model, other.pixels[np.newaxis], other.label, logits=True)
        shuffled = explain(with_shuffled_weights(run, 0.5, number), "grad-cam")[0, 0]
        maps = own | {
            "another class": cam[1],
            "inverted": -cam[0],
            "random field": field((SIDE, SIDE), number),
            "another picture's": explain(of_other, "grad-cam")[0, 0],
            "shuffled weights": shuffled,
            "edges": edges(photo.pixels),
            "blob in the middle": blob((SIDE, SIDE)),
        }
        yield Case(run, measure_halves(run, PAIRS), [maps])


def scenes(kind: str, count: int) -> Iterator[Case]:
    """Made scenes: the class, and the next one."""
    model = cues.load(kind, NETS)
    known: list[tuple[np.ndarray, np.ndarray]] = []
    classes = model.output_shape[-1]
    for number, scene in enumerate(cues.make_scenes(kind, count, seed=7)):
        asked = [[scene.label, (scene.label + 1) % classes]]
        picture = scene.image[np.newaxis].astype("float32")
        run = eli5k.keras.run(model, picture, asked, logits=True)
        cam = explain(run, "grad-cam")[:, 0]
        shuffled = explain(with_shuffled_weights(run, 0.5, number), "grad-cam")[0, 0]
        maps = {NAMES[name]: explain(run, name)[0, 0] for name in METHODS}
        maps |= {
            "the evidence itself": scene.evidence.astype("float32"),
            "another class": cam[1],
            "inverted": -cam[0],
            "elsewhere": scene.other.astype("float32"),
            "random field": field(scene.image.shape[:2], number),
            "shuffled weights": shuffled,
            "edges": edges(scene.image),
        }
        # Of a picture whose evidence lies elsewhere.
        apart = [found for evidence, found in known if not (evidence & scene.evidence).any()]
        if apart:
            maps["another picture's"] = apart[-1]
        known.append((scene.evidence, cam[0]))
        yield Case(run, measure_halves(run, PAIRS), [maps])


def families(count: int) -> dict[str, Callable[[], Iterator[Case]]]:
    """All families: the thresholds were set on the first."""
    chosen = {
        "montages, set": lambda: montages(count, seed=0),
        "montages, new": lambda: montages(count, seed=1),
        "photographs": lambda: photos_alone(load_photos(load_model())),
    }
    for kind in cues.KINDS:
        chosen[kind] = lambda kind=kind: scenes(kind, 2 * count)
    return chosen


def judged(case: Case) -> Iterator[tuple[str, Check]]:
    cells = case.halves.signs.shape[1:]
    for target, maps in enumerate(case.maps):
        for kind, found in maps.items():
            yield kind, judge(case.halves, on_cells(found, cells), 0, target)


def auroc(right: list[float], wrong: list[float]) -> float:
    """The chance that a right map has more than a wrong one."""
    above = np.subtract.outer(right, wrong)
    return float(((above > 0) + 0.5 * (above == 0)).mean())


def check(count: int, only: list[str] | None = None) -> dict[str, dict[str, object]]:
    """For each family and kind, the shares of the verdicts."""
    table: dict[str, dict[str, object]] = {}
    all_right, all_wrong = [], []
    for family, cases in families(count).items():
        if only and family not in only:
            continue
        found: dict[str, list[Check]] = {}
        for case in cases():
            for kind, each in judged(case):
                found.setdefault(kind, []).append(each)
        right = [np.nan_to_num(each.agreement) for each in found[RIGHT]]
        clear = [kind for kind in WRONG if kind in found]
        wrong = [np.nan_to_num(each.agreement) for kind in clear for each in found[kind]]
        supported = [each.verdict == "supported" for kind in clear for each in found[kind]]
        all_right += right
        all_wrong += wrong
        table[family] = {
            kind: shares(checks) if checks else "" for kind, checks in in_order(found)
        } | {
            "wrong and supported": f"{100 * np.mean(supported):.1f} % of {len(supported)}",
            "AUROC": auroc(right, wrong),
            "maps": str(len(right)),
        }
        print(family, table[family], flush=True)
    print("AUROC over all", auroc(all_right, all_wrong))
    return table


def in_order(found: dict[str, list[Check]]) -> Iterator[tuple[str, list[Check]]]:
    kinds = (*NAMES.values(), "the evidence itself", *WRONG, *UNCLEAR)
    for kind in kinds:
        yield kind, found.get(kind, [])


def shares(checks: list[Check]) -> str:
    """Shares that are supported, contradicted and untestable, in percent."""
    words = [each.verdict for each in checks]
    return " / ".join(
        f"{100 * words.count(word) / len(words):.0f}"
        for word in ("supported", "contradicted", "untestable")
    )


def rank(count: int, only: list[str] | None = None) -> dict[str, dict[str, object]]:
    """Agreement of each method, which needs no truth, and how often it points at the truth."""
    table: dict[str, dict[str, object]] = {}
    for net in only or ("montages", *(kind for kind in cues.KINDS if kind != "background")):
        is_real = net == "montages"
        results = ranked_montages(count) if is_real else ranked_scenes(net, 2 * count)
        agreements, pointing = (np.array([each[i] for each in results.values()]) for i in (0, 1))
        order = spearman(agreements, pointing)
        print(f"{net}: rank correlation {order:.2f}", flush=True)
        table[net] = {
            name: f"{found:.2f}, {share:.2f}" for name, (found, share) in results.items()
        } | {"rank correlation": order}
    return table


def ranked_montages(count: int) -> dict[str, tuple[float, float]]:
    model = load_model((SIDE, 2 * SIDE, 3))
    chosen = make_montages(load_photos(load_model()), count, seed=0)
    pixels = np.stack([montage.pixels for montage in chosen])
    run = eli5k.keras.run(
        model, pixels, [list(each.labels) for each in chosen], logits=True, batch_size=8
    )
    halves = measure_halves(run)

    def points(found: np.ndarray) -> float:
        halved = np.array_split(found, 2, axis=-1)
        left, right = (half.max(axis=(-2, -1)) for half in halved)
        return float(np.mean([left[0] > right[0], right[1] > left[1]]))

    return ranked(run, halves, points)


def ranked_scenes(kind: str, count: int) -> dict[str, tuple[float, float]]:
    model = cues.load(kind, NETS)
    chosen = cues.make_scenes(kind, count, seed=7)
    labels = np.array([scene.label for scene in chosen])
    run = eli5k.keras.run(model, cues.images_of(chosen), labels, logits=True)

    def points(found: np.ndarray) -> float:
        hits = [
            eli5k.keras.metrics.points_at(each, scene.evidence, (cues.SIDE, cues.SIDE))
            for each, scene in zip(found[0], chosen)
        ]
        return float(np.mean(hits))

    return ranked(run, measure_halves(run), points)


def ranked(
    run: Run, halves: Halves, points: Callable[[np.ndarray], float]
) -> dict[str, tuple[float, float]]:
    found = {}
    for name in RANKED:
        maps = explain(run, name)
        found[name] = rank_of(name, maps, halves).agreement, points(maps)
        print(
            f"  {name:18} agreement {found[name][0]:5.2f}  pointing {found[name][1]:.2f}",
            flush=True,
        )
    return found


def weights(count: int) -> dict[str, dict[str, object]]:
    """Likeness of the maps when a quarter, a half and three quarters of the layers are shuffled."""
    chosen = load_photos(load_model())[: max(2, count)]
    pixels, labels = np.stack([p.pixels for p in chosen]), np.array([p.label for p in chosen])
    model = load_model()
    columns = ("a quarter", "a half", "three quarters", "two photographs")
    table: dict[str, dict[str, object]] = {column: {} for column in columns}
    # CAM reads the model's own weights, which are not shuffled.
    for name in RANKED[1:]:
        found = weights_test(model, pixels, labels, method=name, batch_size=8)
        for column, value in zip(columns, (*found.likeness, found.floor)):
            table[column][name] = value
        print(name, found, flush=True)
    return table


def cost(count: int) -> dict[str, dict[str, object]]:
    """Time of a whole check, in units of the forward passes that it needs, on MobileNetV2."""
    model = keras.applications.MobileNetV2(weights=None)
    picture = np.random.default_rng(0).uniform(-1, 1, (1, 224, 224, 3)).astype("float32")
    run = eli5k.keras.run(model, picture, 3, batch_size=26)
    [found] = eli5k.keras.check_maps(model, picture, np.eye(7)[np.newaxis], 3, batch_size=26)
    logits = replace(run, target=replace(run.target, logits=True))
    batch = logits.perturbed(np.repeat(picture, 26, axis=0), np.zeros(26, int))
    checking, passing = [], []
    for _ in range(count):
        start = time.perf_counter()
        eli5k.keras.check_maps(model, picture, np.eye(7)[np.newaxis], 3, batch_size=26)
        checking.append(time.perf_counter() - start)
        start = time.perf_counter()
        for _ in range(found.runs // 26):
            batch.scores()
        passing.append(time.perf_counter() - start)
    ratio = float(np.median(checking) / np.median(passing))
    print(f"{found.runs} runs, {1000 * np.median(checking):.0f} ms: {ratio:.2f} of as many passes")
    return {"cost": {"check": ratio}}


def main() -> None:
    """Measure, print and, if asked, write the table for the docs."""
    parts = {"check": check, "rank": rank, "weights": weights, "cost": cost}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=parts)
    parser.add_argument("--count", type=int, default=24, help="of montages, photographs or rounds")
    parser.add_argument("--rst", help="file to write the table to")
    parser.add_argument("--only", nargs="*", help="families or nets, if not all")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", eli5k.ExplanationWarning)
    chosen = {"only": arguments.only} if arguments.only else {}
    table = parts[arguments.part](arguments.count, **chosen)
    if arguments.rst:
        Path(arguments.rst).write_text(rst_table(table), encoding="utf-8")


if __name__ == "__main__":
    main()
