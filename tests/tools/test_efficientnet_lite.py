"""The tool that makes the demo's net reads strided tensors, and admits nothing else."""

from __future__ import annotations

import importlib
import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "tools"


@pytest.fixture(scope="module")
def tool():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        return importlib.import_module("efficientnet_lite")


class TestTensors:
    def test_strides_are_heeded(self, tool):
        stored = np.arange(1, 25, dtype="float32")
        tensor = tool.StridedTensor("key", 1, (2, 3), (1, 4))
        assert tensor.read({"key": stored}).tolist() == [[2, 6, 10], [3, 7, 11]]

    @pytest.mark.parametrize(
        ("offset", "shape", "strides"), [(0, (5,), (1,)), (3, (2,), (1,)), (-1, (1,), (1,))]
    )
    def test_memory_beyond_the_storage_is_not_read(self, tool, offset, shape, strides):
        with pytest.raises(ValueError, match="beyond its storage"):
            tool.StridedTensor("key", offset, shape, strides).read({"key": np.zeros(4, "float32")})

    @pytest.mark.parametrize("function", [os.system, eval, np.zeros])
    def test_a_pickle_may_call_nothing(self, tool, function):
        class Call:
            def __reduce__(self):
                return function, ("1",)

        with pytest.raises(pickle.UnpicklingError, match="not admitted"):
            tool.TensorUnpickler(io.BytesIO(pickle.dumps(Call()))).load()


def test_rounding_is_fine_enough(tool):
    rng = np.random.default_rng(0)
    # Channels of very different size: each has a scale of its own.
    kernel = rng.normal(size=(1, 1, 200, 300)).astype("float32") * np.logspace(-3, 3, 300)
    arrays = tool.rounded({"big_conv.kernel": kernel, "small_conv.kernel": kernel[:, :, :9]})
    assert arrays["big_conv.kernel"].dtype == "int8"
    assert arrays["small_conv.kernel"].dtype == "float16"
    found = arrays["big_conv.kernel"] * arrays["big_conv.scale"]
    largest = np.abs(kernel).max(axis=(0, 1, 2))
    assert (np.abs(found - kernel).max(axis=(0, 1, 2)) <= largest / 253).all()
