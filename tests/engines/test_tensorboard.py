"""TensorBoard reads the images of a training beside its scalars, with the same steps."""

from __future__ import annotations

import io

import keras
import numpy as np
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from eli5k import format_as_image
from eli5k.keras import ExplainCallback
from tests.zoo import SHAPE, net_layers, noise


def test_images_have_the_steps_of_the_scalars(tmp_path):
    model = keras.Sequential([keras.Input(SHAPE), *net_layers()])
    model.compile("sgd", "sparse_categorical_crossentropy")
    watch = ExplainCallback(noise(2, *SHAPE), targets=[2], log_dir=tmp_path)
    board = keras.callbacks.TensorBoard(tmp_path, write_graph=False)
    targets = np.array([0, 1, 2, 0])
    model.fit(noise(4, *SHAPE), targets, epochs=2, callbacks=[board, watch], verbose=0)
    scalars, images = (read(tmp_path / name) for name in ("train", "explanations"))
    steps = [each.step for each in scalars.Tensors("epoch_loss")]
    for number in (0, 1):
        events = images.Tensors(str(number))
        assert [each.step for each in events] == steps == [0, 1]
        with Image.open(io.BytesIO(events[-1].tensor_proto.string_val[2])) as picture:
            expected = format_as_image(watch.explanations[number], caption=True).convert("RGB")
            np.testing.assert_array_equal(np.asarray(picture), np.asarray(expected))


def read(folder):
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    return events
