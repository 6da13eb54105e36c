"""Audit: what the maps of many pictures have in common."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from eli5k.base import ExplanationWarning
from eli5k.keras.attribution import explain_samples
from eli5k.keras.attribution import run as prepare
from eli5k.keras.evidence.run import Run, on_whole_picture
from eli5k.keras.evidence.scores import Scores
from eli5k.keras.evidence.targets import class_count
from eli5k.keras.metrics.agreement import copies_of, on_cells
from eli5k.keras.metrics.check import largest
from eli5k.keras.metrics.halves import cells_of, scores_of_masks
from eli5k.keras.metrics.places import place_of
from eli5k.options import MethodLike

LEAST_PICTURES = 10
TENTH = 0.1
# A place is remarkable if so many maps peak in the same tenth of the picture, and covering it
# changes so many more predictions than covering a place of the same shape elsewhere.
PEAKS, CHANGES = 0.35, 0.1
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
        Where the mean map peaks.
    peaks : float
        Share of the maps that peak in the tenth of the picture where the mean map is hottest.
    changed : float
        Share of the pictures whose predicted class changes when this tenth is covered with the
        picture's mean colour.
    changed_elsewhere : float
        The same for a tenth of the same shape, at the coldest place.
    likeness : float
        Mean correlation of the maps of different pictures.
    groups : tuple of Group
        A few groups of maps, the largest first.
    remarkable : bool
        Whether the maps meet at one place, away from the middle, and the place matters.
    mean_map, region : numpy.ndarray
        ``(*cells)``: the mean map, each scaled by its maximum; and 1 in the hottest tenth.
    """

    pictures: int
    place: str
    peaks: float
    changed: float
    changed_elsewhere: float
    likeness: float
    groups: tuple[Group, ...]
    remarkable: bool
    mean_map: np.ndarray = field(repr=False, compare=False)
    region: np.ndarray = field(repr=False, compare=False)

    def __str__(self) -> str:
        start = (
            f"{100 * self.peaks:.0f} % of these maps peak {self.place}; with it covered the class "
            f"changes in {100 * self.changed:.0f} %, with another tenth of the picture covered in "
            f"{100 * self.changed_elsewhere:.0f} %."
        )
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
    the model. That the maps of different pictures meet at the same place can. Shortcuts without a
    place, such as a blur or a colour cast, are out of reach.

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
    with warnings.catch_warnings():
        # What a single map warns of is not about the set.
        warnings.simplefilter("ignore", ExplanationWarning)
        answer = on_whole_picture(explain_samples(asked, method), asked.survey.picture_grid)
        maps = answer.maps
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
    [region] = largest(mean_map[np.newaxis], TENTH)
    peaks = float(region.ravel()[heat.argmax(axis=1)].mean())
    changed, elsewhere = changes(run, [region, _coldest_copy(region, mean_map)])
    place = place_of(mean_map)
    return Audit(
        pictures=run.count,
        place=place,
        peaks=peaks,
        changed=changed,
        changed_elsewhere=elsewhere,
        likeness=_likeness(heat),
        groups=_groups(heat, cells),
        remarkable=peaks >= PEAKS and changed - elsewhere >= CHANGES and place != "in the middle",
        mean_map=mean_map.astype("float32"),
        region=region,
    )


def changes(run: Run, regions: list[np.ndarray]) -> list[float]:
    """Return for each region the share of pictures whose class changes when it is covered.

    Parameters
    ----------
    run : Run
    regions : list of numpy.ndarray
        ``(*cells)``: 1 where the picture is covered, 0 where it is kept.
    """
    head = run.survey.heads[run.target.output]
    target = replace(
        run.target, functions=(), objective=None, best=1, binary=class_count(head) == 1
    )
    asked = replace(run, target=target, classes=None)
    masks = [np.ones_like(regions[0]), *(1 - region for region in regions)]
    found = scores_of_masks(asked, [mask[np.newaxis] for mask in masks], _classes, "mean")
    return [float(np.mean(found[0] != covered)) for covered in found[1:]]


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
