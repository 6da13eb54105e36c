"""Record a model's calls: layers, shapes, and places of cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from math import prod
from typing import Any

import keras

from eli5k.keras.backends import Tensor
from eli5k.keras.model.hooks import call_hook
from eli5k.keras.model.interface import IMAGE_RANK
from eli5k.keras.model.receptive import (
    SINGLE,
    Place,
    is_elementwise,
    is_single,
    place_after,
    place_of_input,
)
from eli5k.keras.model.structure import Call, has_channels_first, walk

# Layers and operations that keep all numbers in their order.
RESHAPES = ("Reshape", "ExpandDims", "Squeeze", "Flatten")


def image_shape_of(shape: tuple[int, ...], channels_first: bool) -> tuple[int, ...]:
    """Return a shape with the channels last, or before the grid.

    A vector is a signal of one channel: tokens, for example, or a few numbers beside a picture.

    Examples
    --------
    >>> image_shape_of((1, 16000), False), image_shape_of((1, 28, 28, 3), False)
    ((1, 16000, 1), (1, 28, 28, 3))
    """
    missing = (1,) * (3 - len(shape))
    return (*shape[:1], *missing, *shape[1:]) if channels_first else shape + missing


class Record:
    """The calls of one run.

    Attributes
    ----------
    calls : list of Call
        In the order of returning.
    image_shapes : list of tuple of int
        Shape ``(batch, *grid, channels)`` as which the model reads each flat input: its own, or the
        one that the model first brings it into without mixing anything, such as ``(1, 28, 28, 1)``
        for ``(1, 784)``.
    embeddings : dict of int to tuple
        The first call of an ``Embedding`` of each input of tokens: path and number.
    vocabularies : dict of int to int
        How many tokens it knows.

    Examples
    --------
    >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.AveragePooling2D(2)])
    >>> record, x = Record(model), keras.ops.ones((1, 8, 8, 1))
    >>> with record.open([x]):
    ...     _ = model(x)
    >>> record.calls[0].shape, record.calls[0].place.steps
    ((1, 4, 4, 1), (2.0, 2.0))
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self.calls: list[Call] = []
        self.image_shapes: list[tuple[int, ...]] = []
        self.embeddings: dict[int, tuple[str, int]] = {}
        self.vocabularies: dict[int, int] = {}
        # Tensors are told apart by identity, so they are kept while the run lasts.
        self._places: dict[int, tuple[Tensor, Place | None]] = {}
        # Position of the input whose numbers a tensor holds in the same order.
        self._inputs: dict[int, int] = {}
        self._has_mixed = False
        self._numbers: Counter[str] = Counter()

    @contextmanager
    def open(self, inputs: Sequence[Tensor]) -> Iterator[None]:
        """Record what the model does with its flat inputs, from the beginning."""
        self.calls.clear()
        self.embeddings.clear()
        self.vocabularies.clear()
        self._numbers.clear()
        self.channels_first = has_channels_first(self.model)
        self.image_shapes[:] = [image_shape_of(tuple(x.shape), self.channels_first) for x in inputs]
        self._has_mixed = False
        self._note_inputs(inputs)
        with ExitStack() as hooks:
            hooks.enter_context(call_hook(self.model, self._entering(len(inputs))))
            steps: list[str] = []
            for path, layer in walk(self.model):
                inside = path.startswith(tuple(steps))
                if isinstance(layer, keras.layers.TimeDistributed):
                    steps.append(path + "/")
                hooks.enter_context(call_hook(layer, self._recorder(path, layer, inside)))
            yield
        self._places.clear()
        self._inputs.clear()
        self.calls[:] = map(self._in_image, self.calls)

    def _entering(self, count: int) -> Callable[..., Any]:
        """Note the inputs again, which a model may have cast."""

        def enter(call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
            flat = keras.tree.flatten(args[0]) if args else []
            if len(flat) == count:
                self._note_inputs(flat)
            return call(*args, **kwargs)

        return enter

    def _recorder(self, path: str, layer: keras.Operation, in_steps: bool) -> Callable[..., Any]:
        has_kernel = any(len(weight.shape) > 1 for weight in getattr(layer, "weights", ()))

        def record(call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
            tensors = [x for x in keras.tree.flatten((args, kwargs)) if keras.ops.is_tensor(x)]
            self._find_reshaped_inputs(tensors)
            output = call(*args, **kwargs)
            self._follow_input(layer, tensors, output)
            if not keras.ops.is_tensor(output):
                self.calls.append(Call(path, None, has_kernel, self._number(path)))
                self._add_elements(path, output, has_kernel)
                return output
            if id(output) not in self._places:  # Otherwise a model; its last layer was noted.
                self._note(output, self._place(layer, tensors, output))
            shape, place = tuple(output.shape), self._places[id(output)][1]
            if isinstance(layer, keras.layers.Embedding) and not in_steps:
                self._note_tokens(path, layer.input_dim, tensors)
            if in_steps:
                self._add_step(path, shape, has_kernel)
            else:
                self.calls.append(Call(path, shape, has_kernel, self._number(path), place))
            return output

        return record

    def _add_elements(self, path: str, output: Any, has_kernel: bool) -> None:
        """Note each tensor of a structure, named like ``"pair[0]"``."""
        for index, (keys, part) in enumerate(keras.tree.flatten_with_path(output)):
            if keras.ops.is_tensor(part):
                name = f"{path}[{'/'.join(map(str, keys))}]"
                _, place = self._places.get(id(part), (part, None))
                shape = tuple(part.shape)
                self.calls.append(
                    Call(name, shape, has_kernel, self._number(name), place, element=index)
                )

    def _place(
        self, layer: keras.Operation, tensors: Sequence[Tensor], output: Tensor
    ) -> Place | None:
        if is_single(output.shape):
            return SINGLE
        known = [(x.shape, self._places.get(id(x), (x, None))[1]) for x in tensors]
        return place_after(layer, known, self.channels_first)

    def _note_tokens(self, path: str, vocabulary: int, tensors: Sequence[Tensor]) -> None:
        """Note that an input holds tokens, and where they become numbers."""
        for x in tensors:
            _, place = self._places.get(id(x), (x, None))
            if place is not None and place.input is not None:
                self.embeddings.setdefault(place.input, (path, self._numbers[path]))
                self.vocabularies.setdefault(place.input, vocabulary)

    def _note_inputs(self, flat: Sequence[Tensor]) -> None:
        for index, tensor in enumerate(flat):
            self._note(tensor, place_of_input(index, len(self.image_shapes[index]) - 2))
            self._inputs[id(tensor)] = index

    def _follow_input(self, layer: keras.Operation, tensors: Sequence[Tensor], output: Any) -> None:
        """Follow an input through what leaves its numbers in their order."""
        if isinstance(layer, keras.Model) or not keras.ops.is_tensor(output):
            return
        source = self._inputs.get(id(tensors[0])) if len(tensors) == 1 else None
        is_reshape = type(layer).__name__ in RESHAPES
        if source is None or not (is_reshape or is_elementwise(layer)):
            self._has_mixed = True
        elif _size(output) == _size(tensors[0]):
            self._note_reshaped(output, source)

    def _find_reshaped_inputs(self, tensors: Sequence[Tensor]) -> None:
        """Find an input that code of the model's own has reshaped, unseen."""
        if self._has_mixed or len(self.image_shapes) > 1:
            return
        for tensor in tensors:
            if id(tensor) not in self._places and _size(tensor) == prod(self.image_shapes[0]):
                self._note_reshaped(tensor, 0)

    def _note_reshaped(self, tensor: Tensor, source: int) -> None:
        """Note a tensor with an input's numbers.

        Note its shape, too, if it is the first to make an image of them.
        """
        self._inputs[id(tensor)] = source
        shape, known = tuple(tensor.shape), self.image_shapes[source]
        if len(shape) > len(known) and len(known) < IMAGE_RANK:
            self.image_shapes[source] = shape
        if len(shape) == len(self.image_shapes[source]):
            self._note(tensor, place_of_input(source, len(shape) - 2))

    def _in_image(self, call: Call) -> Call:
        """Drop a place from before a reshape added axes to the image."""
        place = call.place
        if place is None or place.input is None:
            return call
        is_whole = len(place.steps) == len(self.image_shapes[place.input]) - 2
        return call if is_whole else call._replace(place=SINGLE)

    def _note(self, tensor: Tensor, place: Place | None) -> None:
        self._places[id(tensor)] = (tensor, place)

    def _number(self, path: str) -> int:
        self._numbers[path] += 1
        return self._numbers[path] - 1

    def _add_step(self, path: str, shape: tuple[int, ...], has_kernel: bool) -> None:
        """Count the calls of one layer for all steps as one."""
        if self._number(path):
            at = max(i for i, call in enumerate(self.calls) if call.path == path)
            known = self.calls[at].shape
            assert known is not None
            self.calls[at] = self.calls[at]._replace(shape=(known[0], known[1] + 1, *known[2:]))
        else:
            self.calls.append(Call(path, (shape[0], 1, *shape[1:]), has_kernel, None))


def _size(tensor: Tensor) -> int | None:
    """Return how many numbers a tensor holds; None if unknown when compiled."""
    return None if None in tensor.shape else prod(tensor.shape)
