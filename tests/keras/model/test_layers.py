"""Finding a layer in any model, and choosing one where none is named."""

from __future__ import annotations

import inspect
from functools import partial

import keras
import numpy as np
import pytest
from keras import applications, layers

from eli5k import explain_prediction
from eli5k.keras.model.layers import calls_of, candidate_calls
from eli5k.keras.model.structure import grid_of, has_channels_first, layer_at, walk
from eli5k.keras.model.survey import survey
from tests.zoo import (
    SHAPE,
    STRUCTURES,
    Subclassed,
    backbone_and_head,
    net_layers,
    noise,
    run_compiled,
    sequential_of_list,
    settle,
    two_levels_deep,
)

# The nets have statistics of their own, which the documents do not fit.
pytestmark = [
    pytest.mark.filterwarnings("ignore::eli5k.BlankMapWarning"),
    pytest.mark.filterwarnings("ignore::eli5k.UnscaledInputWarning"),
]

DOC = noise(1, *SHAPE, seed=1)


def seen(model, doc=DOC):
    return survey(model, doc)


class TestWalk:
    @pytest.mark.parametrize("structure", STRUCTURES)
    def test_finds_each_layer_once_and_by_a_path_that_leads_back(self, structure):
        model = STRUCTURES[structure](net_layers())
        paths, found = zip(*walk(model))
        assert len(set(paths)) == len(paths)
        assert all(layer_at(model, path) is layer for path, layer in zip(paths, found))
        names = {path.split("/")[-1] for path in paths}
        assert {"stem", "norm", "relu", "pool", "top", "gap", "head"} <= names
        # Keras' own list, without the model and what only holds a place.
        everything = [
            layer
            for layer in model._flatten_layers(include_self=False)
            if not isinstance(layer, layers.InputLayer)
        ]
        assert {id(layer) for layer in everything} == {id(layer) for layer in found}

    def test_paths_of_nested_models(self):
        model = two_levels_deep(net_layers())
        inner = model.layers[0].layers[0].name
        assert [path for path, _ in walk(model)] == [
            "outer",
            f"outer/{inner}",
            *(f"outer/{inner}/{name}" for name in ("stem", "norm", "relu", "pool", "top")),
            "gap",
            "head",
        ]

    def test_siblings_of_one_name_are_told_apart(self):
        twins = [layers.Dense(2, name="twin") for _ in range(3)]
        paths = dict(walk(Subclassed(twins)))
        assert list(paths) == ["twin", "twin:1", "twin:2"]
        assert list(paths.values()) == twins


class TestFindCall:
    def find(self, model, layer, doc=DOC):
        return calls_of(model, seen(model, doc).calls, layer, False)[0]

    def test_name_path_index_and_instance_agree(self):
        model = backbone_and_head(net_layers())
        backbone = model.layers[0]
        expected = self.find(model, "top")
        assert expected.path == "mobile_1.00_12/top"
        assert self.find(model, "mobile_1.00_12/top") == expected
        assert self.find(model, backbone.get_layer("top")) == expected
        for layer in (0, -3, np.int64(0), backbone, "mobile_1.00_12"):
            assert self.find(model, layer).path == "mobile_1.00_12"

    def test_every_index_is_that_of_model_layers(self):
        model = sequential_of_list(net_layers())
        for index, layer in enumerate(model.layers[:5]):
            for given in (index, index - len(model.layers)):
                assert self.find(model, given).path == layer.name

    @pytest.mark.parametrize(
        ("layer", "error", "message"),
        [
            ("tpo", ValueError, "layer 'tpo' is not.*Did you mean.*'mobile_1.00_12/top'"),
            ("", ValueError, "layer ''"),
            ("mobile_1.00_12/gap", ValueError, "layer 'mobile_1.00_12/gap'"),
            (3, ValueError, r"layer index must be in \[-3, 3\). Received: 3"),
            (-4, ValueError, r"layer index.*Received: -4"),
            (1.0, TypeError, "layer must be.*Received: 1.0 of type float"),
            (["top"], TypeError, "layer must be.*list"),
            (layers.Conv2D, TypeError, "layer must be"),
            ("gap", ValueError, r"layer 'gap' has no grid.*\(1, 6\).*more than one cell"),
            (-1, ValueError, r"layer 'head' has no grid.*\(1, 3\)"),
            (layers.Conv2D(1, 1, name="foreign"), ValueError, "layer 'foreign' is not called"),
        ],
    )
    def test_what_cannot_be_explained_is_named(self, layer, error, message):
        with pytest.raises(error, match=f"(?s){message}"):
            explain_prediction(backbone_and_head(net_layers()), DOC, layer=layer)

    def test_name_of_several_layers_lists_their_paths(self):
        one = keras.Sequential(net_layers()[:5], name="one")
        two = keras.Sequential(net_layers()[:5], name="two")
        inputs = keras.Input(SHAPE)
        joined = layers.Concatenate()([one(inputs), two(inputs)])
        model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(joined)))
        with pytest.raises(
            ValueError, match=r"'top' is a name that 2 layers share.*'one/top', 'two/top'"
        ):
            explain_prediction(model, DOC, layer="top")
        maps = [
            explain_prediction(model, DOC, targets=[0], layer=path)
            for path in ("one/top", "two/top")
        ]
        assert [explanation.layer for explanation in maps] == ["one/top", "two/top"]

    def test_own_name_goes_before_a_nested_one(self):
        inner = keras.Sequential(net_layers()[:5], name="inner")
        top = layers.Conv2D(2, 1, name="top")
        model = keras.Sequential([keras.Input(SHAPE), inner, top, layers.Flatten()])
        assert layer_at(model, self.find(model, "top").path) is top
        assert layer_at(model, self.find(model, "inner/top").path) is inner.get_layer("top")

    @pytest.mark.filterwarnings(r"ignore:`build\(\)` was called on layer:UserWarning")
    def test_layer_that_the_model_never_calls(self):
        class Lazy(Subclassed):
            def __init__(self, net):
                super().__init__(net)
                self.spare = layers.Conv2D(2, 3, name="spare")

        model = Lazy(net_layers())
        for layer in ("spare", model.spare):
            with pytest.raises(ValueError, match="'spare' is not"):
                explain_prediction(model, DOC, layer=layer)

    def test_layer_whose_output_is_no_tensor(self):
        class Pair(layers.Layer):
            def call(self, x):
                return x, x

        class Model(Subclassed):
            def __init__(self, net):
                super().__init__(net)
                self.pair = Pair(name="pair")

            def call(self, x):
                return super().call(self.pair(x)[0])

        model = Model(net_layers())
        with pytest.raises(ValueError, match=r"(?s)layer 'pair' has no grid.*'pair\[0\]' \(1, 12"):
            explain_prediction(model, DOC, layer="pair")
        # The one that the model uses; its map is that of the input.
        explained = explain_prediction(model, DOC, targets=[0], layer="pair[0]", logits=True)
        with pytest.raises(ValueError, match=r"does not depend on layer 'pair\[1\]'"):
            explain_prediction(model, DOC, targets=[0], layer="pair[1]")
        assert explained.targets[0].heatmap.shape == SHAPE[:2]


class TestChoice:
    def chosen(self, net, shape=SHAPE, **kwargs):
        model = keras.Sequential([keras.Input(shape), *net])
        return explain_prediction(model, noise(1, *shape), targets=[0], **kwargs).layer

    def test_last_layer_with_a_grid_even_without_weights(self):
        """As eli5: also an activation, a dropout or a pooling."""
        net = [
            layers.Conv2D(2, 3, name="conv"),
            layers.ReLU(name="relu"),
            layers.MaxPooling2D(name="pool"),
            layers.Dropout(0.5, name="drop"),
            layers.Flatten(),
            layers.Dense(2),
        ]
        assert self.chosen(net) == "drop"

    def test_convolutions_of_one_pixel_after_the_pooling_are_passed_over(self):
        """As MobileNet and MobileNetV3 end."""
        net = [
            layers.Conv2D(2, 3, activation="relu", name="conv"),
            layers.GlobalAveragePooling2D(keepdims=True),
            layers.Conv2D(3, 1, name="as_dense"),
            layers.Dropout(0.1),
            layers.Flatten(),
            layers.Activation("softmax"),
        ]
        assert self.chosen(net) == "conv"

    def test_a_grid_of_one_row_is_a_grid(self):
        net = [layers.Conv2D(2, (12, 3), name="conv"), layers.Flatten(), layers.Dense(2)]
        assert self.chosen(net) == "conv"

    def test_preparation_before_a_nested_classifier_is_passed_over(self):
        """eli5 would take the rescaling: nothing else at the top level has a grid."""
        model = keras.Sequential(
            [
                keras.Input(SHAPE),
                layers.RandomFlip(),
                layers.Rescaling(0.5),
                sequential_of_list(net_layers()),
            ]
        )
        assert explain_prediction(model, DOC, targets=[0]).layer.endswith("/top")

    def test_layer_on_which_the_score_does_not_depend_is_passed_over(self):
        inputs = keras.Input(SHAPE)
        used = layers.Conv2D(2, 3, name="used")(inputs)
        aside = layers.Conv2D(2, 3, name="aside")(used)
        scores = layers.Dense(2, name="scores")(layers.GlobalAveragePooling2D()(used))
        model = keras.Model(inputs, [scores, aside])
        for _ in range(2):
            assert explain_prediction(model, DOC, targets=[0], output=0).layer == "used"

    def test_model_without_any_grid(self):
        net = [layers.Flatten(), layers.Reshape((1, 1, 432)), layers.Flatten(), layers.Dense(2)]
        net.insert(1, layers.Dense(432))
        model = keras.Sequential([keras.Input(SHAPE), *net])
        with pytest.raises(ValueError, match=r"(?s)No layer.*grid of more than one pixel.*flatten"):
            explain_prediction(model, DOC, targets=[0], image=keras.utils.array_to_img(DOC[0]))

    def test_order(self):
        """eli5's choice, then from the last call to the first, and no preparation."""
        backbone = [layers.Conv2D(4, 1, name="conv1"), layers.Conv2D(4, 1, 2, name="conv2")]
        net = [layers.Rescaling(1.0, name="rescaling"), keras.Sequential(backbone, name="backbone")]
        net += [layers.GlobalMaxPooling2D(keepdims=True, name="one pixel"), layers.Flatten()]
        model = keras.Sequential([keras.Input(SHAPE), *net, layers.Dense(2, name="dense")])
        order = [call.path for call in candidate_calls(model, seen(model))]
        assert order == ["backbone", "backbone/conv2", "backbone/conv1"]

    def test_lone_convolution_does_not_win_over_a_pooled_backbone(self):
        """eli5 takes the convolution: the backbone's own output has no grid."""
        backbone = keras.Sequential([*net_layers()[:5], layers.GlobalAveragePooling2D()])
        first = layers.Conv2D(3, 1, name="to_rgb")
        model = keras.Sequential([keras.Input(SHAPE), first, backbone, layers.Dense(2)])
        assert explain_prediction(model, DOC, targets=[0]).layer.endswith("/top")


class TestChannels:
    @pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
    def test_first_layer_with_a_format_decides(self, data_format):
        net = [layers.Rescaling(1.0), layers.MaxPooling2D(data_format=data_format)]
        assert has_channels_first(keras.Sequential(net)) == (data_format == "channels_first")

    def test_without_any_it_is_the_setting_of_keras(self):
        model = keras.Sequential([layers.Rescaling(1.0)])
        assert not has_channels_first(model)
        keras.config.set_image_data_format("channels_first")
        try:
            assert has_channels_first(model)
        finally:
            keras.config.set_image_data_format("channels_last")

    @pytest.mark.parametrize("shape", [(1, 5, 2), (1, 5, 6, 2), (1, 5, 6, 7, 2)])
    def test_grid(self, shape):
        turned = (shape[0], shape[-1], *shape[1:-1])
        assert grid_of(shape, False) == grid_of(turned, True) == shape[1:-1]


# The functions of keras.applications, each with the smallest picture that leaves it a grid.
APPLICATIONS = sorted(
    name
    for name, function in vars(applications).items()
    if inspect.isfunction(function) and not name.startswith("_")
)
SIDES = {"Inception": 107, "Xception": 96, "NASNet": 96}


def test_there_are_forty_applications():
    assert len(APPLICATIONS) == 40


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
def test_every_application_has_a_map_of_more_than_one_pixel(name):
    side = next((side for start, side in SIDES.items() if name.startswith(start)), 64)
    if name == "NASNetMobile" and keras.config.backend() == "torch":
        pytest.skip("Keras has no NASNetMobile on PyTorch: it says that of itself")
    keras.utils.set_random_seed(1)
    model = getattr(applications, name)(weights=None, input_shape=(side, side, 3), classes=7)
    settle(model, noise(2, side, side, 3, seed=2, low=0, high=255))
    doc = noise(1, side, side, 3, seed=3, low=0, high=255)
    explanation = explain_prediction(model, doc, targets=[4], logits=True)
    [target] = explanation.targets
    assert target.heatmap.ndim == 2
    assert target.heatmap.size > 1
    assert np.isfinite(target.attribution).all()
    assert np.ptp(target.attribution) > 0
    probabilities = run_compiled(model, partial(model, training=False), doc)
    score = keras.ops.convert_to_numpy(probabilities)[0, 4]
    assert target.proba == pytest.approx(float(score), abs=1e-5)
    # Nothing of forty nets is kept.
    del model
    keras.backend.clear_session(free_memory=True)
