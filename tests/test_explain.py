"""The dispatch: what is no Keras model, and what of eli5's arguments an image does not need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import eli5k
from eli5k.base import Explanation, ExplanationWarning
from eli5k.explain import explain_prediction


class Estimator:
    """Another library's model."""

    def __repr__(self) -> str:
        return "Estimator(depth=3)"


def run_python(script: str) -> str:
    """Run a script in an interpreter of its own: this one has imported everything already."""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("estimator", [Estimator(), "text", None, 3])
def test_unknown_estimator_comes_back_as_an_error(estimator):
    with pytest.warns(ExplanationWarning, match=r"Expected a keras\.Model"):
        explanation = explain_prediction(estimator, [1, 2], top=3, whatever=True)
    assert isinstance(explanation, Explanation)
    got = f"Expected a keras.Model, got {type(estimator).__name__} {estimator!r}."
    assert explanation.error.startswith(got)
    assert explanation.targets is None


@pytest.mark.parametrize("path", ["photos.keras", Path("photos.keras")])
def test_path_of_a_model_says_how_to_load_it(path):
    with pytest.warns(ExplanationWarning, match="Load it first"):
        error = explain_prediction(path, None).error
    assert error.endswith(" Load it first: keras.models.load_model('photos.keras').")


def test_handler_of_another_type_can_be_registered():
    class Mine:
        pass

    @explain_prediction.register(Mine)
    def explain_mine(estimator, doc, **kwargs):
        return Explanation("mine", description=f"{doc} {kwargs}")

    class Derived(Mine):
        pass

    assert explain_prediction(Derived(), 1, top=2).description == "1 {'top': 2}"
    assert eli5k.explain_prediction is explain_prediction


def test_import_is_light():
    out = run_python(
        "import sys, eli5k; eli5k.explain_prediction('x', 1);"
        "heavy = {'keras', 'tensorflow', 'torch', 'jax', 'matplotlib.pyplot'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert out == "[]"


def test_keras_handler_registers_itself_when_it_is_first_needed():
    out = run_python(
        "import keras, sys, numpy as np, eli5k\n"
        "assert 'eli5k.keras.explain_prediction' not in sys.modules\n"
        "layers = [keras.Input((6, 6, 1)), keras.layers.Conv2D(2, 3, name='conv')]\n"
        "layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)]\n"
        "class Mine(keras.Sequential): pass\n"
        "model = Mine(layers)\n"
        "for _ in range(2):\n"
        "    e = eli5k.explain_prediction(model, np.ones((1, 6, 6, 1)), targets=[1])\n"
        "    print(e.layer, e.targets[0].target)"
    )
    assert out.split() == ["conv", "1"] * 2


def test_names_of_eli5_are_where_eli5_has_them():
    from eli5k import format_as_image, show_prediction
    from eli5k.base import Explanation as Again
    from eli5k.formatters.heatmap import expand_heatmap, heatmap_to_image
    from eli5k.keras import explain_prediction_keras, gradcam, gradcam_backend
    from eli5k.keras.explain_prediction import explain_prediction_keras as handler
    from eli5k.keras.gradcam import gradcam as combine
    from eli5k.keras.gradcam import gradcam_backend as parts

    assert (gradcam, gradcam_backend) == (combine, parts)
    assert handler is explain_prediction_keras is eli5k.explain_prediction_keras
    assert Again is eli5k.Explanation
    assert all(map(callable, (format_as_image, show_prediction, expand_heatmap, heatmap_to_image)))


def test_each_public_name_exists_and_no_other():
    for name in eli5k.__all__:
        assert getattr(eli5k, name) is not None, name
    with pytest.raises(AttributeError, match="no_such_name"):
        eli5k.no_such_name  # noqa: B018


def test_first_call_of_a_process_takes_targets_by_position():
    script = """
import keras, numpy, eli5k
net = [keras.layers.Conv2D(2, 3, kernel_initializer="ones"), keras.layers.Flatten()]
model = keras.Sequential([keras.Input((4, 4, 1)), *net])
print(eli5k.explain_prediction(model, numpy.ones((4, 4)), [3]).targets[0].target)
"""
    assert run_python(script).splitlines()[-1] == "3"
