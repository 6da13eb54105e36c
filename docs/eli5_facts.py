"""Run the same cases through eli5 and eli5k, and write down the results.

    python docs/eli5_facts.py            # writes docs/eli5-facts.rst, in half a minute
    python docs/eli5_facts.py --all      # and counts over keras.applications, in ten minutes

Needs ``eli5==0.16.0`` and TensorFlow. Every cell of the table is computed here, from what a call
returned or raised. The models are small, with seeded random weights.
"""

from __future__ import annotations

import argparse
import gc
import re
import tempfile
import textwrap
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import eli5
import keras
import numpy as np
from keras import layers
from PIL import Image

import eli5k

FOLDER = Path(__file__).parent
SHAPE = (32, 32, 3)
ROOT = {"eli5": eli5, "eli5k": eli5k}
CELL = 90  # characters of an error message that are shown


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 1, shape or (1, *SHAPE)).astype("float32")


def body() -> list:
    return [
        layers.Conv2D(8, 3, padding="same", activation="relu", name="conv1"),
        layers.MaxPooling2D(name="pool"),
        layers.Conv2D(16, 3, padding="same", activation="relu", name="conv2"),
    ]


def head(classes: int = 4, activation: str = "softmax") -> list:
    return [layers.GlobalAveragePooling2D(), layers.Dense(classes, activation=activation)]


def functional(*parts: keras.Layer, shape: tuple = SHAPE, name: str = "net") -> keras.Model:
    """Call one layer after another."""
    first = last = keras.Input(shape)
    for layer in parts:
        last = layer(last)
    return keras.Model(first, last, name=name)


def plain() -> keras.Model:
    return functional(*body(), *head())


def sequential() -> keras.Model:
    return keras.Sequential([keras.Input(SHAPE), *body(), *head()])


def grown() -> keras.Model:
    model = keras.Sequential()
    model.add(keras.Input(SHAPE))
    for layer in body() + head():
        model.add(layer)
    return model


def reloaded(model: keras.Model, ending: str) -> keras.Model:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = Path(folder) / f"model{ending}"
        model.save(file)
        return keras.models.load_model(file, compile=False)


def nested_in_sequential() -> keras.Model:
    backbone = functional(*body(), name="backbone")
    return keras.Sequential([keras.Input(SHAPE), backbone, *head()])


def nested_in_functional() -> keras.Model:
    return functional(functional(*body(), name="backbone"), *head())


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.parts = body() + head()

    def call(self, x):
        for layer in self.parts:
            x = layer(x)
        return x


def subclassed() -> keras.Model:
    model = Subclassed()
    model(noise())
    return model


def two_inputs() -> keras.Model:
    image, numbers = keras.Input(SHAPE), keras.Input((5,))
    pooled = layers.GlobalAveragePooling2D()(functional(*body())(image))
    joined = layers.Concatenate()([pooled, numbers])
    return keras.Model([image, numbers], layers.Dense(4, activation="softmax")(joined))


def two_outputs() -> keras.Model:
    image = x = keras.Input(SHAPE)
    for layer in body():
        x = layer(x)
    x = layers.GlobalAveragePooling2D()(x)
    outputs = [layers.Dense(n, activation="softmax", name=f"head{n}")(x) for n in (4, 3)]
    return keras.Model(image, outputs)


def augmented() -> keras.Model:
    return functional(layers.RandomRotation(0.5), *body(), *head())


def channels_first() -> keras.Model:
    # TensorFlow has no such convolution on a CPU: two permutations give the same tensors.
    return functional(
        layers.ZeroPadding2D(0, data_format="channels_first"),
        layers.Permute((2, 3, 1)),
        layers.Conv2D(8, 3, padding="same", activation="relu", strides=2),
        layers.Permute((3, 1, 2)),
        layers.GlobalAveragePooling2D(data_format="channels_first"),
        layers.Dense(4),
        shape=(3, 32, 48),
    )


def saturated() -> keras.Model:
    model = plain()
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([10_000 * kernel, bias])
    return model


def picture() -> Image.Image:
    return Image.fromarray((255 * noise()[0]).astype("uint8"))


def outcome(explanation) -> str:
    """Say what an explanation shows."""
    if explanation.error:
        return f"error: {explanation.error}"
    heatmap = explanation.targets[0].heatmap
    if np.isnan(heatmap).any():
        return "a map of NaN"
    size = " x ".join(map(str, heatmap.shape))
    return f"a {'map' if heatmap.max() > 0 else 'blank map'}, {size}"


def ask(make_model: Callable, doc=None, **kwargs) -> Callable[[ModuleType], str]:
    def question(library: ModuleType) -> str:
        keras.utils.set_random_seed(3)
        model = make_model()
        given = noise() if doc is None else doc() if callable(doc) else doc
        return outcome(library.explain_prediction(model, given, **kwargs))

    return question


def of_file(library: ModuleType) -> str:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "photo.png"
        picture().save(file)
        # The random net was made for values up to 1.
        options = {"preprocess": lambda x: x / 255} if library is eli5k else {}
        return ask(plain, str(file), **options)(library)


def of_picture(library: ModuleType) -> str:
    options = {"preprocess": lambda x: x / 255} if library is eli5k else {}
    return ask(plain, picture(), **options)(library)


def scores_of_calls(library: ModuleType) -> str:
    keras.utils.set_random_seed(0)
    model = augmented()
    scores = {
        round(library.explain_prediction(model, noise(), targets=[1]).targets[0].score, 6)
        for _ in range(5)
    }
    return f"5 calls, {len(scores)} different score{'s' * (len(scores) > 1)}"


def sheet(library: ModuleType) -> str:
    keras.utils.set_random_seed(0)
    explanation = library.explain_prediction(plain(), noise(), targets=[0, 1, 2])
    width, height = library.format_as_image(explanation).size
    return f"one picture of {len(explanation.targets)} panels, {width} x {height} pixels"


def without_softmax(library: ModuleType) -> str:
    keras.utils.set_random_seed(0)
    explanation = library.explain_prediction(plain(), noise(), logits=True)
    return f"{outcome(explanation)}, of the score before the softmax"


CASES: dict[str, list[tuple[str, Callable]]] = {
    "Structure of the model": [
        ("functional", ask(plain)),
        ("``Sequential`` from a list", ask(sequential)),
        ("``Sequential`` grown with ``.add()``", ask(grown)),
        (
            "``Sequential``, saved as ``.keras`` and loaded",
            ask(lambda: reloaded(sequential(), ".keras")),
        ),
        ("``Sequential``, saved as ``.h5`` and loaded", ask(lambda: reloaded(sequential(), ".h5"))),
        ("functional backbone in a ``Sequential``", ask(nested_in_sequential)),
        ("functional backbone in a functional model", ask(nested_in_functional)),
        ("... and ``layer=`` a name in the backbone", ask(nested_in_functional, layer="conv1")),
        ("subclassed", ask(subclassed)),
        (
            "input of any size, ``(None, None, 3)``",
            ask(lambda: functional(*body(), *head(), shape=(None, None, 3))),
        ),
        ("two inputs", ask(two_inputs, lambda: [noise(), noise(1, 5)])),
        ("two outputs", ask(two_outputs)),
        ("... and ``targets=[2]``", ask(two_outputs, targets=[2])),
        ("random augmentation inside", scores_of_calls),
        (
            "``channels_first``, layer of (batch, 8, 16, 24), ``image=`` given",
            ask(channels_first, lambda: noise(1, 3, 32, 48), image=picture(), targets=[0]),
        ),
    ],
    "Document": [
        ("array with a batch axis", ask(plain)),
        ("array without", ask(plain, lambda: noise()[0])),
        ("tensor", ask(plain, lambda: keras.ops.convert_to_tensor(noise()))),
        ("Pillow image", of_picture),
        ("path of a file", of_file),
        (
            "two channels",
            ask(
                lambda: functional(*body(), *head(), shape=(32, 32, 2)), lambda: noise(1, 32, 32, 2)
            ),
        ),
    ],
    "Target": [
        ("one class", ask(plain, targets=[1])),
        ("a NumPy integer", ask(plain, targets=[np.int64(1)])),
        ("three classes, and their picture", sheet),
        ("a callable", ask(plain, targets=lambda outputs: outputs[:, 1] - outputs[:, 2])),
        ("``top_targets=2``", ask(plain, top_targets=2)),
        ("``target_names=``, a list", ask(plain, target_names=list("abcd"))),
        ("``logits=True``", without_softmax),
    ],
    "What cannot be shown": [
        ("saturated softmax", ask(saturated)),
        ("NaN in the document", ask(plain, lambda: noise() * np.nan)),
    ],
}


def try_it(question: Callable, library: ModuleType) -> str:
    """Put one question, and say what came of it in the words of a table cell."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            text = question(library)
        except Exception as error:  # What is raised is the finding.
            message = re.sub(r" at 0x\w+", "", str(error))
            message = textwrap.shorten(message, CELL, placeholder=" ...")
            message = message.replace("`", "'").replace("*", r"\*")
            return f"``{type(error).__name__}``: {message}"
    names = {
        w.category.__name__ for w in caught if issubclass(w.category, eli5k.ExplanationWarning)
    }
    return text + "".join(f", ``{name}``" for name in sorted(names))


def applications() -> Iterator[str]:
    """Names of the functions of ``keras.applications`` that build a model."""
    for name in sorted(dir(keras.applications)):
        function = getattr(keras.applications, name)
        if callable(function) and not name.startswith("_"):
            yield name


def map_sizes(name: str) -> dict[str, tuple[int, ...] | str]:
    """Grid of the map that each library makes for a model with random weights."""
    sizes: dict[str, tuple[int, ...] | str] = {}
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(weights=None)
    if None in model.input_shape[1:]:  # eli5 takes no such model at all.
        model = getattr(keras.applications, name)(weights=None, input_shape=(224, 224, 3))
    doc = noise(1, *model.input_shape[1:])
    for library_name, library in ROOT.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Random weights: many maps are blank.
                explanation = library.explain_prediction(model, doc, targets=[0])
            sizes[library_name] = explanation.targets[0].heatmap.shape
        except Exception as error:  # What is raised is the finding.
            sizes[library_name] = f"{type(error).__name__}: {error}"
    return sizes


def measure_applications() -> dict[str, dict[str, tuple[int, ...] | str]]:
    found = {}
    for name in applications():
        found[name] = map_sizes(name)
        print(f"{name:22} {found[name]}", flush=True)
        keras.backend.clear_session()
        gc.collect()
    return found


def count(found: dict[str, dict[str, tuple[int, ...] | str]]) -> str:
    """Say for how many models a map of more than one pixel came out."""
    lines = []
    for library in ROOT:
        failed = {
            name: sizes[library]
            for name, sizes in found.items()
            if isinstance(sizes[library], str) or np.prod(sizes[library]) <= 1
        }
        line = f"* {library}: {len(found) - len(failed)} of {len(found)}"
        if failed:
            cells = ", ".join(f"``{name}``" for name in failed)
            line += f"; a single pixel, or none, for {cells}"
        lines.append("\n  ".join(textwrap.wrap(line, 98)))
    return "\n".join(lines) + "\n"


def save_count(found: dict[str, dict[str, tuple[int, ...] | str]]) -> None:
    text = ".. Made by docs/eli5_facts.py --all: do not edit.\n\n" + count(found)
    (FOLDER / "eli5-applications.rst").write_text(text, encoding="utf-8")


def table() -> str:
    lines = [
        ".. Made by docs/eli5_facts.py: do not edit.",
        "",
        ".. list-table::",
        "   :header-rows: 1",
        "   :widths: 30 35 35",
        "   :class: facts",
        "",
        f"   * - Case\n     - eli5 {eli5.__version__}\n     - eli5k",
    ]
    for title, cases in CASES.items():
        lines.append(f"   * - **{title}**\n     -\n     -")
        for name, question in cases:
            cells = [try_it(question, library) for library in ROOT.values()]
            print(f"{name}\n    eli5   {cells[0]}\n    eli5k  {cells[1]}", flush=True)
            lines.append("   * - " + "\n     - ".join([name, *cells]))
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="count over keras.applications too")
    arguments = parser.parse_args()
    (FOLDER / "eli5-facts.rst").write_text(table(), encoding="utf-8")
    if arguments.all:
        text = ".. Made by docs/eli5_facts.py --all: do not edit.\n\n" + count(
            measure_applications()
        )
        (FOLDER / "eli5-applications.rst").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
