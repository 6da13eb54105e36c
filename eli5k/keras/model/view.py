"""Views: how a layer's output is read as a map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import keras

from eli5k.keras.backends import Tensor

# Class, distillation and register tokens that may come before the patches.
MOST_EXTRA_TOKENS = 8
TOKENS_RANK = 3
# A map's ends along each axis of the picture, in shares of it.
Frame = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class View:
    """How a layer's output is read as a map. Hashable.

    Attributes
    ----------
    axes : tuple of int or None
        For each axis of the picture, the axis of the layer's grid that lies along it; None if the
        layer has none.
    tokens : tuple of int or None
        Grid of the patches, if the output is ``(batch, tokens, channels)``. They are the last ones.
    channel_axis : int
        Axis of the channels in the output: -1 or 1.
    flipped : tuple of bool
        Which axes of the picture run backwards.
    frame : tuple or None
        Where the map begins and ends along each axis of the picture, in shares of it; None if it
        covers the picture.
    is_shared : bool
        Whether the cells see other images as well.
    problem : str or None
        Why this is no map of the picture, as the end of a sentence about the layer.

    Examples
    --------
    >>> View(axes=(1, 0), tokens=(2, 3)).grid((1, 7, 64))
    (3, 2)
    """

    axes: tuple[int | None, ...]
    tokens: tuple[int, ...] | None = None
    channel_axis: int = -1
    flipped: tuple[bool, ...] = ()
    frame: Frame | None = None
    is_shared: bool = False
    problem: str | None = None

    def own_grid(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the grid in the layer's own order of axes."""
        if self.tokens:
            return self.tokens
        return tuple(shape[2:] if self.channel_axis == 1 else shape[1:-1])

    def grid(self, shape: Sequence[int]) -> tuple[int, ...]:
        """Return the grid of the map, upright."""
        own = self.own_grid(shape)
        if self._is_upright(len(own)):
            return own
        return tuple(1 if axis is None else own[axis] for axis in self.axes)

    def read(self, tensor: Tensor, leading: int) -> Tensor:
        """Turn a layer's output into a map with channels.

        Parameters
        ----------
        tensor : tensor
            ``(*leading, ...)`` as the layer returned it, or a gradient with respect to it.
        leading : int
            How many axes come before the layer's own: the batch, and perhaps the targets.

        Returns
        -------
        tensor
            ``(*leading, *grid, channels)``, upright.
        """
        ops = keras.ops
        if self.channel_axis == 1:
            tensor = ops.moveaxis(tensor, leading, -1)
        if self.tokens:
            before = ops.shape(tensor)[:leading]
            patches = tensor[..., -prod(self.tokens) :, :]
            tensor = ops.reshape(patches, (*before, *self.tokens, tensor.shape[-1]))
        axes = len(tensor.shape) - leading - 1
        if self._is_upright(axes):
            return tensor
        kept = [leading + axis for axis in self.axes if axis is not None]
        # An axis along none of the picture's has a single cell.
        rest = [leading + axis for axis in range(axes) if leading + axis not in kept]
        tensor = ops.transpose(tensor, (*range(leading), *rest, *kept, leading + axes))
        if rest:
            tensor = ops.squeeze(tensor, tuple(range(leading, leading + len(rest))))
        for axis, own in enumerate(self.axes):
            if own is None:
                tensor = ops.expand_dims(tensor, leading + axis)
        backwards = [leading + axis for axis, flipped in enumerate(self.flipped) if flipped]
        return ops.flip(tensor, backwards) if backwards else tensor

    def _is_upright(self, axes: int) -> bool:
        return bool(self.problem) or (self.axes == tuple(range(axes)) and not any(self.flipped))


def readings_of(shape: Sequence[int], channel_axis: int, picture_axes: int) -> list[View]:
    """List the ways to read an output before it is measured.

    Parameters
    ----------
    shape : sequence of int
        Shape of the output.
    channel_axis : int
        -1 or 1.
    picture_axes : int

    Returns
    -------
    list of View
        A single one for an output with a grid; one for each possible grid of tokens.

    Examples
    --------
    >>> [view.tokens for view in readings_of((1, 5, 64), -1, 2)]
    [(1, 5), (5, 1), (1, 4), (2, 2), (4, 1), (1, 3), (3, 1)]
    """
    axes = tuple(range(picture_axes))
    if len(shape) != TOKENS_RANK or picture_axes < TOKENS_RANK - 1:
        view = View(axes, channel_axis=channel_axis)
        return [view] if prod(view.own_grid(shape)) > 1 else []
    tokens = shape[2] if channel_axis == 1 else shape[1]
    extras = range(min(MOST_EXTRA_TOKENS, tokens // 2) + 1)
    return [
        View(axes, grid, channel_axis)
        for extra in extras
        for grid in _factorisations(tokens - extra, picture_axes)
        if prod(grid) > 1
    ]


def _factorisations(number: int, factors: int) -> Iterator[tuple[int, ...]]:
    if factors == 1:
        yield (number,)
        return
    for first in range(1, number + 1):
        if number % first == 0:
            for rest in _factorisations(number // first, factors - 1):
                yield (first, *rest)
