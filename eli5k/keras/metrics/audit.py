"""Audit: what the maps of many pictures have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import keras
import numpy as np

from eli5k.keras.attribution import run as prepare
from eli5k.keras.evidence.run import Run
from eli5k.keras.evidence.scores import Scores
from eli5k.keras.evidence.targets import class_count
from eli5k.keras.metrics.agreement import copies_of, on_cells
from eli5k.keras.metrics.check import largest
from eli5k.keras.metrics.explained import explained
from eli5k.keras.metrics.halves import cells_of, scores_of_masks
from eli5k.keras.metrics.places import place_of
from eli5k.maps import resize
from eli5k.options import MethodLike

LEAST_PICTURES = 10
# A place is remarkable if so many maps peak in it, and covering it changes so many more predictions
# than covering another place of the same size.
PEAKS = {"tenth": 0.35, "quarter": 0.55}
# Or so many pictures take the class of another one with the place, and so many more than with
# another place. The border needs no peaks: a coarse map doesn't show a thin one.
FOLLOWED = 0.25
SHARES = {"tenth": 0.1, "quarter": 0.25}
CHANGES, LEAST_CHANGES = 0.1, 4  # share, and number of pictures
MIDDLE = "in the middle"
GROUPS, ROUNDS = 3, 20


@dataclass(frozen=True, slots=True)
class Group:
    """Maps of different pictures that resemble each other.

    Attributes
    ----------
    place : str
        Where their mean peaks.
    share : float
        Share of the pictures.
    likeness : float
        Mean correlation of a map with the mean of the group.
    """

    place: str
    share: float
    likeness: float


@dataclass(frozen=True, slots=True)
class Audit:
    """What the maps of many pictures have in common.

    Attributes
    ----------
    pictures : int
    place : str
        Where the mean map peaks, or ``"along the border"``.
    size : str
        ``"tenth"`` or ``"quarter"`` of the picture, where the mean map is hottest, or ``"border"``.
    peaks : float
        Share of the maps that peak there.
    how : str
        ``"covered"`` with the picture's mean colour, or ``"exchanged"`` with another picture.
    changed : float
        Share of the pictures whose predicted class changes when it is covered, or becomes that of
        the other picture when it is exchanged.
    changed_elsewhere : float
        The same for another place of this size: the coldest one of the same shape; for the border,
        the middle.
    likeness : float
        Mean correlation of the maps of different pictures.
    groups : tuple of Group
        A few groups of maps, the largest first.
    remarkable : bool
        Whether the maps meet at one place, away from the middle, and the place matters.
    mean_map, region : numpy.ndarray
        ``(*cells)``: the mean map, each scaled by its maximum; and 1 where the place is.
    """

    pictures: int
    place: str
    size: str
    peaks: float
    how: str
    changed: float
    changed_elsewhere: float
    likeness: float
    groups: tuple[Group, ...]
    remarkable: bool
    mean_map: np.ndarray = field(repr=False, compare=False)
    region: np.ndarray = field(repr=False, compare=False)

    def __str__(self) -> str:
        changed, elsewhere = (
            f"{100 * each:.0f} %" for each in (self.changed, self.changed_elsewhere)
        )
        start = f"{100 * self.peaks:.0f} % of these maps peak {self.place}; "
        other = "as much of the middle" if self.size == "border" else f"another {self.size}"
        if self.how == "covered":
            start += f"with it covered the class changes in {changed}, with {other} covered in "
        else:
            start += (
                "with it exchanged between pictures the class goes along in "
                f"{changed}, with {other} exchanged in "
            )
        start += f"{elsewhere}."
        if self.remarkable:
            return f"{start} Whether it should matter is yours to judge."
        return f"{start} The maps have no place in common that would point at a shortcut."


def audit(
    model: keras.Model,
    docs: Any,
    targets: Any = None,
    *,
    method: MethodLike = "grad-cam",
    layer: Any = None,
    output: str | int | None = None,
    batch_size: int = 32,
    progress: bool | None = False,
) -> Audit:
    """Explain many pictures, and tell what their maps have in common.

    A map of a single picture can't betray a shortcut such as a tag in a corner: it is faithful to
    the model. That the maps of different pictures meet at the same place can. The place, and the
    border, are covered and exchanged between pictures: does the class change, or go along?
    Shortcuts without a place, such as a blur or a colour cast, are out of reach.

    Parameters
    ----------
    model : keras.Model
    docs, targets, method, layer, output, batch_size, progress
        As in :func:`eli5k.keras.attribute`; ten documents or more, of as many kinds as the model is
        used for. None as targets explains the predicted classes. The score before a softmax or
        sigmoid is explained.

    Returns
    -------
    Audit
        Printed, a sentence or two.

    Raises
    ------
    TypeError, ValueError
        As :func:`eli5k.keras.attribute`; also if there are fewer than ten documents, or all maps
        are blank.

    Examples
    --------
    >>> layers = [keras.Input((14, 14, 1)), keras.layers.Conv2D(4, 3, activation="relu")]
    >>> layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)]
    >>> docs = np.random.default_rng(0).random((12, 14, 14, 1))
    >>> audit(keras.Sequential(layers), docs).pictures
    12
    """
    asked = prepare(
        model,
        docs,
        targets,
        layer=layer,
        output=output,
        logits=True,
        batch_size=batch_size,
        progress=progress,
    )
    if asked.count < LEAST_PICTURES:
        raise ValueError(
            f"docs must have {LEAST_PICTURES} documents or more to have something in common. "
            f"Received: {asked.count}"
        )
    maps = explained(asked, method).maps
    return audit_run(asked, np.moveaxis(np.asarray(maps), 0, 1).mean(axis=1))


def audit_run(run: Run, maps: np.ndarray) -> Audit:
    """Tell what maps have in common.

    Parameters
    ----------
    run : Run
    maps : numpy.ndarray
        ``(batch, *grid)``

    Returns
    -------
    Audit
    """
    on_grid = on_cells(np.nan_to_num(maps, posinf=0, neginf=0), cells_of(run.image.shape[1:-1]))
    heat = np.clip(on_grid, 0, None).reshape(len(on_grid), -1)
    heat = heat[heat.max(axis=1) > 0]
    if not len(heat):
        raise ValueError("All maps are blank. Explain another layer, or other targets.")
    heat = heat / heat.max(axis=1, keepdims=True)
    cells = on_grid.shape[1:]
    mean_map = heat.mean(axis=0).reshape(cells)
    regions = _regions(mean_map)
    all_regions = [region for pair in regions.values() for region in pair]
    found = {"covered": changes(run, all_regions), "exchanged": follows(run, all_regions)}
    common = {
        "pictures": run.count,
        "likeness": _likeness(heat),
        "groups": _groups(heat, cells),
        "mean_map": mean_map.astype("float32"),
    }
    audits = []
    for how, (number, (size, (region, _))) in product(found, enumerate(regions.items())):
        peaks = float(region.ravel()[heat.argmax(axis=1)].mean())
        changed, elsewhere = found[how][2 * number : 2 * number + 2]
        place = "along the border" if size == "border" else place_of(mean_map)
        least = max(CHANGES, LEAST_CHANGES / run.count)
        # A cover of any colour is a border, too.
        stands_out = peaks >= PEAKS[size] if size in PEAKS else how == "exchanged"
        enough = FOLLOWED if how == "exchanged" else 0
        matters = stands_out and changed >= enough and changed - elsewhere >= least - 1e-9
        audits.append(
            Audit(
                place=place,
                size=size,
                peaks=peaks,
                how=how,
                changed=changed,
                changed_elsewhere=elsewhere,
                remarkable=matters and place != MIDDLE,
                region=region,
                **common,
            )
        )
    return max(audits, key=_importance)


def _importance(audit: Audit) -> tuple[bool, bool, bool, float]:
    """Order audits.

    A place where maps peak says more than the border. What changes more comes first, but a larger
    place must change much more.
    """
    gain = audit.changed - audit.changed_elsewhere
    own = gain / np.sqrt(audit.region.mean()) if audit.remarkable else float(audit.size == "tenth")
    return audit.remarkable, audit.size != "border", audit.how == "covered", float(own)


def _regions(mean_map: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the places to cover, each with another of its size."""
    found = {}
    for size, share in SHARES.items():
        [region] = largest(mean_map[np.newaxis], share)
        found[size] = region, _coldest_copy(region, mean_map)
    border = np.ones_like(mean_map, "float32")
    border[(slice(1, -1),) * border.ndim] = 0
    inward = np.indices(border.shape) + 0.5
    middle = np.reshape(border.shape, (-1, *[1] * border.ndim)) / 2
    farthest = np.abs((inward - middle) / middle).max(axis=0)
    [core] = largest(-farthest[np.newaxis], float(border.mean()))
    return found | {"border": (border, core)}


def changes(run: Run, regions: list[np.ndarray]) -> list[float]:
    """Return for each region how often covering it changes the class.

    Parameters
    ----------
    run : Run
    regions : list of numpy.ndarray
        ``(*cells)``: 1 where the picture is covered, 0 where it is kept.
    """
    masks = [np.ones_like(regions[0]), *(1 - region for region in regions)]
    asked = _for_classes(run)
    found = scores_of_masks(asked, [mask[np.newaxis] for mask in masks], _classes, "mean")
    return [float(np.mean(found[0] != covered)) for covered in found[1:]]


def follows(run: Run, regions: Sequence[np.ndarray]) -> list[float]:
    """Return for each region how often the class moves along with it.

    Each picture gets the region of the next one that has another class.

    Parameters
    ----------
    run : Run
    regions : sequence of numpy.ndarray
        ``(*cells)``: 1 where the other picture is pasted.

    Returns
    -------
    list of float
        Share of the pictures that are then given the class of the other one; 0 if all pictures are
        of one class.
    """
    asked = _for_classes(run)
    grid = run.image.shape[1:-1]
    plain = scores_of_masks(asked, [np.ones((1, *grid), "float32")], _classes)[0, :, 0]
    others = [np.flatnonzero(np.roll(plain, -row) != plain[row]) for row in range(len(plain))]
    rows = [row for row, other in enumerate(others) if len(other)]
    if not rows:
        return [0.0] * len(regions)
    givers = np.array([(row + others[row][0]) % len(plain) for row in rows])
    # Sharp edges: of a thin border, nothing must be left.
    masks = [(resize(1 - region, grid) > 0.5).astype("float32")[np.newaxis] for region in regions]
    taking = replace(asked.part(np.array(rows)), n_valid=None)
    pasted = run.image[givers]
    found = scores_of_masks(taking, masks, _classes, lambda _: pasted)
    return [float(np.mean(classes[:, 0] == plain[givers])) for classes in found]


def _for_classes(run: Run) -> Run:
    """Ask for the predicted class."""
    head = run.survey.heads[run.target.output]
    target = replace(
        run.target, functions=(), objective=None, best=1, binary=class_count(head) == 1
    )
    return replace(run, target=target, classes=None)


def _classes(scores: Scores) -> np.ndarray:
    classes: np.ndarray = scores.classes
    return classes


def _coldest_copy(region: np.ndarray, mean_map: np.ndarray) -> np.ndarray:
    copies = copies_of(region)
    heat = (copies * mean_map).reshape(len(copies), -1).sum(axis=1)
    coldest: np.ndarray = copies[heat.argmin()]
    return coldest


def _likeness(heat: np.ndarray) -> float:
    """Mean correlation of different rows."""
    standard = _standardised(heat)
    count = len(standard)
    if count < 2:
        return float("nan")
    return float((np.square(standard.sum(axis=0)).sum() - count) / (count * (count - 1)))


def _standardised(heat: np.ndarray) -> np.ndarray:
    centred = heat - heat.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    standard: np.ndarray = centred / np.where(norms > 0, norms, 1)
    return standard


def _groups(heat: np.ndarray, cells: tuple[int, ...]) -> tuple[Group, ...]:
    """Group maps by k-means of what makes correlation a distance."""
    rows = _standardised(heat)
    centres = [_standardised(rows.mean(axis=0, keepdims=True))[0]]
    while len(centres) < min(GROUPS, len(rows)):
        nearest = np.max(rows @ np.transpose(centres), axis=1)
        centres.append(rows[nearest.argmin()])
    for _ in range(ROUNDS):
        labels = (rows @ np.transpose(centres)).argmax(axis=1)
        means = [rows[labels == number].mean(axis=0) for number in np.unique(labels)]
        centres = list(_standardised(np.array(means)))
    labels = (rows @ np.transpose(centres)).argmax(axis=1)
    found = []
    for number, centre in enumerate(centres):
        own = labels == number
        if own.any():
            place = place_of(heat[own].mean(axis=0).reshape(cells))
            found.append(Group(place, float(own.mean()), float((rows[own] @ centre).mean())))
    return tuple(sorted(found, key=lambda group: -group.share))
