"""Print what a graphics card does: rows at once, throughput of maps and of predict, and transfers.

    KERAS_BACKEND=torch PYTHONPATH=. python benchmarks/gpu.py [--seconds 5]

Without a card it says so, and measures nothing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import keras
import numpy as np

import eli5k.demo
from eli5k.keras import attribute
from eli5k.keras.backends import active_backend
from eli5k.keras.model.room import rows_at_once

SIZES = (1, 8, 32, 128, 512, 1024)


def card_of(backend: str) -> str | None:
    """Name of the graphics card that the backend runs on."""
    if backend == "torch":
        import torch

        return torch.cuda.get_device_name() if torch.cuda.is_available() else None
    if backend == "jax":
        import jax

        device = jax.local_devices()[0]
        return None if device.platform == "cpu" else device.device_kind
    import tensorflow

    cards = tensorflow.config.list_physical_devices("GPU")
    return cards[0].name if cards else None


def rate(function: Callable[[], object], rows: int, seconds: float) -> float:
    """Rows a second, after one call that compiles."""
    function()
    calls, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        function()
        calls += 1
    return rows * calls / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5, help="for each number (default: 5)")
    seconds = parser.parse_args().seconds
    backend = keras.backend.backend()
    card = card_of(backend)
    if card is None:
        print(f"{backend} has no graphics card here: nothing to measure.")
        return
    model = eli5k.demo.load_model()
    free = active_backend().free_memory()
    room = rows_at_once(model)
    told = "not told" if free is None else f"{free / 2**30:.1f} GiB"
    print(f"{backend} on {card}, free memory: {told}; batch_size=None is {room}")
    print(f"{'rows':>6} {'predict':>9} {'maps':>9} {'ratio':>6} {'copying':>9}  (rows a second)")
    for rows in sorted({*SIZES, room}):
        pixels = np.zeros((rows, *model.input_shape[1:]), "float32")
        predict = rate(lambda x=pixels: model.predict(x, len(x), verbose=0), rows, seconds)
        maps = rate(lambda x=pixels: attribute(model, x, batch_size=len(x)), rows, seconds)
        copying = rate(
            lambda x=pixels: keras.ops.convert_to_numpy(keras.ops.sum(keras.ops.array(x))),
            rows,
            seconds,
        )
        print(
            f"{rows:6} {predict:9.0f} {maps:9.0f} {maps / predict:6.2f} {copying:9.0f}", flush=True
        )


if __name__ == "__main__":
    main()
