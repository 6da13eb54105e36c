"""The seam itself: which backends there are, and what each must offer."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import keras
import pytest

import eli5k
from eli5k.keras import backends
from eli5k.keras.backends import active_backend
from eli5k.keras.model.state import is_built


class TestActiveBackend:
    def test_is_the_one_that_keras_runs_on(self):
        assert active_backend().__name__ == f"eli5k.keras.backends.{keras.config.backend()}"

    @pytest.mark.parametrize("name", ["numpy", "openvino"])
    def test_backend_without_gradients_is_named_in_the_error(self, monkeypatch, name):
        monkeypatch.setattr(keras.config, "backend", lambda: name)
        with pytest.raises(RuntimeError, match=rf"'{name}'.*tensorflow, torch, jax.*KERAS_BACKEND"):
            active_backend()

    @pytest.mark.parametrize(
        ("function", "parameters"),
        [
            ("differentiate", ["forward"]),
            ("compiled", ["function", "model_of", "layers_of", "is_new"]),
            ("dry_run", ["function", "model", "layers_of"]),
        ],
    )
    def test_offers_the_functions_of_the_seam(self, function, parameters):
        assert list(inspect.signature(getattr(active_backend(), function)).parameters) == parameters
        of_protocol = inspect.signature(getattr(backends.Backend, function)).parameters
        assert list(of_protocol) == ["self", *parameters]


class TestSeam:
    def test_only_the_file_of_a_backend_imports_it_or_asks_for_its_name(self):
        package = Path(eli5k.__file__).parent
        for file in package.rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                own = package / "keras" / "backends"
                for name in imported_by(node):
                    assert name not in backends.SUPPORTED or file == own / f"{name}.py"
                asks = isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".backend")
                assert not asks or file == Path(backends.__file__), f"{file}: which backend?"


def imported_by(node):
    """Names of the packages that a statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level:
        return [node.module.partition(".")[0]]
    return []


class TestIsBuilt:
    def test_model_without_variables_yet(self):
        model = keras.Sequential([keras.layers.Dense(2)])
        assert not is_built(model)
        model.build((1, 3))
        assert is_built(model)

    def test_one_layer_deep_inside_is_enough(self):
        class Outer(keras.Model):
            def __init__(self):
                super().__init__()
                self.inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
                self.late = keras.Sequential([keras.layers.Dense(2)])

            def build(self, shape):
                self.built = True

        model = Outer()
        model.build((1, 3))
        assert not is_built(model)
        model.late.build((1, 2))
        assert is_built(model)
