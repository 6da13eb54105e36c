"""Other objectives: a class against its rivals, or evidence against it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import keras

from eli5k.keras.backends import Tensor
from eli5k.keras.evidence.run import Attribution, Run
from eli5k.keras.evidence.scores import Objective
from eli5k.keras.evidence.targets import class_count
from eli5k.keras.methods.registry import Cost, find_method, register
from eli5k.options import MethodLike


@register(
    "finer-cam",
    "meta",
    Cost(method=1),
    "To see what tells similar classes apart; pass logits=True.",
)
@dataclass(frozen=True)
class FinerCAM:
    r"""Finer-CAM: explains the class against those with the nearest scores.

    .. math:: M^c = m \Big[ f^c - \frac{\alpha}{k} \sum_{d \in D_c} f^d \Big]

    where :math:`D_c` are the :math:`k` classes with the scores nearest to that of :math:`c`. The
    method explains the difference, in one run. Use it with ``logits=True``: a softmax has already
    compared the classes.

    The map is that of the wrapped method, with its shape and sign; the scores are those of the
    classes. The cost is that of the method, since the same run finds the nearest classes.

    Attributes
    ----------
    method : str or callable
    similar : int
        Number of classes to compare :math:`c` with.
    alpha : float
        Weight of the other classes.

    References
    ----------
    Zhang et al. 2025, https://arxiv.org/abs/2501.11309

    Examples
    --------
    >>> import numpy as np
    >>> from eli5k.keras import attribute
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3), keras.layers.Flatten()]
    >>> model = keras.Sequential([*layers, keras.layers.Dense(3)])
    >>> scores, maps = attribute(model, np.ones((5, 8, 8, 1)), method=FinerCAM())
    >>> maps.shape
    (5, 6, 6)
    """

    method: MethodLike = "grad-cam"
    similar: int = 3
    alpha: float = 0.6

    def __post_init__(self) -> None:
        if self.similar < 1:
            raise ValueError(f"similar must be positive. Received: {self}")

    @property
    def needs_layer(self) -> bool:
        return find_method(self.method).needs_layer

    def __call__(self, run: Run) -> Attribution:
        _check_classes(run)
        objective = AgainstSimilar(self.similar, self.alpha, run.target.objective)
        target = replace(run.target, objective=objective)
        return find_method(self.method).explain(replace(run, target=target))


@dataclass(frozen=True)
class AgainstSimilar:
    """Objective: a class's score less the mean of similar classes.

    That mean is multiplied by ``alpha``.
    """

    similar: int
    alpha: float
    then: Objective | None = None

    def __call__(
        self, values: Tensor, every: Tensor, classes: Tensor, rivals: Tensor
    ) -> tuple[Tensor, Tensor]:
        ops = keras.ops
        if rivals is None:
            rivals = self._nearest(values, every, classes)
        flat = ops.reshape(rivals, (-1, rivals.shape[1] * rivals.shape[2]))
        scores = ops.take_along_axis(every, flat, axis=1)
        scores = ops.reshape(scores, (-1, *rivals.shape[1:]))
        difference = values - self.alpha * ops.mean(scores, axis=2)
        if self.then is not None:
            difference, _ = self.then(difference, every, classes, rivals)
        return difference, rivals

    def _nearest(self, values: Tensor, every: Tensor, classes: Tensor) -> Tensor:
        ops = keras.ops
        count = every.shape[1]
        distance = ops.abs(ops.expand_dims(every, 1) - ops.expand_dims(values, 2))
        # Sort each class before all others, even before one with the same score.
        is_itself = ops.equal(ops.expand_dims(classes, 2), ops.arange(count, dtype="int32"))
        distance = ops.where(is_itself, -1.0, distance)
        # Take the first of equal distances: all backends sort stably.
        order = ops.argsort(distance, axis=2)
        return ops.cast(order[..., 1 : 1 + min(self.similar, count - 1)], "int32")


def _check_classes(run: Run) -> None:
    head = run.survey.heads[run.target.output]
    reading = run.target.reading
    channels = class_count(head) if reading is None else reading.count(head.output)
    count = 2 if run.target.binary else channels
    is_contrast = isinstance(run.target.objective, AgainstSimilar)
    if run.target.functions or is_contrast or count is None or count < 2:
        raise ValueError(
            "finer-cam compares a class with others: targets must be classes of an output with two "
            "or more, and not already compared. Received a callable, a comparison, or the output "
            f"{head.name!r} of shape {head.output}."
        )


@register(
    "counterfactual",
    "meta",
    Cost(method=1),
    "To see what would have to go for the score to rise.",
)
@dataclass(frozen=True)
class Counterfactual:
    r"""Counterfactual: explains the negated score, to show evidence against the class.

    .. math:: M^c = m \left[ -f^c \right]

    The map shows what would raise the score if it were removed: all gradients are negated. It has
    the shape of the wrapped method's map; the scores are those of the classes. The cost is that of
    the method.

    Attributes
    ----------
    method : str or callable

    References
    ----------
    Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391

    Examples
    --------
    >>> import numpy as np
    >>> from eli5k.keras import attribute
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3), keras.layers.Flatten()]
    >>> model = keras.Sequential([*layers, keras.layers.Dense(3)])
    >>> docs = np.ones((5, 8, 8, 1))
    >>> scores, against = attribute(model, docs, method=Counterfactual())
    >>> bool(np.allclose(against, -attribute(model, docs)[1]))
    True
    """

    method: MethodLike = "grad-cam"

    @property
    def needs_layer(self) -> bool:
        return find_method(self.method).needs_layer

    def __call__(self, run: Run) -> Attribution:
        target = replace(run.target, objective=Negated(run.target.objective))
        return find_method(self.method).explain(replace(run, target=target))


@dataclass(frozen=True)
class Negated:
    """Objective: the negative of the score, or of another objective."""

    of: Objective | None = None

    def __call__(
        self, values: Tensor, every: Tensor, classes: Tensor, rivals: Tensor
    ) -> tuple[Tensor, Tensor]:
        if self.of is not None:
            values, rivals = self.of(values, every, classes, rivals)
        return -values, rivals
