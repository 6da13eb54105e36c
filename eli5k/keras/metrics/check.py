"""Check maps by runs of the model on parts of the picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from eli5k.base import Check, ExplanationWarning, TargetExplanation
from eli5k.keras.attribution import run as prepare
from eli5k.keras.evidence.run import Run
from eli5k.keras.metrics.agreement import agreement, on_cells
from eli5k.keras.metrics.halves import Halves, cells_of, draw_fields, measure_halves, with_extra
from eli5k.keras.metrics.places import place_of
from eli5k.keras.metrics.pointing import heat_in, region_mask
from eli5k.keras.metrics.verdict import CONTRADICTED, sentence_on, verdict_on
from eli5k.keras.metrics.worth import worth_of
from eli5k.maps import Bounds, bounds_of, inside, over_picture

PAIRS, QUICK_PAIRS = 31, 16
SHARES = (0.05, 0.1, 0.2, 0.4)
BLOBS = 1  # random blobs of each share
BLOB_SEED = 1


def check_maps(
    model: keras.Model,
    docs: Any,
    maps: Any,
    targets: Any = None,
    *,
    output: str | int | None = None,
    quick: bool = False,
    region: Any = None,
    batch_size: int = 32,
    progress: bool | None = False,
) -> list[Any]:
    """Check whether maps, from anywhere, are faithful to the model.

    The model runs 80 times for each document, on random halves of the picture and on the hottest
    parts of each map, the rest blurred; each further target of a document takes 8 more.

    Parameters
    ----------
    model : keras.Model
    docs : numpy.ndarray or tensor, or list or dict of these
        ``(batch, *grid, channels)``, as the model takes it, for each input: already preprocessed.
    targets, output, batch_size, progress
        As in :func:`eli5k.keras.attribute`.
    maps : array-like
        ``(batch, *grid)``, or ``(batch, targets, *grid)`` if ``targets`` has two axes; signed if
        the method is. The grid may be of any size, and covers the model's input: if a photograph
        was cropped for it, the crop.
    quick : bool
        Run the model 34 times for each document, however many targets, and leave out the hottest
        parts.
    region : tuple of int or array-like, optional
        Box ``(left, top, right, bottom)`` in pixels of the input, or ``(*grid)`` of bool: also
        measure the map's heat there, and the score with the region blurred.

    Returns
    -------
    list of Check, or list of list of Check
        One for each document or, if ``targets`` has two axes, one list for each.

    Raises
    ------
    TypeError, ValueError
        As :func:`eli5k.keras.attribute`; also if the maps don't fit the documents or the region not
        the picture.

    Examples
    --------
    >>> model = keras.Sequential([keras.Input((14, 14, 1)), keras.layers.GlobalMaxPooling2D()])
    >>> spot = np.zeros((1, 14, 14, 1))
    >>> spot[0, 2:5, 2:5] = 1
    >>> [right] = check_maps(model, spot, spot[..., 0], targets=0)
    >>> [wrong] = check_maps(model, spot, spot[:, ::-1, ::-1, 0], targets=0)
    >>> right.verdict, wrong.verdict
    ('supported', 'not shown')
    """
    asked = prepare(model, docs, targets, output=output, batch_size=batch_size, progress=progress)
    has_targets = np.ndim(targets) == 2 if not callable(targets) else False
    by_target = _by_target(asked, maps, has_targets)
    checks = check_run(asked, by_target, quick=quick, region=region)
    return checks if has_targets else [each for [each] in checks]


def _by_target(asked: Run, maps: Any, has_targets: bool) -> np.ndarray:
    """Check the shape of maps, and put the targets first."""
    array = np.asarray(maps)
    rank = asked.image.ndim - 2
    leading: tuple[int, ...] = (asked.rows,)
    if has_targets:
        assert asked.classes is not None
        leading = (asked.rows, asked.classes.shape[1])
    is_number = array.dtype.kind in "fiub"
    if array.shape[: len(leading)] != leading or array.ndim != len(leading) + rank or not is_number:
        named = ("batch", "targets")[: len(leading)]
        raise ValueError(
            f"maps must be numbers of shape ({', '.join(named)}, *grid), here "
            f"({', '.join(map(str, leading))}, ...) with {rank} axes of the grid. "
            f"Received: {array.dtype} of shape {array.shape}"
        )
    array = array.astype("float32")
    return np.moveaxis(array, 1, 0) if has_targets else array[np.newaxis]


def check_run(
    run: Run, maps: np.ndarray, *, quick: bool = False, region: Any = None
) -> list[list[Check]]:
    """Check the maps of a run.

    Parameters
    ----------
    run : Run
    maps : numpy.ndarray
        ``(targets, batch, *grid)``
    quick, region
        As in :func:`check_maps`.

    Returns
    -------
    list of list of Check
        For each sample, one for each target.

    Examples
    --------
    >>> from eli5k.keras import run
    >>> model = keras.Sequential([keras.Input((14, 14, 1)), keras.layers.Flatten()])
    >>> asked = run(model, np.ones((1, 14, 14, 1)), targets=5)
    >>> check_run(asked, np.ones((1, 1, 7, 7)), quick=True)[0][0].verdict
    'untestable'
    """
    [checks] = check_together(run, [maps], quick=quick, region=region)
    return checks


def check_together(
    run: Run,
    of_each: Sequence[np.ndarray],
    halves: Halves | None = None,
    *,
    frames: Sequence[tuple[float, ...]] | None = None,
    quick: bool = False,
    region: Any = None,
) -> list[list[list[Check]]]:
    """Check the maps of several methods or layers with the same halves.

    Parameters
    ----------
    run : Run
    of_each : sequence of numpy.ndarray
        ``(targets, batch, *grid)``: the same targets for each, on any grid.
    halves : Halves or None
        Halves of this run, if they were measured before.
    frames : sequence of tuple of float, optional
        Where the model's input lies in each picture, if preprocessing cuts or pads it: as in
        :class:`~eli5k.Explanation`. Peaks and ``worth`` are told in terms of the picture.
    quick, region
        As in :func:`check_maps`.

    Returns
    -------
    list of list of list of Check
        For each method, for each sample, one for each target.

    Examples
    --------
    >>> from eli5k.keras import run
    >>> model = keras.Sequential([keras.Input((14, 14, 1)), keras.layers.Flatten()])
    >>> asked = run(model, np.ones((1, 14, 14, 1)), targets=5)
    >>> len(check_together(asked, [np.ones((1, 1, 7, 7)), np.ones((1, 1, 2, 2))], quick=True))
    2
    """
    grid = run.image.shape[1:-1]
    on_grid = [on_cells(maps, cells_of(grid)) for maps in of_each]
    extra = [] if quick else _curve_masks(np.concatenate(on_grid))
    place = None if region is None else region_mask(region, grid)
    if place is not None:
        extra = [*extra, 1 - place[np.newaxis]]
    if halves is None:
        halves = measure_halves(run, QUICK_PAIRS if quick else PAIRS, extra=extra)
    else:
        halves = with_extra(run, halves, extra)
    worth = worth_of(halves)
    found: list[list[list[Check]]] = []
    for number, maps in enumerate(of_each):
        found.append([[] for _ in range(run.count)])
        for sample, target in np.ndindex(run.count, len(maps)):
            own, cells = maps[target, sample], on_grid[number][target, sample]
            bounds = None if frames is None else bounds_of(frames[sample], own.ndim)
            peak = place_of(own, bounds) if np.isfinite(own).any() else None
            check = judge(halves, cells, sample, target, peak)
            check.worth = _over_picture(worth[target, sample], bounds)
            if not quick:
                check.runs += 2 * len(SHARES) * (1 + BLOBS)
                _add_curve(check, halves, number * len(maps) + target, sample, target)
            if place is not None:
                check.runs += 1
                check.region_heat = heat_in(own, region, grid)
                check.region_covered = float(halves.extra[-1, sample, target])
            found[-1][sample].append(check)
    return found


def _over_picture(worth: np.ndarray, bounds: Bounds | None) -> np.ndarray:
    """Lay the cells' worth over the whole picture; 0 outside the view."""
    if bounds is None:
        return worth
    spans = [high - low for low, high in zip(*bounds)]
    grid = [max(1, round(count / span)) for count, span in zip(worth.shape, spans)]
    laid = over_picture(worth, grid, bounds)
    if min(bounds[0]) < 0 or max(bounds[1]) > 1:
        return laid  # Padding has a worth, too.
    seen = inside(grid, bounds)
    return (laid + seen * (worth.sum() - laid.sum()) / max(seen.sum(), 1)).astype("float32")


def with_checks(
    explained: list[TargetExplanation], checks: Sequence[Sequence[Check]], row: int
) -> list[TargetExplanation]:
    """Give a document's targets their checks, if there are any."""
    for target, check in zip(explained, checks[row] if checks else ()):
        target.check = check
    return explained


def with_contradictions(
    about_each: list[list[ExplanationWarning]],
    checks: Sequence[Sequence[Check]],
    called: Sequence[Sequence[int | str]],
) -> list[list[ExplanationWarning]]:
    """Add a warning for each contradicted map to its document's warnings."""
    for about, of_sample, names in zip(about_each, checks, called):
        for check, name in zip(of_sample, names):
            if check.verdict == CONTRADICTED:
                which = f" of target {name!r}" if len(of_sample) > 1 else ""
                message = f"The map{which} is contradicted. {check.sentence}"
                about.append(ExplanationWarning(message))
    return about_each


def judge(
    halves: Halves,
    on_grid: np.ndarray,
    sample: int,
    target: int,
    peak: str | None = None,
) -> Check:
    """Judge one map with halves that were measured before.

    Parameters
    ----------
    halves : Halves
    on_grid : numpy.ndarray
        ``(*cells)``: a signed map, on the cells of the halves.
    sample, target : int
    peak : str or None
        Where the map has its peak, if not where ``on_grid`` has it.

    Returns
    -------
    Check
        Without curve and worth.
    """
    first, second = halves.first[:, sample, target], halves.second[:, sample, target]
    found = agreement(on_grid, halves.signs, halves.worth[:, sample, target])
    plain, blurred = float(halves.plain[sample, target]), float(halves.blurred[sample, target])
    verdict = verdict_on(found, (first, second), plain - blurred)
    claims = (halves.signs * on_grid).reshape(len(first), -1).sum(axis=1)
    important = np.where(claims > 0, first, second), np.where(claims > 0, second, first)
    means = float(important[0].mean()), float(important[1].mean())
    return Check(
        verdict,
        sentence_on(verdict, found, on_grid, means, (plain, blurred), peak),
        agreement=found.value,
        p_value=found.p_value,
        p_against=found.p_against,
        score=plain,
        blurred=blurred,
        runs=halves.runs,
    )


def _curve_masks(on_grid: np.ndarray) -> list[np.ndarray]:
    """Return the parts that the curve's runs keep.

    For each share, a blob and its opposite; then the hottest cells and their opposite, by map.
    """
    fields = draw_fields(on_grid.shape[2:], BLOBS, BLOB_SEED)[:, np.newaxis]
    masks = []
    for each in [*fields, *np.nan_to_num(on_grid)]:
        for share in SHARES:
            hottest = largest(each, share)
            masks += [hottest, 1 - hottest]
    return masks


def largest(fields: np.ndarray, share: float) -> np.ndarray:
    """Mark the cells with the largest values.

    Parameters
    ----------
    fields : numpy.ndarray
        ``(batch, *cells)``
    share : float

    Returns
    -------
    numpy.ndarray
        ``(batch, *cells)``, float32: 1 or 0.

    Examples
    --------
    >>> largest(np.array([[3.0, 1.0, 2.0, 4.0]]), 0.5).tolist()
    [[1.0, 0.0, 0.0, 1.0]]
    """
    flat = fields.reshape(len(fields), -1)
    ranks = flat.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    count = max(1, round(share * flat.shape[1]))
    return (ranks >= flat.shape[1] - count).reshape(fields.shape).astype("float32")


def _add_curve(check: Check, halves: Halves, number: int, sample: int, target: int) -> None:
    """Add the scores of the blobs and of the map's hottest cells."""
    scores = halves.extra[:, sample, target]
    of_field = 2 * len(SHARES)
    by_field = scores[: (BLOBS + number + 1) * of_field].reshape(-1, len(SHARES), 2)
    elsewhere, own = by_field[:BLOBS].mean(axis=0), by_field[-1]
    check.shares = SHARES
    check.kept, check.dropped = _floats(own[:, 0]), _floats(own[:, 1])
    check.kept_elsewhere, check.dropped_elsewhere = map(_floats, elsewhere.T)


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(map(float, values))
