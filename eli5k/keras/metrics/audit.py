"""Audit: what the maps of many pictures have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from eli5k.keras.evidence.run import Run
from eli5k.keras.metrics.agreement import on_cells
from eli5k.keras.metrics.areas import areas_of, at_peak, place_of_area
from eli5k.keras.metrics.audit_page import draw_area, draw_map, html_of
from eli5k.keras.metrics.effects import changes, follows, predicted
from eli5k.keras.metrics.groups import Group, groups_of, likeness_of
from eli5k.keras.metrics.halves import cells_of
from eli5k.keras.pictures import picture_of

LEAST_PICTURES = 10
PICTURES = 4  # axes of an array of them
# A place is remarkable if at least this share of the maps peaks in it, and covering it changes this
# many more predictions than covering another place of the same size.
PEAKS = {"tenth": 0.35, "quarter": 0.55}
# Or so many pictures take the class of another one with the place, and so many more than with
# another place. The border needs no peaks: a coarse map doesn't show a thin one.
FOLLOWED = 0.25
CHANGES, LEAST_CHANGES = 0.1, 4  # share, and number of pictures
LEAST_CONTRAST = 1e-3  # of a map that isn't flat, relative to its maximum
MIDDLE, BORDER = "in the middle", "along the border"
LINE = "The line is around the place."
ONE_CLASS = "The model gives all of these pictures the same class: audit pictures of several."


@dataclass(frozen=True, slots=True)
class Audit:
    """What the maps of many pictures have in common.

    Attributes
    ----------
    pictures : int
        How many documents were audited.
    method : str
        What made the maps.
    place : str
        Where most maps peak, or ``"along the border"``.
    size : str
        ``"tenth"`` or ``"quarter"`` of the picture, a box or a strip, or ``"border"``.
    peaks : float
        Share of the maps that peak there.
    how : str
        ``"covered"`` with the picture's mean colour, ``"exchanged"`` with another picture, or
        ``"not tried"`` without a model.
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
        Whether the maps meet at one place, away from the middle, and the place matters, as far as
        that was tried.
    mean_map, region : numpy.ndarray
        ``(*cells)``: the mean map, each scaled by its maximum; and 1 where the place is.
    note : str
        What else there is to know, such as how the method was chosen.
    mean_picture : PIL.Image.Image or None
        The mean of the pictures, as the model takes them.
    """

    pictures: int
    method: str
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
    note: str = ""
    mean_picture: Image.Image | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.sentence} {self.note}".rstrip()

    def _repr_html_(self) -> str:
        size = None if self.mean_picture is None else self.mean_picture.size[::-1]
        main = [
            (
                draw_map(self.mean_map, self.region, size),
                f"The mean of {self.pictures} maps. {LINE}",
            )
        ]
        if self.mean_picture is not None:
            main += [
                (draw_area(self.mean_picture, self.region), f"The mean of the pictures. {LINE}")
            ]
        groups = [
            (
                draw_map(group.mean_map, grid=size),
                f"{100 * group.share:.0f} % of the maps: they peak {group.place}. Most typical: "
                f"{', '.join(map(str, group.examples))}.",
            )
            for group in self.groups
        ]
        return html_of([self.sentence, self.note], main, groups)

    @property
    def sentence(self) -> str:
        """Where the maps peak, and what that place is worth."""
        start = f"{100 * self.peaks:.0f} % of these maps peak {self.place}"
        if self.how == "not tried":
            end = "at one place" if self.remarkable else "at no place that would be remarkable"
            return f"{start}: they meet {end}. Whether it matters, only the model can tell."
        changed, elsewhere = (
            f"{100 * each:.0f} %" for each in (self.changed, self.changed_elsewhere)
        )
        start += "; "
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
        if self.peaks < PEAKS.get(self.size, 1):
            return f"{start} The maps have no place in common that would point at a shortcut."
        if self.place == MIDDLE:
            return f"{start} Most photographs have their object there: it points at no shortcut."
        return (
            f"{start} The maps meet there, but it doesn't clearly matter more than another place."
        )


def audit_run(
    run: Run,
    maps: np.ndarray,
    *,
    method: str = "",
    note: str = "",
    names: Sequence[str | int] | None = None,
) -> Audit:
    """Tell what maps have in common, and whether it matters.

    Parameters
    ----------
    run : Run
    maps : numpy.ndarray
        ``(batch, *grid)``
    method, note : str
        As in :class:`Audit`.
    names : sequence of str or int, optional
        Of the documents; by default, their numbers.

    Returns
    -------
    Audit
    """
    found = replace(
        audit_maps(maps, cells_of(run.image.shape[1:-1]), method=method, note=note, names=names),
        mean_picture=picture_of(run.image.mean(axis=0)) if run.image.ndim == PICTURES else None,
    )
    heat, _ = _heat(maps, found.mean_map.shape)
    regions = areas_of(heat, found.mean_map.shape)
    places = {size: place_of_area(area) for size, (area, _) in regions.items()}
    places["border"], given = BORDER, predicted(run)
    if len(np.unique(given)) == 1:
        found = replace(found, note=f"{found.note} {ONE_CLASS}".lstrip())
    peaks = {size: _peaks(heat, region) for size, (region, _) in regions.items()}
    meet = [each for each in PEAKS if peaks[each] >= PEAKS[each] and places[each] != MIDDLE]
    # A cover of any colour makes a border, too: it is only exchanged.
    tried = {"covered": list(dict.fromkeys(["tenth", *meet])), "exchanged": [*meet, "border"]}
    audits = []
    for how, sizes in tried.items():
        asked = [region for size in sizes for region in regions[size]]
        shares = (changes if how == "covered" else follows)(run, given, asked)
        for number, size in enumerate(sizes):
            changed, elsewhere = shares[2 * number : 2 * number + 2]
            gain, least = changed - elsewhere, max(CHANGES, LEAST_CHANGES / run.count)
            enough = FOLLOWED if how == "exchanged" else 0
            matters = changed >= enough and gain >= least - 1e-9
            audits.append(
                replace(
                    found,
                    place=places[size],
                    size=size,
                    peaks=peaks[size],
                    how=how,
                    changed=changed,
                    changed_elsewhere=elsewhere,
                    remarkable=matters and (size in meet or size == "border"),
                    region=regions[size][0],
                )
            )
    return _most_important(audits)


def audit_maps(
    maps: np.ndarray,
    cells: tuple[int, ...],
    *,
    method: str = "",
    note: str = "",
    names: Sequence[str | int] | None = None,
) -> Audit:
    """Tell what maps have in common, without the model.

    Parameters
    ----------
    maps : numpy.ndarray
        ``(batch, *grid)``
    cells : tuple of int
        How many places to tell apart along each axis.
    method, note, names
        As in :func:`audit_run`.

    Returns
    -------
    Audit
        Without the effect of the place: ``changed`` is NaN.

    Examples
    --------
    >>> found = audit_maps(np.tile(np.eye(7)[:1].T * np.eye(7)[:1], (12, 1, 1)), (7, 7))
    >>> found.place, found.peaks, found.how
    ('at the top left', 1.0, 'not tried')
    """
    heat, rows = _heat(maps, cells)
    blank = len(maps) - len(rows)
    if blank:
        note = f"{note} {blank} of {len(maps)} maps are blank or flat, and left out.".lstrip()
    mean_map, areas = heat.mean(axis=0).reshape(cells), areas_of(heat, cells)
    region_of = {size: areas[size][0] for size in PEAKS}
    peaks = {size: _peaks(heat, region) for size, region in region_of.items()}
    size = next((each for each in PEAKS if peaks[each] >= PEAKS[each]), "tenth")
    place = place_of_area(region_of[size])
    return Audit(
        pictures=len(maps),
        method=method,
        place=place,
        size=size,
        peaks=peaks[size],
        how="not tried",
        changed=float("nan"),
        changed_elsewhere=float("nan"),
        likeness=likeness_of(heat),
        groups=groups_of(
            heat, cells, [row if names is None else names[row] for row in rows.tolist()]
        ),
        remarkable=peaks[size] >= PEAKS[size] and place != MIDDLE,
        mean_map=mean_map.astype("float32"),
        region=region_of[size],
        note=note,
    )


def _heat(maps: np.ndarray, cells: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the maps that show something, scaled to 1, and their rows."""
    on_grid = on_cells(np.nan_to_num(maps, posinf=0, neginf=0), cells)
    heat = np.clip(on_grid, 0, None).reshape(len(on_grid), -1)
    rows = np.flatnonzero(np.ptp(heat, axis=1) > LEAST_CONTRAST * heat.max(axis=1))
    if not len(rows):
        raise ValueError(
            "docs have blank or flat maps only. Explain another layer (layer=), other targets "
            "(targets=) or by another method (method=)."
        )
    heat = heat[rows]
    return heat / heat.max(axis=1, keepdims=True), rows


def _peaks(heat: np.ndarray, region: np.ndarray) -> float:
    """Return the share of the maps that peak in a region."""
    return float((at_peak(heat) @ region.ravel()).mean())


def _most_important(audits: Sequence[Audit]) -> Audit:
    """Return the audit of the place that matters most for its size."""
    remarkable = [each for each in audits if each.remarkable]
    if not remarkable:
        return audits[0]
    most = max(
        remarkable,
        key=lambda each: (each.changed - each.changed_elsewhere) / np.sqrt(each.region.mean()),
    )
    # To cover it is easier to understand than to exchange it, and comes first.
    return next(each for each in remarkable if each.size == most.size)
