"""Ask a model about a batch: which scores it gives, and what makes them, in one run each."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Any, NamedTuple

import keras
import numpy as np

from eli5k.base import ExplanationWarning, warn
from eli5k.keras.backends import active_backend
from eli5k.keras.biases import bias_hooks
from eli5k.keras.hooks import activation_hook, forward_hook
from eli5k.keras.layers import candidate_calls, find_call, input_layer_name, layer_at
from eli5k.keras.memory import remember
from eli5k.keras.methods import names_without_layer
from eli5k.keras.methods.evidence import Evidence
from eli5k.keras.survey import RELUS, Call, Head, Survey, run_model
from eli5k.keras.targets import Scores, Selection, select_scores

NO_GRADIENT_AT_INPUT = (
    "The explained score has no gradient at the input: the model takes integers, or does not use "
    "this input."
)


class Answer(NamedTuple):
    """What a model gave for a batch, as arrays.

    Attributes
    ----------
    layer : str or None
        Path of the layer that was used; None where the input itself is explained.
    scores : Scores
        Arrays ``(batch, targets)``.
    maps : numpy.ndarray
        ``(targets, batch, *grid)``, float32.
    """

    layer: str | None
    scores: Scores
    maps: Any


class DisconnectedError(ValueError):
    """The explained score does not depend on the layer, or on the input."""


@dataclass(frozen=True, eq=False)
class Run:
    """A batch, and what is asked about it. A method is a function from this to an answer.

    Attributes
    ----------
    model : keras.Model
    seen : Survey
        Of this model on such inputs.
    inputs : numpy.ndarray, or list or dict of them
        ``(batch, ...)``, as the model takes them.
    selection : Selection
    classes : numpy.ndarray or None
        ``(batch, targets)``, int32; None where the model's own scores or callables decide.
    layer : str, int, keras.Layer or None
        None for the best layer on which the score depends.
    batch_size : int
        How many rows may go through the model at a time.
    progress : bool or None
        Whether to show a progress bar; None shows it on a terminal where the run takes long.
    mix : tuple of float
        What is explained is a sum of so many consecutive targets, with these weights: ``(1,)`` for
        each target itself, ``(-1,)`` for what speaks against it, ``(1, -1)`` for the first target
        against the second, the third against the fourth, and so on.
    reshape : callable or None
        From the layer's output to ``(batch, *grid, channels)``, where that cannot be guessed.
    kept : int or None
        How many samples are asked about, if not all: the rest only fill the batch up, since each
        new shape would be compiled anew, and what is said about them does not matter.
    """

    model: keras.Model
    seen: Survey
    inputs: Any
    selection: Selection
    classes: np.ndarray | None = None
    layer: str | int | keras.Layer | None = None
    batch_size: int = 32
    progress: bool | None = False
    mix: tuple[float, ...] = (1.0,)
    reshape: Callable | None = None
    kept: int | None = None

    @property
    def image(self) -> np.ndarray:
        """The image input, channels last: ``(batch, *grid, channels)``."""
        image = keras.tree.flatten(self.inputs)[self.seen.image_index]
        return np.moveaxis(image, 1, -1) if self.seen.channels_first else image

    @property
    def count(self) -> int:
        """How many samples are asked about: the first so many of the batch."""
        return len(self.image) if self.kept is None else self.kept

    def part(self, rows: slice | np.ndarray, kept: int | None = None) -> Run:
        """Ask the same about some of the samples."""
        inputs = keras.tree.map_structure(lambda array: array[rows], self.inputs)
        classes = None if self.classes is None else self.classes[rows]
        return replace(self, inputs=inputs, classes=classes, kept=kept)

    def on(self, image: np.ndarray, rows: np.ndarray, classes: np.ndarray | None) -> Run:
        """Ask the same about other images.

        Parameters
        ----------
        image : numpy.ndarray
            ``(rows, *grid, channels)``, channels last.
        rows : numpy.ndarray
            ``(rows,)``, int: the sample from which each row takes its other inputs.
        classes : numpy.ndarray or None
            ``(rows, targets)``
        """
        if self.seen.channels_first:
            image = np.moveaxis(image, -1, 1)
        flat = [array[rows] for array in keras.tree.flatten(self.inputs)]
        flat[self.seen.image_index] = image
        inputs = keras.tree.pack_sequence_as(self.inputs, flat)
        return replace(self, inputs=inputs, classes=classes, kept=None)

    def scores(self) -> Scores:
        """Run the model forward, and only that."""
        return self.at_output().scores

    def at_output(self) -> Answer:
        """Run the model forward, and only that: an answer to which a method adds its maps."""
        return Answer(None, *self._ask(self._question()))

    def scores_with_channels(self, layer: str, factors: np.ndarray) -> Scores:
        """Run the model forward with the channels of a layer multiplied by factors.

        A single sample becomes as many rows as ``factors`` has, and does so at the layer: what
        comes before runs once for all of them. This works where the rest of the model depends on
        the layer alone, or broadcasts; elsewhere pass as many samples as factors.

        Parameters
        ----------
        layer : str
            Path of the layer; it is changed at each of its calls.
        factors : numpy.ndarray
            ``(rows, channels)``, float32. Also ``classes`` must have as many rows.
        """
        if input_layer_name(self.model, layer, self.seen.image_index) is not None:
            rows = np.arange(len(factors)) % len(self.image)
            scale = factors.reshape(len(factors), *(1,) * (self.image.ndim - 2), -1)
            image = (self.image[rows] * scale).astype(self.image.dtype)
            return self.on(image, rows, self.classes).scores()
        scores, _ = self._ask(self._question(layer, scaled=True), factors)
        return scores

    def at_input(self, function: Callable, guided: bool = False) -> Answer:
        """Run the model forward and backward, and apply ``function`` to the evidence at the input.

        Parameters
        ----------
        function : callable
            From :class:`Evidence` to maps.
        guided : bool
            Let only positive gradients pass the ReLUs (Springenberg et al. 2014).

        Warns
        -----
        ExplanationWarning
            If they are to be guided and there are none.
        """
        if guided and not self.seen.has_relu:
            warn(
                "Guided backpropagation guides the gradient at ReLUs, and the model computes none: "
                "this is the plain gradient. Pass another method, such as 'smooth'.",
                ExplanationWarning,
            )
        return Answer(None, *self._ask(self._question(None, function, guided=guided)))

    def at_biases(self, function: Callable) -> Answer:
        """Run the model forward and backward, and apply ``function`` to the evidence at each bias.

        Parameters
        ----------
        function : callable
            From a list of :class:`Evidence` to a list of maps. The first is of the input; each
            other has a bias, ``(channels,)``, for activations, and the gradients
            ``(targets, batch, ..., channels)`` where it is added, in the order of the calls.
        """
        return Answer(None, *self._ask(self._question(None, function, biases=True)))

    def at_layer(self, function: Callable) -> Answer:
        """Run the model forward, and backward to the layer, and apply ``function`` to the evidence.

        Raises
        ------
        ValueError
            If no layer has a grid on which the score depends, or the named one has not.
        """
        of_input = input_layer_name(self.model, self.layer, self.seen.image_index)
        if of_input is not None:
            return self.at_input(function)._replace(layer=of_input)
        for call in self._calls_to_try():
            try:
                answer = self._ask(self._question_at(call, function))
            except DisconnectedError:
                if self.layer is not None:
                    raise
            else:
                if self.layer is None and not self.selection.functions:
                    self.seen.default_layers[self.selection.head] = call.path
                return Answer(call.path, *answer)
        raise ValueError(
            "No layer of the model has a grid of more than one pixel on which the score depends. "
            f"It calls: {', '.join(dict.fromkeys(call.path for call in self.seen.calls))}. "
            f"Methods that need none: {', '.join(names_without_layer())}"
        )

    def _calls_to_try(self) -> Iterator[Call]:
        seen = self.seen
        # A callable may look at any output.
        functions = self.selection.functions
        default = None if functions else seen.default_layers.get(self.selection.head)
        layer = default if self.layer is None else self.layer
        if self.reshape is not None and self.layer is None:
            raise ValueError("reshape is for one layer's output: pass layer= too. Received: None")
        if layer is not None:
            rank = seen.rank if self.reshape is None else None
            yield find_call(self.model, seen.calls, layer, rank)
            return
        calls = candidate_calls(self.model, seen.calls, seen.rank, seen.channels_first)
        yield from (call for call in calls if not call.tokens or self._depends_on_patches(call))
        yield from (call for call in calls if call.tokens)

    def _depends_on_patches(self, call: Call) -> bool:
        """Tell whether more than the class token goes on from a layer of a transformer."""
        logits = replace(self, selection=self.selection._replace(logits=True))
        try:
            _, peak = logits._ask(logits._question_at(call, _largest_gradient))
        except DisconnectedError:
            return False
        return bool(peak != 0)

    def _question_at(self, call: Call, function: Callable) -> _Question:
        reshape = None if self.reshape is None else weakref.ref(self.reshape)
        return self._question(call.path, function, tokens=call.tokens, reshape=reshape)

    def _question(
        self, layer: str | None = None, function: Callable | None = None, **options: Any
    ) -> _Question:
        return _Question(layer, self.seen, self.selection, self.mix, function, **options)

    def _ask(self, question: _Question, *operands: np.ndarray) -> tuple[Scores, Any]:
        # A graph for each number of targets: of a variable number it could not unroll them.
        count = None if self.classes is None else self.classes.shape[1]
        key = (*question.key, count)
        compile_it = partial(_compile, self.model, question)
        answer = remember(self.model, key, compile_it, self.seen.structure)
        classes = None if self.classes is None else self.classes.astype("int32", copy=False)
        scores, maps = answer(self.inputs, classes, *operands)
        to_numpy = keras.ops.convert_to_numpy
        return (
            Scores(*(None if part is None else to_numpy(part) for part in scores)),
            None if maps is None else keras.tree.map_structure(to_numpy, maps),
        )


class _Question(NamedTuple):
    """What is asked of a model, apart from the documents."""

    layer: str | None
    seen: Survey
    selection: Selection
    mix: tuple[float, ...]
    function: Callable | None
    guided: bool = False
    scaled: bool = False
    biases: bool = False
    tokens: tuple[int, ...] | None = None
    reshape: weakref.ref[Callable] | None = None

    @property
    def key(self) -> tuple:
        """What the compiled function depends on."""
        seen = self.seen
        return (
            self.layer,
            seen.channels_first,
            seen.image_index,
            self.selection,
            self.mix,
            self.function,
            self.guided,
            self.scaled,
            self.biases,
            self.tokens,
            self.reshape,
        )


def _compile(model: keras.Model, question: _Question) -> Callable:
    """Make the function that answers a question; it holds the model weakly, as the cache must."""
    reference = weakref.ref(model)

    def answer(inputs: Any, classes: Any, *operands: Any) -> tuple[Scores, Any]:
        living = reference()
        if question.function is None:
            with _scaled_channels(living, question, *operands):
                return _scores(*run_model(living, inputs), question, classes), None
        run_with_gradients = _run_with_biases if question.biases else _run_with_gradients
        with _guided_relus(question.guided):
            scores, evidence = run_with_gradients(living, question, inputs, classes)
        return scores, question.function(evidence)

    return active_backend().compiled(answer, model)


def _run_with_gradients(
    model: keras.Model, question: _Question, inputs: Any, classes: Any
) -> tuple[Scores, Evidence]:
    """Run the model once, and differentiate the scores with respect to one tensor in it."""

    def forward(tap: Callable) -> tuple[Any, Scores]:
        fn = partial(_tap_in_single, tap)
        if question.layer is None:
            flat = keras.tree.flatten(inputs)
            flat[question.seen.image_index] = fn(flat[question.seen.image_index])
            outputs, heads = run_model(model, keras.tree.pack_sequence_as(inputs, flat))
        else:
            with forward_hook(layer_at(model, question.layer), fn):
                outputs, heads = run_model(model, inputs)
        scores = _scores(outputs, heads, question, classes)
        return scores.explained, scores

    (_, scores), activations, gradients = active_backend().differentiate(forward)
    connected = [pair for pair in zip(activations, gradients) if pair[1] is not None]
    if not connected:
        raise DisconnectedError(
            f"The explained score does not depend on layer {question.layer!r}. "
            "Pass a layer between the input and this output, or None to have one chosen."
            if question.layer
            else NO_GRADIENT_AT_INPUT
        )
    # A layer that is called several times is explained at the call nearest to the output.
    activation, gradient = connected[-1]
    return scores, Evidence(_on_grid(activation, 1, question), _on_grid(gradient, 2, question))


def _on_grid(tensor: Any, leading: int, question: _Question) -> Any:
    """Bring what was tapped to ``(..., *grid, channels)``; the first ``leading`` axes stay."""
    ops = keras.ops
    shape = ops.shape(tensor)
    if question.reshape is not None:
        to_grid: Any = question.reshape()
        rows = to_grid(ops.reshape(tensor, (-1, *shape[leading:])))
        return ops.reshape(rows, (*shape[:leading], *ops.shape(rows)[1:]))
    if question.tokens:
        patches = tensor[..., -prod(question.tokens) :, :]
        return ops.reshape(patches, (*shape[:leading], *question.tokens, shape[-1]))
    return ops.moveaxis(tensor, leading, -1) if question.seen.channels_first else tensor


def _largest_gradient(evidence: Evidence) -> Any:
    return keras.ops.max(keras.ops.abs(evidence.gradients))


def _run_with_biases(
    model: keras.Model, question: _Question, inputs: Any, classes: Any
) -> tuple[Scores, list[Evidence]]:
    """Run the model once, and differentiate with respect to the input and what has a bias."""
    flat = keras.tree.flatten(inputs)
    index = question.seen.image_index
    axes: list[int] = []

    def forward(tap: Callable) -> tuple[Any, tuple[Scores, list]]:
        axes[:] = [1 if question.seen.channels_first else -1]
        image = keras.ops.cast(flat[index], "float32")
        constants = [keras.ops.moveaxis(image, axes[0], -1)]

        def fn(tensor: Any, bias: Any, axis: int) -> Any:
            axes.append(axis)
            constants.append(bias)
            return _tap_in_single(tap, tensor)

        parts = [*flat[:index], _tap_in_single(tap, flat[index]), *flat[index + 1 :]]
        with bias_hooks(model, fn):
            outputs, heads = run_model(model, keras.tree.pack_sequence_as(inputs, parts))
        scores = _scores(outputs, heads, question, classes)
        return scores.explained, (scores, constants)

    (_, (scores, constants)), _, gradients = active_backend().differentiate(forward)
    if gradients[0] is None:
        raise DisconnectedError(NO_GRADIENT_AT_INPUT)
    return scores, [
        Evidence(constant, keras.ops.moveaxis(gradient, axis + 1 if axis > 0 else axis, -1))
        for constant, gradient, axis in zip(constants, gradients, axes)
        if gradient is not None
    ]


def _tap_in_single(tap: Callable, tensor: Any) -> Any:
    """Tap a tensor in single precision: half underflows where gradients are summed."""
    return keras.ops.cast(tap(keras.ops.cast(tensor, "float32")), tensor.dtype)


def _scores(outputs: Any, heads: list[Head], question: _Question, classes: Any) -> Scores:
    """Select the scores, and add up what is explained together: the scores are of its first."""
    scores = select_scores(outputs, heads, question.selection, classes)
    if question.mix == (1.0,):
        return scores
    size = len(question.mix)
    weights = keras.ops.convert_to_tensor(question.mix, "float32")
    groups = keras.ops.reshape(scores.values, (-1, scores.values.shape[1] // size, size))
    first = Scores(*(None if part is None else part[:, ::size] for part in scores))
    return first._replace(explained=keras.ops.sum(groups * weights, axis=-1))


def _scaled_channels(
    model: keras.Model, question: _Question, factors: Any = None
) -> AbstractContextManager:
    """Multiply the channels of the question's layer, while the context is open."""
    if factors is None or question.layer is None:
        return nullcontext()

    def fn(output: Any) -> Any:
        ones = (1,) * (len(output.shape) - 2)
        channels_first = question.seen.channels_first and len(output.shape) == question.seen.rank
        shape = (-1, factors.shape[1], *ones) if channels_first else (-1, *ones, factors.shape[1])
        return output * keras.ops.cast(keras.ops.reshape(factors, shape), output.dtype)

    return forward_hook(layer_at(model, question.layer), fn)


def _guided_relus(guided: bool) -> ExitStack:
    """Let only positive gradients pass each ReLU, while the context is open."""
    hooks = ExitStack()
    if guided:
        for name in RELUS:
            hooks.enter_context(activation_hook(name, lambda x, y: _positive_gradient(y)))
        # TensorFlow's is made of a ReLU, which it is not anywhere else.
        hooks.enter_context(activation_hook("hard_sigmoid", lambda x, y: _hard_sigmoid(x)))
    return hooks


def _hard_sigmoid(x: Any) -> Any:
    return keras.ops.clip(x / 6 + 0.5, 0, 1)


@keras.ops.custom_gradient
def _positive_gradient(x: Any) -> Any:
    def gradient(*args: Any, upstream: Any = None) -> Any:
        upstream = args[0] if upstream is None else upstream
        return keras.ops.maximum(upstream, 0)

    return x, gradient
