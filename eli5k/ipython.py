"""Explain and show, in one call."""

from __future__ import annotations

import difflib
import io
import sys
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from eli5k.base import Explanation, ExplanationWarning
from eli5k.estimators import is_keras_model
from eli5k.explain import IMAGE, explain_prediction
from eli5k.formatters import Explanations, fields, format_as_html, format_as_image
from eli5k.formatters.drawing import is_drawable
from eli5k.formatters.gallery import gallery_of_list
from eli5k.formatters.image import draw_picture
from eli5k.formatters.panels import Look
from eli5k.options import optional_keywords, shows_options

if TYPE_CHECKING:
    from PIL import Image


OF_FORMATS = optional_keywords(format_as_html) + optional_keywords(format_as_image)
IMAGE_KWARGS = frozenset(each.name for each in optional_keywords(format_as_image))
HTML_KWARGS = frozenset(each.name for each in optional_keywords(format_as_html))
FORMAT_KWARGS = IMAGE_KWARGS | HTML_KWARGS


@shows_options(IMAGE, *OF_FORMATS)
def show_prediction(estimator: Any, doc: Any, **kwargs: Any) -> Any:
    """Explain what a model predicts for one document, and show it.

    Parameters
    ----------
    estimator : object
        The model; must be positional.
    doc : object
        What the model predicts on.
    **kwargs
        Keywords of :func:`~eli5k.format_as_image` and :func:`~eli5k.format_as_html` go to whichever
        of the two is used; the others go to :func:`~eli5k.explain_prediction`.

    Returns
    -------
    PIL.Image.Image
        The result of :func:`~eli5k.format_as_image`, if the explanation has a picture. A notebook
        shows it with its caption; ``caption=False`` shows the bare one.
    IPython.display.HTML
        If it has none, for instance because the model is not supported; also with
        ``interactive=True``, which shows a viewer instead of a picture.
    Explanation
        If a library that shows it is missing.

    Raises
    ------
    TypeError
        If a keyword is unknown, or as the two functions raise.
    ValueError
        As the two functions raise.

    Warns
    -----
    ExplanationWarning
        If a library that shows it is missing.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings(action="ignore"):
    ...     print(show_prediction(None, None, include_styles=False).data)
    <div class="eli5k ...">
    <div role="alert" ...>Error: Expected a keras.Model, got NoneType None.</div>
    </div>
    """
    explain_kwargs = {key: kwargs[key] for key in kwargs if key not in FORMAT_KWARGS}
    try:
        expl = explain_prediction(estimator, doc, **explain_kwargs)
    except TypeError as error:
        _suggest_format_kwarg(error, explain_kwargs)
        raise
    try:
        if is_drawable(expl) and not kwargs.get("interactive"):
            options = {key: kwargs[key] for key in kwargs if key in IMAGE_KWARGS}
            return _shown_captioned(format_as_image(expl, **options), expl, options)
        from IPython.display import HTML
    except ImportError as missing:
        warnings.warn(
            f"The explanation is returned as it is, because a library to show it is missing: "
            f"{missing}",
            ExplanationWarning,
            stacklevel=2,
        )
        return expl
    options = {key: kwargs[key] for key in kwargs if key in HTML_KWARGS}
    return HTML(format_as_html(expl, **{"show": fields.WEIGHTS, **options}))


@shows_options(IMAGE, without=("method", "layer"))
def compare(
    estimator: Any,
    doc: Any,
    methods: Any = ("grad-cam",),
    layers: Any = (None,),
    **kwargs: Any,
) -> Explanations:
    """Explain one document by several methods, at several layers.

    Parameters
    ----------
    estimator : object
        The model; must be positional.
    doc : object
        What the model predicts on.
    methods, layers : str or sequence
        What :func:`~eli5k.explain_prediction` takes as ``method`` and as ``layer``, one or several.
        ``"all"`` are all methods that the model can have. Methods that look at the same evidence
        share the run; one that looks at the input is asked once.
    **kwargs
        Other keywords of :func:`~eli5k.explain_prediction`, such as ``targets``.

    Returns
    -------
    Explanations
        A list of :class:`~eli5k.Explanation`, method by method. A notebook shows it as a grid;
        :func:`~eli5k.save` makes a picture or a page of it.

    Raises
    ------
    TypeError, ValueError
        As :func:`~eli5k.explain_prediction`; also if there is no method or no layer.

    Warns
    -----
    ExplanationWarning
        If ``"all"`` leaves a method out, with the reason.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings(action="ignore"):
    ...     [expl.error for expl in compare(None, None, methods=["cam"])]
    ['Expected a keras.Model, got NoneType None.']
    """
    methods, layers = _several(methods), _several(layers)
    for name, values in (("methods", methods), ("layers", layers)):
        if not values:
            raise ValueError(f"{name} must be one or a list of at least one. Received: {values!r}")
    if is_keras_model(estimator):
        # Imported only now, since it takes seconds; who has a Keras model has imported Keras.
        from eli5k.keras.comparison import explain_by_methods

        return Explanations(explain_by_methods(estimator, doc, methods, layers, **kwargs))
    found = Explanations()
    for method in methods:
        for layer in layers:
            found.append(explain_prediction(estimator, doc, method=method, layer=layer, **kwargs))
            if found[-1].layer is None:
                break
    return found


def _several(values: Any) -> list[Any]:
    return (
        list(values) if isinstance(values, Iterable) and not isinstance(values, str) else [values]
    )


def _shown_captioned(
    picture: Image.Image, expl: Explanation, options: dict[str, Any]
) -> Image.Image:
    """Show a picture in a notebook with its caption; enlarge small ones.

    For code it stays the picture that eli5 returns.
    """

    def png() -> bytes:
        file = io.BytesIO()
        look = Look(**{"caption": True, "on_paper": False, **options})
        draw_picture([expl], look).save(file, "PNG")
        return file.getvalue()

    # A notebook takes the method of the object before that of its class.
    picture._repr_png_ = png  # type: ignore[method-assign]
    return picture


def _suggest_format_kwarg(error: TypeError, explain_kwargs: dict[str, Any]) -> None:
    """Suggest the format's nearest keyword in an error about an unknown one."""
    for keyword in explain_kwargs:
        near = difflib.get_close_matches(keyword, FORMAT_KWARGS, n=1)
        if near and f"unexpected keyword argument {keyword!r}" in str(error):
            error.add_note(f"Did you mean {near[0]!r}, a keyword of the picture or the HTML?")


def show_lists() -> None:
    """Show a list of explanations as a gallery in a notebook.

    It must be the last line of a cell.

    Any other list is shown as before; nothing happens if another library shows lists already, or
    outside IPython.

    Examples
    --------
    >>> show_lists()
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is None:
        return
    formatter = shell.display_formatter.formatters["image/png"]
    if list not in formatter.type_printers:
        formatter.for_type(list, gallery_of_list)


show_lists()
