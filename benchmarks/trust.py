"""Measure what checks, rankings, the weights test and audits are worth, on planted truths.

    pip install --group benchmarks
    python benchmarks/trust.py check --rst docs/benchmarks/trust-check.rst  # and trust-check-false
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
from functools import partial
from itertools import chain
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
from eli5k.keras.methods import RISE
from eli5k.keras.metrics import weights_test
from eli5k.keras.metrics.agreement import agreement, on_cells
from eli5k.keras.metrics.check import PAIRS, judge
from eli5k.keras.metrics.halves import Halves, cells_of, draw_fields, measure_halves
from eli5k.keras.metrics.randomisation import spearman, with_shuffled_weights
from eli5k.keras.metrics.verdict import LEAST_GAIN
from eli5k.options import MethodLike

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
# How many of these kinds each picture is tried with: a single one each says little about a rate.
FIELDS, OTHERS = 8, 4
UNCLEAR = ("shuffled weights", "edges", "blob in the middle")
NAMES = {
    "grad-cam": "Grad-CAM",
    "layer-cam": "LayerCAM",
    "guided-grad-cam": "guided Grad-CAM",
    "gradient-x-input": "gradient x input",
}
# Methods that take part in the ranking: those with few runs.
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
# Only on the small nets, these are ranked too, with this many masks of RISE.
OFTEN: dict[str, MethodLike] = {
    "integrated-gradients": "integrated-gradients",
    "occlusion": "occlusion",
    "score-cam": "score-cam",
    "rise": RISE(masks=256),
}
SPLITS = 200
CLEAR = 0.1  # difference in pointing


Table = dict[str, dict[str, object]]  # column, row
Results = dict[str, np.ndarray]  # by method: agreement and pointing of each map, ``(maps, 2)``


class Case(NamedTuple):
    """A run with its halves, and for each of its targets the maps to judge, by kind.

    Of some kinds there are several maps, ``(count, *grid)``.
    """

    run: Run
    halves: Halves
    maps: list[dict[str, np.ndarray]]


def explain(run: Run, method: MethodLike) -> np.ndarray:
    """The maps of a method: ``(targets, batch, *grid)``."""
    return np.asarray(explain_samples(run, method).maps)


def fields(grid: tuple[int, ...], seed: int) -> np.ndarray:
    return draw_fields(cells_of(grid), FIELDS, 1000 + seed)


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
    before: list[np.ndarray] = []
    for number, montage in enumerate(make_montages(load_photos(load_model()), count, seed)):
        labels = [list(montage.labels)]
        run = eli5k.keras.run(model, montage.pixels[np.newaxis], labels, logits=True, batch_size=16)
        own = {name: explain(run, name)[:, 0] for name in METHODS}
        shuffled = explain(with_shuffled_weights(run, 0.5, number), "grad-cam")[:, 0]
        cam = own["grad-cam"]
        maps = [
            {NAMES[name]: found[side] for name, found in own.items()}
            | {
                "another class": cam[1 - side],
                "inverted": -cam[side],
                "elsewhere": np.roll(cam[side], cam.shape[2] // 2, axis=1),
                "random field": fields((SIDE, 2 * SIDE), 2 * number + side),
                # The map of a photograph on the other side.
                "another picture's": stacked([each[1 - side] for each in before]),
                "shuffled weights": shuffled[side],
                "edges": edges(montage.pixels),
            }
            for side in range(2)
        ]
        before.append(cam)
        yield Case(run, measure_halves(run, PAIRS), maps)


def stacked(before: list[np.ndarray]) -> np.ndarray:
    """The newest of the maps of other pictures."""
    return np.array(before[-OTHERS:])


def photos_alone(chosen: list[Photo]) -> Iterator[Case]:
    """Photographs as they are: most have one object, near the middle."""
    model = load_model()
    runs = [eli5k.keras.run(model, p.pixels[np.newaxis], p.label, logits=True) for p in chosen]
    cams = [explain(run, "grad-cam")[0, 0] for run in runs]
    for number, photo in enumerate(chosen):
        classes = [[photo.label, chosen[number - 1].label]]
        run = eli5k.keras.run(model, photo.pixels[np.newaxis], classes, logits=True, batch_size=16)
        own = {NAMES[name]: explain(run, name)[0, 0] for name in METHODS}
        cam = explain(run, "grad-cam")[:, 0]
        shuffled = explain(with_shuffled_weights(run, 0.5, number), "grad-cam")[0, 0]
        maps = own | {
            "another class": cam[1],
            "inverted": -cam[0],
            "random field": fields((SIDE, SIDE), number),
            "another picture's": stacked(cams[:number] or cams[1:]),
            "shuffled weights": shuffled,
            "edges": edges(photo.pixels),
            "blob in the middle": blob((SIDE, SIDE)),
        }
        yield Case(run, measure_halves(run, PAIRS), [maps])


def scenes(kind: str, count: int, seed: int) -> Iterator[Case]:
    """Made scenes: the class, and the next one."""
    model = cues.load(kind, NETS)
    known: list[tuple[np.ndarray, np.ndarray]] = []
    classes = model.output_shape[-1]
    for number, scene in enumerate(cues.make_scenes(kind, count, seed)):
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
            "random field": fields(scene.image.shape[:2], number),
            "shuffled weights": shuffled,
            "edges": edges(scene.image),
        }
        # The map of a picture whose evidence lies elsewhere.
        apart = [found for evidence, found in known if not (evidence & scene.evidence).any()]
        if apart:
            maps["another picture's"] = stacked(apart)
        known.append((scene.evidence, cam[0]))
        yield Case(run, measure_halves(run, PAIRS), [maps])


def families(count: int) -> dict[str, Callable[[], Iterator[Case]]]:
    """All families: the thresholds were set on those whose names end in ``set``."""
    chosen: dict[str, Callable[[], Iterator[Case]]] = {
        "montages, set": lambda: chain(montages(count, 0), montages(count, 1))
    }
    for kind in cues.KINDS:
        chosen[f"{kind}, set"] = partial(scenes, kind, 2 * count, 7)
    chosen["montages"] = lambda: chain(*(montages(count, seed) for seed in (2, 3, 4)))
    chosen["photographs"] = lambda: photos_alone(load_photos(load_model()))
    for kind in cues.KINDS:
        chosen[kind] = partial(scenes, kind, 2 * count, 11)
    return chosen


def judged(case: Case) -> Iterator[tuple[str, Check]]:
    cells = case.halves.signs.shape[1:]
    for target, maps in enumerate(case.maps):
        for kind, found in maps.items():
            for each in found.reshape(-1, *found.shape[-2:]):
                yield kind, judge(case.halves, on_cells(each, cells), 0, target)


def auroc(right: list[float], wrong: list[float]) -> float:
    """The chance that a right map has more than a wrong one."""
    above = np.subtract.outer(right, wrong)
    return float(((above > 0) + 0.5 * (above == 0)).mean())


def check(count: int, only: list[str] | None = None) -> tuple[Table, Table]:
    """For each new family and kind the shares of the verdicts; and all wrong maps that pass."""
    table: Table = {}
    passes: Table = {kind: {} for kind in WRONG}
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
        table[family] = {
            kind: shares(checks) if checks else "" for kind, checks in in_order(found)
        } | {"AUROC": auroc(right, wrong), "maps": str(len(right))}
        print(family, table[family], flush=True)
        for kind in WRONG:
            passes[kind][family] = false_passes(found[kind]) if kind in found else ""
            print(f"  wrong and supported: {kind:18} {passes[kind][family]}", flush=True)
        if not family.endswith(", set"):
            all_right += right
            all_wrong += wrong
    print("AUROC over all but those that were set on", auroc(all_right, all_wrong))
    return {name: each for name, each in table.items() if not name.endswith(", set")}, passes


def false_passes(checks: list[Check]) -> str:
    """Share that is supported, of those that can be tested: the others are never supported."""
    words = [each.verdict for each in checks if each.verdict != "untestable"]
    return f"{100 * words.count('supported') / max(len(words), 1):.1f} % of {len(words)}"


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


def rank(count: int, only: list[str] | None = None) -> Table:
    """Agreement of each method, which needs no truth, and how often it points at the truth."""
    # In scenes that are all background, nearly every place is evidence.
    kinds = [kind for kind in cues.KINDS if kind != "background"]
    nets = {"montages": lambda: ranked_montages(count // 2)}
    nets |= {kind: partial(ranked_scenes, kind, 2 * count) for kind in kinds}
    for kind in ("texture", "small among others"):
        build = partial(ranked_scenes, kind, 2 * count, cues.transformer)
        nets[f"{kind}, transformer"] = build
    table: Table = {}
    for net in only or nets:
        results = nets[net]()
        table[net] = {
            name: f"{found[:, 0].mean():.2f}, {found[:, 1].mean():.2f}"
            for name, found in results.items()
        }
        table[net] = {name: table[net].get(name, "") for name in (*RANKED, *OFTEN)}
        table[net] |= {
            "rank correlation": order_of(results),
            "attainable": attainable(results),
            "pairs ordered alike": alike(results),
        }
        print(
            f"{net}: rank correlation {table[net]['rank correlation']:.2f}, attainable "
            f"{table[net]['attainable']:.2f}",
            flush=True,
        )
    return table


def distinct(results: Results) -> np.ndarray:
    """``(methods, maps, 2)``: methods that do the same to two decimals count once."""
    means = {name: found.mean(axis=0) for name, found in results.items()}
    once = {(round(means[name][0], 2), means[name][1]): found for name, found in results.items()}
    return np.stack(list(once.values()))


def order_of(results: Results) -> float:
    """Rank correlation of agreement and pointing."""
    return spearman(*distinct(results).mean(axis=1).T)


def attainable(results: Results) -> float:
    """The rank correlation that ties and the number of pictures leave.

    Methods that point equally well can't be ordered. And how alike two random halves of the
    pictures order the methods, corrected for their size (Spearman and Brown), limits how alike
    agreement and pointing can: the geometric mean of both.
    """
    found = distinct(results)
    rng = np.random.default_rng(0)
    likeness = []
    for _ in range(SPLITS):
        order = rng.permutation(found.shape[1])
        halves = np.array_split(found[:, order], 2, axis=1)
        first, second = (half.mean(axis=1) for half in halves)
        likeness.append([spearman(first[:, column], second[:, column]) for column in range(2)])
    means = np.maximum(np.nanmean(likeness, axis=0), 0)
    with_ties = spearman(*np.sort(found.mean(axis=1), axis=0).T)
    return float(with_ties * np.sqrt(np.prod(2 * means / (1 + means))))


def alike(results: Results) -> str:
    """Pairs of methods, of those that point clearly differently, that agreement orders alike."""
    means = distinct(results).mean(axis=1)
    agreed, pointed = (np.subtract.outer(column, column) for column in means.T)
    clear = pointed >= CLEAR
    return f"{(agreed[clear] > 0).sum()} of {clear.sum()}"


def ranked_montages(count: int) -> Results:
    model = load_model((SIDE, 2 * SIDE, 3))
    chosen = make_montages(load_photos(load_model()), count, seed=0)
    pixels = np.stack([montage.pixels for montage in chosen])
    run = eli5k.keras.run(
        model, pixels, [list(each.labels) for each in chosen], logits=True, batch_size=8
    )

    def points(found: np.ndarray, target: int, _: int) -> bool:
        left, right = (half.max() for half in np.array_split(found, 2, axis=-1))
        return bool(left > right if target == 0 else right > left)

    return ranked(run, measure_halves(run), points, {})


def ranked_scenes(kind: str, count: int, build: cues.Build | None = None) -> Results:
    model = cues.load(kind, NETS, build)
    chosen = cues.make_scenes(kind, count, seed=7)
    labels = np.array([scene.label for scene in chosen])
    run = eli5k.keras.run(model, cues.images_of(chosen), labels, logits=True)

    def points(found: np.ndarray, _: int, sample: int) -> bool:
        # A map can't be more exact than the cell of the net's grid, about so many pixels.
        evidence = widened(chosen[sample].evidence, 4 if build is None else 8)
        return eli5k.keras.metrics.points_at(found, evidence, (cues.SIDE, cues.SIDE))

    return ranked(run, measure_halves(run), points, OFTEN)


def widened(mask: np.ndarray, pixels: int) -> np.ndarray:
    """The mask and all around it, so far."""
    padded = np.pad(mask, pixels)
    views = np.lib.stride_tricks.sliding_window_view(padded, (2 * pixels + 1,) * 2)
    return views.any(axis=(-2, -1))


def ranked(
    run: Run,
    halves: Halves,
    points: Callable[[np.ndarray, int, int], bool],
    others: dict[str, MethodLike],
) -> Results:
    """Agreement and pointing of each method for each map that can be tested."""
    scatter = np.concatenate([halves.first, halves.second]).std(axis=0)
    testable = np.argwhere(halves.plain - halves.blurred > LEAST_GAIN * scatter)
    found = {}
    for name, method in (dict(zip(RANKED, RANKED)) | others).items():
        try:
            maps = explain(run, method)
        except ValueError as error:  # CAM wants a net that ends in a mean over the grid.
            print(f"  {name:18} {str(error)[:80]}", flush=True)
            continue
        on_grid = on_cells(maps, halves.signs.shape[1:])
        found[name] = np.array(
            [
                [
                    np.nan_to_num(
                        agreement(
                            on_grid[target, sample], halves.signs, halves.worth[:, sample, target]
                        ).value
                    ),
                    points(maps[target, sample], target, sample),
                ]
                for sample, target in testable
            ]
        )
        both = found[name].mean(axis=0)
        print(f"  {name:18} agreement {both[0]:5.2f}  pointing {both[1]:.2f}", flush=True)
    return found


def weights(count: int) -> Table:
    """Likeness of the maps when a quarter, a half and three quarters of the layers are shuffled."""
    chosen = load_photos(load_model())[: max(2, count)]
    pixels, labels = np.stack([p.pixels for p in chosen]), np.array([p.label for p in chosen])
    model = load_model()
    columns = ("a quarter", "a half", "three quarters", "two photographs")
    table: Table = {column: {} for column in columns}
    # CAM reads the model's own weights, which are not shuffled.
    for name in RANKED[1:]:
        found = weights_test(model, pixels, labels, method=name, batch_size=8)
        for column, value in zip(columns, (*found.likeness, found.floor)):
            table[column][name] = value
        print(name, found, flush=True)
    return table


def cost(count: int) -> Table:
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
    found = parts[arguments.part](arguments.count, **chosen)
    if arguments.rst:
        file = Path(arguments.rst)
        tables = found if isinstance(found, tuple) else (found,)
        for table, suffix in zip(tables, ("", "-false")):
            text = rst_table(table)
            file.with_name(f"{file.stem}{suffix}{file.suffix}").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
