"""Explain one picture: open it, ask the model, print the answer and save the heatmap."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import eli5k
from eli5k.cli.errors import PictureError, UserError, raised_by_others, reason_of
from eli5k.cli.messages import warnings_as_lines
from eli5k.cli.output_folder import OutputFolder
from eli5k.options import Options

if TYPE_CHECKING:
    import keras
    from PIL import Image

SHOWN_CLASSES = 5


class Answer(NamedTuple):
    """What is found out about one picture.

    Attributes
    ----------
    explanation : Explanation
        Of the classes that were asked for.
    best : Explanation
        Of the classes of the highest scores.
    heatmap : PIL.Image.Image
    """

    explanation: eli5k.Explanation
    best: eli5k.Explanation
    heatmap: Image.Image


def explain_picture(model: keras.Model, file: Path, options: Options) -> Answer:
    """Explain a picture; warnings are printed as lines.

    Parameters
    ----------
    model : keras.Model
    file : pathlib.Path
    options : Options

    Raises
    ------
    UserError
        If the model is no image model.
    PictureError
        If the file cannot be used.
    """
    from eli5k.keras.support import not_supported

    picture = open_image(file)
    refusal = not_supported(model, options.method)
    if refusal is not None:
        raise UserError(str(refusal.error))
    with warnings_as_lines(file):
        explanation = eli5k.explain_prediction(model, picture, **vars(options))
    if explanation.error:
        raise UserError(explanation.error)
    best = _best_classes(model, picture, options) or explanation
    return Answer(explanation, best, eli5k.format_as_image(explanation))


def report(file: Path, answer: Answer, out: OutputFolder) -> None:
    """Save the heatmap, and print what was found.

    Parameters
    ----------
    file : pathlib.Path
        The explained picture.
    answer : Answer
    out : OutputFolder
    """
    explanation = answer.explanation
    written = out.save(answer.heatmap, file.stem)
    print(file)
    best = [answer.best, *answer.best.others]
    for part, its_best in zip([explanation, *explanation.others], best):
        if explanation.others:
            print(f"  output   {part.output}")
        for line in _class_lines(part, its_best):
            print(f"  {line}")
        print(f"  layer    {part.layer or 'the input'} ({part.method})")
        for target in part.targets or ():
            if target.check is not None:
                print(
                    f"  check    {target.target}: {target.check.verdict}. {target.check.sentence}"
                )
    print(f"  picture  {written}\n")


def open_image(file: Path) -> Image.Image:
    """Open a picture.

    Raises
    ------
    PictureError
        If the file cannot be used.
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


def _best_classes(
    model: keras.Model, picture: Image.Image, options: Options
) -> eli5k.Explanation | None:
    """Explain the classes of the highest scores; None if the model scores no classes."""
    asked = replace(
        options,
        targets=None,
        top_targets=SHOWN_CLASSES,
        threshold=None,
        method="grad-cam",
        layer=None,
        check=False,
    )
    with warnings.catch_warnings():
        # Nobody asked for these maps: it does not matter if they are blank.
        warnings.simplefilter("ignore", eli5k.ExplanationWarning)
        try:
            return eli5k.explain_prediction(model, picture, **vars(asked))
        except ValueError:
            return None


def _class_lines(explanation: eli5k.Explanation, best: eli5k.Explanation) -> Iterator[str]:
    """Yield a table of the best classes and the explained ones: name, score, probability."""
    explained = {target.target: target for target in explanation.targets or ()}
    rows = {target.target: target for target in best.targets or ()} | explained
    width = max(len(str(name)) for name in rows)
    for name, target in rows.items():
        line = f"{name!s:{width}}  score {target.score:<10.4g}"
        if target.proba is not None:
            line += f"  probability {target.proba:.4f}"
        yield line + ("  <- explained" if name in explained else "")
