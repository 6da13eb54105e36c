"""Explain the prediction of a Keras model for a document."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Literal

import keras

from eli5k.base import Explanation, ExplanationWarning, warn
from eli5k.estimators import check_keras_model
from eli5k.keras.each import ALL
from eli5k.keras.evidence.run import NoLayerError
from eli5k.keras.explain_batch import explain_batch
from eli5k.keras.fitting import RankError
from eli5k.keras.inputs import read_document
from eli5k.keras.support import not_supported, refused, warned
from eli5k.options import MethodLike, Options, TokenNames

# eli5 documents these for every estimator, but they don't apply to images.
IGNORED_KEYWORDS = ("top", "feature_names", "feature_re", "feature_filter", "vec")


def explain_prediction_keras(
    model: keras.Model,
    doc: Any,
    targets: Any = None,
    layer: str | int | keras.Layer | list[Any] | None = None,
    image: Any = None,
    *,
    method: MethodLike = "grad-cam",
    logits: bool | None = None,
    output: str | int | None = None,
    input: str | int | None = None,
    top_targets: int | None = None,
    threshold: float | None = None,
    target_names: Any = None,
    token_names: TokenNames = None,
    region: Any = None,
    preprocess: Callable[..., Any] | Literal[False] | None = None,
    reshape: Callable[..., Any] | None = None,
    batch_size: int = 32,
    progress: bool | None = None,
    check: bool | Literal["quick"] = False,
    **ignored: Any,
) -> Explanation:
    """Explain what a Keras image model predicts for one document.

    Parameters
    ----------
    model : keras.Model
        Functional, sequential or subclassed, of any nesting.
    doc : numpy.ndarray, tensor, PIL.Image.Image, path, bytes, file, or list or dict of these
        What ``model.predict`` takes for one sample: an array of any rank, ``(1, *grid, channels)``;
        the batch axis may be missing, and a single channel too. A picture is resized to the model's
        input. Several inputs come as a list in the model's order or a dict by name.
    targets : list, tuple or array, int, str, callable or None
        Classes by index or by name, all computed in one run of the model; or callables from the
        model's outputs to ``(batch,)``. None explains the class with the highest score. For
        a segmenter, that is the class with the most pixels, except the background. For a detector,
        None explains the best boxes, and ``targets`` are numbers of boxes, class names or boxes in
        pixels.
    layer : str, int, keras.Layer, list of these or None
        Name (at any depth, if unique), path such as ``"mobilenetv2_1.00_224/Conv_1"``, index into
        ``model.layers`` or instance. None chooses the last layer that has a grid and on which the
        score depends. A list is for ``method="fuse"``. Methods that look at the input ignore it.
    image : PIL.Image.Image, path, bytes, file or numpy.ndarray, optional
        The picture to lay the heatmap over, instead of the explained input's.
    method : str or callable
        A key of :data:`eli5k.keras.methods.METHODS`, or an object with parameters such as
        ``eli5k.keras.methods.IntegratedGradients(steps=20)``. ``"best"`` ranks the methods that run
        the model once, on this document, and takes the one that agrees best with the model.
    logits : bool or None
        Explain the score before the final softmax or sigmoid. None does so for an output with a
        score for each pixel, whose ``score`` stays the probability, and for no other.
    output : str, int or None
        Which of several outputs to explain. ``"all"`` explains each of them: the others are in
        ``.others``; ``targets`` and ``target_names`` may then be dicts by output.
    input : str, int or None
        Which of several image inputs to explain and to show, by name or index; None for the first.
        ``"all"`` explains each of them: the others are in ``.others``.
    top_targets : int, optional
        Explain the N best classes, or the N worst if negative.
    threshold : float, optional
        Explain all classes with at least this probability, or this score if the output has no
        probabilities. If no class has, explain the best one, with a warning.
    target_names : list of str, dict, encoder or path, optional
        Names of the classes: one for each, a dict of index to name or of name to index, an object
        with ``classes_``, or a file of names. Two names for a single unit make it a binary
        classifier.
    token_names : list of str, dict or callable, optional
        Words of a text's tokens: by index, as ``{index: word}`` or ``{word: index}``, or a function
        from index to word.
    region : tuple of float or array of bool, optional
        For a segmenter: explain the mean score in this box ``(left, top, right, bottom)``, in
        pixels of the picture, or mask. For a detector: explain boxes with their centre there.
    preprocess : callable, False or None
        Preprocessing of the image array. The picture is made before it. None applies the
        ``preprocessor`` of a KerasHub task, as its ``predict`` does; False takes ``doc`` as it is.
    reshape : callable, optional
        Function from the output of ``layer`` to ``(batch, *grid, channels)``, if eli5k can't guess
        that. The tokens of a vision transformer need none if they are its patches, after any class
        or register tokens.
    batch_size : int
        Batch size for methods that run the model many times.
    progress : bool or None
        Show the progress bar of such a method; None shows it on a terminal if the run takes long.
    check : bool or "quick"
        Check whether each map is faithful to the model, with 80 further runs of the model and 8 for
        each further target: see :class:`~eli5k.Check`. "quick" takes 34 runs, however many targets,
        and leaves out the hottest parts.

    Returns
    -------
    Explanation
        With ``error`` set if the model is not an image model.

    Raises
    ------
    TypeError
        If ``doc``, ``targets``, ``layer`` or ``output`` has the wrong type, or a keyword is
        unknown.
    ValueError
        If a class, layer, input or output does not exist, if ``doc`` doesn't have the model's
        shape, or if the layer has no grid on which the score depends.

    References
    ----------
    Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391

    Examples
    --------
    >>> conv = keras.layers.Conv2D(2, 3, kernel_initializer="ones", name="conv")
    >>> dense = keras.layers.Dense(3, kernel_initializer="ones")
    >>> pool = keras.layers.GlobalAveragePooling2D()
    >>> model = keras.Sequential([keras.Input((8, 8, 1)), conv, pool, dense])
    >>> explanation = explain_prediction_keras(model, keras.ops.ones((8, 8)), targets=[2])
    >>> explanation.layer, explanation.targets[0].heatmap.shape
    ('conv', (6, 6))
    """
    check_keywords(ignored)
    options = Options(
        method=method,
        layer=layer,
        targets=targets,
        top_targets=top_targets,
        threshold=threshold,
        target_names=target_names,
        token_names=token_names,
        region=region,
        output=output,
        input=input,
        logits=logits,
        preprocess=preprocess,
        reshape=reshape,
        batch_size=batch_size,
        progress=progress,
        check=check,
    )
    [explanation] = explain_document(model, doc, options, image, [method])
    return explanation


def explain_document(
    model: keras.Model,
    doc: Any,
    options: Options,
    image: Any,
    methods: Sequence[MethodLike],
    layers: Sequence[Any] | None = None,
) -> list[Explanation]:
    """Explain one document by several methods, sharing runs.

    Parameters
    ----------
    model, doc, image
        As in :func:`explain_prediction_keras`.
    options : Options
        Its method is not looked at.
    methods : sequence of str or callable
    layers : sequence or None
        Several layers instead of that of the options.

    Returns
    -------
    list of Explanation
        One for each method and layer.

    Raises
    ------
    TypeError, ValueError
        As :func:`explain_prediction_keras`.
    """
    if image is not None and options.input == ALL:
        raise ValueError('image= is the picture of one input. Leave it out with input="all".')
    check_keras_model(model, doc)
    # With image=, like eli5, a user says that it is an image model.
    for method in methods if image is None else ():
        refusal = not_supported(model, method)
        if refusal is not None:
            return [warned(refusal)] * len(methods)
    try:
        document = read_document(model, doc, image=image, preprocess=options.preprocess)
        return explain_batch(model, [document], options, methods=methods, layers=layers)
    except RankError as error:
        if not hasattr(doc, "shape"):
            raise
        return [warned(refused(model, str(error)))] * len(methods)
    except NoLayerError as error:
        is_table = max(len(array.shape) for array in keras.tree.flatten(document.inputs)) < 3
        if not is_table or options.layer is not None or layers not in (None, [None]):
            raise
        return [warned(refused(model, str(error)))] * len(methods)


def check_keywords(
    keywords: Collection[str], function: str = "explain_prediction", own: Iterable[str] = ()
) -> None:
    """Accept eli5's other keywords; refuse unknown ones with a suggestion.

    Parameters
    ----------
    keywords : collection of str
    function : str
    own : iterable of str
        What the function takes besides.

    Examples
    --------
    >>> check_keywords(["method_"])
    Traceback (most recent call last):
    TypeError: explain_prediction got an unexpected keyword argument 'method_'. Did you mean
    'method'?
    """
    for keyword in keywords:
        if keyword not in IGNORED_KEYWORDS:
            # Only now: reading a signature at each explanation takes longer than the rest of this.
            parameters = inspect.signature(explain_prediction_keras).parameters
            taken = [*own, *list(parameters)[2:-1], *IGNORED_KEYWORDS]
            known = [name for name in dict.fromkeys(taken) if name not in keywords]
            near = difflib.get_close_matches(keyword, known, n=1)
            raise TypeError(
                f"{function} got an unexpected keyword argument {keyword!r}."
                + (f" Did you mean {near[0]!r}?" if near else f" It takes: {', '.join(known)}")
            )
        if keyword == "top":
            warn(
                "top= has no effect: it is about the features of other models. To explain the N "
                "best classes, pass top_targets=N.",
                ExplanationWarning,
            )
