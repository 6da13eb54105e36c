"""Locate a layer's cells in the picture, by receptive field arithmetic.

Convolutions, poolings, paddings and crops move and stretch the grid by known amounts (Araujo et
al. 2019, https://distill.pub/2019/computing-receptive-fields). Only Keras' own layers are followed:
what any other code does to a tensor is unknown, and must be measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod
from typing import Any, NamedTuple

import keras

layers = keras.layers

CONVOLUTIONS = (
    *(layers.Conv1D, layers.Conv2D, layers.Conv3D),
    *(layers.DepthwiseConv1D, layers.DepthwiseConv2D),
    *(layers.SeparableConv1D, layers.SeparableConv2D),
)
RECURRENT_CONVOLUTIONS = (layers.ConvLSTM1D, layers.ConvLSTM2D, layers.ConvLSTM3D)
POOLINGS = (
    *(layers.MaxPooling1D, layers.MaxPooling2D, layers.MaxPooling3D),
    *(layers.AveragePooling1D, layers.AveragePooling2D, layers.AveragePooling3D),
)
PADDINGS = (layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D)
CROPPINGS = (layers.Cropping1D, layers.Cropping2D, layers.Cropping3D)
UPSAMPLINGS = (layers.UpSampling1D, layers.UpSampling2D, layers.UpSampling3D)
MERGES = (
    *(layers.Add, layers.Subtract, layers.Multiply, layers.Average),
    *(layers.Maximum, layers.Minimum, layers.Concatenate),
)
ELEMENTWISE = (
    *(layers.Activation, layers.ReLU, layers.LeakyReLU, layers.PReLU, layers.ELU, layers.Softmax),
    *(layers.BatchNormalization, layers.LayerNormalization, layers.GroupNormalization),
    *(layers.UnitNormalization, layers.Normalization, layers.Rescaling, layers.Identity),
    *(layers.Dropout, layers.AlphaDropout, layers.GaussianDropout, layers.GaussianNoise),
    *(layers.SpatialDropout1D, layers.SpatialDropout2D, layers.SpatialDropout3D),
    *(layers.ActivityRegularization, layers.Dense),
)
# Keras' operations that act on each position alone, or on two tensors position by position.
POINTWISE = (
    *("Add", "Subtract", "Multiply", "Divide", "TrueDivide", "Maximum", "Minimum", "Negative"),
    *("Absolute", "Square", "Sqrt", "Clip", "Cast", "Relu", "Relu6", "LeakyRelu", "Elu", "Selu"),
    *("Gelu", "Silu", "HardSilu", "Sigmoid", "HardSigmoid", "Softplus", "Tanh"),
)
# Activations that are known to keep places.
FRAMEWORKS = ("keras.", "tensorflow.", "torch.", "jax.")


class Place(NamedTuple):
    """Where the cells of a tensor lie in the picture.

    Attributes
    ----------
    input : int or None
        Position of the picture among the flat inputs. None for a tensor of a single cell, which
        sees everything.
    steps, starts : tuple of float
        Distance between neighbouring cells along each axis, and the centre of the first one, in
        pixels from the border.
    """

    input: int | None
    steps: tuple[float, ...] = ()
    starts: tuple[float, ...] = ()

    def frame(
        self, grid: Sequence[int], size: Sequence[int]
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the grid's ends along each axis, in shares of the picture.

        Examples
        --------
        >>> Place(0, (16.0,), (8.0,)).frame((14,), (224,))
        ((0.0,), (1.0,))
        """
        low = [(start - step / 2) / n for start, step, n in zip(self.starts, self.steps, size)]
        spans = [step * cells / n for step, cells, n in zip(self.steps, grid, size)]
        return tuple(low), tuple(a + span for a, span in zip(low, spans))

    def moved(self, moves: Sequence[tuple[float, float]]) -> Place:
        """Return the place after a factor and a shift along each axis.

        Examples
        --------
        >>> Place(0, (2.0,), (1.0,)).moved([(2, 0.5)])
        Place(input=0, steps=(4.0,), starts=(2.0,))
        """
        return Place(
            self.input,
            tuple(step * factor for step, (factor, _) in zip(self.steps, moves)),
            tuple(a + step * by for a, step, (_, by) in zip(self.starts, self.steps, moves)),
        )


SINGLE = Place(None)


def place_of_input(index: int, axes: int) -> Place:
    """Return the place of an input: an image, signal or tokens.

    Examples
    --------
    >>> place_of_input(0, 2).starts
    (0.5, 0.5)
    """
    return Place(index, (1.0,) * axes, (0.5,) * axes)


def is_single(shape: Sequence[int]) -> bool:
    """Tell whether a tensor has no grid, or one cell.

    No padding or resizing can bring a grid back.

    Examples
    --------
    >>> is_single((1, 1, 1, 64)), is_single((1, 64)), is_single((1, 2, 2, 64))
    (True, True, False)
    """
    return len(shape) < 3 or prod(shape[1:-1]) == 1


def place_after(
    operation: Any, inputs: Sequence[tuple[Sequence[int], Place | None]], channels_first: bool
) -> Place | None:
    """Return the place of an operation's output, from those of its inputs.

    Parameters
    ----------
    operation : keras.Operation
    inputs : sequence of tuple
        Shape and place of each tensor that it was called with.
    channels_first : bool
        Whether tensors are ``(batch, channels, *grid)``.

    Returns
    -------
    Place or None
        None if it isn't known.

    Examples
    --------
    >>> pool = keras.layers.MaxPooling2D(2)
    >>> place_after(pool, [((1, 8, 8, 3), place_of_input(0, 2))], False)
    Place(input=0, steps=(2.0, 2.0), starts=(1.0, 1.0))
    """
    merged = _merged([place for _, place in inputs])
    if merged is None:
        return None
    if merged.input is None:
        # A reshape may bring back what was flattened.
        return SINGLE if _is_followed(operation, channels_first) else None
    shape = next(shape for shape, place in inputs if place is not None and place.input is not None)
    if type(operation) is layers.Embedding and len(shape) == len(merged.steps) + 1:
        return merged  # Each token becomes a vector at its own place.
    if type(operation) in RECURRENT_CONVOLUTIONS and not channels_first:
        return _place_of_frames(operation, shape, merged)
    if type(operation) is layers.TimeDistributed and not channels_first:
        return _place_of_each_frame(operation.layer, shape, merged)
    grid = shape[2:] if channels_first else shape[1:-1]
    if len(grid) != len(merged.steps) or not _is_followed(operation, channels_first):
        return None
    return merged.moved([_move_of(operation, cells, axis) for axis, cells in enumerate(grid)])


def _place_of_frames(operation: Any, shape: Sequence[int], place: Place) -> Place | None:
    """Return the place of a recurrent convolution's frames.

    It gives one for each frame that it takes.
    """
    is_whole = operation.return_sequences and not operation.go_backwards
    if not is_whole or len(shape) != len(place.steps) + 2:
        return None
    cell = operation.cell
    moves = [(1.0, 0.0)]
    for size, stride, dilation, cells in zip(
        cell.kernel_size, cell.strides, cell.dilation_rate, shape[2:-1]
    ):
        moves.append(_window((size - 1) * dilation + 1, stride, cell.padding, cells))
    return place.moved(moves)


def _place_of_each_frame(operation: Any, shape: Sequence[int], place: Place) -> Place | None:
    """Return the place of a layer's output that takes single frames."""
    axes = len(place.steps) - 1
    if len(shape) != axes + 3 or not _is_followed(operation, channels_first=False):
        return None
    moves = [_move_of(operation, cells, axis) for axis, cells in enumerate(shape[2:-1])]
    return place.moved([(1.0, 0.0), *moves])


def _merged(places: Sequence[Place | None]) -> Place | None:
    """Return the common place of combined tensors; None if they differ."""
    if not places or None in places:
        return None
    placed = [place for place in places if place is not None and place.input is not None]
    if not placed:
        return SINGLE
    first = placed[0]
    for other in placed[1:]:
        # A shortcut of single pixels looks at the corner of what the other branch looks at.
        near = all(
            abs(a - b) <= step for a, b, step in zip(first.starts, other.starts, first.steps)
        )
        if other.input != first.input or other.steps != first.steps or not near:
            return None
    starts = zip(*(place.starts for place in placed))
    return first._replace(starts=tuple(sum(column) / len(placed) for column in starts))


def is_elementwise(operation: Any) -> bool:
    """Tell whether an operation is elementwise at inference.

    Examples
    --------
    >>> is_elementwise(keras.layers.Rescaling(2)), is_elementwise(keras.layers.Dense(2))
    (True, False)
    """
    kind = type(operation)
    if not isinstance(operation, keras.Layer):
        return kind.__module__.startswith("keras.") and kind.__name__ in POINTWISE
    return kind in ELEMENTWISE and kind not in (layers.Dense, layers.Softmax)


def _is_followed(operation: Any, channels_first: bool) -> bool:
    kind = type(operation)
    if not kind.__module__.startswith("keras."):
        return False
    if not isinstance(operation, keras.Layer):
        return kind.__name__ in POINTWISE
    activation = getattr(operation, "activation", None)
    if activation is not None and not str(getattr(activation, "__module__", "")).startswith(
        FRAMEWORKS
    ):
        return False
    if kind.__module__.startswith("keras.src.applications."):
        return True  # These layers scale channels or residuals.
    if channels_first and kind in (layers.Dense, layers.Softmax):
        return False  # These layers work on the last axis, which is part of the grid.
    if kind is layers.Concatenate:
        return bool(operation.axis in (-1, 1 if channels_first else 3))
    known = CONVOLUTIONS + POOLINGS + PADDINGS + CROPPINGS + UPSAMPLINGS + MERGES + ELEMENTWISE
    return kind in known


def _move_of(operation: Any, cells: int, axis: int) -> tuple[float, float]:
    """Return ``(factor, shift)``: cell ``i`` looks at ``factor * i + shift``.

    These are cells of the input.
    """
    kind = type(operation)
    if kind in CONVOLUTIONS:
        size = (operation.kernel_size[axis] - 1) * operation.dilation_rate[axis] + 1
        return _window(size, operation.strides[axis], operation.padding, cells)
    if kind in POOLINGS:
        pool, strides = operation.pool_size, operation.strides
        return _window(_at(pool, axis), _at(strides, axis), operation.padding, cells)
    if kind in PADDINGS:
        return 1, -_before(operation.padding, axis)
    if kind in CROPPINGS:
        return 1, _before(operation.cropping, axis)
    if kind in UPSAMPLINGS:
        times = _at(operation.size, axis)
        return 1 / times, 0.5 / times - 0.5
    return 1, 0


def _window(size: int, stride: int, padding: str, cells: int) -> tuple[float, float]:
    before = 0
    if padding == "valid" and cells - size < stride:
        stride = max(stride, size)  # A single cell is as large as all that it sees.
    if padding == "same":
        before = max((ceil(cells / stride) - 1) * stride + size - cells, 0) // 2
    elif padding == "causal":
        before = size - 1
    return stride, (size - 1) / 2 - before


def _at(value: Any, axis: int) -> int:
    return int(value[axis] if isinstance(value, tuple | list) else value)


def _before(amounts: Any, axis: int) -> int:
    """Return how much an axis gains or loses at its start."""
    if isinstance(amounts[0], tuple | list):
        return int(amounts[axis][0])
    return int(amounts[0])  # The only axis.
