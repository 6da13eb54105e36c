"""The documentation says what is true: its code runs, and prints what it is said to print."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import importlib.util
import re
import shlex
import shutil
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import eli5k
from eli5k import cli
from eli5k.demo import NAMES, PHOTOS, load_model

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.rst", ROOT / "CONTRIBUTING.rst", *ROOT.glob("docs/**/*.rst")])
BLOCK = re.compile(
    r"^(?P<indent> *)\.\. code-block:: (?P<language>\w+)\n"
    r"(?P<body>(?:\n|(?P=indent) +.*\n)+)",
    re.MULTILINE,
)
LOOSELY = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL
pytestmark = pytest.mark.slow
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


class Checker(doctest.OutputChecker):
    """Compares what is printed; the numbers of a net vary a little from machine to machine."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        if super().check_output(want, got, optionflags):
            return True
        masked = [NUMBER.sub("#", text) for text in (want, got)]
        if not super().check_output(*masked, optionflags):
            return False
        said, printed = (list(map(float, NUMBER.findall(text))) for text in (want, got))
        return len(said) == len(printed) and printed == pytest.approx(said, rel=0.02, abs=1e-9)


def blocks(page: Path, *languages: str) -> Iterator[tuple[str, str]]:
    """Code blocks of a page, in their order: language and code."""
    for match in BLOCK.finditer(page.read_text(encoding="utf-8") + "\n"):
        if match["language"] in languages:
            yield match["language"], textwrap.dedent(match["body"]).strip("\n") + "\n"


def pages_with(*languages: str) -> list:
    return [
        pytest.param(page, id=page.relative_to(ROOT).as_posix())
        for page in PAGES
        if any(blocks(page, *languages))
    ]


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    file = tmp_path_factory.mktemp("model") / "model.keras"
    load_model().save(file)
    return file


@pytest.fixture
def workplace(saved_model, tmp_path, monkeypatch):
    """A folder with the files that the documentation speaks of."""
    shutil.copyfile(saved_model, tmp_path / "model.keras")
    for photo, name in (("both", "photo.jpg"), ("cup", "other.jpg")):
        shutil.copyfile(PHOTOS[photo], tmp_path / name)
    (tmp_path / "names.txt").write_text("\n".join(NAMES), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.once
@pytest.mark.parametrize("page", pages_with("python", "pycon"))
def test_python_runs_and_prints_what_the_page_says(page, workplace, registry):
    namespace: dict = {"__name__": "__main__"}
    runner = doctest.DocTestRunner(Checker(), optionflags=LOOSELY)
    with warnings.catch_warnings():
        warnings.simplefilter("error", eli5k.ExplanationWarning)
        for number, (language, code) in enumerate(blocks(page, "python", "pycon")):
            name = f"{page.name}, block {number}"
            if language == "python":
                exec(compile(code, name, "exec"), namespace)
            else:
                test = doctest.DocTestParser().get_doctest(code, namespace, name, name, 0)
                runner.run(test, clear_globs=False)
                namespace = test.globs
    assert runner.summarize(verbose=False).failed == 0


@pytest.mark.once
@pytest.mark.parametrize("page", pages_with("console"))
def test_commands_print_what_the_page_says(page, workplace, capsys):
    for _, code in blocks(page, "console"):
        for example in re.split(r"^\$ ", code, flags=re.MULTILINE)[1:]:
            command, _, said = example.partition("\n")
            program, *arguments = shlex.split(command)
            assert program == "eli5k"
            status = cli.main(arguments)
            printed = "".join(capsys.readouterr())
            assert status == (2 if "eli5k: " in said else 0), printed
            if said.strip():
                assert Checker().check_output(said, printed, LOOSELY), printed


ROW = re.compile(
    r"^   \* - (.*(?:\n     +[^ -].*)*)((?:\n     - .*(?:\n       .*)*)+)", re.MULTILINE
)
# A row that needs a library is run where that is installed.
NEEDED = {"tf.": "tensorflow", "torch.": "torch"}


def rows_of_table_page() -> list:
    """Rows of the page of what can be passed: code, and what is said if it is refused."""
    page = (ROOT / "docs" / "what-can-i-pass.rst").read_text(encoding="utf-8")
    rows = []
    for match in ROW.finditer(page):
        cells = [" ".join(cell.split()) for cell in match[2].split("\n     - ")[1:]]
        if cells[0].startswith("``"):
            rows.append((cells[0].strip("`"), *cells[1:]))
    return rows


@pytest.fixture(scope="module")
def passed(saved_model, tmp_path_factory):
    """The models and documents of the page of what can be passed, and their folder."""
    folder = tmp_path_factory.mktemp("passed")
    namespace: dict = {"__name__": "__main__"}
    for photo, name in (("both", "photo.jpg"), ("cup", "other.jpg")):
        shutil.copyfile(PHOTOS[photo], folder / name)
    with contextlib.chdir(folder):
        for _, code in blocks(ROOT / "docs" / "what-can-i-pass.rst", "python"):
            exec(compile(code, "what-can-i-pass.rst", "exec"), namespace)
    for start, library in NEEDED.items():
        if importlib.util.find_spec(library):
            namespace[start[:-1]] = importlib.import_module(library)
    if "torch" in namespace:
        importlib.import_module("torch.utils.data")
    return namespace, folder


def test_table_page_has_many_rows():
    rows = rows_of_table_page()
    assert len(rows) > 60
    assert sum(len(row) == 2 for row in rows) >= 10


def marked(row: tuple) -> object:
    """A row as a parameter: another library's tensors are tried on each backend."""
    marks = () if any(start in row[0] for start in NEEDED) else pytest.mark.once
    return pytest.param(row, marks=marks, id=row[0][:60])


@pytest.mark.parametrize("row", [marked(row) for row in rows_of_table_page()])
def test_each_row_of_the_table_page(row, passed, monkeypatch):
    namespace, folder = passed
    monkeypatch.chdir(folder)
    code, *said = row
    if any(start in code and start[:-1] not in namespace for start in NEEDED):
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", eli5k.ExplanationWarning)
        try:
            result = eval(code, namespace)
            found = result if isinstance(result, eli5k.Explanation | tuple) else list(result)
        except (TypeError, ValueError) as error:
            found = str(error)
    messages = [str(each.message) for each in caught]
    if said:
        text = " ".join([str(found), *messages])
        assert said[0] in " ".join(text.split())
        return
    assert messages == []
    for each in found if isinstance(found, list) else [found]:
        if isinstance(each, eli5k.Explanation):
            assert each.error == ""
            assert all(np.isfinite(target.attribution).all() for target in each.targets)
        else:
            assert np.isfinite(found[0]).all()
            assert len(found[0]) == 2


def test_each_picture_exists():
    for page in PAGES:
        text = page.read_text("utf-8")
        for target in re.findall(r"^ *\.\. (?:image|figure):: (\S+)", text, re.MULTILINE):
            assert (page.parent / target).is_file(), f"{page.name}: {target}"


def test_each_picture_is_on_a_page_small_and_without_white_paper():
    """A page may be light or dark; a picture is a photograph, or leaves its paper to the page."""
    shown = "".join(page.read_text("utf-8") for page in PAGES)
    for file in (ROOT / "docs" / "images").rglob("*.*"):
        assert file.parent.name == "methods" or file.name in shown, file.name
        assert file.stat().st_size < 200_000, file.name
        with Image.open(file) as picture:
            pixels = np.asarray(picture.convert("RGBA"))
        corners = pixels[[0, 0, -1, -1], [0, -1, 0, -1]]
        assert not (corners >= 250).all(axis=1).any(), file.name


def test_reference_has_each_public_name():
    reference = (ROOT / "docs" / "api" / "index.rst").read_text("utf-8").split()
    modules = {"keras"}
    assert set(eli5k.__all__) - set(reference) <= modules


def test_method_pictures_are_of_methods_that_exist():
    from eli5k.keras.methods import METHODS

    pictures = {file.stem for file in (ROOT / "docs" / "images" / "methods").glob("*.webp")}
    assert pictures
    assert pictures <= {name.replace("+", "-plus") for name in METHODS}


@pytest.mark.parametrize("name", ["README.rst", "CONTRIBUTING.rst"])
def test_page_is_valid_without_sphinx(name):
    docutils_core = pytest.importorskip("docutils.core")
    settings = {"report_level": 2, "halt_level": 5, "warning_stream": False}
    document = docutils_core.publish_doctree(
        (ROOT / name).read_text("utf-8"), source_path=str(ROOT / name), settings_overrides=settings
    )
    from docutils import nodes

    messages = [node.astext() for node in document.findall(nodes.system_message)]
    assert messages == []
