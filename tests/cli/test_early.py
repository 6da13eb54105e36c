"""Mistakes in arguments are said at once, before Keras is imported, in the shell's words."""

from __future__ import annotations

import json

import pytest

from tests.cli.colours import paint
from tests.cli.shell import python

pytestmark = pytest.mark.once

# Arguments, and what the line about them has.
MISTAKES = {
    "explain m.keras red.png --targts 3": "unknown option --targts. Did you mean '--targets'?",
    "explain m.keras --methd=cam red.png": "unknown option --methd. Did you mean '--method'?",
    "explain m.keras red.png --top-targets two": "invalid int value: 'two'",
    "explian m.keras red.png": "Did you mean 'explain'?",
    "layers m.keras red.png": "red.png: one argument too many",
    "explain m.keras": "which picture?",
    "explain m.keras --targets red.png": "--targets takes classes, and red.png is a file",
    "explain missing.keras red.png": "missing.keras: No such file or directory",
    "explain red.png m.keras": "red.png: expected a .keras or .h5 file. The model comes before",
    "layers missing.keras": "missing.keras: No such file or directory",
    "audit missing.keras .": "missing.keras: No such file or directory",
    "audit m.keras red.png": "red.png is not a folder",
    "explain m.keras missing.png": "missing.png: No such file or directory",
    "explain m.keras *.xyz": "*.xyz: '*.xyz' fits no file.",
    "explain m.keras empty": "has no picture",
    "explain m.keras red.png --method grad-kam": "Did you mean 'grad-cam'?",
    "explain m.keras red.png --style dimm": "Did you mean 'dim'?",
    "explain m.keras red.png --colormap virids": "Did you mean 'viridis'?",
    "explain m.keras red.png --alpha 2": "--alpha must be from 0 to 1",
    "explain m.keras red.png --format gif": "--format: invalid choice: 'gif'",
    "explain m.keras red.png --import no_such_module": "--import no_such_module: No module named",
    "explain m.keras red.png --preprocess nothing": "--preprocess takes MODULE:FUNCTION",
    "explain m.keras red.png --preprocess no_module:f": "No module named 'no_module'",
    "explain m.keras red.png --preprocess keras.aplications:f": (
        "No module named 'keras.aplications'"
    ),
    "explain m.keras red.png --preprocess keras.applications.mobilenet_v2:preprocess_inptu": (
        "has no preprocess_inptu. Did you mean 'preprocess_input'?"
    ),
    "explain m.keras red.png --targets tabby": "To use the class name 'tabby', pass --names.",
    "explain m.keras red.png --targets 1 --top-targets 2": "not allowed with argument --targets",
    "explain m.keras red.png --top-targets 0": "--top-targets must be a positive or negative",
    "explain m.keras red.png --names missing": "--names missing: No such file or directory",
    "explain m.keras red.png --names deep.json": "nested too deeply",
    "explain m.keras red.png --names deep": "nested too deeply",
    "explain m.keras red.png --names number.json": "neither a list nor an object",
    "explain m.keras red.png --names text.json": "neither a list nor an object",
    "explain m.keras red.png --names nested.json": "a name must be a text",
    "explain m.keras red.png --names red.png": "--names red.png: expected names",
    "explain m.keras red.png --out dangling": "dangling: a link to nowhere, which doesn't exist",
    "explain m.keras red.png --out dangling/maps": "dangling: a link to nowhere",
    "explain m.keras red.png --out dangling.jpg": "dangling.jpg: a link to nowhere",
    "explain m.keras red.png --out notes": "notes: Not a directory",
    "explain m.keras red.png --out notes/maps": "notes: Not a directory",
    "explain m.keras red.png --out /dev/full": "/dev/full: Not a directory",
    "explain m.keras red.png --out why.tiff": "the name of a file ends with .png, .jpg",
    "explain m.keras red.png --out why.png --format jpg": "another format than --format jpg",
    "explain m.keras red.png blue.png --out why.png": "is one file, but there are 2 pictures",
    "explain m.keras red.png --out red.png": "this is one of the pictures to explain",
    "explain m.keras red.png --out blue.png": "a file that eli5k didn't write",
    "explain m.keras red.png --out why.html --style dim": "--style is for pictures",
    "explain m.keras red.png --report why.pdf": "the name of a page ends with .html",
    "explain m.keras red.png --report notes/why.html": "notes: Not a directory",
}
RUN_ALL = """
import contextlib, io, json, sys, time
started = time.process_time()
from eli5k.cli import main
imported = time.process_time() - started
results = {}
for line in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    started = time.process_time()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(line.split())
    seconds = imported + time.process_time() - started
    results[line] = status, out.getvalue(), err.getvalue(), seconds, "keras" in sys.modules
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[str, tuple[int, str, str, float, bool]]:
    """What each line does, in a process that has not imported Keras."""
    here = tmp_path_factory.mktemp("mistakes")
    paint("red").save(here / "red.png")
    paint("blue").save(here / "blue.png")
    (here / "m.keras").write_text("never opened")
    (here / "notes").write_text("notes")
    (here / "empty").mkdir()
    (here / "deep.json").write_text('{"a":' * 100_000)
    (here / "deep").write_text("[" * 100_000)
    (here / "number.json").write_text("3")
    (here / "text.json").write_text('"red"')
    (here / "nested.json").write_text('{"0": {"name": "red"}}')
    for link in ("dangling", "dangling.jpg"):
        (here / link).symlink_to("nowhere")
    before = sorted(here.rglob("*"))
    done = python("-c", RUN_ALL, json.dumps(list(MISTAKES)), cwd=here)
    assert done.returncode == 0, done.stderr
    assert sorted(here.rglob("*")) == before, "something was written"
    return json.loads(done.stdout)


@pytest.mark.parametrize("line", MISTAKES)
def test_one_line_at_once(results, line):
    status, out, err, seconds, imported_keras = results[line]
    [said] = err.splitlines()
    assert status == 2
    assert said.startswith("eli5k: ")
    assert MISTAKES[line] in said
    assert out == ""
    assert not imported_keras
    assert seconds < 1


def test_names_of_methods_are_those_of_the_library():
    from eli5k.keras.methods import METHODS
    from eli5k.keras.methods.registry import ALIASES as OF_LIBRARY
    from eli5k.method_names import ALIASES, NAMES

    assert list(NAMES) == list(METHODS)
    assert OF_LIBRARY.items() <= ALIASES.items()
    assert set(ALIASES.values()) <= set(NAMES)
