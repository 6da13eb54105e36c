"""Make the pictures of the documentation and the outputs of the tutorials.

    python docs/make_pictures.py                # docs/images/
    python docs/make_pictures.py --notebooks    # and the outputs in notebooks/*.ipynb

Run it again after a change of what explanations look like, and commit what changed.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import io
import re
import tempfile
import textwrap
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
from PIL import Image

import eli5k
from eli5k import cli
from eli5k.demo import NAMES, PHOTOS, load_model, preprocess
from eli5k.formatters import sheet, strip, words
from eli5k.keras.methods import METHODS

FOLDER = Path(__file__).parent
IMAGES = FOLDER / "images"
NOTEBOOKS = sorted(FOLDER.parent.glob("notebooks/*.ipynb"))
WIDTH = 640  # pixels of a photograph
CAT, CUP = "Egyptian cat", "espresso"
ASKED = {"preprocess": preprocess, "target_names": NAMES}
GAP = 8  # pixels
# A grey that is read on white as well as on black: a contrast of 4.3 or more on both.
GREY = sheet.GREY
# How many of a picture's 256 colours are for the edges of letters.
OPACITIES = 16


@contextlib.contextmanager
def paper_of_the_page() -> Iterator[None]:
    """Sheets without paper, and their words in grey: a reader's page may be light or dark."""
    modules = (sheet, strip, words)
    before = [(module.PAPER, module.INK) for module in modules]
    for module in modules:
        module.PAPER, module.INK = (*GREY, 0), GREY
    try:
        yield
    finally:
        for module, (paper, ink) in zip(modules, before):
            module.PAPER, module.INK = paper, ink


def panel(name: str, width: int = WIDTH) -> Image.Image:
    """A photograph at the size at which it is shown."""
    picture = Image.open(PHOTOS[name])
    size = (width, width * picture.height // picture.width)
    return picture.resize(size, Image.Resampling.LANCZOS)


def side_by_side(pictures: Iterable[Image.Image]) -> Image.Image:
    """Pictures of one size in a row, with nothing between them."""
    pictures = list(pictures)
    width, height = pictures[0].size
    row = Image.new("RGBA", ((width + GAP) * len(pictures) - GAP, height), (*GREY, 0))
    for number, picture in enumerate(pictures):
        row.paste(picture.convert("RGBA"), (number * (width + GAP), 0))
    return row


def save(picture: Image.Image, file: Path, quality: int = 82) -> None:
    """Save a picture as WebP, which keeps what is transparent and takes few bytes."""
    file = file.with_suffix(".webp")
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.save(file, quality=quality, method=6)
    size = f"{picture.width} x {picture.height}, {file.stat().st_size // 1000} kB"
    print(f"{file.relative_to(FOLDER)}  {size}", flush=True)


def reduced(picture: Image.Image, width: int) -> Image.Image:
    """A sheet at the width at which it is read, if it is wider."""
    if picture.width <= width:
        return picture
    size = (width, picture.height * width // picture.width)
    # Without this what is transparent would darken the letters.
    return picture.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA")


def demo() -> None:
    """The README's first picture: the first that ``eli5k demo`` writes."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        cli.main(["demo", "--out", folder])
        drawn = Image.open(Path(folder) / PHOTOS["both"].with_suffix(".png").name).convert("RGBA")
    save(reduced(drawn, WIDTH), IMAGES / "demo")


def strip_of_methods(model: keras.Model) -> None:
    """The README's second picture: four methods, asked for the cat and for the cup."""
    expls = eli5k.compare(
        model,
        PHOTOS["both"],
        methods=["grad-cam", "layer-cam", "guided-grad-cam", "occlusion"],
        targets=[CAT, CUP],
        logits=True,
        **ASKED,
    )
    save(reduced(_saved(expls), 1480), IMAGES / "strip")


def verdicts(model: keras.Model) -> None:
    """The README's third picture: a map that the check supports, and one that it contradicts.

    The second is the map of the cup, passed off as that of the cat.
    """
    asked = {"check": True, "logits": True, **ASKED}
    right = eli5k.explain_prediction(model, PHOTOS["both"], targets=[CAT], **asked)
    wrong = eli5k.explain_prediction(model, PHOTOS["both"], targets=[CUP], **asked)
    pixels = keras.utils.load_img(PHOTOS["both"], target_size=(224, 224))
    doc = preprocess(keras.utils.img_to_array(pixels))[None]
    _, maps = eli5k.keras.attribute(model, doc, NAMES.index(CUP), logits=True)
    [check] = eli5k.keras.check_maps(model, doc, maps, NAMES.index(CAT))
    [of_cat], [of_cup] = right.targets, wrong.targets
    wrong.targets = [
        replace(of_cup, target=CAT, score=of_cat.score, proba=of_cat.proba, check=check)
    ]
    for expl in (right, wrong):
        print(expl.targets[0].check.verdict, expl.targets[0].check.sentence)
    both = side_by_side([_saved([right]), _saved([wrong])])
    save(reduced(both, 1000), IMAGES / "verdicts")


def _saved(expls: Iterable[eli5k.Explanation]) -> Image.Image:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sheet.png"
        eli5k.save(expls, file)
        return Image.open(file).convert("RGBA")


def layers(model: keras.Model) -> None:
    """The same class at four layers, from early to last."""
    for name in ("block3b", "block4c", "block6d", "head"):
        picture = eli5k.show_prediction(
            model,
            PHOTOS["both"],
            image=panel("both"),
            layer=name,
            logits=True,
            targets=[CUP],
            **ASKED,
        )
        save(picture.convert("RGB"), IMAGES / "layers" / name)


def logits(model: keras.Model) -> None:
    """A class of the net, and of one that is very sure, with and without the softmax."""
    sure = keras.models.clone_model(model)
    sure.set_weights(model.get_weights())
    sure.layers[-1].set_weights([1000 * each for each in sure.layers[-1].get_weights()])
    for name, net in (("unsure", model), ("sure", sure)):
        for value in (False, True):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", eli5k.ExplanationWarning)
                expl = eli5k.explain_prediction(
                    net, PHOTOS["both"], image=panel("both"), logits=value, **ASKED
                )
            [target] = expl.targets
            print(f"{name}, logits={value}: {target.target}, probability {target.proba:.4f}")
            file = IMAGES / "logits" / f"{name}-{'logit' if value else 'probability'}"
            save(eli5k.format_as_image(expl).convert("RGB"), file)


def mistake(model: keras.Model) -> None:
    """The cat with and without preprocessing."""
    for name, function in (("with", preprocess), ("without", None)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", eli5k.ExplanationWarning)
            expl = eli5k.explain_prediction(
                model,
                PHOTOS["cat"],
                image=panel("cat"),
                logits=True,
                target_names=NAMES,
                preprocess=function,
            )
        [target] = expl.targets
        print(f"{name} preprocessing: {target.target}, {target.proba:.2f}")
        save(eli5k.format_as_image(expl).convert("RGB"), IMAGES / "mistake" / name)


def formats(model: keras.Model) -> None:
    """One explanation under the arguments of ``format_as_image``."""
    expl = eli5k.explain_prediction(model, PHOTOS["cup"], image=panel("cup"), logits=True, **ASKED)
    options = {
        "default": {},
        "box": {"resampling_filter": Image.Resampling.BOX},
        "alpha-limit": {"alpha_limit": 1.0},
        "magma": {"colormap": "magma"},
    }
    for name, each in options.items():
        save(eli5k.format_as_image(expl, **each).convert("RGB"), IMAGES / "formats" / name)


def styles(model: keras.Model) -> None:
    """One explanation in every style."""
    expl = eli5k.explain_prediction(
        model, PHOTOS["both"], image=panel("both"), logits=True, targets=[CAT], **ASKED
    )
    for style in ("overlay", "dim", "contour", "signed", "boxes"):
        picture = eli5k.format_as_image(expl, style=style)
        save(picture.convert("RGB"), IMAGES / "styles" / style)
    save(panel("both").convert("RGB"), IMAGES / "styles" / "original")


def top_targets(model: keras.Model) -> None:
    """A sheet: the three best classes of the cup."""
    question = {"top_targets": 3, "logits": True, **ASKED}
    drawn = eli5k.show_prediction(model, PHOTOS["cup"], image=panel("cup", 448), **question)
    save(drawn, IMAGES / "top-targets")


def ranks() -> None:
    """The pictures that the code of the pages on signals and volumes saves."""
    for name in ("signals-and-volumes", "medical-volumes"):
        page = (FOLDER / f"{name}.rst").read_text("utf-8")
        code = re.findall(r"^\.\. code-block:: python\n((?:\n| +.*\n)+)", page, re.MULTILINE)
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            exec("".join(map(textwrap.dedent, code)), {"__name__": "__main__"})
            for file in sorted(Path(folder).glob("*.png")):
                save(Image.open(file), IMAGES / "ranks" / file.name, quality=95)


def method_file(name: str) -> Path:
    return IMAGES / "methods" / f"{name.replace('+', '-plus')}.webp"


def method_pictures(names: Iterable[str]) -> None:
    """The cat and the cup under each method."""
    model = load_model()
    for name in names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", eli5k.ExplanationWarning)
            expl = eli5k.explain_prediction(
                model,
                PHOTOS["both"],
                image=panel("both", 480),
                targets=[CAT, CUP],
                logits=True,
                method=name,
                **ASKED,
            )
        # Single pixels are seen better on a dark picture without colours.
        pictures = [
            eli5k.format_as_image(replace(expl, targets=[target]), style="dim")
            for target in expl.targets or ()
        ]
        save(side_by_side(pictures), method_file(name))


def execute_notebook(file: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(file, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        place = {"metadata": {"path": folder}}
        NotebookClient(notebook, timeout=300, record_timing=False, resources=place).execute()
    for cell in notebook.cells:
        if "outputs" in cell:
            # A backend may have logged there what it found out about this machine.
            cell.outputs = [each for each in cell.outputs if each.get("name") != "stderr"]
        for output in cell.get("outputs", ()):
            _tidy(output)
    # Versions and names of this machine's Python are of no interest.
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    nbformat.write(notebook, file)
    print(file.relative_to(FOLDER.parent))


def _of_few_colours(picture: Image.Image) -> Image.Image:
    """Reduce the colours to 256; rare ones, such as the hottest, must not be lost.

    Some of them are for the letters, which have no paper behind them: a grey in steps of opacity.
    """
    if picture.mode == "L":
        return picture
    picture = reduced(picture, 1000).convert("RGBA")
    opacity = np.asarray(picture)[..., 3]
    count = 256 - OPACITIES
    rgb = Image.fromarray(
        np.where(opacity[..., None] < 255, GREY, picture.convert("RGB")).astype("u1")
    )
    palette = rgb.quantize(count, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    few = rgb.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
    # What is opaque has its own colours.
    steps = count + opacity.astype(int) * OPACITIES // 255
    indices = np.where(opacity == 255, np.asarray(few), steps).astype(np.uint8)
    small = Image.fromarray(indices)
    colours = few.getpalette()[: 3 * count]
    small.putpalette(colours + [0] * (3 * count - len(colours)) + [*GREY] * OPACITIES)
    clear = [round(255 * step / OPACITIES) for step in range(OPACITIES)]
    small.info["transparency"] = bytes([255] * count + clear)
    return small


def _tidy(output: dict) -> None:
    """Drop what differs from run to run, and what makes the file large."""
    data = output.get("data", {})
    if "image/png" in data:
        data.pop("image/jpeg", None)
        picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
        file = io.BytesIO()
        _of_few_colours(picture).save(file, "PNG", optimize=True)
        data["image/png"] = base64.b64encode(file.getvalue()).decode("ascii")
    for texts, key in ((output, "text"), (data, "text/plain")):
        if key in texts:
            texts[key] = re.sub(r" at 0x[0-9A-Fa-f]+", "", texts[key])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--notebooks", action="store_true", help="execute the tutorials too")
    arguments = parser.parse_args()
    model = load_model()
    with paper_of_the_page():
        demo()
        drawings = (strip_of_methods, verdicts, layers, logits, mistake, formats, styles)
        for draw in (*drawings, top_targets):
            draw(model)
        ranks()
    method_pictures(METHODS)
    if arguments.notebooks:
        for file in NOTEBOOKS:
            execute_notebook(file)


if __name__ == "__main__":
    main()
