"""Run: a batch and a question about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any, NamedTuple

import keras
import numpy as np

from eli5k.keras.evidence.asking import DisconnectedError, Peaks, Question, ask_model
from eli5k.keras.evidence.choice import points_to_try
from eli5k.keras.evidence.probes import Evidence, Layer, Patch, Point, Probe, frame_of
from eli5k.keras.evidence.scores import Scores, Target
from eli5k.keras.model.memory import NoKeyError, key_of, recall, remember
from eli5k.keras.model.noise import noise_like
from eli5k.keras.model.survey import Survey
from eli5k.keras.model.view import Frame
from eli5k.maps import on_axes, over_picture
from eli5k.options import Options


class Attribution(NamedTuple):
    """Result of a method for a batch, as arrays.

    Attributes
    ----------
    layer : str or None
        Path of the explained layer; None for the input itself.
    scores : Scores
        Arrays ``(batch, targets)``.
    maps : numpy.ndarray
        ``(targets, batch, *grid)``, float32.
    peaks : Peaks or None
        The largest activations and gradients behind the maps; None if none were computed.
    frame : tuple or None
        Where the maps begin and end along each axis of the picture, in shares of it; None if they
        cover it.
    """

    layer: str | None
    scores: Scores
    maps: Any
    peaks: Peaks | None = None
    frame: Frame | None = None


def on_whole_picture(answer: Attribution, picture: Sequence[int]) -> Attribution:
    """Lay framed maps over the whole picture, keeping the cell size.

    Parameters
    ----------
    answer : Attribution
    picture : sequence of int
        Size of the picture along each axis. What a map has besides, such as the frequencies of a
        sound, is summed up.
    """
    maps, frame = on_axes(answer.maps, answer.frame, leading=2, axes=len(picture))
    answer = answer._replace(maps=maps, frame=frame)
    if answer.frame is None:
        return answer
    cells = answer.maps.shape[2:]
    spans = [high - low for low, high in zip(*answer.frame)]
    grid = [min(ceil(n / span), size) for n, span, size in zip(cells, spans, picture)]
    return answer._replace(maps=over_picture(answer.maps, grid, answer.frame), frame=None)


class NoLayerError(ValueError):
    """Error: the score depends on no layer with a grid."""


@dataclass(frozen=True, eq=False)
class Run:
    """A batch, and a question about it.

    A method is a function from a run to an :class:`Attribution`.

    :func:`eli5k.keras.run` makes one. It holds nothing but the attributes below. You can keep it,
    and pickle it if the model can be pickled.

    Attributes
    ----------
    model : keras.Model
    survey : Survey
        Survey of this model on such inputs.
    inputs : numpy.ndarray, or list or dict of them
        ``(batch, ...)``, as the model takes them.
    target : Target
        Which numbers are explained.
    classes : numpy.ndarray or None
        ``(batch, targets)``, int32; None if the model's own scores or callables decide.
    options : Options
        Only ``layer``, ``reshape``, ``batch_size`` and ``progress`` matter here.
    n_valid : int or None
        How many samples are asked about, if not all. The rest only fills up the batch, because each
        new shape would be compiled again, and its results don't matter.
    patches : tuple of Patch
        Interventions that are open in every run of the model.
    operands : tuple
        One for each of them.
    places : numpy.ndarray or None
        ``(batch, targets, places)``, bool: which places of an output with many each score is the
        mean of.

    Examples
    --------
    >>> import eli5k
    >>> from eli5k.keras.evidence.probes import Input, Probe
    >>> from eli5k.keras.methods.gradient import gradient
    >>> model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()])
    >>> asked = eli5k.keras.run(model, np.ones((2, 4, 4, 1)), targets=5)
    >>> asked.evidence(Probe(Input()), gradient).maps.shape
    (1, 2, 4, 4)
    """

    model: keras.Model
    survey: Survey
    inputs: Any
    target: Target
    classes: np.ndarray | None = None
    options: Options = field(default_factory=Options)
    n_valid: int | None = None
    patches: tuple[Patch, ...] = ()
    operands: tuple[Any, ...] = ()
    places: np.ndarray | None = None

    @property
    def image(self) -> np.ndarray:
        """The image as the model reads it, channels last: ``(batch, *grid, channels)``."""
        flat: np.ndarray = keras.tree.flatten(self.inputs)[self.survey.image_index]
        image = flat.reshape(len(flat), *self.survey.image_shape[1:])
        return np.moveaxis(image, 1, -1) if self.survey.channels_first else image

    @property
    def count(self) -> int:
        """How many samples are asked about: the first ones of the batch."""
        return self.rows if self.n_valid is None else self.n_valid

    @property
    def rows(self) -> int:
        """How many rows the batch has, including those that fill it up."""
        return len(keras.tree.flatten(self.inputs)[0])

    def part(self, rows: slice | np.ndarray, n_valid: int | None = None) -> Run:
        """Ask the same about some of the samples."""
        inputs = keras.tree.map_structure(lambda array: array[rows], self.inputs)
        classes, places = self.chosen(rows)
        return replace(self, inputs=inputs, classes=classes, places=places, n_valid=n_valid)

    def chosen(self, rows: slice | np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return the classes and places of some rows."""
        classes = None if self.classes is None else self.classes[rows]
        return classes, None if self.places is None else self.places[rows]

    def perturbed(self, image: np.ndarray, samples: np.ndarray) -> Run:
        """Ask the same about other images.

        Parameters
        ----------
        image : numpy.ndarray
            ``(rows, *grid, channels)``, channels last; rounded if the model takes whole numbers.
        samples : numpy.ndarray
            ``(rows,)``, int: the sample that each row takes its other inputs and its classes from.

        Raises
        ------
        ValueError
            If the input is a text: half a word is another word.
        """
        if self.survey.image_index in self.survey.embeddings:
            raise ValueError(
                "The explained input holds the tokens of a text, and a token can't be blurred, "
                "masked in part or changed a little, as this method or check does. Use a method "
                "that explains a layer, such as method='grad-cam', without check=True."
            )
        dtype = self.image.dtype
        if dtype.kind in "iu":
            image = np.clip(np.rint(image), np.iinfo(dtype).min, np.iinfo(dtype).max)
        image = image.astype(dtype, copy=False)
        if self.survey.channels_first:
            image = np.moveaxis(image, -1, 1)
        image = image.reshape(len(image), *self.survey.input_shapes[self.survey.image_index][1:])
        flat = [
            image if index == self.survey.image_index else array[samples]
            for index, array in enumerate(keras.tree.flatten(self.inputs))
        ]
        classes, places = self.chosen(samples)
        return replace(
            self,
            inputs=keras.tree.pack_sequence_as(self.inputs, flat),
            classes=classes,
            places=places,
            # One bar is enough if such a method is itself run often.
            options=replace(self.options, progress=False),
            n_valid=None,
        )

    def with_classes(self, scores: Scores) -> Run:
        """Fix the classes that were chosen for the unperturbed inputs.

        Parameters
        ----------
        scores : Scores
            Scores of this run.
        """
        if scores.rivals is not None:
            own = scores.classes[..., np.newaxis]
            return replace(self, classes=np.concatenate([own, scores.rivals], axis=2))
        if self.classes is not None or self.target.functions:
            return self
        return replace(self, classes=scores.classes)

    def scores(self, patches: tuple[Patch, ...] = (), operands: Sequence[Any] = ()) -> Scores:
        """Run the model forward only.

        Parameters
        ----------
        patches : tuple of Patch
            Interventions that are open meanwhile.
        operands : sequence of numpy.ndarray or None
            One for each patch; empty if none needs any.
        """
        return ask_model(
            self._question(None, patches, None), self._operands(patches, operands)
        ).scores

    def look(self, function: Callable[..., Any]) -> Any:
        """Run the model forward; return ``function`` of its outputs, as arrays."""
        return ask_model(self._question(None, (), function), self._operands((), ())).maps

    def evidence(
        self, probe: Probe, function: Callable[..., Any], operands: Sequence[Any] = ()
    ) -> Attribution:
        """Run the model forward and back to a point; apply ``function`` there.

        Parameters
        ----------
        probe : Probe
            ``Probe(Layer())`` takes the layer of the options or, without one, the last layer that
            has a grid and on which the score depends.
        function : callable
            Function from the evidence of the point to maps. It gets tensors, and is compiled with
            the run.
        operands : sequence of numpy.ndarray or None
            One for each patch of the probe; empty if none needs any.

        Returns
        -------
        Attribution
            Its ``maps`` are what ``function`` returned, as arrays.

        Raises
        ------
        DisconnectedError
            If the score doesn't depend on the point: a ValueError.
        NoLayerError
            If no layer has a grid on which the score depends: a ValueError.
        TypeError, ValueError
            If the model doesn't call the named layer, or it has no grid.
        """
        operands = self._operands(probe.patches, operands)
        if probe.point != Layer():
            answer = ask_model(self._question(probe, probe.patches, function), operands)
            path = getattr(probe.point, "path", None)
            return Attribution(path, answer.scores, answer.maps, answer.peaks)
        refusal: DisconnectedError | None = None
        for path, point in self._points():
            try:
                asked = self._question(replace(probe, point=point), probe.patches, function)
                answer = ask_model(asked, operands)
            except DisconnectedError as error:
                refusal = error
            else:
                self._remember_default(path, point)
                frame = frame_of(point)
                return Attribution(path, answer.scores, answer.maps, answer.peaks, frame)
        if self.options.layer is not None and refusal is not None:
            raise refusal
        raise NoLayerError(
            "No layer of the model has a grid of more than one pixel whose cells look at their own "
            "places in the picture and on which the score depends. "
            f"It calls: {', '.join(dict.fromkeys(call.path for call in self.survey.calls))}."
        )

    def layer_point(self) -> tuple[str, Point]:
        """Return path and point of the layer that ``Probe(Layer())`` takes.

        Raises
        ------
        TypeError, ValueError
            As :meth:`evidence` does.
        """
        points = self._points()
        if self.options.layer is None and self._default() is None:
            # Only a run shows which layer a score depends on; it is remembered.
            self.evidence(Probe(Layer()), _nothing)
            points = self._points()
        return next(points)

    def is_connected(self) -> bool:
        """Tell whether the score depends on the layer of the options."""

        def find_out() -> bool:
            try:
                self.evidence(Probe(Layer()), _nothing)
            except DisconnectedError:
                return False
            return True

        key = self._target_key(("connected", self.options.layer))
        return find_out() if key is None else bool(self.remembered(key, find_out))

    def computes_relu_after(self, point: Layer) -> bool:
        """Tell whether a ReLU follows a call of a layer."""
        calls = self.survey.calls
        own = [i for i, c in enumerate(calls) if (c.path, c.number) == (point.path, point.number)]
        return self.survey.last_relu is not None and self.survey.last_relu > max(own, default=-1)

    def on_noise(self, rows: int) -> Run:
        """Ask the same about noise, to learn what no document decides."""
        inputs = noise_like(self.inputs, self.survey.embeddings, rows)
        classes, places = self.chosen(np.zeros(rows, int))
        return replace(self, inputs=inputs, classes=classes, places=places, n_valid=None)

    def _points(self) -> Iterator[tuple[str, Point]]:
        layer = self.options.layer
        default = self._default() if layer is None else None
        if default is not None:
            yield default
        elif isinstance(layer, str) and self.options.reshape is None:
            key = ("named layer", layer, self.survey.image_index)
            yield from self.remembered(key, lambda: tuple(self._points_to_try()))
        else:
            yield from self._points_to_try()

    def _points_to_try(self) -> Iterator[tuple[str, Point]]:
        return points_to_try(self._question(None, (), None), self.options)

    def _default(self) -> tuple[str, Point] | None:
        key = self._target_key("default layer")
        if key is None or self.options.reshape is not None:
            return None
        found: tuple[str, Point] | None = recall(self.model, key, self.survey.structure)
        return found

    def _remember_default(self, path: str, point: Point) -> None:
        key = self._target_key("default layer")
        if self.options.layer is None and key is not None:
            self.remembered(key, lambda: (path, point))

    def _target_key(self, about: Any) -> Any:
        """Key of a fact about the explained output.

        None if a callable can't be compared.
        """
        try:
            image = self.survey.image_index
            return key_of((about, self.target.output, self.target.functions, image))
        except NoKeyError:
            return None

    def at_layer(self, layer: Any) -> Run:
        """Ask the same at another layer."""
        return replace(self, options=replace(self.options, layer=layer))

    def remembered(self, key: Any, find_out: Callable[[], Any]) -> Any:
        """Return what ``find_out()`` returned when this model was first asked.

        It must be a fact about the model's structure, never about the numbers of a document.
        """
        return remember(self.model, key, self.survey.structure, find_out)

    def _question(
        self, probe: Probe | None, patches: tuple[Patch, ...], function: Callable[..., Any] | None
    ) -> Question:
        return Question(
            self.model,
            self.survey,
            self.inputs,
            self.target,
            self.classes,
            probe,
            (*self.patches, *patches),
            function,
            self.places,
        )

    def _operands(self, patches: tuple[Patch, ...], operands: Sequence[Any]) -> Sequence[Any]:
        return [*self.operands, *(operands or [None] * len(patches))]


def _nothing(evidence: Evidence) -> None:
    """Ask for no maps, only whether there is any evidence."""
    del evidence
