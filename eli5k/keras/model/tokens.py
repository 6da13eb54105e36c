"""Find the grid of patches behind a vision transformer's tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import gcd, prod

from eli5k.keras.model.structure import Call, grid_of

# Class, distillation and register tokens that may come before the patches.
MOST_EXTRA_TOKENS = 8
TOKENS_RANK = 3
PICTURE_AXES = 2


def with_token_grids(
    calls: Iterable[Call], rank: int, image_grid: Sequence[int], channels_first: bool
) -> list[Call]:
    """Add the grid of the tokens to each call that has one.

    Parameters
    ----------
    calls : iterable of Call
        Calls of a model, in order.
    rank : int
        Rank of the model's image input.
    image_grid : sequence of int
    channels_first : bool
    """
    grids = square_patches(image_grid)
    known = []
    for call in calls:
        tokens = call.tokens
        shape = call.shape or ()
        if len(shape) == rank and not call.in_attention:
            grids.insert(0, grid_of(shape, channels_first))
        elif len(shape) == TOKENS_RANK < rank:
            tokens = token_grid(shape[1], grids)
        known.append(call._replace(tokens=tokens))
    return known


def square_patches(image_grid: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the grids of square patches that fit a picture.

    There are none for a volume.

    Examples
    --------
    >>> square_patches((8, 12))
    [(8, 12), (4, 6), (2, 3)]
    """
    if len(image_grid) != PICTURE_AXES:
        return []
    common = gcd(*image_grid)
    sizes = [size for size in range(1, common + 1) if common % size == 0]
    return [tuple(length // size for length in image_grid) for size in sizes]


def token_grid(tokens: int, grids: Iterable[tuple[int, ...]]) -> tuple[int, ...] | None:
    """Choose the grid of patches that leaves the fewest extra tokens.

    Parameters
    ----------
    tokens : int
    grids : iterable of tuple of int
        Possible grids, the likeliest first.

    Examples
    --------
    >>> token_grid(197, square_patches((224, 224)))
    (14, 14)
    >>> token_grid(150, square_patches((224, 224))) is None
    True
    """
    extras = {grid: tokens - prod(grid) for grid in grids}
    fitting = [
        grid
        for grid, extra in extras.items()
        if 0 <= extra <= MOST_EXTRA_TOKENS and 2 * extra < tokens and prod(grid) > 1
    ]
    return min(fitting, key=extras.__getitem__, default=None)
