"""Measure what the cells of a layer see, on noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import prod
from typing import Any, NamedTuple

import keras
import numpy as np

from eli5k.keras.backends import Tensor, active_backend
from eli5k.keras.model.hooks import output_hook
from eli5k.keras.model.noise import noise_like
from eli5k.keras.model.state import compiled, stateless
from eli5k.keras.model.structure import Call, layer_at
from eli5k.keras.model.survey import Survey, run_model
from eli5k.keras.model.view import MOST_EXTRA_TOKENS

# Noise inputs for each cell: their scales differ, since a model may be dead for one of them.
NOISES = 3
# How many tokens to look at, and how to spread them.
TOKENS, GOLDEN = 12, 0.618033988749895
# An axis longer than this is blurred by its spectrum.
LONG = 1024
# Key of the cells' own values, beside the gradients by position of the image.
VALUES = -1


class Sight(NamedTuple):
    """What a few cells of a layer see most.

    Attributes
    ----------
    positions : numpy.ndarray
        ``(cells,)``: numbers of the cells in the flattened grid.
    centres : numpy.ndarray
        ``(cells, axes)``: where they look, in shares of the picture; NaN if nowhere.
    sizes : tuple of int
        Size of the picture along each axis, in pixels.
    others : tuple of int
        Positions of the other images that they see.
    """

    positions: np.ndarray
    centres: np.ndarray
    sizes: tuple[int, ...]
    others: tuple[int, ...] = ()


def look(
    model: keras.Model, survey: Survey, inputs: Any, call: Call, channel_axis: int
) -> Sight | None:
    """Measure what a few cells of a layer see most, on noise.

    Parameters
    ----------
    model : keras.Model
    survey : Survey
    inputs : array, or list or dict of arrays
        Only their shapes and dtypes matter.
    call : Call
    channel_axis : int
        -1 or 1.

    Returns
    -------
    Sight or None
        None if that can't be measured: the picture is made of whole numbers that no ``Embedding``
        reads, the model stops the gradient or needs the numbers themselves, or it refuses noise.
    """
    assert call.shape is not None
    flat = keras.tree.flatten(inputs)
    if flat[survey.image_index].dtype.kind != "f" and survey.image_index not in survey.embeddings:
        return None
    shape = call.shape if channel_axis == -1 else (call.shape[0], *call.shape[2:], call.shape[1])
    positions = chosen_cells(shape[1:-1], survey.picture_grid)
    rows = len(positions) * NOISES
    noise = noise_like(inputs, survey.embeddings, rows)
    chosen = np.zeros((rows, prod(shape[1:-1])), "float32")
    chosen[np.arange(rows), np.repeat(positions, NOISES)] = 1
    signs = np.random.default_rng(0).choice([-1, 1], shape[-1]).astype("float32")
    differentiate = compiled(_Look(model, survey, call, channel_axis), model)
    size = survey.fixed_batch or rows
    parts = []
    for start in range(0, rows, size):
        part = np.arange(start, start + size) % rows
        at = keras.tree.map_structure(lambda array, part=part: array[part], noise)
        try:
            answer = differentiate(at, chosen[part], signs)
        except Exception:  # A model's code may refuse noise, or a gradient, with any error.
            return None
        parts.append({index: _magnitude(array) for index, array in answer.items()})
    seen = {index: np.concatenate([part[index] for part in parts])[:rows] for index in parts[0]}
    values = seen.pop(VALUES).reshape(len(positions), -1)
    centres = {}
    for index, gradient in seen.items():
        is_image = index not in survey.embeddings
        shaped = gradient.reshape(rows, *survey.image_shapes[index][1:]) if is_image else gradient
        means = _means(shaped, survey.channels_first and is_image)
        centres[index] = _centres(means, len(positions), shape[1:-1])
    own = centres.get(survey.image_index)
    sizes = survey.picture_grid
    if own is None:
        own = np.full((len(positions), len(sizes)), np.nan)
    is_seen = any(np.isfinite(where).any() for where in centres.values())
    if not is_seen and np.ptp(np.nan_to_num(values), axis=1).any():
        return None
    others = tuple(
        index
        for index, where in centres.items()
        if index != survey.image_index and np.isfinite(where).any()
    )
    return Sight(positions, own, sizes, others)


@dataclass(frozen=True)
class _Look:
    """Chosen cells' values, and their gradients with respect to each image.

    Tokens have none, but the output of their ``Embedding`` has one.
    """

    model: keras.Model
    survey: Survey
    call: Call
    channel_axis: int

    def __call__(self, inputs: Any, chosen: Tensor, signs: Tensor) -> dict[int, Tensor]:
        ops = keras.ops
        flat = keras.tree.flatten(inputs)
        embedded = self.survey.embeddings
        images = [i for i in self.survey.image_indices if i not in embedded]
        floats = [i for i in images if "float" in str(flat[i].dtype)]
        tapped: list[int] = []

        def forward(tap: Callable[[Tensor], Tensor]) -> tuple[Tensor, tuple[()]]:
            outputs: list[Tensor] = []
            tapped.clear()

            def tap_and_note(tensor: Tensor, index: int) -> Tensor:
                tapped.append(index)
                return tap(tensor)

            def keep(output: Tensor) -> Tensor:
                outputs.append(output)
                return output

            watched = [tap_and_note(x, i) if i in floats else x for i, x in enumerate(flat)]
            layer = layer_at(self.model, self.call.path)
            with ExitStack() as hooks:
                for index in set(embedded).intersection(self.survey.image_indices):
                    path, number = embedded[index]
                    tap_tokens = partial(tap_and_note, index=index)
                    hooks.enter_context(
                        output_hook(layer_at(self.model, path), tap_tokens, number, None)
                    )
                hooks.enter_context(output_hook(layer, keep, self.call.number, self.call.element))
                run_model(self.model, keras.tree.pack_sequence_as(inputs, watched))
            of_steps = self.call.number is None
            output = ops.stack(outputs, axis=1) if of_steps else outputs[0]
            cells = ops.cast(ops.moveaxis(output, self.channel_axis, -1), "float32")
            cells = ops.reshape(cells, (*ops.shape(chosen), ops.shape(signs)[0]))
            of_each = ops.sum(cells * ops.expand_dims(chosen, -1), axis=1)
            return ops.sum(of_each * signs, axis=1, keepdims=True), ()

        (values, _), _, gradients = active_backend().differentiate(stateless(forward))
        seen = {i: g[0] for i, g in zip(tapped, gradients) if g is not None}
        return seen | {VALUES: values}


def chosen_cells(grid: Sequence[int], picture: Sequence[int]) -> np.ndarray:
    """Choose cells well apart and off the border, which cuts views."""
    if len(grid) < len(picture):  # Any token but the first, which may be a class token.
        count = prod(grid)
        first = min(MOST_EXTRA_TOKENS, count // 2)
        spread = (np.arange(TOKENS) * GOLDEN) % 1
        return np.unique(first + (spread * (count - first)).astype(int))
    by_axis = [range(n) if n <= 3 else [n * k // 4 for k in (1, 2, 3)] for n in grid]
    if len(grid) == 1:
        return np.unique(np.linspace(grid[0] / 8, grid[0] * 7 / 8, 9).astype(int))
    # A Latin square: along a third axis, places say nothing about those along the first two.
    cells = [
        (i, j, *(axis[(a + n * b) % len(axis)] for n, axis in enumerate(by_axis[2:], start=1)))
        for (a, i), (b, j) in product(*map(enumerate, by_axis[:2]))
    ]
    return np.unique(np.ravel_multi_index(np.array(cells).T, grid))


def _magnitude(gradient: Tensor) -> np.ndarray:
    return np.abs(keras.ops.convert_to_numpy(keras.ops.cast(gradient, "float32")))


def _means(gradient: np.ndarray, channels_first: bool) -> np.ndarray:
    """Sum over the channels; each row counts alike: ``(rows, *picture)``."""
    summed = gradient.sum(axis=1 if channels_first else -1)
    total = summed.sum(axis=tuple(range(1, summed.ndim)), keepdims=True)
    usable = np.isfinite(total) & (total > 0)
    return np.where(usable, summed, 0) / np.where(usable, total, 1)


def _blurred(maps: np.ndarray, axis: int, size: int, width: float) -> np.ndarray:
    """Blur maps along one axis, with zeros beyond its ends."""
    if size <= LONG:
        distances = np.subtract.outer(np.arange(size), np.arange(size))
        blur = np.exp(-0.5 * (distances / width) ** 2)
        return np.moveaxis(np.tensordot(maps, blur, axes=(axis, 0)), -1, axis)
    # A matrix of all pairs of samples of a sound would not fit into memory.
    distances = np.minimum(np.arange(2 * size), 2 * size - np.arange(2 * size))
    spectrum = np.fft.rfft(np.exp(-0.5 * (distances / width) ** 2))
    shape = [-1 if other == axis else 1 for other in range(maps.ndim)]
    found = np.fft.rfft(maps, 2 * size, axis=axis) * spectrum.reshape(shape)
    blurred: np.ndarray = np.fft.irfft(found, 2 * size, axis=axis).take(range(size), axis=axis)
    return blurred


def _centres(seen: np.ndarray, cells: int, grid: Sequence[int]) -> np.ndarray:
    """Find the peaks' centres in shares of the picture: ``(cells, axes)``.

    A peak is the part above half the maximum. The centroid of all would be drawn to the middle
    where the border cuts off what a cell sees.
    """
    maps = seen.reshape(cells, -1, *seen.shape[1:]).mean(axis=1, dtype="float64")
    sizes = maps.shape[1:]
    width = (prod(sizes) / prod(grid)) ** (1 / len(sizes)) / 2
    widths = [width] * len(sizes)
    if len(grid) == len(sizes) >= 3:  # A cell of a clip is one frame, but many pixels.
        widths = [size / n / 2 for size, n in zip(sizes, grid)]
    for axis, (size, width) in enumerate(zip(sizes, widths), start=1):
        maps = _blurred(maps, axis, size, max(width, 0.5))
    axes = tuple(range(1, maps.ndim))
    peaks = np.maximum(maps - maps.max(axis=axes, keepdims=True) / 2, 0)
    total = peaks.sum(axis=axes)
    centres = []
    for axis, size in enumerate(sizes, start=1):
        along = peaks.sum(axis=tuple(other for other in axes if other != axis))
        centres.append(along @ (np.arange(size) + 0.5) / size)
    return np.where(total > 0, np.array(centres) / np.where(total > 0, total, 1), np.nan).T
