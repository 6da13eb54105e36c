"""Make the pictures of the documentation and the outputs of the tutorial.

    python docs/make_pictures.py                # docs/images/*.png
    python docs/make_pictures.py --notebook     # and the outputs in notebooks/*.ipynb

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
from collections.abc import Iterable
from pathlib import Path

import keras
import matplotlib
from PIL import Image, ImageDraw, ImageEnhance, ImageFont

import eli5k
from eli5k import cli
from eli5k.demo import NAMES, PHOTOS, load_model, preprocess
from eli5k.keras.methods import METHODS

FOLDER = Path(__file__).parent
IMAGES = FOLDER / "images"
NOTEBOOK = FOLDER.parent / "notebooks" / "keras-image-classifiers.ipynb"
WIDTH = 320  # pixels of a panel
CAT, CUP = "Egyptian cat", "espresso"
ASKED = {"preprocess": preprocess, "target_names": NAMES}
GAP, LINE = 8, 20  # pixels
FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"


def panel(name: str) -> Image.Image:
    """A photograph at the size of a panel."""
    picture = Image.open(PHOTOS[name])
    size = (WIDTH, WIDTH * picture.height // picture.width)
    return picture.resize(size, Image.Resampling.LANCZOS)


def side_by_side(pictures: dict[str, Image.Image]) -> Image.Image:
    """Pictures of one size in a row, each with its caption below."""
    width, height = next(iter(pictures.values())).size
    strip = Image.new("RGB", ((width + GAP) * len(pictures) - GAP, height + LINE), "white")
    pen = ImageDraw.Draw(strip)
    font = ImageFont.truetype(FONT, 12)
    for number, (caption, picture) in enumerate(pictures.items()):
        left = number * (width + GAP)
        strip.paste(picture.convert("RGB"), (left, 0))
        pen.text((left + width // 2, height + LINE // 2), caption, "black", font, anchor="mm")
    return strip


def _small(picture: Image.Image, dither: bool) -> Image.Image:
    """Reduce the colours to 256; rare ones, such as the hottest, must not be lost."""
    if picture.mode == "L":
        return picture
    picture = picture.convert("RGB")
    palette = picture.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=4, dither=Image.Dither.NONE)
    return picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG if dither else 0)


def save(picture: Image.Image, file: Path, dither: bool = True) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    _small(picture, dither).save(file, optimize=True)
    print(f"{file.relative_to(FOLDER)}  {picture.width} x {picture.height}", flush=True)


def demo() -> None:
    """The README's picture: the first that ``eli5k demo`` writes."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        cli.main(["demo", "--out", folder])
        sheet = Image.open(Path(folder) / PHOTOS["both"].with_suffix(".png").name).convert("RGB")
    size = (sheet.width * 2 // 3, sheet.height * 2 // 3)
    save(sheet.resize(size, Image.Resampling.LANCZOS), IMAGES / "demo.png")


def layers(model: keras.Model) -> None:
    """The same class at four layers, from early to last."""
    pictures = {}
    for name in ("block3b", "block4c", "block6d", "head"):
        height, width = model.get_layer(name).output.shape[1:3]
        pictures[f"{name}, {height} x {width}"] = eli5k.show_prediction(
            model,
            PHOTOS["both"],
            image=panel("both"),
            layer=name,
            logits=True,
            targets=[CUP],
            **ASKED,
        )
    save(side_by_side(pictures), IMAGES / "layers.png")


def logits(model: keras.Model) -> None:
    """Two classes with and without the softmax."""
    pictures = {}
    for target in (CUP, "pillow"):
        for value in (False, True):
            pictures[f"{target}, logits={value}"] = eli5k.show_prediction(
                model,
                PHOTOS["both"],
                image=panel("both"),
                targets=[target],
                logits=value,
                **ASKED,
            )
    save(side_by_side(pictures), IMAGES / "logits.png")


def mistake(model: keras.Model) -> None:
    """The cat with and without preprocessing."""
    pictures = {}
    for function in (preprocess, None):
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
        name = getattr(function, "__name__", None)
        caption = f"preprocess={name}: {target.target}, {target.proba:.2f}"
        pictures[caption] = eli5k.format_as_image(expl)
    save(side_by_side(pictures), IMAGES / "mistake.png")


def formats(model: keras.Model) -> None:
    """One explanation under the arguments of ``format_as_image``."""
    expl = eli5k.explain_prediction(model, PHOTOS["cup"], image=panel("cup"), logits=True, **ASKED)
    options = {
        "default": {},
        "BOX": {"resampling_filter": Image.Resampling.BOX},
        "alpha_limit=1.0": {"alpha_limit": 1.0},
        "colormap='magma'": {"colormap": "magma"},
    }
    save(
        side_by_side({name: eli5k.format_as_image(expl, **each) for name, each in options.items()}),
        IMAGES / "formats.png",
    )


def styles(model: keras.Model) -> None:
    """One explanation in every style."""
    expl = eli5k.explain_prediction(
        model, PHOTOS["both"], image=panel("both"), logits=True, targets=[CAT], **ASKED
    )
    drawn = {
        style: eli5k.format_as_image(expl, style=style)
        for style in ("overlay", "dim", "contour", "signed", "boxes")
    }
    drawn["original"] = panel("both")
    rows = [
        side_by_side({style: drawn[style] for style in row})
        for row in (("overlay", "dim", "contour"), ("signed", "boxes", "original"))
    ]
    sheet = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)), "white")
    for number, row in enumerate(rows):
        sheet.paste(row, (0, number * row.height))
    save(sheet, IMAGES / "styles.png")


def top_targets(model: keras.Model) -> None:
    """A sheet: the three best classes of the cup."""
    question = {"top_targets": 3, "logits": True, **ASKED}
    sheet = eli5k.show_prediction(model, PHOTOS["cup"], image=panel("cup"), **question)
    save(sheet, IMAGES / "top-targets.png")


def ranks() -> None:
    """The pictures that the code of the page on signals and volumes saves."""
    page = (FOLDER / "signals-and-volumes.rst").read_text("utf-8")
    code = re.findall(r"^\.\. code-block:: python\n((?:\n| +.*\n)+)", page, re.MULTILINE)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        exec("".join(map(textwrap.dedent, code)), {"__name__": "__main__"})
        for file in sorted(Path(folder).glob("*.png")):
            save(Image.open(file), IMAGES / "ranks" / file.name, dither=False)


def method_file(name: str) -> Path:
    return IMAGES / "methods" / f"{name.replace('+', '-plus')}.png"


def method_pictures(names: Iterable[str]) -> None:
    """The cat and the cup under each method."""
    model = load_model()
    # Single pixels are seen better on a dark picture without colours.
    background = ImageEnhance.Brightness(panel("both").convert("L")).enhance(0.5)
    for name in names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", eli5k.ExplanationWarning)
            expl = eli5k.explain_prediction(
                model,
                PHOTOS["both"],
                image=background,
                targets=[CAT, CUP],
                logits=True,
                method=name,
                **ASKED,
            )
        pictures = {}
        for target in expl.targets or ():
            one = eli5k.Explanation("efficientnet-lite0", targets=[target], image=expl.image)
            pictures[target.target] = eli5k.format_as_image(one, alpha_limit=1.0)
        # Dithering would scatter dots of a hot colour over grey.
        save(side_by_side(pictures), method_file(name), dither=False)


def execute_notebook() -> None:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, record_timing=False).execute()
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
    nbformat.write(notebook, NOTEBOOK)
    print(NOTEBOOK.relative_to(FOLDER.parent))


def _tidy(output: dict) -> None:
    """Drop what differs from run to run, and what makes the file large."""
    data = output.get("data", {})
    if "image/png" in data:
        data.pop("image/jpeg", None)
        picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
        file = io.BytesIO()
        _small(picture, dither=True).save(file, "PNG", optimize=True)
        data["image/png"] = base64.b64encode(file.getvalue()).decode("ascii")
    for texts, key in ((output, "text"), (data, "text/plain")):
        if key in texts:
            texts[key] = re.sub(r" at 0x[0-9A-Fa-f]+", "", texts[key])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--notebook", action="store_true", help="execute the tutorial too")
    arguments = parser.parse_args()
    demo()
    model = load_model()
    for draw in (layers, logits, mistake, formats, styles, top_targets):
        draw(model)
    ranks()
    method_pictures(METHODS)
    if arguments.notebook:
        execute_notebook()


if __name__ == "__main__":
    main()
