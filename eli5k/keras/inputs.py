"""Read a document: an array, a tensor, a picture or a path."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from PIL import Image

from eli5k.base import WHOLE, ExplanationWarning, collected_warnings
from eli5k.keras.model.interface import IMAGE_RANK, input_specs
from eli5k.keras.model.shared import as_rows, shared_inputs
from eli5k.keras.model.structure import has_channels_first
from eli5k.keras.pictures import open_picture, picture_of
from eli5k.keras.preprocessing import (
    Frame,
    apply_preprocessor,
    measured_frame,
    preprocessed,
    preprocessor_of,
)


@dataclass(frozen=True)
class Document:
    """One document, ready for the model.

    Attributes
    ----------
    inputs : numpy.ndarray, or list or dict of them
        Each ``(1, ...)``, as the model takes them.
    pictures : tuple of PIL.Image.Image or None
        The picture of each flat input, to lay a heatmap over; None if it is no image.
    image : PIL.Image.Image or None
        The picture that the user wants to see instead.
    frame : tuple of float
        Where what the model gets lies in the picture, as in :class:`~eli5k.base.Explanation`.
    is_preprocessed : bool
        Whether the model's own preprocessor was applied.
    source : str or None
        Path of the file it came from.
    number : int or None
        Its position among many documents.
    warnings : tuple of ExplanationWarning
        What was noticed when it was read.
    """

    inputs: Any
    pictures: tuple[Image.Image | None, ...]
    image: Image.Image | None = None
    frame: Frame = WHOLE
    is_preprocessed: bool = False
    source: str | None = None
    number: int | None = None
    warnings: tuple[ExplanationWarning, ...] = ()

    def picture(self, index: int) -> Image.Image | None:
        """Return the picture to show if a flat input is explained.

        An array that is no image, such as a spectrogram's input, shows the first picture.
        """
        if self.image is not None:
            return self.image
        return self.pictures[index] or next(filter(None, self.pictures), None)


@dataclass(frozen=True)
class _Part:
    """One input as the model takes it, and its picture."""

    array: np.ndarray
    picture: Image.Image | None
    frame: Frame = WHOLE


def read_document(
    model: keras.Model,
    doc: Any,
    *,
    image: Image.Image | str | os.PathLike[str] | None = None,
    preprocess: Callable[..., Any] | Literal[False] | None = None,
) -> Document:
    """Turn ``doc`` into the model's inputs and a picture.

    Parameters
    ----------
    model : keras.Model
    doc : numpy.ndarray, tensor, PIL.Image.Image, path, or list or dict of these
        An array is ``(1, ...)`` or, without the batch axis, ``(...)``. A picture is resized to the
        model's input, bilinear, with values from 0 to 255; its alpha channel is dropped if the
        model takes three channels. Several inputs come as a list in the model's order or as a dict
        by name.
    image : PIL.Image.Image or path, optional
        The picture to show instead of that of the explained input.
    preprocess : callable, False or None
        Preprocessing of an image array ``(1, height, width, channels)``, float32, such as
        ``keras.applications.mobilenet_v2.preprocess_input``. None applies the ``preprocessor`` that
        a KerasHub task holds, as its ``predict`` does; False takes the document as it is.

    Returns
    -------
    Document

    Raises
    ------
    TypeError
        If ``doc`` is none of these.
    ValueError
        If its shape doesn't match the model, or it holds more than one sample.
    OSError
        If a file is missing or is not a picture.

    Examples
    --------
    >>> model = keras.Sequential([keras.Input((4, 6, 3)), keras.layers.Conv2D(1, 3)])
    >>> document = read_document(model, Image.new("L", (60, 40)))
    >>> document.inputs.shape, document.pictures[0].size
    ((1, 4, 6, 3), (60, 40))
    """
    channels_first = has_channels_first(model)
    specs = list((input_specs(model) or {}).values())
    shared = [specs[index] for index in shared_inputs(model)]
    shown = None if image is None else open_picture(image)
    preprocessor = (
        preprocessor_of(model) if preprocess is None and input_count(model) == 1 else None
    )

    def read(part: Any, spec: keras.KerasTensor) -> _Part:
        if any(spec is each for each in shared):
            return _Part(as_rows(_read_shared(part, spec), 1), None)
        if preprocessor is not None:
            return _read_for_preprocessor(model, preprocessor, part, spec, channels_first)
        array, picture = _read_part(part, spec, channels_first)
        is_image = array.ndim == IMAGE_RANK
        if picture is None and is_image and shown is None:
            picture = picture_of(array[0], channels_first)
        if preprocess and is_image:
            array = preprocessed(preprocess, array, spec)
        return _Part(array, picture)

    with collected_warnings() as found:
        parts = _map_inputs(model, doc, read)
    inputs = keras.tree.map_structure(lambda part: part.array, parts)
    flat = keras.tree.flatten(parts)
    pictures = tuple(part.picture for part in flat)
    return Document(
        inputs,
        pictures,
        shown,
        frame=flat[0].frame,
        is_preprocessed=preprocessor is not None,
        source=_source_of(doc),
        warnings=tuple(found),
    )


def _read_shared(part: Any, spec: keras.KerasTensor) -> np.ndarray:
    """Read one row or several of an input that all documents share."""
    array = _as_array(part)
    return _checked(array[np.newaxis] if array.ndim < len(spec.shape) else array, spec, None)


def _read_for_preprocessor(
    model: keras.Model,
    preprocessor: Callable[..., Any],
    part: Any,
    spec: keras.KerasTensor,
    channels_first: bool,
) -> _Part:
    """Read a picture of any size, and let the model's preprocessor fit it."""
    free = keras.KerasTensor([None] * len(spec.shape))
    if isinstance(part, str | os.PathLike | Image.Image):
        picture = open_picture(part)
        channels = spec.shape[1 if channels_first else -1]
        shape = (None, channels, None, None) if channels_first else (None, None, None, channels)
        array = _picture_to_array(picture, shape, channels_first)
    else:
        array = _checked(_as_array(part), free, 1)
        picture = picture_of(array[0], channels_first)
    fitted = _checked(apply_preprocessor(preprocessor, array), spec, 1)
    frame = measured_frame(model, preprocessor, array.shape, channels_first)
    return _Part(fitted, _opaque(picture, spec, channels_first), frame)


def _source_of(doc: Any) -> str | None:
    """Return the path of the first part that is a file."""
    parts = doc.values() if isinstance(doc, Mapping) else doc if isinstance(doc, list) else [doc]
    paths = (os.fspath(part) for part in parts if isinstance(part, str | os.PathLike))
    return next(paths, None)


def input_count(model: keras.Model) -> int | None:
    """Return the number of a model's inputs, or None if undeclared."""
    specs = input_specs(model)
    return None if specs is None else len(specs)


def check_batch(model: keras.Model, docs: Any) -> Any:
    """Check arrays of several samples and arrange them as model inputs.

    Parameters
    ----------
    model : keras.Model
    docs : numpy.ndarray or tensor ``(batch, ...)``, or list or dict of these

    Returns
    -------
    numpy.ndarray, or list or dict of them

    Raises
    ------
    TypeError, ValueError
        As :func:`read_document`, or if the inputs differ in length.
    """
    declared = input_specs(model) is not None
    shared = shared_inputs(model)

    def read(part: Any, spec: keras.KerasTensor) -> np.ndarray:
        array = _as_array(part)
        # Signals and volumes too, if the model declares no inputs.
        return _checked(array, spec if declared else keras.KerasTensor(array.shape), None)

    arrays = _map_inputs(model, docs, read)
    flat = keras.tree.flatten(arrays)
    lengths = {len(array) for index, array in enumerate(flat) if index not in shared}
    if len(lengths) != 1 or lengths == {0}:
        raise ValueError(
            "docs must have samples, and the same number for each input. "
            f"Received: {sorted(lengths)} samples"
        )
    rows = [
        as_rows(array, min(lengths)) if index in shared else array
        for index, array in enumerate(flat)
    ]
    return keras.tree.pack_sequence_as(arrays, rows)


def _map_inputs(model: keras.Model, doc: Any, read: Callable[..., Any]) -> Any:
    """Apply ``read(part, spec)`` to each input, in the model's structure."""
    specs = input_specs(model)
    if specs is None:
        if isinstance(doc, Mapping):
            return {name: read(part, _any_shape_like(part)) for name, part in doc.items()}
        if isinstance(doc, list | tuple):
            return [read(part, _any_shape_like(part)) for part in doc]
        return read(doc, keras.KerasTensor((None,) * IMAGE_RANK))

    names = list(specs)
    if isinstance(doc, Mapping):
        if set(doc) != set(names):
            raise ValueError(f"doc must have the inputs {names}. Received: {list(doc)}")
        parts = [doc[name] for name in names]
    elif isinstance(doc, list | tuple):
        if len(doc) != len(names) or not all(map(_is_document, doc)):
            raise (TypeError if len(names) == 1 else ValueError)(
                f"doc as a {type(doc).__name__} must hold an array or a picture for each of the "
                f"model's inputs, {names}. Received: a {type(doc).__name__} of {len(doc)} items."
            )
        parts = list(doc)
    elif len(names) > 1:
        raise ValueError(
            f"doc must be a list or a dict, because the model has the inputs {names}. "
            f"Received: {type(doc).__name__}"
        )
    else:
        parts = [doc]
    arrays = [read(part, spec) for part, spec in zip(parts, specs.values())]
    structure = getattr(model, "input", None)
    if isinstance(structure, dict) or len(arrays) > 1:
        return keras.tree.pack_sequence_as(structure, arrays)
    return arrays[0]


def _any_shape_like(part: Any) -> keras.KerasTensor:
    """Describe the inputs of a model that declares none."""
    rank = len(getattr(part, "shape", ()))
    # Three axes are an image without its batch axis.
    return keras.KerasTensor((None,) * (IMAGE_RANK if rank in (0, 3) else rank))


def _is_document(part: Any) -> bool:
    return isinstance(part, str | os.PathLike | Image.Image) or hasattr(part, "__array__")


def _read_part(
    part: Any, spec: keras.KerasTensor, channels_first: bool
) -> tuple[np.ndarray, Image.Image | None]:
    if isinstance(part, str | os.PathLike | Image.Image):
        picture = open_picture(part)
        return _picture_to_array(picture, spec.shape, channels_first), _opaque(
            picture, spec, channels_first
        )
    return _checked(_as_array(part), spec, 1), None


def _opaque(picture: Image.Image, spec: keras.KerasTensor, channels_first: bool) -> Image.Image:
    """Show a picture without transparency if the model takes that channel too."""
    channels = spec.shape[1 if channels_first else -1]
    return picture.convert("RGB") if channels == 4 and len(spec.shape) == IMAGE_RANK else picture


def _as_array(part: Any) -> np.ndarray:
    if keras.ops.is_tensor(part):
        if keras.backend.standardize_dtype(part.dtype) in ("bfloat16", "float16"):
            part = keras.ops.cast(part, "float32")
        part = keras.ops.convert_to_numpy(part)
    elif not hasattr(part, "__array__"):
        raise TypeError(
            "doc must be a numpy.ndarray, a tensor, a Pillow image, a path to an image file, or a "
            f"list or dict of these for several inputs. Received: {type(part).__name__}"
        )
    array = np.asarray(part)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"doc must hold real numbers. Received an array of dtype {array.dtype}")
    return array


def _checked(array: np.ndarray, spec: keras.KerasTensor, batch: int | None) -> np.ndarray:
    """Check a shape, add a missing batch axis, and cast to float."""
    expected, received = (batch, *spec.shape[1:]), array.shape
    if batch == 1 and array.ndim == len(expected) - 1:
        array = array[np.newaxis]
    fits = array.ndim == len(expected) and all(
        want is None or want == have for want, have in zip(expected, array.shape)
    )
    if not fits:
        raise ValueError(
            f"doc must be of shape {expected}"
            + (" (one sample; you may leave out the batch axis)" if batch == 1 else "")
            + f". Received: {received}"
        )
    takes_floats = keras.backend.is_float_dtype(spec.dtype)
    return array.astype("float32", copy=False) if takes_floats else array


def _picture_to_array(
    picture: Image.Image, shape: tuple[int | None, ...], channels_first: bool
) -> np.ndarray:
    """Resize a picture to an array ``(1, ...)``, float32, 0 to 255."""
    if len(shape) not in (3, 4):
        raise ValueError(
            f"doc is a picture, but the model's input has shape {tuple(shape)}. Pass an array."
        )
    height: int | None
    width: int | None
    channels: int | None
    if len(shape) == 3:
        (height, width), channels = shape[1:], 1
    elif channels_first:
        channels, height, width = shape[1:]
    else:
        height, width, channels = shape[1:]
    modes = {1: "L", 3: "RGB", 4: "RGBA", None: "L" if picture.mode == "L" else "RGB"}
    if channels not in modes:
        raise ValueError(
            f"doc is a picture, but the model takes {channels} channels. Pass an array as doc, and "
            "the picture to show as image=."
        )
    pixels = picture.convert(modes[channels])
    size = (width or picture.width, height or picture.height)
    if pixels.size != size:
        pixels = pixels.resize(size, Image.Resampling.BILINEAR)
    array = np.asarray(pixels, "float32")
    if len(shape) == IMAGE_RANK:
        array = array[..., np.newaxis] if array.ndim == 2 else array
        array = np.moveaxis(array, -1, 0) if channels_first else array
    return array[np.newaxis]
