"""show_prediction: what goes to the explanation, what to the format, and what comes back."""

import base64
import dataclasses
import inspect
import io
import pickle
import pydoc
import subprocess
import sys

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import HTML
from PIL import Image

import eli5k
from eli5k import compare, format_as_html, format_as_image, show_prediction
from eli5k.base import Explanation, ExplanationWarning, TargetExplanation
from eli5k.explain import explain_prediction
from eli5k.formatters import fields
from eli5k.ipython import FORMAT_KWARGS, show_lists
from eli5k.options import Options
from tests.formatters.test_sheet import find, written  # noqa: F401

PICTURE = Image.new("RGB", (300, 200), "navy")


class Model:
    """Of a type of its own, whose handler keeps what it is called with."""

    def __init__(self, image=PICTURE, error=None):
        self.image, self.error, self.doc, self.kwargs = image, error, None, None

    def explanation(self):
        heatmap = np.linspace(0, 1, 12).reshape(3, 4)
        targets = None if self.error else [TargetExplanation("cat", heatmap=heatmap)]
        return Explanation("net", method="CAM", error=self.error, targets=targets, image=self.image)


@explain_prediction.register
def explain(model: Model, doc, layer=None, image=None, targets=None):
    model.doc = doc
    model.kwargs = {"layer": layer, "image": image, "targets": targets}
    return model.explanation()


def test_an_explanation_with_a_picture_is_shown_as_one():
    model = Model()
    shown = show_prediction(model, "doc")
    assert shown == format_as_image(model.explanation())
    assert model.doc == "doc"


def shown_by_jupyter(value):
    """The picture that a notebook shows of a value."""
    data, _ = InteractiveShell.instance().display_formatter.format(value)
    png = data["image/png"]
    return Image.open(io.BytesIO(png if isinstance(png, bytes) else base64.b64decode(png)))


def test_a_notebook_shows_the_picture_with_its_caption():
    model = Model(image=Image.new("RGB", (28, 20)))
    picture = show_prediction(model, "doc")
    assert picture.size == (28, 20)
    shown = shown_by_jupyter(picture)
    captioned = format_as_image(model.explanation(), caption=True)
    assert shown.size == captioned.size
    opaque = np.asarray(shown)[..., 3] == 255
    is_photograph = opaque & (np.ptp(np.asarray(shown)[..., :3], axis=2) > 0)
    np.testing.assert_array_equal(
        np.asarray(shown)[is_photograph], np.asarray(captioned)[is_photograph]
    )
    # A notebook may be dark: there is no paper behind the words.
    assert np.asarray(shown)[0, 0, 3] == 0
    bare = show_prediction(model, "doc", caption=False)
    assert shown_by_jupyter(bare).size == (28, 20)


def test_the_picture_can_be_copied_and_pickled():
    picture = show_prediction(Model(), "doc")
    assert pickle.loads(pickle.dumps(picture)) == picture.copy() == picture


def test_the_keywords_of_the_format_do_not_reach_the_explanation():
    model = Model()
    shown = show_prediction(
        model,
        "doc",
        layer=3,
        targets=[1],
        image="x.png",
        colormap="jet",
        alpha_limit=1,
        resampling_filter=Image.Resampling.BOX,
    )
    assert model.kwargs == {"layer": 3, "image": "x.png", "targets": [1]}
    assert shown == format_as_image(model.explanation(), Image.Resampling.BOX, "jet", 1)
    assert shown != format_as_image(model.explanation())


def test_without_a_picture_it_is_shown_as_html():
    model = Model(image=None)
    shown = show_prediction(model, "doc", include_styles=False, show=("method", "targets"))
    assert isinstance(shown, HTML)
    assert shown.data == format_as_html(
        model.explanation(), include_styles=False, show=("method", "targets")
    )


def test_a_viewer_is_html_with_the_still_picture():
    shown = show_prediction(Model(), "doc", interactive=True)
    assert isinstance(shown, HTML)
    assert shown.data == format_as_html(
        Model().explanation(), show=fields.WEIGHTS, interactive=True
    )
    assert "<img" in shown.data


class Asked:
    """A model whose handler notes what it is asked; one of its methods looks at the input."""

    def __init__(self):
        self.asked = []


@explain_prediction.register
def explain_asked(model: Asked, doc, method=None, layer=None, targets=("cat",)):
    model.asked.append((method, layer))
    heatmap = np.random.default_rng(len(model.asked)).random((3, 4))
    return Explanation(
        "net",
        method=method,
        layer=None if method == "gradient" else layer,
        targets=[TargetExplanation(each, heatmap=heatmap) for each in targets],
        image=PICTURE,
    )


def test_a_comparison_asks_each_method_at_each_layer_once():
    model = Asked()
    found = compare(model, "doc", methods=["cam", "gradient"], layers=["early", "late"])
    assert model.asked == [("cam", "early"), ("cam", "late"), ("gradient", "early")]
    assert [(each.method, each.layer) for each in found] == [
        *(("cam", "early"), ("cam", "late"), ("gradient", None))
    ]


def test_a_notebook_shows_a_comparison_as_a_grid():
    two_by_two = compare(Asked(), "doc", methods=["a", "b"], layers=["early", "late"])
    sheet = np.asarray(shown_by_jupyter(two_by_two))
    panels = [np.asarray(format_as_image(each)) for each in two_by_two]
    width = sheet.shape[1] // 2
    for number, panel in enumerate(panels):
        row, column = divmod(number, 2)
        [(left, top)] = find(panel, sheet)
        assert (left > width, top > 200) == (bool(column), bool(row))


def test_a_plain_list_of_explanations_is_a_gallery(monkeypatch):
    shell = InteractiveShell.instance()
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    show_lists()
    expl = Model().explanation()
    shown = shown_by_jupyter([expl, expl, expl])
    expected = shown_by_jupyter(eli5k.Explanations([expl, expl, expl]))
    np.testing.assert_array_equal(np.asarray(shown), np.asarray(expected))
    for other in ([], [1, 2], [expl, 1]):
        data, _ = shell.display_formatter.format(other)
        assert set(data) == {"text/plain"}


def test_a_list_that_another_library_shows_stays_as_it_shows_it(monkeypatch):
    shell = InteractiveShell.instance()
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    formatter = shell.display_formatter.formatters["image/png"]
    before = formatter.type_printers.copy()
    formatter.for_type(list, lambda values: b"theirs")
    show_lists()
    assert formatter([1]) == b"theirs"
    formatter.type_printers = before


def test_a_gallery_of_very_many_says_how_many_more_there_are(written):  # noqa: F811
    expl = Model(image=Image.new("L", (30, 30))).explanation()
    sheet = shown_by_jupyter(eli5k.Explanations([expl] * 50))
    assert max(sheet.size) < 3000
    assert [text for text, _ in written].count("y=cat") == 48
    assert "2 more: eli5k.save" in written[-1][0]


def test_methods_and_layers_are_one_or_several():
    with pytest.raises(ValueError, match="methods must be one or a list of at least one"):
        compare(Asked(), "doc", methods=[])
    with pytest.raises(ValueError, match="layers must be one or a list"):
        compare(Asked(), "doc", layers=[])


def test_help_and_completion_show_every_keyword():
    names = inspect.signature(show_prediction).parameters
    assert list(names)[:2] == ["estimator", "doc"]
    assert {"targets", "layer", "method", "preprocess", "image", "colormap", "style"} <= set(names)
    assert names["method"].default == "grad-cam"
    assert names["alpha_limit"].default == 0.65
    assert "top_targets" in pydoc.render_doc(show_prediction)


def test_the_other_functions_show_every_keyword_too():
    of_options = {each.name: each.default for each in dataclasses.fields(Options)}
    for function in (explain_prediction, eli5k.explain_predictions, eli5k.explain_prediction_keras):
        shown = inspect.signature(function).parameters
        assert {name: shown[name].default for name in of_options} == of_options
    shown = inspect.signature(compare).parameters
    assert of_options.keys() - shown.keys() == {"method", "layer"}
    assert "top_targets" in pydoc.render_doc(explain_prediction)
    for function in (eli5k.save, eli5k.plot):
        assert {"style", "colormap", "caption", "cuts"} <= set(
            inspect.signature(function).parameters
        )
    assert "title" in inspect.signature(eli5k.save).parameters


def test_dir_lists_what_is_public():
    listed = {name for name in dir(eli5k) if not name.startswith("_")}
    assert listed == set(eli5k.__all__)
    assert {"explain_predictions", "keras"} <= listed


def test_html_shows_the_targets_alone_unless_asked_for_more():
    data = show_prediction(Model(image=None), "doc").data
    assert "y=cat" in data
    assert "Explained as" not in data


def test_an_error_is_shown_as_html():
    assert (
        "Error: not &lt;supported&gt;"
        in show_prediction(Model(image=None, error="not <supported>"), None).data
    )
    with pytest.warns(ExplanationWarning, match="Expected a keras.Model"):
        shown = show_prediction(object(), None)
    assert "Expected a keras.Model, got object" in shown.data


def test_the_keywords_of_the_other_format_are_ignored():
    everything = {
        "include_styles": True,
        "force_weights": False,
        "show": ("targets",),
        "preserve_density": None,
        "highlight_spaces": None,
        "horizontal_layout": False,
        "show_feature_values": False,
        "resampling_filter": Image.Resampling.LANCZOS,
        "colormap": "viridis",
        "alpha_limit": 0.65,
        "style": None,
        "caption": False,
        "colorbar": False,
        "same_scale": False,
        "lines": False,
        "cuts": False,
        "origin": "upper",
        "transpose": False,
        "interactive": False,
    }
    assert set(everything) == FORMAT_KWARGS
    assert show_prediction(Model(), "doc", **everything) == show_prediction(Model(), "doc")
    assert isinstance(show_prediction(Model(image=None), "doc", **everything), HTML)


def test_an_unknown_keyword_suggests_that_of_the_format():
    with pytest.raises(TypeError, match="unexpected keyword argument 'colourmap'") as caught:
        show_prediction(Model(), "doc", colourmap="jet")
    [note] = caught.value.__notes__
    assert note.startswith("Did you mean 'colormap', ")


def test_other_errors_pass_as_they_are():
    with pytest.raises(TypeError, match="unexpected keyword argument 'frobnicate'") as caught:
        show_prediction(Model(), "doc", frobnicate=1)
    assert not hasattr(caught.value, "__notes__")
    with pytest.raises(ValueError, match="Did you mean 'viridis'"):
        show_prediction(Model(), "doc", colormap="virids")


@pytest.mark.parametrize(("missing", "image"), [("matplotlib", PICTURE), ("IPython.display", None)])
def test_without_the_library_to_show_it_the_explanation_comes_back(monkeypatch, missing, image):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.warns(ExplanationWarning, match=f"missing.*{missing}") as caught:
        shown = show_prediction(Model(image), "doc")
    assert isinstance(shown, Explanation)
    assert shown.targets[0].target == "cat"
    assert caught[0].filename == __file__


def test_the_import_is_light():
    code = """if True:
        import sys
        import eli5k
        heavy = ["keras", "tensorflow", "torch", "jax", "matplotlib", "IPython"]
        found = [name for name in heavy if name in sys.modules]
        assert not found, found
    """
    subprocess.run([sys.executable, "-c", code], check=True)
