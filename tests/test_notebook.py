"""The tutorials run from top to bottom, and are shipped with their pictures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
TUTORIAL, ELI5S = FOLDER / "tutorial.ipynb", FOLDER / "keras-image-classifiers.ipynb"
LARGEST = 1_500_000  # bytes


@pytest.fixture(scope="module", params=[TUTORIAL, ELI5S], ids=lambda file: file.stem)
def file(request):
    return request.param


@pytest.fixture(scope="module")
def stored(file):
    return nbformat.read(file, as_version=4)


@pytest.fixture(scope="module")
def executed(stored, tmp_path_factory):
    notebook = nbformat.from_dict(stored)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    folder = tmp_path_factory.mktemp("notebook")
    # A cell that raises ends the run with CellExecutionError.
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}})
    return client.execute()


def outputs(notebook) -> Iterator[dict]:
    for cell in notebook.cells:
        yield from cell.get("outputs", ())


def pictures_of_cells(notebook) -> list[int]:
    """How many pictures each code cell shows."""
    return [
        sum("image/png" in output.get("data", {}) for output in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


@pytest.mark.slow
@pytest.mark.once
def test_cells_show_the_pictures_that_are_stored(stored, executed):
    shown = pictures_of_cells(executed)
    assert sum(shown) >= 5
    assert shown == pictures_of_cells(stored)


@pytest.mark.slow
@pytest.mark.once
def test_nothing_is_complained_of(executed):
    complaints = [o for o in outputs(executed) if o.output_type == "stream" and o.name == "stderr"]
    assert [complaint.text for complaint in complaints] == []
    assert not any("WARNING" in output.get("text", "") for output in outputs(executed))


def test_begins_with_one_line_and_a_file():
    cells = nbformat.read(TUTORIAL, as_version=4).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    assert code[1].startswith('eli5k.show_prediction(model, "photo.jpg"')


def test_makes_each_call_of_the_tutorial_of_eli5():
    cells = nbformat.read(ELI5S, as_version=4).cells
    cells = [cell.source for cell in cells if cell.cell_type == "code"]
    source = "\n".join(cells)
    for call in (
        "eli5.show_prediction(model, doc)",
        "eli5.show_prediction(model, doc, image=",
        "targets=[target])",
        "targets=[espresso], layer=name)",
        "expl = eli5.explain_prediction(model, doc)",
        "expl.targets[0]",
        "eli5.formatters.image.heatmap_to_image(",
        "eli5.formatters.image.expand_heatmap(",
        "resampling_filter=Image.BOX)",
        "eli5.format_as_image(expl, resampling_filter=Image.BOX)",
        "eli5.format_as_image(expl, alpha_limit=1.0, colormap=matplotlib.cm.cividis)",
        "model.layers[-1].activation = keras.activations.linear",
        "keras.models.load_model(file)",
    ):
        assert call in source
    only_import = re.findall(r"\beli5k\b.*", source)
    assert only_import == [
        "eli5k as eli5",
        "eli5k.demo import NAMES, PHOTOS, load_model, preprocess",
    ]


def test_stored_file_is_small_and_complete(file, stored):
    assert file.stat().st_size < LARGEST
    cells = [cell for cell in stored.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(output.output_type != "error" for output in outputs(stored))
