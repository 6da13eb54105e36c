"""Noise that shows which outputs depend on what, without any document."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import keras
import numpy as np

# A model may expect numbers around zero, from 0 to 1 or from 0 to 255, and all of its units may be
# dead for others.
NOISE_SCALES = (1.0, 0.1, 128.0)


def noise_like(inputs: Any, tokens: Collection[int], rows: int | None = None) -> Any:
    """Make noise shaped like a model's inputs, the same at each call.

    Parameters
    ----------
    inputs : numpy.ndarray, or list or dict of them
        ``(batch, ...)``: only their shapes and dtypes matter.
    tokens : collection of int
        Positions of the flat inputs that are numbers of tokens, whatever their dtype is: the
        ``embeddings`` of the survey.
    rows : int or None
        How many samples; None for one with each of ``NOISE_SCALES``.

    Returns
    -------
    numpy.ndarray, or list or dict of them
    """
    random = np.random.default_rng(0)
    count = rows or len(NOISE_SCALES)
    scales = np.resize(NOISE_SCALES, count)

    def draw(like: np.ndarray, is_token: bool) -> np.ndarray:
        shape = (count, *like.shape[1:])
        if is_token or like.dtype.kind not in "f":
            # Tokens of a vocabulary of unknown size, or a mask: small whole numbers.
            return random.integers(0, 2, shape).astype(like.dtype)
        noise = random.standard_normal(shape)
        return (noise * scales.reshape(-1, *(1,) * (like.ndim - 1))).astype(like.dtype)

    flat = [draw(like, index in tokens) for index, like in enumerate(keras.tree.flatten(inputs))]
    return keras.tree.pack_sequence_as(inputs, flat)
