"""Compute scores and maps for a batch, one chunk at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

import keras
import numpy as np

from eli5k.base import AmbiguousOutputWarning, ExplanationWarning, MisplacedMapWarning, warn
from eli5k.estimators import check_keras_model
from eli5k.keras.aims import check_no_region, without_reading
from eli5k.keras.batches import Attributed, explain_in_batches
from eli5k.keras.evidence.aiming import aim
from eli5k.keras.evidence.asking import RANDOM
from eli5k.keras.evidence.batching import chunks
from eli5k.keras.evidence.readings import box_outputs, reading_of
from eli5k.keras.evidence.regions import Canvas
from eli5k.keras.evidence.run import Attribution, NoLayerError, Run
from eli5k.keras.evidence.scores import Scores, Target
from eli5k.keras.evidence.targets import TargetNames, choose_targets, find_head
from eli5k.keras.files import is_text
from eli5k.keras.inputs import check_batch, input_count
from eli5k.keras.methods import find_method, names_without_layer
from eli5k.keras.model.interface import find_input, image_inputs
from eli5k.keras.model.memory import recall
from eli5k.keras.model.room import rows_at_once
from eli5k.keras.model.survey import survey
from eli5k.keras.sources import Documents
from eli5k.options import MethodLike, Options


def attribute(
    model: keras.Model,
    docs: Any,
    targets: Any = None,
    *,
    method: MethodLike = "grad-cam",
    layer: Any = None,
    logits: bool | None = None,
    output: str | int | None = None,
    input: str | int | None = None,
    region: Any = None,
    preprocess: Callable[..., Any] | Literal[False] | None = None,
    reshape: Callable[..., Any] | None = None,
    batch_size: int | None = 32,
    progress: bool | None = False,
) -> Attributed:
    """Explain many samples: scores and raw maps, one row for each.

    Parameters
    ----------
    model : keras.Model
    docs : numpy.ndarray or tensor, list or dict of these, or as in ``explain_predictions``
        ``(batch, *grid, channels)``, as the model takes it, for each input. Anything else that
        :func:`eli5k.explain_predictions` takes is read one batch at a time: paths, folders,
        generators, data sets.
    targets : None, int, callable or array-like of int
        None for the best class of each sample. A class, or a callable from the model's outputs to
        ``(batch,)``, is for all samples; ``(batch,)`` has one class per sample, and
        ``(batch, targets)`` has several.
    method, layer, logits, output, input, region, preprocess, reshape
        As in :func:`eli5k.explain_prediction_keras`.
    batch_size : int or None
        Maximum number of samples that go through the model together; None for as many as have room
        on the graphics card, 32 without one.
    progress : bool or None
        Show progress bars, including that of a method that runs the model often; None shows them
        on a terminal if the run takes long.

    Returns
    -------
    scores : numpy.ndarray
        ``(batch,)``, float32, or ``(batch, targets)`` if ``targets`` has two axes. The pair has
        ``.classes`` of this shape, int: which class each score belongs to.
    maps : numpy.ndarray
        ``(batch, *grid)`` or ``(batch, targets, *grid)``, float32: signed if the method is, and
        not scaled.

        A document that can't be read has NaN in both, class -1, and a warning that names it.

    Raises
    ------
    TypeError, ValueError
        As :func:`eli5k.explain_prediction_keras`; also if ``targets`` and ``docs`` differ in
        length, or the documents in size.

    Warns
    -----
    AmbiguousOutputWarning
        If the model has several outputs and ``output`` is None.
    ExplanationWarning
        If a document can't be read.

    Examples
    --------
    >>> layers = [keras.Input((8, 8, 1)), keras.layers.Conv2D(2, 3)]
    >>> layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)]
    >>> scores, maps = attribute(keras.Sequential(layers), np.ones((5, 8, 8, 1)), targets=2)
    >>> scores.shape, maps.shape
    ((5,), (5, 6, 6))
    >>> attribute(keras.Sequential(layers), np.ones((5, 8, 8, 1))).classes.shape
    (5,)
    """
    check_keras_model(model, docs)
    options = Options(
        method=method,
        layer=layer,
        targets=targets,
        logits=logits,
        output=output,
        input=input,
        region=region,
        preprocess=preprocess,
        reshape=reshape,
        batch_size=rows_at_once(model) if batch_size is None else batch_size,
        progress=progress,
    )
    if not preprocess and _are_whole_arrays(model, docs):
        found = _by_sample(_run(model, docs, options), method)
    else:

        def explain(inputs: Any, own: Any, n_valid: int) -> Attributed:
            asked = _with_targets(ask(model, inputs, options), own)
            return _by_sample(replace(asked, n_valid=n_valid), method)

        found = explain_in_batches(model, Documents(model, docs), options, explain)
    return found if not callable(targets) and np.ndim(targets) == 2 else found.first()


def _by_sample(asked: Run, method: MethodLike) -> Attributed:
    """Return scores and maps ``(batch, targets, ...)``."""
    answer = explain_samples(asked, method)
    maps = keras.tree.map_structure(lambda of_all: np.moveaxis(of_all, 0, 1), answer.maps)
    classes = None if asked.target.functions else answer.scores.classes
    return Attributed(answer.scores.values, maps, classes)


def _are_whole_arrays(model: keras.Model, docs: Any) -> bool:
    """Tell whether all documents come as one array for each input."""
    if isinstance(docs, list | tuple) and (input_count(model) == 1 or not docs):
        return False
    parts = docs.values() if isinstance(docs, Mapping) else docs
    parts = parts if isinstance(docs, Mapping | list | tuple) else [docs]
    return all(hasattr(part, "shape") and not is_text(part) for part in parts)


def run(model: keras.Model, docs: Any, targets: Any = None, **options: Any) -> Run:
    """Prepare a question to a model, for a method of your own.

    Parameters
    ----------
    model : keras.Model
    docs, targets
        As in :func:`attribute`.
    **options
        Other keywords of :func:`attribute`.

    Returns
    -------
    Run

    Examples
    --------
    >>> model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten()])
    >>> run(model, np.ones((2, 4, 4, 1)), targets=5).scores().values.ravel().tolist()
    [1.0, 1.0]
    """
    check_keras_model(model, docs)
    return _run(model, docs, Options(targets=targets, **{"progress": False, **options}))


def _run(model: keras.Model, docs: Any, options: Options) -> Run:
    return _with_targets(ask(model, check_batch(model, docs), options), options.targets)


def ask(model: keras.Model, inputs: Any, options: Options) -> Run:
    """Survey a model and find the output to explain.

    Parameters
    ----------
    model : keras.Model
    inputs : numpy.ndarray, or list or dict of them
        ``(batch, ...)``, as the model takes them.
    options : Options

    Returns
    -------
    Run
        It explains the best class until other targets are chosen.
    """
    seen = survey(model, inputs)
    if options.input is not None:
        images = image_inputs(model, inputs, seen.image_indices)
        seen = replace(seen, image_index=find_input(images, options.input))
    position = find_head(seen.heads, options.output)
    if options.output is None:
        # If an output has boxes and scores, the scores are explained.
        position = next((scores for scores, _ in box_outputs(seen.heads)), position)
    reading = reading_of(seen, position)
    is_mask = reading is not None and reading.boxes is None
    by_logits = is_mask and options.logits is None
    target = Target(position, bool(options.logits), by_logits, reading=reading)
    return Run(model, seen, inputs, target, options=options)


def warn_of_model(asked: Run) -> None:
    """Warn about what concerns all documents of a run alike.

    Parameters
    ----------
    asked : Run
        Its targets must be chosen already.

    Warns
    -----
    AmbiguousOutputWarning
        If the model has several outputs and none was chosen.
    """
    names, reading = asked.survey.output_names, asked.target.reading
    if reading is not None and reading.boxes is not None:
        return
    if asked.options.output is None and len(names) > 1 and not asked.target.functions:
        own = asked.survey.heads[asked.target.output].name
        warn(
            f"The model has the outputs {names}, and {own!r} is explained. To choose another, pass "
            'its name or index as output=, or output="all".',
            AmbiguousOutputWarning,
        )


def warn_of_layers(asked: Run) -> None:
    """Warn about named layers that have no map of the picture.

    Parameters
    ----------
    asked : Run

    Warns
    -----
    MisplacedMapWarning
    """
    named = asked.options.layer
    for layer in named if isinstance(named, list | tuple) else [named]:
        path, point = (None, None) if layer is None else asked.at_layer(layer).layer_point()
        problem = getattr(getattr(point, "view", None), "problem", None)
        if problem:
            warn(
                f"The map at layer {path!r} is drawn over the whole picture, but it does not "
                f"belong there: {problem}. Leave layer=None to let eli5k choose.",
                MisplacedMapWarning,
            )


def explain_samples(asked: Run, method: MethodLike) -> Attribution:
    """Explain the samples of a run, one batch at a time.

    Parameters
    ----------
    asked : Run
    method : str or callable
        As in :func:`~eli5k.keras.methods.find_method`.

    Returns
    -------
    Attribution
        The results for all samples.
    """
    found = find_method(method)
    warn_of_model(asked)
    if found.needs_layer:
        warn_of_layers(asked)
    asked, columns = _without_duplicates(asked)
    answers = []
    try:
        for chunk in chunks(asked):
            is_whole = len(chunk.samples) == asked.rows
            part = asked if is_whole else asked.part(chunk.samples, n_valid=chunk.n_valid)
            answers.append(_valid(found.explain(part), chunk.n_valid, columns))
    except NoLayerError as error:
        names = ", ".join(names_without_layer())
        raise NoLayerError(f"{error} Methods that need none: {names}") from None
    if recall(asked.model, RANDOM, asked.survey.structure):
        warn(
            "The model draws random numbers from its backend when it runs, so each call gives "
            "another score and another map. Use keras.random with a keras.random.SeedGenerator.",
            ExplanationWarning,
        )
    return _joined(answers)


def _without_duplicates(asked: Run) -> tuple[Run, np.ndarray | None]:
    """Ask for each class once.

    The second value tells which column belongs to which target.
    """
    # Two targets of one class may have different places.
    if asked.classes is None or asked.classes.shape[1] == 1 or asked.places is not None:
        return asked, None
    unique, columns = np.unique(asked.classes, axis=1, return_inverse=True)
    if unique.shape[1] == asked.classes.shape[1]:
        return asked, None
    return replace(asked, classes=unique), columns.ravel()


def _valid(answer: Attribution, n_valid: int, columns: np.ndarray | None) -> Attribution:
    """Drop rows that only fill up the batch, and repeat duplicates."""

    def by_row(array: np.ndarray | None) -> np.ndarray | None:
        if array is None:
            return None
        return array[:n_valid] if columns is None else array[:n_valid, columns]

    def by_target(array: np.ndarray) -> np.ndarray:
        return array[:, :n_valid] if columns is None else array[columns, :n_valid]

    peaks = answer.peaks
    if peaks is not None:
        peaks = peaks._replace(
            activations=peaks.activations[:n_valid], gradients=by_target(peaks.gradients)
        )
    return answer._replace(
        scores=Scores(*map(by_row, answer.scores)),
        maps=keras.tree.map_structure(by_target, answer.maps),
        peaks=peaks,
    )


def _joined(answers: list[Attribution]) -> Attribution:
    """Join the answers about all batches, in arrays that the user owns."""
    by_part = zip(*(answer.scores for answer in answers))
    scores = Scores(*(None if parts[0] is None else np.concatenate(parts) for parts in by_part))
    maps = keras.tree.map_structure(
        lambda *batches: np.concatenate(batches, axis=1), *(answer.maps for answer in answers)
    )
    peaks = answers[0].peaks
    if peaks is not None:
        found = [answer.peaks for answer in answers if answer.peaks is not None]
        peaks = peaks._replace(
            activations=np.concatenate([each.activations for each in found]),
            gradients=np.concatenate([each.gradients for each in found], axis=1),
        )
    return Attribution(answers[0].layer, scores, maps, peaks, answers[0].frame)


def _with_targets(asked: Run, targets: Any) -> Run:
    """Check the targets of a batch, and ask about them."""
    count = asked.rows
    names = TargetNames(None, None)
    head = asked.survey.heads[asked.target.output]
    is_dense = asked.target.reading is not None and not callable(targets)
    if not is_dense:
        check_no_region(asked)
        asked = replace(asked, target=without_reading(asked))
    grid = asked.survey.picture_grid
    canvases = [Canvas(grid, ((0.0,) * len(grid), (1.0,) * len(grid)))] * count
    if targets is None or callable(targets):
        if is_dense:
            one = replace(asked, options=replace(asked.options, top_targets=1))
            return aim(one, [None] * count, names, canvases)[0]
        target, _ = choose_targets(
            head, targets, asked.options.top_targets, names, target=asked.target
        )
        return replace(asked, target=target)
    classes = np.asarray(targets)
    if classes.dtype.kind not in "iu" or classes.ndim > 2 or classes.size == 0:
        raise TypeError(
            "targets must be None, a class, a callable, one class for each sample, or the same "
            f"number of classes for each. Received: {targets!r}"
        )
    if classes.ndim and len(classes) != count:
        raise ValueError(
            f"targets must have one row for each of the {count} samples, or be one class for all. "
            f"Received {len(classes)} rows."
        )
    columns = 1 if classes.ndim < 2 else classes.shape[1]
    rows = classes[:, np.newaxis] if classes.ndim == 1 else classes
    rows = np.broadcast_to(rows, (count, columns)).astype("int32")
    if is_dense:
        return aim(asked, rows.tolist(), names, canvases)[0]
    unique = [int(each) for each in np.unique(classes)]
    target, _ = choose_targets(head, unique, None, names, target=asked.target)
    return replace(asked, target=target, classes=rows)
