"""Weights test: do maps change when the model's weights are shuffled."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from eli5k.keras.attribution import run as prepare
from eli5k.keras.evidence.patches import ReplacedWeights
from eli5k.keras.evidence.run import Run
from eli5k.keras.methods import find_method
from eli5k.keras.metrics.explained import explained
from eli5k.keras.model.memory import NoKeyError, key_of, remember
from eli5k.keras.model.structure import walk
from eli5k.options import MethodLike

# Shares of the layers with weights that are shuffled, from the output on: the first layers, which
# only see edges and colours, are left alone.
SHARES = (0.25, 0.5, 0.75)
SLACK = 0.3  # rank correlation above the floor
# Statistics of normalisation layers: to shuffle them would only change the scale.
STATISTICS = ("moving_mean", "moving_variance")


@dataclass(frozen=True, slots=True)
class WeightsTest:
    """How much a method's maps depend on the model's weights.

    Attributes
    ----------
    shares : tuple of float
        Shares of the layers whose weights were shuffled, from the output on.
    likeness : tuple of float
        Rank correlation of the maps with those of the model as it is, for each share.
    floor : float
        Rank correlation of the maps of two different documents.
    """

    shares: tuple[float, ...]
    likeness: tuple[float, ...]
    floor: float

    @property
    def looks_at_the_model(self) -> bool:
        """Whether shuffling half of the layers leaves little more than chance."""
        return self.likeness[1] <= max(self.floor, 0.0) + SLACK


def weights_test(
    model: keras.Model,
    docs: Any,
    targets: Any = None,
    *,
    method: MethodLike = "grad-cam",
    layer: Any = None,
    output: str | int | None = None,
    seed: int = 0,
    batch_size: int = 32,
) -> WeightsTest:
    """Shuffle a model's weights from the output on, and compare the maps.

    The model itself is never touched. A method whose map stays the same does not look at what the
    model has learned. It is a test of the method on this kind of model, not of a single map, and is
    remembered for as long as the model lives and its weights and the documents are the same.

    Parameters
    ----------
    model : keras.Model
    docs, targets, method, layer, output, batch_size
        As in :func:`eli5k.keras.attribute`; two documents at least. The score before a softmax or
        sigmoid is explained.
    seed : int

    Returns
    -------
    WeightsTest

    Raises
    ------
    TypeError, ValueError
        As :func:`eli5k.keras.attribute`; also if there is one document only, or with
        ``method="cam"``, which reads the model's own weights.

    References
    ----------
    Adebayo et al. 2018, https://arxiv.org/abs/1810.03292

    Examples
    --------
    >>> layers = [keras.Input((14, 14, 1)), keras.layers.Conv2D(4, 3, activation="relu")]
    >>> layers += [keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D()]
    >>> docs = np.random.default_rng(0).random((2, 14, 14, 1))
    >>> weights_test(keras.Sequential(layers), docs, method="gradient").shares
    (0.25, 0.5, 0.75)
    """
    asked = prepare(
        model, docs, targets, layer=layer, output=output, logits=True, batch_size=batch_size
    )
    if asked.count < 2:
        raise ValueError(
            "docs must have two documents or more: the maps of different documents are the "
            f"yardstick. Received: {asked.count}"
        )
    structure = asked.survey.structure
    try:
        key = key_of((find_method(method).explain, asked.target, layer, seed, _digest(asked)))
    except NoKeyError:
        return _tested(asked, method, layer, seed)
    found: WeightsTest = remember(
        model, ("weights test", key), structure, lambda: _tested(asked, method, layer, seed)
    )
    return found


def _tested(asked: Run, method: MethodLike, layer: Any, seed: int) -> WeightsTest:
    plain = explained(asked, method)
    asked = asked.with_classes(plain.scores).at_layer(plain.layer or layer)
    likeness = []
    for share in SHARES:
        shuffled = with_shuffled_weights(asked, share, seed)
        likeness.append(_likeness(plain.maps, explained(shuffled, method).maps))
    floor = _likeness(plain.maps, np.roll(plain.maps, 1, axis=1))
    return WeightsTest(SHARES, tuple(likeness), floor)


def _digest(asked: Run) -> str:
    """Digest of a test's numbers: weights, documents and classes."""
    found = hashlib.blake2b()
    variables = asked.model.variables
    values = [*map(keras.ops.convert_to_numpy, variables), *keras.tree.flatten(asked.inputs)]
    for value in [*values, () if asked.classes is None else asked.classes]:
        found.update(np.asarray(value).tobytes())
    return found.hexdigest()


def with_shuffled_weights(run: Run, share: float, seed: int = 0) -> Run:
    """Ask the same of a model whose last layers have shuffled weights.

    Parameters
    ----------
    run : Run
    share : float
        Share of the layers that have weights, from the output on.
    seed : int

    Returns
    -------
    Run

    Examples
    --------
    >>> model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()])
    >>> model.add(keras.layers.Dense(3))
    >>> asked = prepare(model, np.random.default_rng(0).random((1, 4, 4, 1)), 1)
    >>> bool(with_shuffled_weights(asked, 1.0).scores().values == asked.scores().values)
    False
    """
    layers = _weights_by_layer(run)
    numbers = [number for of_layer in layers for number in of_layer]
    first = len(layers) - max(1, round(share * len(layers)))
    chosen = {number for of_layer in layers[first:] for number in of_layer}
    random = np.random.default_rng(seed)
    values = []
    for number in numbers:
        value = np.asarray(keras.ops.convert_to_numpy(run.model.variables[number]))
        order = random.permutation(value.size)
        values.append(value.ravel()[order].reshape(value.shape) if number in chosen else value)
    # Pass all weights for each share, so that nothing is compiled again.
    patches = (*run.patches, ReplacedWeights(tuple(numbers)))
    return replace(run, patches=patches, operands=(*run.operands, tuple(values)))


def _weights_by_layer(run: Run) -> list[list[int]]:
    """Indices of each layer's weights, in the order of the calls."""
    index = {id(variable): number for number, variable in enumerate(run.model.variables)}
    parts = dict(walk(run.model))
    found: list[list[int]] = []
    for call in run.survey.calls:
        # Operations, and single outputs of a layer, have no weights.
        weights: Sequence[Any] = getattr(parts.get(call.path.split("[")[0]), "weights", ())
        numbers = [
            index.pop(id(weight))
            for weight in weights
            if id(weight) in index and weight.name not in STATISTICS
        ]
        if numbers:
            found.append(numbers)
    return found


def _likeness(maps: np.ndarray, others: np.ndarray) -> float:
    """Mean rank correlation of signed maps ``(targets, batch, *grid)``.

    It is 0 for a flat map.
    """
    rows, columns = (each.reshape(-1, each[0, 0].size) for each in (maps, others))
    found = [spearman(row, column) for row, column in zip(rows, columns)]
    return float(np.mean(found))


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Return the rank correlation of two arrays, with mean ranks for ties.

    It is 0 if one of them is constant.

    Examples
    --------
    >>> round(spearman(np.array([1, 2, 4, 4]), np.array([1, 4, 9, 16])), 4)
    0.9487
    """
    ranks = [_mean_ranks(each.ravel()) for each in (one, other)]
    centred = [each - each.mean() for each in ranks]
    norm = np.prod([np.linalg.norm(each) for each in centred])
    return float(centred[0] @ centred[1] / norm) if norm else 0.0


def _mean_ranks(values: np.ndarray) -> np.ndarray:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: np.ndarray = (last - (counts - 1) / 2)[places]
    return ranks
