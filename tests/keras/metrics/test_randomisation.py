"""The weights test: against a model whose weights are really set."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from eli5k.keras import attribute, metrics, run
from eli5k.keras.attribution import explain_samples
from eli5k.keras.evidence.run import Run
from eli5k.keras.metrics import randomisation
from eli5k.keras.metrics.randomisation import spearman, with_shuffled_weights
from tests.close import assert_close
from tests.zoo import STRUCTURES, net_layers, noise

DOCS = noise(3, 12, 12, 3, seed=1)


@pytest.mark.parametrize(
    "structure", ["functional", "sequential by add", "backbone and head", "subclassed of blocks"]
)
@pytest.mark.parametrize("method", ["grad-cam", "gradient"])
def test_shuffled_weights_are_as_good_as_set_and_the_model_is_untouched(structure, method):
    model = STRUCTURES[structure](net_layers())
    before = [keras.ops.convert_to_numpy(variable) for variable in model.variables]
    asked = run(model, DOCS, 1)
    plain = explain_samples(asked, method)
    shuffled = with_shuffled_weights(asked, 0.6)
    found = [explain_samples(shuffled, method) for _ in range(2)]
    for variable, value in zip(model.variables, before):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)
    [patch] = shuffled.patches
    for number, value in zip(patch.numbers, shuffled.operands[0]):
        assert sorted(value.ravel()) == sorted(before[number].ravel())
        model.variables[number].assign(value)
    scores, maps = attribute(model, DOCS, 1, method=method)
    for answer in found:
        np.testing.assert_allclose(answer.scores.values[:, 0], scores, rtol=1e-4, atol=1e-6)
        assert_close(answer.maps[0], maps)
    assert np.abs(found[0].maps - plain.maps).max() > 1e-3


def test_the_layers_next_to_the_output_are_shuffled_first():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(3, 3, name="a"),
            layers.BatchNormalization(name="b"),
            layers.Conv2D(3, 3, name="c"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4, name="d"),
        ]
    )
    model.set_weights([noise(*weight.shape, seed=i) for i, weight in enumerate(model.weights)])
    asked = run(model, noise(2, 8, 8, 1), 0)
    changed = []
    for share in (0.25, 0.5, 0.75, 1.0):
        shuffled = with_shuffled_weights(asked, share)
        [patch], [values] = shuffled.patches, shuffled.operands
        paths = {
            model.variables[number].path.split("/")[-2]
            for number, value in zip(patch.numbers, values)
            if not np.array_equal(value, keras.ops.convert_to_numpy(model.variables[number]))
        }
        changed.append("".join(sorted(paths)))
    assert changed == ["d", "cd", "bcd", "abcd"]


def edges(run: Run):
    """A map that doesn't depend on the model."""
    answer = explain_samples(run, "gradient")
    return answer._replace(maps=run.image[np.newaxis, ..., 0] ** 2)


def test_a_map_that_ignores_the_model_does_not_change():
    model = STRUCTURES["functional"](net_layers())
    found = metrics.weights_test(model, DOCS, 1, method=edges)
    assert found.likeness == pytest.approx((1, 1, 1))
    assert abs(found.floor) < 0.3
    assert not found.looks_at_the_model
    gradient = metrics.weights_test(model, DOCS, 1, method="gradient")
    assert max(gradient.likeness) < 0.9
    assert gradient.looks_at_the_model


def test_a_weights_test_is_remembered_until_the_weights_or_the_documents_change(monkeypatch):
    runs = []
    tested = randomisation._tested
    monkeypatch.setattr(randomisation, "_tested", lambda *a: runs.append(1) or tested(*a))
    model = STRUCTURES["functional"](net_layers())

    def count(docs=DOCS, **kwargs):
        metrics.weights_test(model, docs, 1, **kwargs)
        return len(runs)

    assert [count(method="gradient"), count(method="gradient")] == [1, 1]
    assert [count(method="gradient-x-input"), count(method="gradient")] == [2, 2]
    assert count(2 * DOCS, method="gradient") == 3
    model.set_weights([2 * weights for weights in model.get_weights()])
    assert [count(method="gradient"), count(method="gradient")] == [4, 4]


def test_one_document_is_too_few():
    with pytest.raises(ValueError, match="two documents"):
        metrics.weights_test(STRUCTURES["functional"](net_layers()), DOCS[:1], 1)


def test_spearman_is_the_correlation_of_ranks():
    one, other = noise(50, seed=2), noise(50, seed=3)
    ranks = [np.argsort(np.argsort(each)) for each in (one, other)]
    assert spearman(one, other) == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=1e-9)
    assert spearman(one, one**3) == pytest.approx(1)
    assert spearman(one, np.ones(50)) == 0
