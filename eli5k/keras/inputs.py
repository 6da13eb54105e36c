"""Read a document: array, tensor, picture, path, or several of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from PIL import Image

from eli5k.base import WHOLE, ExplanationWarning, collected_warnings
from eli5k.keras.files import is_picture, loaded, path_of, plain
from eli5k.keras.fitting import as_array, fit_array, fit_picture
from eli5k.keras.model.interface import IMAGE_RANK, built_specs, input_specs
from eli5k.keras.model.shared import as_rows, shared_inputs
from eli5k.keras.model.structure import has_channels_first
from eli5k.keras.model.survey import Survey
from eli5k.keras.pictures import picture_of
from eli5k.keras.preprocessing import (
    Frame,
    apply_preprocessor,
    measured_frame,
    preprocessed,
    preprocessor_of,
)
from eli5k.pixels import open_picture


@dataclass(frozen=True)
class Document:
    """One document, ready for the model.

    Attributes
    ----------
    inputs : numpy.ndarray, or list or dict of them
        Each ``(1, ...)``, as the model takes them.
    values : tuple of numpy.ndarray
        Each flat input ``(1, ...)`` before any preprocessing.
    pictures : tuple of PIL.Image.Image or None
        The picture of each flat input, to lay a heatmap over; None if it is none.
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
    values: tuple[np.ndarray, ...]
    pictures: tuple[Image.Image | None, ...]
    image: Image.Image | None = None
    frame: Frame = WHOLE
    is_preprocessed: bool = False
    source: str | None = None
    number: int | None = None
    warnings: tuple[ExplanationWarning, ...] = ()

    def picture(self, survey: Survey) -> Image.Image | None:
        """Return the picture to show for the explained input.

        A document that is no picture, such as a spectrogram, shows the first picture beside it.
        """
        index, shape = survey.image_index, survey.image_shape[1:]
        own = self.image or self.pictures[index]
        if own is None and len(shape) == IMAGE_RANK - 1:
            # A vector that the model reshapes to an image.
            own = picture_of(self.values[index].reshape(shape), survey.channels_first)
        return own or next(filter(None, self.pictures), None)


@dataclass(frozen=True)
class _Part:
    """Input before and after preprocessing, and its picture."""

    array: np.ndarray
    values: np.ndarray
    picture: Image.Image | None
    frame: Frame = WHOLE


def read_document(
    model: keras.Model,
    doc: Any,
    *,
    image: Any = None,
    preprocess: Callable[..., Any] | Literal[False] | None = None,
) -> Document:
    """Turn ``doc`` into the model's inputs and a picture.

    Parameters
    ----------
    model : keras.Model
    doc : numpy.ndarray, tensor, PIL.Image.Image, path, bytes, file, or list or dict of these
        What ``model.predict`` takes for one sample: an array ``(1, ...)`` of any rank, or the path
        of a ``.npy`` file; without the batch axis, or a channel axis of length 1, too. A picture,
        as an image, a path, the bytes of a file or an open one, is resized to the model's input,
        bilinear, with values from 0 to 255; its alpha channel is dropped if the model takes three
        channels. Several inputs come as a list in the model's order or as a dict by name; among
        them may be numbers and lists of numbers.
    image : PIL.Image.Image, path, bytes, file or numpy.ndarray, optional
        The picture to show instead of that of the explained input.
    preprocess : callable, False or None
        Preprocessing of the image array ``(1, *grid, channels)``, float32, such as
        ``keras.applications.mobilenet_v2.preprocess_input``: of the inputs of the highest rank.
        None applies the ``preprocessor`` that a KerasHub task holds, as its ``predict`` does; False
        takes the document as it is.

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
    shown = None if image is None else _shown(image)
    given = preprocess if callable(preprocess) else None
    preprocessor = (
        preprocessor_of(model) if preprocess is None and input_count(model) == 1 else None
    )
    rank = max((len(spec.shape) for spec in specs), default=None)

    def read(part: Any, spec: keras.KerasTensor, name: str) -> _Part:
        if any(spec is each for each in shared):
            rows = as_rows(_read_shared(part, spec, name), 1)
            return _Part(rows, rows, None)
        if preprocessor is not None:
            return _read_for_preprocessor(model, preprocessor, part, spec, channels_first)
        part = loaded(plain(part))
        if is_picture(part):
            picture = open_picture(part)
            values = fit_picture(picture, spec, channels_first, name)
            picture = _opaque(picture, spec, channels_first)
        else:
            values = as_array(part, name, with_numbers=name != "doc")
            values, picture = fit_array(values, spec, 1, channels_first, name), None
            if values.ndim == IMAGE_RANK and shown is None:
                picture = picture_of(values[0], channels_first)
        is_image = values.ndim == (rank or max(IMAGE_RANK, values.ndim))
        array = preprocessed(given, values, spec) if given and is_image else values
        return _Part(array, values, picture)

    with collected_warnings() as found:
        parts = _map_inputs(model, doc, read)
    inputs = keras.tree.map_structure(lambda part: part.array, parts)
    flat = keras.tree.flatten(parts)
    return Document(
        inputs,
        tuple(part.values for part in flat),
        tuple(part.picture for part in flat),
        shown,
        frame=flat[0].frame,
        is_preprocessed=preprocessor is not None,
        source=path_of(doc),
        warnings=tuple(found),
    )


def _shown(image: Any) -> Image.Image:
    """Open the picture that the user wants to see."""
    if is_picture(image):
        return open_picture(image)
    shape = getattr(image, "shape", ())
    if len(shape) not in (2, 3):
        raise TypeError(
            "image must be a Pillow image, a path, the bytes of an image file, an open one, or an "
            "array (height, width) or (height, width, channels). Received: "
            + (f"shape {tuple(shape)}" if shape else type(image).__name__)
        )
    array = as_array(image, "image")
    return picture_of(array if array.ndim == IMAGE_RANK - 1 else array[..., np.newaxis])


def _read_shared(part: Any, spec: keras.KerasTensor, name: str) -> np.ndarray:
    """Read one row or several of an input that all documents share."""
    array = as_array(part, name, with_numbers=True)
    rows = array[np.newaxis] if array.ndim < len(spec.shape) else array
    return fit_array(rows, spec, None, name=name)


def _read_for_preprocessor(
    model: keras.Model,
    preprocessor: Callable[..., Any],
    part: Any,
    spec: keras.KerasTensor,
    channels_first: bool,
) -> _Part:
    """Read a picture of any size for the model's own preprocessor."""
    part = loaded(plain(part))
    if is_picture(part):
        picture = open_picture(part)
        channels = spec.shape[1 if channels_first else -1]
        shape = (None, channels, None, None) if channels_first else (None, None, None, channels)
        array = fit_picture(picture, keras.KerasTensor(shape), channels_first)
    else:
        array = fit_array(as_array(part), keras.KerasTensor([None] * len(spec.shape)), 1)
        picture = picture_of(array[0], channels_first)
    fitted = fit_array(apply_preprocessor(preprocessor, array), spec, 1)
    frame = measured_frame(model, preprocessor, array.shape, channels_first)
    return _Part(fitted, array, _opaque(picture, spec, channels_first), frame)


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
        A channel axis of length 1 may be missing.

    Returns
    -------
    numpy.ndarray, or list or dict of them

    Raises
    ------
    TypeError, ValueError
        As :func:`read_document`, or if the inputs differ in length.
    """
    declared = input_specs(model) is not None
    channels_first = has_channels_first(model)
    shared = shared_inputs(model)

    def read(part: Any, spec: keras.KerasTensor, name: str) -> np.ndarray:
        array = as_array(part, name)
        # Also for signals and volumes, if the model declares no inputs.
        wanted = spec if declared else keras.KerasTensor(array.shape)
        return fit_array(array, wanted, None, channels_first, name)

    arrays = _map_inputs(model, docs, read, "docs")
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


def _map_inputs(model: keras.Model, doc: Any, read: Callable[..., Any], called: str = "doc") -> Any:
    """Apply ``read(part, spec, name)`` to each input, in the model's structure."""
    specs = input_specs(model)
    if specs is None:
        return _map_undeclared(model, doc, read, called)
    names = list(specs)
    if isinstance(doc, Mapping):
        if not set(doc) >= set(names):
            raise ValueError(f"{called} must have the inputs {names}. Received: {list(doc)}")
        parts = [doc[name] for name in names]
    elif isinstance(doc, list | tuple):
        if len(doc) != len(names) or (len(names) == 1 and not _is_document(doc[0])):
            raise (TypeError if len(names) == 1 else ValueError)(
                f"{called} as a {type(doc).__name__} must hold an array or a picture for each of "
                f"the model's inputs, {names}. Received: a {type(doc).__name__} of {len(doc)}."
            )
        parts = list(doc)
    elif len(names) > 1:
        raise ValueError(
            f"{called} must be a list or a dict, because the model has the inputs {names}. "
            f"Received: {type(doc).__name__}"
        )
    else:
        parts = [doc]
    labels = _labels(names, called)
    arrays = [read(*each) for each in zip(parts, specs.values(), labels)]
    structure = getattr(model, "input", None)
    if isinstance(structure, dict) or len(arrays) > 1:
        return keras.tree.pack_sequence_as(structure, arrays)
    return arrays[0]


def _labels(names: Iterable[Any], called: str) -> list[str]:
    """Return what errors call the parts of a document."""
    names = list(names)
    return [called] if len(names) == 1 else [f"{called}[{name!r}]" for name in names]


def _map_undeclared(model: keras.Model, doc: Any, read: Callable[..., Any], called: str) -> Any:
    """Read a document of a model that declares no inputs.

    If it ran before, it is known with which shapes.
    """
    if isinstance(doc, Mapping | list | tuple):
        parts = dict(doc) if isinstance(doc, Mapping) else dict(enumerate(doc))
        if not parts:
            raise TypeError(f"{called} must hold an array or a picture. Received: none.")
        specs = built_specs(model, list(parts))
        labels = (
            _labels(parts, called)
            if isinstance(doc, Mapping)
            else [f"{called}[{i}]" for i in parts]
        )
        read_parts = {
            name: read(part, _spec_for(part, specs.get(name)), label)
            for (name, part), label in zip(parts.items(), labels)
        }
        return read_parts if isinstance(doc, Mapping) else list(read_parts.values())
    return read(doc, _spec_for(doc, built_specs(model, [None]).get(None)), called)


def _spec_for(part: Any, built: keras.KerasTensor | None) -> keras.KerasTensor:
    """Describe the input of a model that declares none.

    A picture is resized to what the model was built with; an array may have another size.
    """
    if built is not None:
        *grid, channels = built.shape[1:]
        is_free = not is_picture(plain(part)) and len(grid) > 0
        return keras.KerasTensor((None, *[None] * len(grid), channels)) if is_free else built
    shape = getattr(part, "shape", ())
    # Three axes are an image without a batch axis, unless the first is the batch.
    is_image = len(shape) in (0, IMAGE_RANK - 1) and shape[:1] != (1,)
    return keras.KerasTensor((None,) * (IMAGE_RANK if is_image else len(shape)))


def _is_document(part: Any) -> bool:
    return is_picture(part) or hasattr(part, "__array__")


def _opaque(picture: Image.Image, spec: keras.KerasTensor, channels_first: bool) -> Image.Image:
    """Show a picture without transparency if the model takes that channel too."""
    channels = spec.shape[1 if channels_first else -1]
    return picture.convert("RGB") if channels == 4 and len(spec.shape) == IMAGE_RANK else picture
