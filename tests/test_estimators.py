"""What comes instead of a Keras model is named, with the way to one."""

from __future__ import annotations

import importlib.util

import keras
import numpy as np
import pytest

from eli5k.estimators import check_keras_model, is_keras_model, no_keras_model


def of_module(module, *bases):
    """An object of a class that says it is from a module."""
    return type("Sequential", bases or (object,), {"__module__": module})()


def test_a_keras_model_is_one():
    model = keras.Sequential()
    assert is_keras_model(model)
    check_keras_model(model)
    assert not is_keras_model(model.__class__)


@pytest.mark.parametrize(
    "module", ["tf_keras.src.engine.sequential", "tensorflow.python.keras.engine.sequential"]
)
def test_model_of_keras_2(module):
    estimator = of_module(module)
    message = no_keras_model(estimator)
    assert "It is a model of Keras 2" in message
    assert "keras.saving.load_model('model.h5')" in message
    # A class that a user derived from one is one too.
    derived = type("Mine", (type(estimator),), {"__module__": "mine"})()
    assert "It is a model of Keras 2" in no_keras_model(derived)


def test_module_of_torch():
    if importlib.util.find_spec("torch"):
        import torch

        estimator = torch.nn.Linear(2, 2)
    else:
        estimator = of_module("torch.nn.modules.linear")
    assert "keras.layers.TorchModuleWrapper(module)" in no_keras_model(estimator)


def test_layer_is_called_a_layer_on_each_backend():
    # On PyTorch it is a module of it as well.
    assert "It is a layer" in no_keras_model(keras.layers.Dense(2))


def test_saved_model(tmp_path):
    (tmp_path / "saved_model.pb").touch()
    assert "SavedModel holds no Keras layers" in no_keras_model(tmp_path)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        model.export(tmp_path / "exported", verbose=False)
        loaded = tf.saved_model.load(str(tmp_path / "exported"))
        assert "SavedModel holds no Keras layers" in no_keras_model(loaded)


def test_a_long_repr_is_cut():
    message = no_keras_model(np.arange(900).reshape(30, 30).tolist())
    assert len(message) < 300
    assert message.startswith("Expected a keras.Model, got list [[0, 1,")


def test_error():
    with pytest.raises(TypeError, match=r"Expected a keras\.Model, got int 3\.$"):
        check_keras_model(3)
    with pytest.raises(TypeError, match="The model comes first"):
        check_keras_model("photo.jpg", keras.Sequential())
