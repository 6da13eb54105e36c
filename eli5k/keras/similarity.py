"""Explain why two documents have similar embeddings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from eli5k.keras.backends import Tensor
from eli5k.keras.evidence.targets import find_head
from eli5k.keras.inputs import read_document
from eli5k.keras.model.survey import outputs_of, survey

# The square of a norm is at least this: an embedding of zeros is similar to nothing.
TINY = 1e-30


@dataclass(frozen=True)
class Similarity:
    r"""Cosine similarity to an embedding, for ``targets=``.

    .. math:: s(x) = \frac{x \cdot r}{\lVert x \rVert \, \lVert r \rVert}

    Frozen, hashable and picklable. :func:`similar_to` makes one from another document.

    Attributes
    ----------
    embedding : array-like of float
        The reference :math:`r`: kept as a tuple. An output with more than one axis counts as one
        long vector.
    output : int
        Position of the embedding among the model's outputs.
    name : str
        How the target is called.

    Raises
    ------
    ValueError
        If the embedding is empty, holds only zeros, or is not finite.

    Examples
    --------
    >>> model = keras.Sequential([keras.Input((2, 1, 1)), keras.layers.Flatten()])
    >>> from eli5k.keras import attribute
    >>> scores, _ = attribute(
    ...     model, np.array([3.0, 4.0]).reshape(1, 2, 1, 1), Similarity([1, 0]), method="gradient"
    ... )
    >>> scores.round(4).tolist()
    [0.6...]
    """

    embedding: tuple[float, ...] = field(repr=False)
    output: int = 0
    name: str = "similarity"

    def __post_init__(self) -> None:
        vector = np.asarray(self.embedding, "float32").ravel()
        if not (np.isfinite(vector).all() and vector.any()):
            raise ValueError(
                "embedding must hold finite numbers, and not only zeros. "
                f"Received: {len(vector)} numbers, such as {vector[:3].tolist()}"
            )
        object.__setattr__(self, "embedding", tuple(vector.tolist()))

    @property
    def __name__(self) -> str:
        return self.name

    def __call__(self, outputs: Any) -> Tensor:
        ops = keras.ops
        embeddings = keras.tree.flatten(outputs)[self.output]
        length = None if None in embeddings.shape[1:] else prod(embeddings.shape[1:])
        if length not in (None, len(self.embedding)):
            raise ValueError(
                f"The embedding must have {length} numbers, as the model's output of shape "
                f"{tuple(embeddings.shape)} does. Received: {len(self.embedding)}"
            )
        reference = np.array(self.embedding, "float32")
        unit = ops.convert_to_tensor(reference / np.linalg.norm(reference))
        rows = ops.reshape(ops.cast(embeddings, "float32"), (-1, len(reference)))
        norms = ops.sqrt(ops.maximum(ops.sum(ops.square(rows), axis=1), TINY))
        return ops.sum(rows * unit, axis=1) / norms


def similar_to(
    model: keras.Model,
    other: Any,
    *,
    output: str | int | None = None,
    preprocess: Callable[..., Any] | Literal[False] | None = None,
) -> Similarity:
    """Explain what a picture has in common with another, for a model.

    The target is the cosine similarity of two embeddings: what the model returns for the explained
    document, and what it returns for ``other``, which stays as it is.

    Parameters
    ----------
    model : keras.Model
        Returns embeddings: vectors, or tensors that count as vectors.
    other : path, PIL.Image.Image, array, tensor, or list or dict of these
        The other document, read like the explained one.
    output : str, int or None
        Which of several outputs is the embedding; None for the first.
    preprocess : callable, False or None
        As for the explained document: see :func:`eli5k.explain_prediction_keras`.

    Returns
    -------
    Similarity
        An entry of ``targets=``.

    Raises
    ------
    TypeError, ValueError
        If ``other`` can't be read, ``output`` doesn't exist, or the embedding has only zeros.

    Examples
    --------
    >>> import eli5k
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3, activation="relu")]
    >>> model = keras.Sequential([*layers, keras.layers.GlobalAveragePooling2D()])
    >>> one, other = np.random.default_rng(0).uniform(size=(2, 8, 8, 1))
    >>> expl = eli5k.explain_prediction_keras(model, one, targets=[similar_to(model, other)])
    >>> expl.targets[0].target
    'similarity'
    """
    document = read_document(model, other, preprocess=preprocess)
    position = find_head(survey(model, document.inputs).heads, output)
    embedding = outputs_of(model, document.inputs)[position]
    source = document.source
    name = f"similarity to {Path(source).name}" if source else "similarity"
    return Similarity(tuple(embedding.ravel().tolist()), position, name)
