"""Time every method against the bare runs of the model that it needs, in one process.

    python benchmarks/methods.py --rst docs/benchmarks/methods.rst

The model is MobileNetV2 with seeded random weights. Methods of one run, or of a few, are compared
with one compiled forward pass, at batch 1 and 32; methods that try, with as many compiled forward
passes as they make; those that average gradients, with as many compiled forward and backward
passes, in chunks of the same size. Figures are ratios of medians of interleaved runs.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable

import keras
import numpy as np
from run import build, compiled_forward, documents, interleaved, rst_table

import eli5k
from eli5k.keras import attribute
from eli5k.keras.methods import METHODS, RISE, IntegratedGradients, Occlusion, ScoreCAM, Smooth

CHUNK = 32
# Of the others, each is below.
FEW_RUNS = [
    name
    for name, method in METHODS.items()
    if method.family != "trying" and "(50)" not in method.cost
]
# With each method, how many rows it sends through the model for one image.
TRYING = {
    "score-cam": (ScoreCAM(max_channels=128), 128 + 1),
    "occlusion": (Occlusion(), 225 + 1),
    "rise": (RISE(masks=256), 256 + 1),
}
AVERAGING = {
    "smooth": (Smooth(samples=64), 64 + 1),
    "integrated-gradients": (IntegratedGradients(steps=64), 64),
}


def compiled_gradient(model: keras.Model) -> Callable[[np.ndarray], object]:
    """Score of class 0 of each sample, forward and backward to the input, compiled."""
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        @tf.function
        def gradient(x):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(x)
                score = tf.reduce_sum(model(x, training=False)[:, 0])
            return tape.gradient(score, x)

        return lambda x: gradient(tf.convert_to_tensor(x)).numpy()
    if backend == "jax":
        import jax

        state = (
            [v.value for v in model.trainable_variables],
            [v.value for v in model.non_trainable_variables],
        )

        def score(x, state):
            return model.stateless_call(*state, x, training=False)[0][:, 0].sum()

        gradient = jax.jit(jax.grad(score))
        return lambda x: np.asarray(gradient(x, state))
    import torch

    def gradient(x):
        x = keras.ops.convert_to_tensor(x).requires_grad_()
        [result] = torch.autograd.grad(model(x, training=False)[:, 0].sum(), x)
        return keras.ops.convert_to_numpy(result)

    return gradient


def in_chunks(function: Callable, rows: int) -> Callable[[], None]:
    """Run ``function`` as often as ``rows`` rows need it, ``CHUNK`` at a time."""
    chunks = [documents(min(CHUNK, rows - start)) for start in range(0, rows, CHUNK)]

    def run() -> None:
        for chunk in chunks:
            function(chunk)

    return run


def few_runs(model: keras.Model, runs: int) -> dict[str, dict[str, float]]:
    """Ratios of the methods of one run or a few to the forward pass, at batch 1 and 32."""
    forward = compiled_forward(model)
    table: dict[str, dict[str, float]] = {}
    for batch, count in ((1, 2 * runs), (CHUNK, max(5, runs // 3))):
        docs = documents(batch)
        column = table[f"batch {batch}"] = {}
        for name in FEW_RUNS:
            functions = {
                "forward": lambda docs=docs: forward(docs),
                name: lambda name=name, docs=docs: attribute(
                    model, docs, 0, method=name, logits=True
                ),
            }
            seconds = interleaved(functions, count)
            column[name] = seconds[name] / seconds["forward"]
    return table


def many_runs(model: keras.Model, runs: int) -> dict[str, float]:
    """Ratios of the methods of many runs to these runs alone."""
    doc = documents(1)
    ratios = {}
    for methods, bare in (
        (TRYING, compiled_forward(model)),
        (AVERAGING, compiled_gradient(model)),
    ):
        for name, (method, rows) in methods.items():
            functions = {
                "bare": in_chunks(bare, rows),
                name: lambda method=method: attribute(model, doc, 0, method=method, logits=True),
            }
            seconds = interleaved(functions, runs)
            ratios[name] = seconds[name] / seconds["bare"]
    forward = in_chunks(compiled_forward(model), 1280 + 1)
    seconds = interleaved(
        {"bare": forward, "it": lambda: attribute(model, doc, 0, method="ablation-cam")}, 2
    )
    ratios["ablation-cam"] = seconds["it"] / seconds["bare"]
    return ratios


def main() -> None:
    """Measure, print, and write the tables for the docs where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=24, help="of each function")
    parser.add_argument("--rst", help="file to write the tables to")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", eli5k.ExplanationWarning)
    model = build("MobileNetV2")
    few = few_runs(model, arguments.runs)
    many = {"of its bare runs": many_runs(model, max(3, arguments.runs // 4))}
    for table in (few, many):
        for column, ratios in table.items():
            print(column)
            for name, ratio in ratios.items():
                print(f"  {name:22} {ratio:6.2f}")
    if arguments.rst:
        with open(arguments.rst, "w") as file:
            file.write(rst_table(few) + "\n" + rst_table(many))


if __name__ == "__main__":
    main()
