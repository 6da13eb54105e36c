"""Explain one picture: open it, ask the model, and tell the answer."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import eli5k
from eli5k.cli.errors import PictureError, UserError, raised_by_others, reason_of
from eli5k.cli.messages import complain_once, say, warnings_as_lines
from eli5k.options import Options
from eli5k.picture_files import ARRAY

if TYPE_CHECKING:
    import keras
    from PIL import Image

SHOWN_CLASSES = 5


@dataclass(frozen=True)
class Question:
    """What is asked about each picture.

    Attributes
    ----------
    options : Options
        But for method and layer.
    methods : tuple of str
    layers : tuple
        The layers of a comparison; otherwise one.
    is_all : bool
        Whether all methods are asked for: those that the model can't have are left out.
    """

    options: Options
    methods: tuple[str, ...] = ("grad-cam",)
    layers: tuple[Any, ...] = (None,)
    is_all: bool = False


def explain_picture(model: keras.Model, file: Path, question: Question) -> list[eli5k.Explanation]:
    """Explain a picture by each method and layer; print warnings.

    Parameters
    ----------
    model : keras.Model
    file : pathlib.Path
    question : Question

    Raises
    ------
    UserError
        If the model is no image model.
    PictureError
        If the file can't be used.
    """
    from eli5k.keras.support import not_supported

    document = read_file(file)
    if not question.is_all:
        refusal = not_supported(model, question.methods[0])
        if refusal is not None:
            raise UserError(str(refusal.error))
    with warnings_as_lines(file):
        found = _explain(model, document, question)
    for explanation in found:
        if explanation.error:
            raise UserError(explanation.error)
        for part in (explanation, *explanation.others):
            part.source = str(file)
    return found


def best_classes(model: keras.Model, file: Path, options: Options) -> eli5k.Explanation | None:
    """Explain the best classes; None if the model has no classes."""
    asked = replace(
        options, targets=None, top_targets=SHOWN_CLASSES, threshold=None, check=False, region=None
    )
    with warnings.catch_warnings():
        # Nobody asked for these maps, so it doesn't matter if they are blank.
        warnings.simplefilter("ignore", eli5k.ExplanationWarning)
        try:
            return eli5k.explain_prediction(model, read_file(file), **keywords(asked))
        except ValueError:
            return None


def keywords(options: Options) -> dict[str, Any]:
    """Return options as keywords."""
    return {each.name: getattr(options, each.name) for each in fields(options)}


def report(
    file: Path,
    found: Sequence[eli5k.Explanation],
    best: eli5k.Explanation | None,
    written: Path | None,
) -> None:
    """Print the results for the only picture.

    Parameters
    ----------
    file : pathlib.Path
        The explained picture.
    found : sequence of Explanation
        One for each method and layer.
    best : Explanation or None
        Explanation of the best classes.
    written : pathlib.Path or None
        Where the heatmap is.
    """
    say(str(file))
    first = found[0]
    all_best = first if best is None else best
    # The results of each method, by output.
    of_outputs = zip(*([each, *each.others] for each in found))
    for versions, its_best in zip(of_outputs, [all_best, *all_best.others]):
        if first.others:
            say(f"  output   {versions[0].output}")
        say(*(f"  {line}" for line in _class_lines(versions[0], its_best)))
        for part in versions:
            say(f"  layer    {part.layer or 'the input'} ({part.method})")
            checked = [(each.target, each.check) for each in part.targets or () if each.check]
            say(*(f"  check    {name}: {x.verdict}. {x.sentence}" for name, x in checked))
    say(*([f"  picture  {written}"] if written else []), "")


def summary(file: Path, found: Sequence[eli5k.Explanation], written: Path | None) -> str:
    """Describe the result for one of many pictures in a line.

    Examples
    --------
    >>> cat = eli5k.TargetExplanation("cat", score=0.9, proba=0.9)
    >>> summary(Path("a.jpg"), [eli5k.Explanation("net", targets=[cat])], Path("out/a.png"))
    'a.jpg  cat 0.9000  -> out/a.png'
    """
    first = found[0]
    parts = [
        _target_words(target) for part in (first, *first.others) for target in part.targets or ()
    ]
    return f"{file}  {', '.join(parts)}" + (f"  -> {written}" if written else "")


def read_file(file: Path) -> Any:
    """Open a picture, or load the array in a NumPy file.

    Raises
    ------
    PictureError
        If the file can't be used.
    """
    return str(file) if file.suffix == ARRAY else open_image(file)


def open_image(file: Path) -> Image.Image:
    """Open a picture.

    Raises
    ------
    PictureError
        If the file can't be used.
    """
    from PIL import Image, UnidentifiedImageError

    from eli5k.pixels import open_picture

    try:
        with warnings_as_lines(file):
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return open_picture(file)
    except UnidentifiedImageError as error:
        raise PictureError("not a picture that Pillow can read") from error
    except OSError as error:
        raise PictureError(error.strerror or reason_of(error)) from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise PictureError(reason_of(error)) from error
    except raised_by_others() as error:
        raise PictureError(reason_of(error)) from error


def _explain(model: keras.Model, document: Any, question: Question) -> list[eli5k.Explanation]:
    asked = keywords(question.options)
    if len(question.methods) == len(question.layers) == 1:
        asked |= {"method": question.methods[0], "layer": question.layers[0]}
        return [eli5k.explain_prediction(model, document, **asked)]
    del asked["method"], asked["layer"]
    several = {"methods": question.methods, "layers": question.layers}
    if not question.is_all:
        return list(eli5k.compare(model, document, **several, **asked))
    from eli5k.keras.comparison import explain_by_suited

    found, refused = explain_by_suited(model, document, **several, **asked)
    if not found:
        raise UserError(" ".join(next(iter(refused)).split()))
    for reason, methods in refused.items():
        are = "is" if len(methods) == 1 else "are"
        names = ", ".join(map(str, methods))
        complain_once(f"{names} {are} left out: {' '.join(reason.split())}")
    return found


def _class_lines(explanation: eli5k.Explanation, best: eli5k.Explanation) -> Iterator[str]:
    """Yield a table of classes: name, score, probability.

    It has the best classes and the explained ones.
    """
    explained = {target.target: target for target in explanation.targets or ()}
    rows = {target.target: target for target in best.targets or ()} | explained
    width = max(len(str(name)) for name in rows)
    for name, target in rows.items():
        line = f"{name!s:{width}}  score {target.score:<10.4g}"
        if target.proba is not None:
            line += f"  probability {target.proba:.4f}"
        yield line + ("  <- explained" if name in explained else "")


def _target_words(target: eli5k.TargetExplanation) -> str:
    number = f"{target.score:.4g}" if target.proba is None else f"{target.proba:.4f}"
    verdict = "" if target.check is None else f" ({target.check.verdict})"
    return f"{target.target} {number}{verdict}"
