"""Time every method against the bare runs of the model that it needs, in one process.

    python benchmarks/methods.py --rst docs/benchmarks/methods.rst
    python benchmarks/methods.py grad-cam occlusion --runs 6

The model is MobileNetV2 with seeded random weights. Methods of one run, or of a few, are compared
with one compiled forward pass, at batch 1 and 32. Methods of many runs are compared with as many
compiled passes as their registered cost says, in chunks of the same size: forward, or forward and
backward. Figures are ratios of medians of interleaved runs.
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
from eli5k.keras.methods import (
    METHODS,
    RISE,
    AblationCAM,
    Cost,
    IntegratedGradients,
    Occlusion,
    ScoreCAM,
    Smooth,
)

CHUNK = 32
# With each method, how often it runs the model again: fewer times than by default, to be done soon.
MANY_RUNS = {
    "score-cam": (ScoreCAM(max_channels=128), 128),
    "ablation-cam": (AblationCAM(), 1280),
    "occlusion": (Occlusion(), 225),
    "rise": (RISE(masks=256), 256),
    "smooth-grad": (Smooth(samples=64), 64),
    "integrated-gradients": (IntegratedGradients(steps=64), 64),
}


def is_slow(cost: Cost) -> bool:
    """Tell whether a method runs the model many times."""
    return cost.each is not None and (cost.count is None or cost.count > 10)


def rows_of(cost: Cost, count: int) -> int:
    """How many rows a method sends through the model for one image, if it repeats ``count`` times.

    A method that it wraps counts as one run, which is what the default one needs.
    """
    again = 0 if cost.each is None else count * rows_of(cost.each, 0)
    return cost.forward + cost.method + again


def goes_back(cost: Cost) -> bool:
    """Tell whether what a method repeats is a backward pass to the input, too."""
    return cost.each is not None and bool(cost.each.backward or cost.each.method)


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


def few_runs(model: keras.Model, names: list[str], runs: int) -> dict[str, dict[str, float]]:
    """Ratios of the methods of one run or a few to the forward pass, at batch 1 and 32."""
    forward = compiled_forward(model)
    table: dict[str, dict[str, float]] = {}
    for batch, count in ((1, 2 * runs), (CHUNK, max(5, runs // 3))):
        docs = documents(batch)
        column = table[f"batch {batch}"] = {}
        for name in names:
            functions = {
                "forward": lambda docs=docs: forward(docs),
                name: lambda name=name, docs=docs: attribute(
                    model, docs, 0, method=name, logits=True
                ),
            }
            seconds = interleaved(functions, count)
            column[name] = seconds[name] / seconds["forward"]
    return table


def many_runs(model: keras.Model, names: list[str], runs: int) -> dict[str, float]:
    """Ratios of the methods of many runs to these runs alone."""
    doc = documents(1)
    bare = {False: compiled_forward(model), True: compiled_gradient(model)}
    ratios = {}
    for name in names:
        method, count = MANY_RUNS[name]
        cost = METHODS[name].cost
        functions = {
            "bare": in_chunks(bare[goes_back(cost)], rows_of(cost, count)),
            name: lambda method=method: attribute(model, doc, 0, method=method, logits=True),
        }
        seconds = interleaved(functions, runs)
        ratios[name] = seconds[name] / seconds["bare"]
    return ratios


def main() -> None:
    """Measure, print and, if asked, write the tables for the docs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", default=list(METHODS))
    parser.add_argument("--runs", type=int, default=24, help="of each function")
    parser.add_argument("--rst", help="file to write the tables to")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", eli5k.ExplanationWarning)
    model = build("MobileNetV2")
    few = [name for name in arguments.methods if not is_slow(METHODS[name].cost)]
    many = [name for name in arguments.methods if name in MANY_RUNS]
    tables = []
    if few:
        tables.append(few_runs(model, few, arguments.runs))
    if many:
        ratios = many_runs(model, many, max(3, arguments.runs // 4))
        tables.append({"of its bare runs": ratios})
    for table in tables:
        for column, ratios in table.items():
            print(column)
            for name, ratio in ratios.items():
                print(f"  {name:22} {ratio:6.2f}")
    if arguments.rst:
        with open(arguments.rst, "w") as file:
            file.write("\n".join(map(rst_table, tables)))


if __name__ == "__main__":
    main()
