"""The same numbers and the same pixels as eli5 0.16.0, on nets of keras.applications.

A random net is ill-conditioned: in ResNet50 the rounding of float32 alone moves eli5's heatmap by
1e-4 at the last layer, and by 2e-2 further inside. Our first call of a question runs the same
operations one by one, and must agree with eli5 to 1e-5 all the same. Later calls are compiled, with
operations fused, so they round differently: where one is further than 1e-5 from eli5, it may be no
further from the truth, eli5 on the same net in float64, than twice what eli5 itself is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import keras
import matplotlib
import matplotlib.cm
import numpy as np
import pytest
from PIL import Image

import eli5k
import eli5k.formatters.image
import eli5k.keras
from eli5k.keras.model import memory
from tests.zoo import noise, settle

if keras.config.backend() != "tensorflow":
    pytest.skip("eli5 runs on TensorFlow only", allow_module_level=True)

import eli5
from eli5.formatters import image as eli5_image
from eli5.keras import gradcam as eli5_gradcam
from eli5.keras import gradcam_backend as eli5_gradcam_backend
from eli5.keras.explain_prediction import _get_activation_layer

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:eli5"),
    pytest.mark.filterwarnings("error::eli5k.ExplanationWarning"),
    # Some of the nets want other values than the documents have; both explain them as they are.
    pytest.mark.filterwarnings("ignore::eli5k.UnscaledInputWarning"),
]

# Side of the picture, and the range of its pixels.
APPLICATIONS = {
    "MobileNetV2": (128, -1, 1),
    "ResNet50": (128, -1, 1),
    "VGG16": (96, -1, 1),
    "DenseNet121": (128, -1, 1),
    "EfficientNetB0": (128, 0, 255),
    "NASNetMobile": (128, -1, 1),
}


class Case:
    """A net and a document, and what eli5 says of the same net in float64."""

    def __init__(self, model: keras.Model, doc: np.ndarray, target: int) -> None:
        self.model, self.doc, self.target = model, doc, target
        names = [layer.name for layer in model.layers if len(layer.output.shape) == 4]
        self.inner = names[int(len(names) * 0.85)]
        self._theirs: dict[str, eli5.base.Explanation] = {}

    def theirs(self, question: str) -> eli5.base.Explanation:
        """What eli5 answers to one of ``QUESTIONS``, which several tests ask."""
        if question not in self._theirs:
            kwargs = QUESTIONS[question](self)
            self._theirs[question] = eli5.explain_prediction(self.model, self.doc, **kwargs)
        return self._theirs[question]

    @cached_property
    def _precise(self) -> keras.Model:
        model = keras.models.clone_model(self.model, clone_function=_in_double_precision)
        model.set_weights(self.model.get_weights())
        return model

    def truth(self, layer: str | None, targets: list[int] | None) -> np.ndarray:
        """eli5's heatmap without the rounding of float32."""
        explanation = eli5.explain_prediction(self._precise, self.doc, layer=layer, targets=targets)
        return explanation.targets[0].heatmap


def _in_double_precision(layer: keras.Layer) -> keras.Layer:
    return type(layer).from_config({**layer.get_config(), "dtype": "float64"})


def _build(name: str) -> Case:
    size, low, high = APPLICATIONS[name]
    shape = (size, size, 3)
    keras.utils.set_random_seed(5)
    model = getattr(keras.applications, name)(weights=None, input_shape=shape)
    if name == "VGG16":  # No batch normalization: He's scale instead.
        for layer in model.layers:
            if layer.weights:
                layer.kernel.assign(layer.kernel * 2**0.5)
    settle(model, noise(4, *shape, seed=6, low=low, high=high))
    doc = noise(1, *shape, seed=7, low=low, high=high)
    second_best = int(np.argsort(model(doc)[0])[-2])
    return Case(model, doc, second_best)


# Most of the time goes to the deepest.
DEEPEST = {"DenseNet121", "EfficientNetB0", "NASNetMobile", "ResNet50"}
CASES = [
    pytest.param(name, marks=pytest.mark.slow) if name in DEEPEST else name
    for name in [*APPLICATIONS, "trained on shapes"]
]


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    if request.param in APPLICATIONS:
        yield _build(request.param)
        keras.backend.clear_session()
    else:
        model = request.getfixturevalue("shapes_model")
        yield least_certain(model, request.getfixturevalue("shapes_data"), 0)


@pytest.fixture(scope="module")
def small(shapes_model, shapes_data) -> Case:
    return least_certain(shapes_model, shapes_data, 1)


def least_certain(model: keras.Model, data: tuple[np.ndarray, ...], number: int) -> Case:
    """An image that the net is in doubt about; of others, eli5's epsilon eats the faint maps."""
    images, classes, _ = data
    row = model.predict(images, verbose=0).max(axis=-1).argsort()[number]
    return Case(model, images[row : row + 1], int(classes[row]))


def first(call: Any, *args: Any, **kwargs: Any) -> Any:
    """What the first call of a question gives: it is answered eagerly."""
    memory._facts.clear()
    return call(*args, **kwargs)


def compiled(call: Any, *args: Any, **kwargs: Any) -> Any:
    """What each later call gives."""
    call(*args, **kwargs)
    return call(*args, **kwargs)


def furthest(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max())


QUESTIONS = {
    "nothing named": lambda case: {},
    "target": lambda case: {"targets": [case.target]},
    "layer by name": lambda case: {"layer": case.inner},
    "layer by index": lambda case: {
        "layer": case.model.layers.index(case.model.get_layer(case.inner)),
        "targets": [case.target],
    },
    "layer by instance": lambda case: {
        "layer": case.model.get_layer(case.inner),
        "targets": [case.target],
    },
}


def assert_same_but_for_the_map(ours: Any, theirs: Any) -> None:
    [target], [expected] = ours.targets, theirs.targets
    assert target.target == expected.target
    assert target.score == pytest.approx(expected.score, abs=1e-6)
    assert target.heatmap.dtype == expected.heatmap.dtype
    assert target.heatmap.shape == expected.heatmap.shape
    assert ours.image.mode == theirs.image.mode
    assert ours.image.tobytes() == theirs.image.tobytes()


class TestExplanations:
    def test_same_layer_is_chosen(self, case):
        theirs = _get_activation_layer(case.model, None)
        assert eli5k.explain_prediction(case.model, case.doc).layer == theirs.name

    @pytest.mark.parametrize("question", QUESTIONS)
    def test_same_heatmap_score_and_picture(self, case, question):
        kwargs = QUESTIONS[question](case)
        theirs = case.theirs(question)
        ours = first(eli5k.explain_prediction, case.model, case.doc, **kwargs)
        [expected] = theirs.targets
        assert expected.heatmap.max() > 0.9, "eli5's map is blank: this compares nothing"
        assert expected.heatmap.std() > 0.05, "eli5's map is flat: this compares nothing"
        assert_same_but_for_the_map(ours, theirs)
        assert furthest(ours.targets[0].heatmap, expected.heatmap) <= 1e-5

    @pytest.mark.parametrize("question", ["target", "layer by index"])
    def test_same_heatmap_from_the_compiled_function(self, case, question):
        kwargs = QUESTIONS[question](case)
        theirs = case.theirs(question)
        ours = compiled(eli5k.explain_prediction, case.model, case.doc, **kwargs)
        assert_same_but_for_the_map(ours, theirs)
        heatmap, expected = ours.targets[0].heatmap, theirs.targets[0].heatmap
        if furthest(heatmap, expected) > 1e-5:
            truth = case.truth(case.inner if "layer" in kwargs else None, kwargs["targets"])
            # Each processor has its own kernels, which round more or less.
            assert furthest(heatmap, truth) <= 5 * furthest(expected, truth)

    def test_rounding_is_small_on_a_trained_net(self, small):
        theirs = eli5.explain_prediction(small.model, small.doc)
        fused = compiled(eli5k.explain_prediction, small.model, small.doc)
        assert furthest(fused.targets[0].heatmap, theirs.targets[0].heatmap) <= 1e-5

    def test_same_parts_of_gradcam(self, case):
        arguments = (case.model, case.doc, [case.target], case.model.get_layer(case.inner))
        theirs = eli5_gradcam_backend(*arguments)
        ours = first(eli5k.keras.gradcam_backend, *arguments)
        for mine, expected in zip(ours[:3], theirs[:3]):
            assert mine.shape == expected.shape
            assert mine.dtype == expected.dtype
            assert furthest(mine, expected) <= 1e-5 * np.abs(expected).max()
        assert ours[3] == theirs[3]
        assert type(ours[3]) is type(theirs[3])
        assert ours[4] == pytest.approx(theirs[4], abs=1e-6)
        assert type(ours[4]) is type(theirs[4])
        heatmap = eli5_gradcam(*theirs[:2])
        assert furthest(eli5k.keras.gradcam(*theirs[:2]), heatmap) <= 1e-6
        assert furthest(eli5k.keras.gradcam(*ours[:2]), heatmap) <= 1e-5

    def test_parts_of_gradcam_without_targets(self, small):
        layer = small.model.get_layer("conv4")
        theirs = eli5_gradcam_backend(small.model, small.doc, None, layer)
        ours = eli5k.keras.gradcam_backend(small.model, small.doc, None, layer)
        assert ours[3:] == (theirs[3], pytest.approx(theirs[4], abs=1e-6))

    def test_input_layer_by_name_and_index(self, small):
        model = keras.Model(small.model.inputs, small.model.outputs)
        for layer in (0, model.layers[0].name, model.layers[0]):
            theirs = eli5.explain_prediction(model, small.doc, layer=layer)
            ours = eli5k.explain_prediction(model, small.doc, layer=layer)
            # eli5's epsilon eats into a map that is so faint; ours shows it.
            heatmap = theirs.targets[0].heatmap
            faint = heatmap * (ours.targets[0].heatmap.max() / heatmap.max())
            assert furthest(ours.targets[0].heatmap, faint) <= 1e-5
            assert ours.layer == model.layers[0].name

    def test_other_estimators_and_other_models(self):
        # Of what is no model, ours says what to do.
        assert "not supported" in eli5.explain_prediction("text", [1]).error
        with pytest.warns(eli5k.ExplanationWarning):
            assert "keras.models.load_model" in eli5k.explain_prediction("text", [1]).error
        no_image = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        image = keras.Sequential(
            [keras.Input((4, 4, 1)), keras.layers.Conv2D(1, 3), keras.layers.Flatten()]
        )
        for model, doc in (
            (no_image, noise(1, 4)),
            (image, noise(1, 4)),
            (no_image, noise(1, 4, 4)),
        ):
            theirs = eli5.explain_prediction(model, doc)
            with pytest.warns(eli5k.ExplanationWarning, match="is not supported"):
                ours = eli5k.explain_prediction(model, doc)
            assert "not supported" in theirs.error
            # Ours adds why.
            assert ours.error.startswith(theirs.error)
            ours.error = theirs.error
            assert repr(ours) == repr(theirs)


class TestRepr:
    def test_same_text_for_the_same_fields(self):
        def fill(base):
            target = base.TargetExplanation(3, proba=0.5, score=0.25, heatmap=np.eye(2))
            return base.Explanation("net", "why", "", "Grad-CAM", targets=[target])

        assert repr(fill(eli5k.base)) == repr(fill(eli5.base))

    def test_same_fields_in_the_same_order(self, small):
        theirs = eli5.explain_prediction(small.model, small.doc)
        ours = eli5k.explain_prediction(small.model, small.doc)
        theirs.description = ours.description = "..."
        fields = re.compile(r"(\w+)=")
        assert fields.findall(repr(ours)) == fields.findall(repr(theirs))
        for name in ("estimator", "error", "method", "is_regression", "highlight_spaces"):
            assert getattr(ours, name) == getattr(theirs, name)
            assert type(getattr(ours, name)) is type(getattr(theirs, name))


def _other_layer() -> keras.Layer:
    inputs = keras.Input((24, 24, 3))
    layer = keras.layers.Conv2D(2, 3, name="foreign")
    keras.Model(inputs, layer(inputs))
    return layer


PICTURE = Image.new("RGB", (24, 24))
BAD_ARGUMENTS = {
    "doc of another size": lambda case: {"doc": noise(1, 20, 24, 3)},
    "doc with other channels": lambda case: {"doc": noise(1, 24, 24, 1)},
    "two samples": lambda case: {"doc": noise(2, 24, 24, 3), "image": PICTURE},
    "no sample": lambda case: {"doc": noise(0, 24, 24, 3), "image": PICTURE},
    "doc of rank 5": lambda case: {"doc": noise(1, 1, 24, 24, 3), "image": PICTURE},
    "doc is a list": lambda case: {"doc": case.doc.tolist(), "image": PICTURE},
    "doc is None": lambda case: {"doc": None, "image": PICTURE},
    "doc is a number": lambda case: {"doc": 3, "image": PICTURE},
    "targets is a float": lambda case: {"targets": 1.0},
    "targets is a set": lambda case: {"targets": {1}},
    "targets is a string": lambda case: {"targets": "1"},
    "no target": lambda case: {"targets": []},
    "target is a string": lambda case: {"targets": ["1"]},
    "target is a float": lambda case: {"targets": [1.0]},
    "target is None": lambda case: {"targets": [None]},
    "target is a list": lambda case: {"targets": [[1]]},
    "target is negative": lambda case: {"targets": [-1]},
    "target is too large": lambda case: {"targets": [3]},
    "layer is a float": lambda case: {"layer": 1.0},
    "layer is a list": lambda case: {"layer": ["conv4"]},
    "layer is a class": lambda case: {"layer": keras.layers.Conv2D},
    "no layer of this name": lambda case: {"layer": "conv44"},
    "no layer of this index": lambda case: {"layer": 100},
    "layer of another model": lambda case: {"layer": _other_layer()},
    "layer without a grid, by name": lambda case: {"layer": "gap"},
    "layer without a grid, by index": lambda case: {"layer": -1},
    "layer without a grid, by instance": lambda case: {"layer": case.model.get_layer("classes")},
}


class TestExceptions:
    @pytest.mark.parametrize("what", BAD_ARGUMENTS)
    def test_same_exception_for_the_same_bad_argument(self, small, what):
        kwargs = {"doc": small.doc, **BAD_ARGUMENTS[what](small)}
        with pytest.raises((TypeError, ValueError)) as theirs:
            eli5.explain_prediction(small.model, **kwargs)
        with pytest.raises(theirs.type) as ours:
            eli5k.explain_prediction(small.model, **kwargs)
        argument = what.split()[0].removesuffix("s")
        named = {"two": "doc", "no": next(iter(set(kwargs) - {"image", "doc"}), "doc")}
        assert named.get(argument, argument) in str(ours.value)


def assert_same_pixels(ours: Image.Image, theirs: Image.Image) -> None:
    assert ours.mode == theirs.mode
    assert ours.size == theirs.size
    difference = np.asarray(ours).astype(int) - np.asarray(theirs).astype(int)
    assert np.abs(difference).max() <= 1


def coloured_by_hand(heatmap: np.ndarray) -> np.ndarray:
    return np.stack([heatmap, 1 - heatmap, heatmap**2, np.ones_like(heatmap)], axis=-1)


FORMATS = {
    "default": {},
    **{
        f"filter {name}": {"resampling_filter": getattr(Image.Resampling, name)}
        for name in ("NEAREST", "BOX", "BILINEAR", "HAMMING", "BICUBIC", "LANCZOS")
    },
    "filter as a number": {"resampling_filter": 2},
    **{
        f"colormap {name}": {"colormap": matplotlib.colormaps[name]}
        for name in ("viridis", "cividis", "jet", "binary", "magma", "tab10")
    },
    "colormap of matplotlib.cm": {"colormap": matplotlib.cm.cividis},
    "colormap callable": {"colormap": coloured_by_hand},
    **{f"alpha {limit}": {"alpha_limit": limit} for limit in (0, 0.0, 0.3, 0.65, 1, 1.0, None)},
    "all": {
        "resampling_filter": Image.Resampling.BOX,
        "colormap": matplotlib.colormaps["inferno"],
        "alpha_limit": 0.9,
    },
}


class TestFormats:
    def test_same_overlay(self, case):
        theirs = eli5.show_prediction(case.model, case.doc, targets=[case.target])
        ours = first(eli5k.show_prediction, case.model, case.doc, targets=[case.target])
        assert_same_pixels(ours, theirs)

    @pytest.mark.parametrize("format", FORMATS)
    def test_same_overlay_for_the_same_format(self, small, format):
        kwargs = FORMATS[format]
        theirs = eli5.show_prediction(small.model, small.doc, **kwargs)
        assert_same_pixels(eli5k.show_prediction(small.model, small.doc, **kwargs), theirs)
        explanation = eli5k.explain_prediction(small.model, small.doc)
        assert_same_pixels(eli5k.format_as_image(explanation, **kwargs), theirs)
        # Either formatter takes either explanation.
        assert_same_pixels(eli5.format_as_image(explanation, **kwargs), theirs)

    @pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
    def test_same_overlay_on_a_picture_of_ones_own(self, small, mode):
        pixels = noise(30, 50, len(mode), seed=3, low=0, high=255).astype("uint8")
        picture = Image.fromarray(pixels[..., 0] if mode == "L" else pixels)
        theirs = eli5.show_prediction(small.model, small.doc, image=picture)
        ours = eli5k.show_prediction(small.model, small.doc, image=picture)
        assert ours.size == (50, 30)
        assert_same_pixels(ours, theirs)

    @pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (5, 7, 4)])
    def test_same_picture_of_a_heatmap(self, shape):
        heatmap = np.random.default_rng(0).uniform(0, 1, shape)
        heatmap.flat[0], heatmap.flat[1] = 0, 1
        assert_same_pixels(
            eli5k.formatters.image.heatmap_to_image(heatmap),
            eli5_image.heatmap_to_image(heatmap),
        )
        for resampling in Image.Resampling:
            assert_same_pixels(
                eli5k.formatters.image.expand_heatmap(
                    heatmap, PICTURE, resampling_filter=resampling
                ),
                eli5_image.expand_heatmap(heatmap, PICTURE, resampling_filter=resampling),
            )

    @pytest.mark.parametrize(
        "change",
        [
            {"alpha_limit": 1.1},
            {"alpha_limit": -0.1},
            {"alpha_limit": "1"},
            {"alpha_limit": np.ones(2)},
            {"image": None},
            {"image": np.zeros((4, 4, 3))},
            {"heatmap": [[0.0, 1.0]]},
            {"heatmap": np.array([[0.0, 1.1]])},
            {"heatmap": np.array([[-0.1, 1.0]])},
            {"heatmap": np.array([[np.nan, 1.0]])},
        ],
        ids=lambda change: f"{change!r:.30}",
    )
    def test_same_exception_for_the_same_bad_format(self, small, change):
        def format_with(library):
            explanation = library.explain_prediction(small.model, small.doc)
            if "image" in change:
                explanation.image = change["image"]
            if "heatmap" in change:
                explanation.targets[0].heatmap = change["heatmap"]
            limit = {key: value for key, value in change.items() if key == "alpha_limit"}
            return library.format_as_image(explanation, **limit)

        with pytest.raises((TypeError, ValueError)) as theirs:
            format_with(eli5)
        with pytest.raises(theirs.type):
            format_with(eli5k)

    @pytest.mark.parametrize("function", ["heatmap_to_image", "expand_heatmap"])
    @pytest.mark.parametrize(
        "heatmap",
        [[[0.5]], np.zeros(3), np.zeros((2, 2, 2)), np.zeros((2, 2, 3, 1)), np.full((2, 2), 2.0)],
        ids=["list", "rank 1", "two channels", "rank 4", "above 1"],
    )
    def test_same_exception_for_the_same_bad_heatmap(self, function, heatmap):
        arguments = (heatmap,) if function == "heatmap_to_image" else (heatmap, PICTURE)
        with pytest.raises((TypeError, ValueError)) as theirs:
            getattr(eli5_image, function)(*arguments)
        with pytest.raises(theirs.type, match="heatmap"):
            getattr(eli5k.formatters.image, function)(*arguments)
