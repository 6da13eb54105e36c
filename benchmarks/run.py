"""Time Grad-CAM against the compiled forward pass of the same model, in the same process.

    python benchmarks/run.py                     # MobileNetV2, ResNet50, VGG16
    python benchmarks/run.py MobileNetV2 --runs 100 --rst table.rst

Every figure is a ratio of medians of interleaved runs, since absolute times depend on the machine
and drift on it; the first calls are taken in processes of their own. eli5 is timed where it is
installed and the backend is TensorFlow.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from statistics import median

import keras
import numpy as np

import eli5k

MODELS = ("MobileNetV2", "ResNet50", "VGG16")
SHAPE = (224, 224, 3)
CALLS = 10


def build(name: str) -> keras.Model:
    """A model of ``keras.applications`` with seeded random weights through which signals pass.

    Batch normalisation gets the statistics of noise, and without it kernels get He's gain:
    otherwise the signal of a random net dies out, and its maps are blank.
    """
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(weights=None)
    normalisations = [
        layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)
    ]
    for layer in normalisations:
        layer.momentum = 0.0
    if normalisations:
        model(documents(8), training=True)
    else:
        he = keras.initializers.HeNormal(seed=0)
        # Not the last one, whose softmax would be saturated.
        for layer in model.layers[:-1]:
            if hasattr(layer, "kernel"):
                layer.kernel.assign(he(layer.kernel.shape))
    return model


def documents(count: int) -> np.ndarray:
    """``(count, 224, 224, 3)``, float32: noise."""
    return np.random.default_rng(0).normal(size=(count, *SHAPE)).astype("float32")


def compiled_forward(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """The model's forward pass, as fast as its backend runs it."""
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        forward = tf.function(lambda x: model(x, training=False))
        return lambda x: forward(tf.convert_to_tensor(x)).numpy()
    if backend == "jax":
        import jax

        forward = jax.jit(lambda state, x: model.stateless_call(*state, x, training=False)[0])
        state = (
            [v.value for v in model.trainable_variables],
            [v.value for v in model.non_trainable_variables],
        )
        return lambda x: np.asarray(forward(state, x))
    import torch

    def forward(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return keras.ops.convert_to_numpy(model(x, training=False))

    return forward


def interleaved(functions: dict[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Median seconds of each function; they take turns, so that drift hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(3):
        for function in functions.values():
            function()
    for _ in range(runs):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in times.items()}


def targets_by_peak(model: keras.Model, doc: np.ndarray, count: int = 100) -> list[int]:
    """So many classes, from the one whose map shows most to the one whose map shows least."""
    classes = list(range(count))
    _, maps = eli5k.keras.attribute(model, doc, [classes])
    peaks = maps[0].reshape(count, -1).max(axis=1)
    return np.argsort(-peaks).tolist()


def last_convolutions(model: keras.Model, count: int) -> list[str]:
    """Names of the last so many convolutions of which a window covers several pixels."""
    layers = [x.name for x in model.layers if max(getattr(x, "kernel_size", (1,))) > 1]
    return layers[-count:]


def hundredth_output(outputs):
    """A target that is a callable."""
    return outputs[:, 99]


def warm(name: str, runs: int, with_eli5: bool) -> dict[str, float]:
    """Ratios of warm calls to the compiled forward pass."""
    model = build(name)
    one, many = documents(1), documents(32)
    forward = compiled_forward(model)
    targets = targets_by_peak(model, one)
    layers = last_convolutions(model, 3)

    def explain(**options):
        return lambda: eli5k.explain_prediction(model, one, **options)

    functions = {
        "forward": lambda: forward(one),
        "one image": explain(),
        "one target": explain(targets=targets[:1]),
        "one image, the faintest map": explain(targets=targets[-1:]),
        "one image, a callable target": explain(targets=[hundredth_output]),
        "five targets": explain(targets=targets[:5]),
        "five targets, one of them blank": explain(targets=[*targets[:4], targets[-1]]),
        "fuse of three layers": explain(method="fuse", layer=layers),
    }
    if with_eli5:
        import eli5

        functions["eli5, one image"] = lambda: eli5.explain_prediction(model, one)
    single = interleaved(functions, runs)
    few = max(5, runs // 6)
    batch = interleaved(
        {"forward": lambda: forward(many), "batch": lambda: eli5k.keras.attribute(model, many)}, few
    )
    hundred = interleaved(
        {"one": explain(targets=targets[:1]), "all": explain(targets=targets)}, few
    )
    ratios = {
        label: single[label] / single["forward"]
        for label in functions
        if label.startswith(("one image", "fuse", "eli5"))
    }
    ratios["batch of 32"] = batch["batch"] / batch["forward"]
    for label in ("five targets", "five targets, one of them blank"):
        ratios[f"{label} / one target"] = single[label] / single["one target"]
    ratios["hundred targets / one target"] = hundred["all"] / hundred["one"]
    ratios["one image, milliseconds beyond the pass"] = 1e3 * (
        single["one image"] - single["forward"]
    )
    return ratios


def first_calls(package: str, name: str) -> tuple[float, float]:
    """Seconds of the first call, and of the first ten, in a new process."""
    command = [sys.executable, __file__, name, "--first-calls-of", package]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return tuple(json.loads(printed.splitlines()[-1]))


def time_first_calls(package: str, name: str) -> tuple[float, float]:
    """Time the first calls in this process: an import and a model, and nothing run yet."""
    explainer = importlib.import_module(package)
    importlib.import_module(f"{package}.keras")
    model, doc = build(name), documents(1)
    start = time.perf_counter()
    explainer.explain_prediction(model, doc)
    first = time.perf_counter() - start
    for _ in range(CALLS - 1):
        explainer.explain_prediction(model, doc)
    return first, time.perf_counter() - start


def measure(name: str, runs: int, with_eli5: bool) -> dict[str, float]:
    """All the ratios of one model."""
    ratios = warm(name, runs, with_eli5)
    if with_eli5:
        pairs = [(first_calls("eli5k", name), first_calls("eli5", name)) for _ in range(3)]
        ratios["first call / eli5's first"] = median(ours[0] / its[0] for ours, its in pairs)
        ratios["eli5's ten calls / ten calls"] = median(its[1] / ours[1] for ours, its in pairs)
    return ratios


def rst_table(results: dict[str, dict[str, object]]) -> str:
    """The results, by column and row, as a reStructuredText list-table."""
    rows = [["", *results]]
    for name in next(iter(results.values())):
        cells = [column[name] for column in results.values()]
        rows.append([name, *(f"{c:.2f}" if isinstance(c, float) else str(c) for c in cells)])
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in rows:
        lines += [f"   {'*' if i == 0 else ' '} - {cell}".rstrip() for i, cell in enumerate(row)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print a row a figure and, where asked, write the table for the docs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--runs", type=int, default=60, help="of each function")
    parser.add_argument("--rst", help="file to write the table to")
    parser.add_argument("--first-calls-of", metavar="PACKAGE", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", eli5k.ExplanationWarning)
    if arguments.first_calls_of:
        print(json.dumps(time_first_calls(arguments.first_calls_of, arguments.models[0])))
        return
    with_eli5 = (
        keras.config.backend() == "tensorflow" and importlib.util.find_spec("eli5") is not None
    )
    results = {}
    for name in arguments.models:
        results[name] = measure(name, arguments.runs, with_eli5)
        print(name, flush=True)
        for figure, ratio in results[name].items():
            print(f"  {figure:30} {ratio:6.2f}", flush=True)
    if arguments.rst:
        with open(arguments.rst, "w") as file:
            file.write(rst_table(results))


if __name__ == "__main__":
    main()
