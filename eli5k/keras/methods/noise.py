"""SmoothGrad and related methods: moments of a map under noise."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from eli5k.keras.evidence.batching import Chunk, add_perturbed, chunks
from eli5k.keras.evidence.run import Attribution, Run
from eli5k.keras.methods.gradient import gradient, signed_gradient
from eli5k.keras.methods.guided import guided_backprop, guided_gradients
from eli5k.keras.methods.registry import AtInput, Cost, find_method, register
from eli5k.options import MethodLike

COST = Cost(method=1, each=Cost(method=1), count=50, unit="noisy copy")
SMOOTH = "Smilkov et al. 2017, https://arxiv.org/abs/1706.03825"
SQUARE = "Hooker et al. 2019, https://arxiv.org/abs/1806.10758"
VAR = "Adebayo et al. 2018, https://arxiv.org/abs/1810.03307"
# One class implements three methods.
DOC = "{}\n\nReferences\n----------\n{}"


@register(
    "smooth-grad",
    "meta",
    COST,
    "If a map from the input, such as gradient, is too noisy to read.",
    doc=DOC.format("SmoothGrad: averages the maps of noisy copies of the input.", SMOOTH),
)
@register(
    "square-grad",
    "meta",
    COST,
    "Like smooth-grad, but strong parts of the map stand out more.",
    doc=DOC.format("SquareGrad: averages the squared maps of noisy copies of the input.", SQUARE),
    kind="square",
)
@register(
    "var-grad",
    "meta",
    COST,
    "To see where a map depends on details of the input.",
    doc=DOC.format("VarGrad: takes the variance of the maps of noisy copies of the input.", VAR),
    kind="variance",
)
@dataclass(frozen=True)
class Smooth:
    r"""SmoothGrad: averages the maps of noisy copies of the input.

    ``kind`` chooses another moment than the mean.

    .. math:: M^c = \frac{1}{n} \sum_{i=1}^n m^c \left( X + \mathcal N(0, \sigma^2) \right), \quad
              \sigma = \mathrm{noise} \cdot (\max X - \min X)

    where :math:`m^c` is the map of ``method``. SquareGrad averages :math:`(m^c)^2` instead, and
    VarGrad takes the variance. For ``"gradient"`` and ``"guided-backprop"``, :math:`m^c` is the
    gradient of each channel, as in the papers: the largest absolute value is taken afterwards, when
    the noise has cancelled out.

    The map has the shape of the wrapped method's. With ``kind="mean"`` it is signed like that, with
    the others it is never negative. The method runs once, and once for each noisy copy.

    Attributes
    ----------
    method : str or callable
    samples : int
        Number of noisy copies; all documents get the same noise.
    noise : float
        Standard deviation of the noise as a share of the input's range. The paper uses 0.1 to 0.2.
    kind : {"mean", "square", "variance"}
    seed : int
        The same seed gives the same map.

    References
    ----------
    SmoothGrad: Smilkov et al. 2017, https://arxiv.org/abs/1706.03825. SquareGrad: Hooker et al.
    2019, https://arxiv.org/abs/1806.10758. VarGrad: Adebayo et al. 2018,
    https://arxiv.org/abs/1810.03307

    Examples
    --------
    >>> import keras
    >>> from eli5k.keras import attribute
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3), keras.layers.Flatten()]
    >>> model = keras.Sequential([*layers, keras.layers.Dense(3)])
    >>> method = Smooth("grad-cam", samples=8)
    >>> scores, maps = attribute(model, np.ones((5, 8, 8, 1)), method=method)
    >>> maps.shape
    (5, 6, 6)
    """

    method: MethodLike = "gradient"
    samples: int = 50
    noise: float = 0.15
    kind: Literal["mean", "square", "variance"] = "mean"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 1 or self.noise < 0 or self.kind not in ("mean", "square", "variance"):
            raise ValueError(
                "samples must be positive, noise not negative, and kind 'mean', 'square' or "
                f"'variance'. Received: {self}"
            )

    @property
    def needs_layer(self) -> bool:
        return find_method(self.method).needs_layer

    def __call__(self, run: Run) -> Attribution:
        explain, finish = _with_sign(find_method(self.method).explain)
        plain = explain(run)
        run = run.with_classes(plain.scores)
        image = run.image
        axes = tuple(range(1, image.ndim))
        size = self.noise * np.ptp(image, axis=axes, keepdims=True).astype("float32")
        shift, square = np.zeros_like(plain.maps), np.zeros_like(plain.maps)
        for chunk in chunks(run, self.samples):
            noise = self._noise(chunk, image.shape[1:])
            noise *= size[chunk.samples]
            noise += image[chunk.samples]
            # Around the plain map, so that moments are exactly zero if noise changes nothing.
            change = (
                explain(run.perturbed(noise, chunk.samples)).maps - plain.maps[:, chunk.samples]
            )
            add_perturbed(shift, chunk, change)
            add_perturbed(square, chunk, np.square(change, out=change))
        shift, square = shift / self.samples, square / self.samples
        mean, variance = plain.maps + shift, np.maximum(square - shift**2, 0)
        kinds = {"mean": mean, "variance": variance, "square": mean**2 + variance}
        return plain._replace(maps=finish(kinds[self.kind]))

    def _noise(self, chunk: Chunk, shape: Sequence[int]) -> np.ndarray:
        """Draw the noise of each row, from its seed and number alone."""
        noise = np.empty((len(chunk.numbers), *shape), "float32")

        def draw(row: np.ndarray, number: int) -> None:
            np.random.default_rng((self.seed, number)).standard_normal(dtype="float32", out=row)

        # Drawing takes long enough, compared with the model, to use all cores.
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            list(threads.map(draw, noise, chunk.numbers.tolist()))
        return noise


def _with_sign(explain: Callable[..., Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Split a method into its signed part and the rest.

    Most methods are signed to the end.
    """
    if explain == AtInput(gradient):
        return AtInput(signed_gradient), _largest_size
    if explain is guided_backprop:
        return guided_gradients, _largest_size
    return explain, np.asarray


def _largest_size(gradients: np.ndarray) -> np.ndarray:
    largest: np.ndarray = np.abs(gradients).max(axis=-1)
    return largest
