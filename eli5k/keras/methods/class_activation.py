"""CAM, the first class activation map."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from keras import ops

from eli5k.keras.backends import Tensor
from eli5k.keras.evidence.probes import Evidence, Layer, Probe
from eli5k.keras.evidence.run import Attribution, Run
from eli5k.keras.methods.cam import grid_axes, sum_over_grid
from eli5k.keras.methods.registry import Cost, register
from eli5k.keras.model.structure import layer_at

# Half precision keeps three digits of a gradient.
KERNEL_TOLERANCE = 1e-2


@register(
    "cam",
    "layer",
    Cost(1, to_layer=1),
    "For models that end in global average pooling and one dense layer; the simplest.",
)
def cam(run: Run) -> Attribution:
    r"""CAM: weights channels by the dense layer after global average pooling.

    .. math:: M^c_{ij} = \sum_k w^c_k A^k_{ij}, \quad
              z^c = b^c + \frac{1}{Z} \sum_{ij} M^c_{ij}

    The weights belong to the score :math:`z^c` before the final softmax or sigmoid, even if the
    score after it is explained.

    The layers, which may be nested or custom, don't show whether a model is of this kind. What it
    computes does: the gradient of :math:`z^c` is the same at each of the :math:`Z` pixels, and
    :math:`Z` times that is a column of one of the model's kernels.

    Parameters
    ----------
    run : Run

    Returns
    -------
    Attribution
        Its maps are ``(targets, batch, *grid)``, signed.

    Raises
    ------
    ValueError
        If the score is anything but a dense layer on the global average of the layer.

    References
    ----------
    Zhou et al. 2016, https://arxiv.org/abs/1512.04150
    """
    if run.target.functions:
        raise ValueError("cam explains classes, not a callable in targets. Use method='grad-cam'.")
    asked = replace(run, target=replace(run.target, logits=True))
    answer = asked.evidence(Probe(Layer()), _cam_parts)
    _check_dense(asked, answer)
    scores = answer.scores
    if not run.target.logits and scores.probabilities is not None:
        scores = scores._replace(values=scores.probabilities)
    return answer._replace(maps=answer.maps[0], scores=scores)


def _check_dense(run: Run, answer: Attribution) -> None:
    """Raise ValueError unless the score is dense on the global average."""
    if run.target.objective is not None:
        # A difference of classes is not a column of a kernel: look at the classes themselves.
        plain = replace(run, target=replace(run.target, objective=None))
        answer = plain.with_classes(answer.scores).evidence(Probe(Layer()), _cam_parts)
    _, weights, unevenness = answer.maps
    classes = answer.scores.classes
    rows = np.isfinite(weights).all(axis=(0, 2))
    if not rows.any():
        return
    tolerance = KERNEL_TOLERANCE * np.abs(weights[:, rows]).max()
    if unevenness[:, rows].max() <= tolerance:
        for kernel in _kernels(run, weights.shape[-1], classes):
            expected = _weights_of(run, kernel, classes)[:, rows]
            if np.allclose(weights[:, rows], expected, rtol=0, atol=tolerance):
                return
    raise ValueError(_no_cam(run, str(answer.layer)))


def _cam_parts(evidence: Evidence) -> tuple[Tensor, Tensor, Tensor]:
    """Maps ``(targets, batch, *grid)``, weights and their spread ``(targets, batch, channels)``."""
    # The pooling spread the kernel's gradients over the pixels: their sum is the kernel.
    axes = grid_axes(evidence.gradients)
    weights = sum_over_grid(evidence.gradients)
    spread = ops.max(evidence.gradients, axis=axes) - ops.min(evidence.gradients, axis=axes)
    pixels = ops.sum(ops.ones_like(evidence.gradients), axis=axes)
    return (
        ops.sum(weights * evidence.activations, axis=-1),
        ops.squeeze(weights, axis=axes),
        spread * pixels,
    )


def _kernels(run: Run, channels: int, classes: np.ndarray) -> Iterator[np.ndarray]:
    """Yield columns ``(channels, batch * targets)`` of the dense layers' kernels.

    A 1x1 convolution counts as a dense layer. A dense layer may have more inputs than the pooled
    channels, so each run of rows is tried.
    """
    units = run.survey.heads[run.target.output].output[-1]
    columns = classes.ravel() * (not run.target.binary)
    # Start with the last one: it is the right one, unless the model has several outputs.
    for path in dict.fromkeys(call.path for call in reversed(run.survey.calls) if call.has_kernel):
        kernel = getattr(layer_at(run.model, path), "kernel", None)
        *window, rows, outputs = getattr(kernel, "shape", ()) or (0, 0)
        if outputs == units and set(window) <= {1}:
            chosen = ops.take(ops.reshape(kernel, (rows, outputs)), columns, axis=1)
            array = ops.convert_to_numpy(ops.cast(chosen, "float32"))
            for start in range(rows - channels + 1):
                yield array[start : start + channels]


def _weights_of(run: Run, kernel: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return a kernel's weights for the targets: ``(targets, batch, channels)``."""
    columns = kernel.T.reshape(*classes.shape, len(kernel))
    if run.target.binary:
        columns = np.where(classes[..., np.newaxis] == 1, 1, -1) * columns
    return columns.swapaxes(0, 1)


def _no_cam(run: Run, path: str) -> str:
    calls = list(dict.fromkeys(call.path for call in run.survey.calls))
    first = calls.index(path) + 1 if path in calls else 0  # Nothing calls the input layer.
    behind = [other for other in calls[first:] if not path.startswith(other + "/")]
    return (
        "cam needs a score that is one dense layer on the global average of a layer, but the "
        f"output {run.survey.heads[run.target.output].name!r} is not that of layer {path!r}. "
        f"After it the model calls: {', '.join(behind) or 'nothing'}. "
        "Use method='grad-cam', which gives the same map if both exist."
    )
