"""The command line: ``eli5k``, or ``python -m eli5k``.

Whatever takes long to import waits until a command needs it.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import itertools
import json
import os
import shlex
import sys
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import eli5k

if TYPE_CHECKING:
    import keras
    from PIL import Image

    from eli5k.base import Explanation

DESCRIPTION = "Show where a Keras image model looked."
LOADING = (
    "A model file is code as much as data: loading one from somebody whom you do not trust can run "
    "what its author wrote. Without --unsafe, Keras refuses the known ways of doing so, such as "
    "Lambda layers that hold Python code."
)
SHOWN_CLASSES = 5
UNKNOWN_SIDE = 224  # pixels, where a model takes pictures of any size
LONGEST_REASON = 1000  # characters
FAILURE = 2


class UserError(Exception):
    """What was asked for cannot be done; the message is the one line that says why."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; None takes those of the process.

    Returns
    -------
    int
        0, or 2 where anything failed; a line on standard error has said what.

    Examples
    --------
    >>> main(["explain", "missing.keras", "cat.png"])
    2
    """
    arguments = build_parser().parse_args(argv)
    _choose_backend()
    try:
        status = arguments.command(arguments)
        sys.stdout.flush()
    except UserError as error:
        _complain(str(error))
        return FAILURE
    except BrokenPipeError:
        # Whoever read our output has seen enough; Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    return status


def build_parser() -> argparse.ArgumentParser:
    """Describe the commands and their arguments.

    Returns
    -------
    argparse.ArgumentParser

    Examples
    --------
    >>> build_parser().parse_args(["layers", "model.keras"]).model
    'model.keras'
    """
    parser = argparse.ArgumentParser("eli5k", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=eli5k.__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    demo = commands.add_parser("demo", help="explain a small trained model on sample pictures")
    demo.add_argument("--out", default="eli5k-demo", metavar="DIR", help="default: %(default)s")
    demo.set_defaults(command=_demo)

    explain = commands.add_parser(
        "explain",
        # --targets takes all that follows it, images too.
        usage="%(prog)s MODEL IMAGE [IMAGE ...] [options]",
        help="explain what a model sees in images",
        epilog=LOADING,
    )
    _add_model_arguments(explain)
    _add_question_arguments(explain)
    explain.set_defaults(command=_explain)

    layers = commands.add_parser(
        "layers", help="list what --layer and layer= may be", epilog=LOADING
    )
    _add_model_arguments(layers)
    layers.set_defaults(command=_layers)
    return parser


def _add_model_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a .keras or .h5 file")
    parser.add_argument(
        "--unsafe",
        action="store_true",
        help="load the model even where that runs code which its author put into the file",
    )


def _add_question_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("images", nargs="+", metavar="IMAGE", help="pictures, of any format that Pillow reads")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--targets",
        nargs="+",
        metavar="CLASS",
        help="classes to explain, numbers or names (default: the best one)",
    )
    which.add_argument(
        "--top-targets",
        type=int,
        metavar="N",
        help="explain the best N classes, or the worst where N is negative",
    )
    add(
        "--layer",
        action="append",
        help="name, path or index, see 'eli5k layers' (default: chosen); again for fuse",
    )
    add(
        "--names",
        metavar="FILE",
        help="names of the classes: one a line, or a JSON list or dict, such as ImageNet's",
    )
    add(
        "--preprocess",
        metavar="MODULE:FUNCTION",
        help="what is applied to each image array before the model, such as "
        "keras.applications.mobilenet_v2:preprocess_input",
    )
    add("--method", default="grad-cam", metavar="NAME", help="default: %(default)s")
    add("--logits", action="store_true", help="explain the score before the softmax or sigmoid")
    add("--output", metavar="NAME", help="which of several outputs, name or index")
    add("--out", default=".", metavar="DIR", help="where the pictures go (default: here)")


def _demo(arguments: argparse.Namespace) -> int:
    started = time.perf_counter()
    _import_library()
    from eli5k.demo.samples import MODEL, load_model, load_samples

    model = load_model()
    samples = load_samples(digits=2)
    out = _make_folder(arguments.out)
    taken: set[str] = set()
    print("A classifier of one digit looks at pictures of two: where does it see each?\n")
    for sample in samples:
        question = {"targets": list(sample.labels), "logits": True}
        _explain_file(model, sample.path, question, out, taken)
    print(f"{len(samples)} pictures in {time.perf_counter() - started:.1f} s. The first one again:")
    program = [sys.executable, "-m", "eli5k", "explain", str(MODEL), str(samples[0].path)]
    print(shlex.join([*program, "--logits", "--targets", *map(str, samples[0].labels)]))
    return 0


def _explain(arguments: argparse.Namespace) -> int:
    _import_library()
    question = _question(arguments)
    model = _load_model(arguments.model, arguments.unsafe)
    out = _make_folder(arguments.out)
    taken = {_identity(Path(image)) for image in arguments.images}
    done = 0
    for image in arguments.images:
        try:
            _explain_file(model, Path(image), question, out, taken)
        except (UserError, BrokenPipeError):
            raise
        except Exception as error:  # One picture must not keep the others from being explained.
            if not done and isinstance(error, TypeError | ValueError):
                # What is refused of the first picture that could be read would be of every one.
                raise UserError(_reason(error)) from error
            _complain(f"{image}: {_reason(error)}")
        else:
            done += 1
    return 0 if done == len(arguments.images) else FAILURE


def _layers(arguments: argparse.Namespace) -> int:
    _import_library()
    model = _load_model(arguments.model, arguments.unsafe)
    from eli5k.keras.model.structure import layer_at
    from eli5k.keras.model.survey import survey

    blank = _blank_input(model)
    with warnings.catch_warnings():
        # A blank input explains nothing; it only shows which layer would be taken.
        warnings.simplefilter("ignore", eli5k.ExplanationWarning)
        try:
            default = eli5k.explain_prediction(model, blank, targets=[_first_number])
        except (TypeError, ValueError) as error:
            raise UserError(f"{arguments.model}: {_reason(error)}") from error
    if default.error:
        raise UserError(f"{arguments.model}: {default.error}")
    seen = survey(model, blank)
    shapes = {call.path: call.shape for call in seen.calls if call.shape}
    shapes = {path: shape for path, shape in shapes.items() if len(shape) == seen.rank}
    kinds = {path: type(layer_at(model, path)).__name__ for path in shapes}
    path_width, kind_width = (max(map(len, column)) for column in (kinds, kinds.values()))
    for path, shape in shapes.items():
        mark = "*" if path == default.layer else " "
        shown = str((None, *shape[1:]))
        print(f"{mark} {path:{path_width}}  {kinds[path]:{kind_width}}  {shown}")
    return 0


def _first_number(outputs: Any) -> Any:
    """Something to explain in a model of any output: the first number of the first one."""
    import keras

    first = keras.tree.flatten(outputs)[0]
    return keras.ops.reshape(first, (keras.ops.shape(first)[0], -1))[:, 0]


def _blank_input(model: keras.Model) -> Any:
    """Zeros of the shape that a model takes, in the structure in which it takes them."""
    import numpy as np

    def zeros(shape: Sequence[int | None], dtype: str = "float32") -> np.ndarray:
        return np.zeros([1, *(UNKNOWN_SIDE if side is None else side for side in shape[1:])], dtype)

    inputs = getattr(model, "inputs", None)
    if inputs:
        structure = getattr(model, "input", None)
        if isinstance(structure, dict):
            return {name: zeros(x.shape, x.dtype) for name, x in structure.items()}
        arrays = [zeros(x.shape, x.dtype) for x in inputs]
        return arrays if len(arrays) > 1 else arrays[0]
    # A subclassed model that was loaded knows the shape with which it was built.
    shape = (model.get_build_config() or {}).get("input_shape")
    if shape is None:
        raise UserError("the model does not say what shape of input it takes")
    return zeros(shape)


class _PictureError(RuntimeError):
    """A file is no picture that can be used; the message says why."""


def _explain_file(
    model: keras.Model, file: Path, question: dict[str, Any], out: Path, taken: set[str]
) -> None:
    """Explain one picture: print what was found, and save the heatmap."""
    picture = _open(file)
    with _warnings_as_lines(file):
        explanation = eli5k.explain_prediction(model, picture, **question)
    if explanation.error:
        raise UserError(explanation.error)
    written = _save(eli5k.format_as_image(explanation), out, file.stem, taken)
    print(file)
    for line in _class_lines(explanation, _best_classes(model, picture, question) or explanation):
        print(f"  {line}")
    print(f"  layer    {explanation.layer or 'the input'} ({explanation.method})")
    print(f"  picture  {written}\n")


def _best_classes(
    model: keras.Model, picture: Image.Image, question: dict[str, Any]
) -> Explanation | None:
    """What the model takes the picture for; None where only the asked method can say."""
    asked = {"targets": None, "top_targets": SHOWN_CLASSES, "method": "grad-cam", "layer": None}
    with warnings.catch_warnings():
        # Nobody asked for these maps: it does not matter whether they are blank.
        warnings.simplefilter("ignore", eli5k.ExplanationWarning)
        try:
            return eli5k.explain_prediction(model, picture, **{**question, **asked})
        except ValueError:
            return None


def _open(file: Path) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    from eli5k.keras.pictures import open_picture

    try:
        with _warnings_as_lines(file):
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return open_picture(file)
    except UnidentifiedImageError as error:
        raise _PictureError("not a picture that Pillow can read") from error
    except OSError as error:
        raise _PictureError(error.strerror or _reason(error)) from error
    except Exception as error:  # Pillow's decoders raise what a broken file makes them trip over.
        raise _PictureError(_reason(error)) from error


@contextmanager
def _warnings_as_lines(file: Path) -> Iterator[None]:
    """Print each warning that is raised meanwhile as one line, once."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", eli5k.ExplanationWarning)
        yield
    for message in dict.fromkeys(str(warning.message) for warning in caught):
        _complain(f"{file}: warning: {message}")


def _class_lines(explanation: Explanation, best: Explanation) -> Iterator[str]:
    """A table of the best classes and the explained ones: name, score, probability."""
    explained = {target.target: target for target in explanation.targets or ()}
    rows = {target.target: target for target in best.targets or ()} | explained
    width = max(len(str(name)) for name in rows)
    for name, target in rows.items():
        line = f"{name!s:{width}}  score {target.score:<10.4g}"
        if target.proba is not None:
            line += f"  probability {target.proba:.4f}"
        yield line + ("  <- explained" if name in explained else "")


def _save(picture: Image.Image, out: Path, stem: str, taken: set[str]) -> Path:
    """Save a picture under a name of its own; a file that is not ours is never overwritten."""
    from PIL.PngImagePlugin import PngInfo

    for number in itertools.count(1):
        path = out / (f"{stem}.png" if number == 1 else f"{stem}-{number}.png")
        if _identity(path) not in taken and (not path.exists() or _is_ours(path)):
            break
    mark = PngInfo()
    mark.add_text("Software", f"eli5k {eli5k.__version__}")
    try:
        picture.save(path, pnginfo=mark)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or _reason(error)}") from error
    taken.add(_identity(path))
    return path


def _identity(path: Path) -> str:
    # Two names that differ in case only are one file on some systems.
    return str(path.resolve()).casefold()


def _is_ours(path: Path) -> bool:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return str(picture.info.get("Software")).startswith("eli5k ")
    except OSError:
        return False


def _make_folder(name: str) -> Path:
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}") from error
    return folder


def _question(arguments: argparse.Namespace) -> dict[str, Any]:
    """Translate the arguments of the shell to those of explain_prediction."""
    names = None if arguments.names is None else _read_names(Path(arguments.names))
    targets = arguments.targets
    if targets is not None:
        known = names.values() if isinstance(names, dict) else names or ()
        targets = [name if name in known else _number_or_name(name) for name in targets]
    layers = [_number_or_name(layer) for layer in arguments.layer or [None]]
    return {
        "targets": targets,
        "top_targets": arguments.top_targets,
        "layer": layers[0] if len(layers) == 1 else layers,
        "target_names": names,
        "preprocess": _find_function(arguments.preprocess),
        "method": arguments.method,
        "logits": arguments.logits,
        "output": _number_or_name(arguments.output),
    }


def _number_or_name(text: str | None) -> int | str | None:
    try:
        return text if text is None else int(text)
    except ValueError:
        return text


def _read_names(file: Path) -> list[str] | dict[int, str]:
    """Read the names of the classes: lines, or a JSON list or dict in one of its usual forms."""
    try:
        text = file.read_text(encoding="utf-8-sig")
        if not text.lstrip().startswith(("[", "{")):
            return [line.strip() for line in text.rstrip().splitlines()]
        names = json.loads(text)
        if isinstance(names, list):
            return [str(name) for name in names]
        if all(isinstance(index, int) for index in names.values()):
            return {index: name for name, index in names.items()}
        # ImageNet's class index is {"0": ["n01440764", "tench"], ...}: the last is the name.
        return {int(k): str(v[-1] if isinstance(v, list) else v) for k, v in names.items()}
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{file}: neither names, one a line, nor JSON of them ({error})") from error


def _find_function(name: str | None) -> Callable[..., Any] | None:
    """Import what ``module:function`` names; modules in the working folder are found too."""
    if name is None:
        return None
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise UserError(f"--preprocess takes MODULE:FUNCTION. Received: {name}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        function = importlib.import_module(module)
        for part in attribute.split("."):
            function = getattr(function, part)
    except Exception as error:  # The module is the user's, and may raise anything.
        raise UserError(f"--preprocess {name}: {_reason(error)}") from error
    if not callable(function):
        raise UserError(f"--preprocess {name}: not a function but {type(function).__name__}")
    return function


def _load_model(file: str, unsafe: bool) -> keras.Model:
    import keras

    if not Path(file).exists():
        raise UserError(f"{file}: No such file or directory")
    try:
        with _warnings_as_lines(Path(file)):
            model = keras.saving.load_model(file, safe_mode=not unsafe, compile=False)
    except Exception as error:  # Whatever a broken file makes its reader stumble over.
        reason = _reason(error)
        refused = "unsafe" in reason and not unsafe
        hint = " Pass --unsafe if you trust its author." if refused else ""
        raise UserError(f"{file}: {reason}{hint}") from error
    if not isinstance(model, keras.Model):
        raise UserError(f"{file}: not a model but {type(model).__name__}")
    return model


def _import_library() -> None:
    # At its highest level, too, TensorFlow says on some processors how it computes.
    is_wanted = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") != "3"
    try:
        with nullcontext() if is_wanted else _silence():
            importlib.import_module("eli5k.keras")
            # The first tensor makes the backend look for graphics cards, and talk about it.
            importlib.import_module("keras").ops.zeros(1)
    except ImportError as error:
        raise UserError(str(error)) from error


@contextmanager
def _silence() -> Iterator[None]:
    """Keep from standard error what TensorFlow logs before it heeds its own log level."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _choose_backend() -> None:
    """Take a backend that is installed, where the one that Keras would take is not."""
    home = os.environ.get("KERAS_HOME") or Path("~", ".keras").expanduser()
    try:
        configured = json.loads(Path(home, "keras.json").read_text("utf-8")).get("backend")
    except (OSError, ValueError, AttributeError):
        configured = None  # Keras, too, goes on without a file that it cannot read.
    if "KERAS_BACKEND" in os.environ or importlib.util.find_spec(configured or "tensorflow"):
        return
    for name in ("tensorflow", "torch", "jax"):
        if importlib.util.find_spec(name):
            os.environ["KERAS_BACKEND"] = name
            return


def _reason(error: Exception) -> str:
    """What an exception says, in one line."""
    text = textwrap.shorten(str(error), LONGEST_REASON, placeholder=" ...")
    expected = isinstance(error, OSError | TypeError | ValueError | RuntimeError | ImportError)
    return text if text and expected else f"{type(error).__name__}: {text}".rstrip(": ")


def _complain(line: str) -> None:
    print(f"eli5k: {line}", file=sys.stderr)
