"""The main job: any structure of model, any number of inputs and outputs, the same right map."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import eli5k
from eli5k import explain_prediction
from tests.close import assert_close
from tests.zoo import (
    CLASSES,
    SHAPE,
    STRUCTURES,
    Subclassed,
    as_heatmap,
    backbone_and_head,
    closed_form,
    from_differences,
    functional,
    net_layers,
    noise,
    run_layers,
    sequential_of_list,
)

# The nets have statistics of their own, which the documents do not fit.
pytestmark = [
    pytest.mark.filterwarnings("error::eli5k.ExplanationWarning"),
    pytest.mark.filterwarnings("ignore::eli5k.UnscaledInputWarning"),
]

DOC = noise(1, *SHAPE, seed=1)
PICTURE = Image.new("L", (8, 8))


def explain_twice(model, doc=DOC, **kwargs):
    """The first answer comes from an eager run, the second from a compiled one."""
    return [explain_prediction(model, doc, **kwargs) for _ in range(2)]


def maps(explanation):
    return np.stack([target.attribution for target in explanation.targets])


def assert_explains(explanation, net, target, doc=DOC):
    """The explanation of the net is what its closed form says."""
    expected = closed_form(net, doc, target)
    [result] = explanation.targets
    assert_close(result.attribution, expected)
    np.testing.assert_allclose(result.heatmap, as_heatmap(expected), atol=1e-5)
    assert result.target == target
    np.testing.assert_allclose(result.score, run_layers(net, doc)[0, target], atol=1e-6)


class TestStructures:
    @pytest.mark.parametrize("structure", STRUCTURES)
    def test_same_layers_in_any_structure_give_the_closed_form(self, structure):
        net = net_layers()
        model = STRUCTURES[structure](net_layers())
        best = int(run_layers(net, DOC).argmax())
        for explanation in explain_twice(model):
            assert_explains(explanation, net, best)
        for target in set(range(CLASSES)) - {best}:
            assert_explains(explain_prediction(model, DOC, targets=[target]), net, target)

    @pytest.mark.parametrize("structure", STRUCTURES)
    def test_layer_by_name_and_by_instance_at_any_depth(self, structure):
        net = net_layers()
        model = STRUCTURES[structure](net_layers())
        by_name = explain_prediction(model, DOC, targets=[1], layer="relu")
        [instance] = [part for part in model._flatten_layers() if part.name == "relu"]
        by_instance = explain_prediction(model, DOC, targets=[1], layer=instance)
        assert by_name.layer.split("/")[-1] == "relu"
        assert by_instance.layer == by_name.layer
        assert_close(maps(by_name), maps(by_instance))
        assert maps(by_name).shape == (1, 12, 12)
        expected = from_differences(net, "relu", DOC, target=1)
        assert_close(maps(by_name)[0], expected)

    def test_path_with_dots_in_a_nested_name(self):
        net = net_layers()
        model = backbone_and_head(net_layers())
        explanation = explain_prediction(model, DOC, targets=[2], layer="mobile_1.00_12/top")
        assert explanation.layer == "mobile_1.00_12/top"
        assert_explains(explanation, net, 2)

    def test_never_built_sequential_is_built_by_the_data(self):
        net = describe = [
            layers.Conv2D(4, 3, name="top"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(CLASSES),
        ]
        model = keras.Sequential(describe)
        assert not model.built
        explanation = explain_prediction(model, np.abs(DOC), targets=[0], layer="top")
        assert_explains(explanation, net, 0, np.abs(DOC))

    def test_model_that_grows_after_it_was_explained(self):
        net = net_layers()
        model = sequential_of_list(net[:-1])
        explain_twice(model, targets=[0])
        model.add(net[-1])
        for explanation in explain_twice(model, targets=[0]):
            assert_explains(explanation, net_layers(), 0)

    def test_head_that_is_exchanged_after_the_model_was_explained(self):
        net = net_layers()
        model = sequential_of_list(net)
        explain_twice(model, targets=[1])
        model.layers[-1].activation = keras.activations.linear
        expected = net_layers(activation="linear")
        for explanation in explain_twice(model, targets=[1]):
            assert_explains(explanation, expected, 1)

    def test_head_that_is_exchanged_inside_a_nested_model(self):
        model = keras.Sequential([keras.Input(SHAPE), sequential_of_list(net_layers())])
        explain_twice(model, targets=[1])
        model.layers[0].layers[-1].activation = keras.activations.linear
        expected = net_layers(activation="linear")
        for explanation in explain_twice(model, targets=[1]):
            assert_explains(explanation, expected, 1)

    def test_weights_that_change_after_the_model_was_explained(self):
        net = net_layers()
        model = functional(net)
        explain_twice(model, targets=[1])
        kernel, bias = net[-1].get_weights()
        net[-1].set_weights([kernel[:, ::-1], bias[::-1]])
        other = net_layers()
        other[-1].set_weights([kernel[:, ::-1], bias[::-1]])
        for explanation in explain_twice(model, targets=[1]):
            assert_explains(explanation, other, 1)

    def test_augmentation_and_dropout_stay_off(self):
        net = net_layers()
        augmentation = [
            layers.RandomFlip(),
            layers.RandomRotation(0.3),
            layers.RandomZoom(0.3),
            layers.GaussianNoise(1.0),
            layers.Dropout(0.5),
        ]
        model = keras.Sequential(
            [
                keras.Input(SHAPE),
                keras.Sequential(augmentation),
                layers.Rescaling(0.9),
                *net_layers()[:5],
                layers.SpatialDropout2D(0.5),
                net[5],
                layers.Dropout(0.5),
                net[6],
            ]
        )
        for explanation in explain_twice(model, targets=[2]):
            assert_explains(explanation, net, 2, DOC * np.float32(0.9))
            assert explanation.layer.startswith("spatial_dropout")

    def test_augmentation_is_no_default_layer(self):
        model = keras.Sequential(
            [
                keras.Input(SHAPE),
                layers.RandomFlip(),
                layers.Rescaling(0.5),
                layers.Flatten(),
                layers.Dense(3),
            ]
        )
        # Nothing else has a grid, and a map of it would say nothing of the model.
        with pytest.raises(ValueError, match=r"No layer.*Methods that need none: "):
            explain_prediction(model, DOC, targets=[0], image=Image.new("L", (9, 9)))

    def test_layer_that_is_used_twice_is_explained_where_it_is_used_last(self):
        net = net_layers()
        twice = layers.Conv2D(4, 3, padding="same", activation="relu", name="twice")
        inputs = keras.Input(SHAPE)
        x = net[0](inputs)
        x = twice(twice(x))
        model = keras.Model(inputs, net[6](net[5](net[4](x))))
        once = layers.Conv2D(4, 3, padding="same", activation="relu", name="once")
        first = layers.Conv2D(4, 3, padding="same", activation="relu", name="first")
        inputs = keras.Input(SHAPE)
        y = once(first(net[0](inputs)))
        same = keras.Model(inputs, net[6](net[5](net[4](y))))
        first.set_weights(twice.get_weights())
        once.set_weights(twice.get_weights())
        expected = explain_prediction(same, DOC, targets=[0], layer="once")
        for explanation in explain_twice(model, targets=[0], layer="twice"):
            np.testing.assert_allclose(maps(explanation), maps(expected), atol=1e-6)

    def test_layer_that_is_shared_by_two_models(self):
        net = net_layers()
        backbone = functional(net[:5])
        one = keras.Sequential([backbone, *net[5:]])
        head = layers.Dense(CLASSES, name="head")
        two = keras.Sequential([backbone, layers.GlobalAveragePooling2D(), head])
        two(DOC)
        head.set_weights([-array for array in net[-1].get_weights()])
        # What speaks for a class in one model speaks against it in the other.
        net[-1].activation = head.activation = keras.activations.linear
        for _ in range(2):
            assert_explains(explain_prediction(one, DOC, targets=[0]), net, 0)
            against = explain_prediction(two, DOC, targets=[0])
            np.testing.assert_allclose(maps(against)[0], -closed_form(net, DOC, 0), atol=1e-6)

    def test_time_distributed_layers_of_a_film(self):
        """Five frames, and a recurrent layer after them: the map has time as its first axis."""
        conv = layers.Conv2D(4, 3, padding="same", activation="relu")
        model = keras.Sequential(
            [
                keras.Input((5, 8, 8, 1)),
                layers.TimeDistributed(conv, name="each_frame"),
                layers.TimeDistributed(layers.GlobalAveragePooling2D()),
                layers.GlobalAveragePooling1D(),
                layers.Dense(2, name="head"),
            ]
        )
        doc = noise(1, 5, 8, 8, 1, seed=2, low=0)
        frames = keras.ops.convert_to_numpy(conv(doc[0]))
        expected = frames @ model.layers[-1].get_weights()[0] / (5 * 8 * 8)
        for explanation in explain_twice(
            model, doc, targets=[int(expected.sum(axis=(0, 1, 2)).argmax())], image=PICTURE
        ):
            assert explanation.layer == "each_frame"
            np.testing.assert_allclose(
                maps(explanation)[0], expected[..., explanation.targets[0].target], atol=1e-6
            )

    def test_time_distributed_head_after_a_grid(self):
        inputs = keras.Input((8, 8, 1))
        x = layers.Conv2D(3, 3, padding="same", activation="relu", name="before")(inputs)
        x = layers.Reshape((4, 4, 4, 3))(x)
        x = layers.TimeDistributed(layers.Conv2D(4, 3, activation="relu"))(x)
        model = keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling3D()(x)))
        doc = noise(1, 8, 8, 1, seed=2, low=0)
        # The layer inside sees a quarter of the picture at a time, so it is no layer to show.
        for explanation in explain_twice(model, doc, top_targets=1):
            assert explanation.layer == "before"
            assert maps(explanation).shape == (1, 8, 8)


class TestInputs:
    """Several inputs, in each form in which Keras takes them."""

    def make(self, structure):
        net = net_layers(activation=None)
        photo = keras.Input(SHAPE, name="photo")
        facts = keras.Input((5,), name="facts")
        x = photo
        for layer in net[:6]:
            x = layer(x)
        joined = layers.Concatenate()([x, layers.Dense(4, name="of_facts")(facts)])
        outputs = layers.Dense(CLASSES, name="joint")(joined)
        inputs = {
            "list": [photo, facts],
            "dict": {"photo": photo, "facts": facts},
            "other names": {"a_picture": photo, "numbers": facts},
        }[structure]
        model = keras.Model(inputs, outputs)
        kernel, bias = model.get_layer("joint").get_weights()
        net[-1].set_weights([kernel[:6], bias])
        return model, net

    @pytest.mark.parametrize(
        ("structure", "doc"),
        [
            ("list", lambda photo, facts: [photo, facts]),
            ("list", lambda photo, facts: (photo, facts)),
            ("list", lambda photo, facts: {"facts": facts, "photo": photo}),
            ("list", lambda photo, facts: [photo[0], facts[0]]),
            ("dict", lambda photo, facts: {"facts": facts, "photo": photo}),
            ("dict", lambda photo, facts: {"facts": facts[0], "photo": photo[0]}),
            ("other names", lambda photo, facts: {"numbers": facts, "a_picture": photo}),
        ],
    )
    @pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict:UserWarning")
    def test_picture_and_facts(self, structure, doc):
        model, net = self.make(structure)
        facts = noise(1, 5, seed=5)
        best = int(np.argmax([closed_form(net, DOC, target).max() for target in range(CLASSES)]))
        expected = closed_form(net, DOC, best)
        given = doc(DOC, facts)
        for explanation in explain_twice(model, given, targets=[best]):
            np.testing.assert_allclose(maps(explanation)[0], expected, atol=1e-6)
            assert explanation.image.size == SHAPE[:2]
            same_form = {"list": [DOC, facts], "dict": {"photo": DOC, "facts": facts}}.get(
                structure, {"a_picture": DOC, "numbers": facts}
            )
            score = keras.ops.convert_to_numpy(model(same_form))[0, best]
            assert explanation.targets[0].score == pytest.approx(float(score), abs=1e-6)

    def test_two_pictures(self):
        """The default layer is one that sees the explained picture alone."""
        left, right = keras.Input(SHAPE, name="left"), keras.Input(SHAPE, name="right")
        conv = layers.Conv2D(4, 3, activation="relu", name="conv")
        both = layers.Concatenate(name="both")([conv(left), conv(right)])
        outputs = layers.Dense(2)(layers.GlobalAveragePooling2D()(both))
        model = keras.Model([left, right], outputs)
        docs = [np.abs(DOC), np.abs(noise(1, *SHAPE, seed=8))]
        kernel = model.layers[-1].get_weights()[0]
        for name, doc, rows in (("left", docs[0], kernel[:4]), ("right", docs[1], kernel[4:])):
            expected = keras.ops.convert_to_numpy(conv(doc))[0] @ rows / 100
            best = int(expected.max(axis=(0, 1)).argmax())
            for explanation in explain_twice(model, docs, targets=[best], input=name):
                assert explanation.layer == "conv"
                np.testing.assert_allclose(maps(explanation)[0], expected[..., best], atol=1e-6)

    def test_one_input_declared_as_a_dict(self):
        net = net_layers()
        photo = keras.Input(SHAPE, name="photo")
        x = photo
        for layer in net:
            x = layer(x)
        model = keras.Model({"photo": photo}, x)
        for doc in (DOC, {"photo": DOC}):
            for explanation in explain_twice(model, doc, targets=[1]):
                assert_explains(explanation, net, 1)

    def test_subclassed_model_of_a_dict(self):
        net = net_layers()

        class TakesDict(keras.Model):
            def __init__(self):
                super().__init__()
                self.body = Subclassed(net)

            def call(self, inputs):
                return self.body(inputs["photo"]) + 0 * keras.ops.sum(inputs["facts"])

        model = TakesDict()
        doc = {"photo": DOC, "facts": noise(1, 5)}
        for explanation in explain_twice(model, doc, targets=[1]):
            assert_explains(explanation, net, 1)

    @pytest.mark.parametrize("size", [(12, 12), (20, 14), (9, 31)])
    def test_inputs_of_any_size(self, size):
        net = net_layers()
        inputs = x = keras.Input((None, None, 3))
        for layer in net:
            x = layer(x)
        model = keras.Model(inputs, x)
        for height, width in (size, (16, 12), size):
            doc = noise(1, height - height % 2, width - width % 2, 3, seed=height)
            expected = closed_form(net, doc, 2)
            for explanation in explain_twice(model, doc, targets=[2]):
                assert_close(maps(explanation)[0], expected)

    @pytest.mark.parametrize(
        ("doc", "message"),
        [
            ([DOC], "photo.*facts"),
            ([DOC, noise(1, 5), noise(1, 5)], "photo.*facts.*list of 3"),
            (DOC, "list or a dict.*photo.*facts.*ndarray"),
            ({"photo": DOC}, "photo.*facts.*Received.*photo"),
            ({"photo": DOC, "fact": noise(1, 5)}, "Received.*fact"),
            ([noise(1, 5), DOC], r"\(1, 12, 12, 3\).*Received: \(1, 5\)"),
            ([np.concatenate([DOC, DOC]), noise(2, 5)], r"Received: \(2, 12, 12, 3\)"),
        ],
    )
    def test_wrong_inputs_are_named(self, doc, message):
        model, _ = self.make("list")
        with pytest.raises(ValueError, match=f"(?s)doc.* must.*{message}"):
            explain_prediction(model, doc)


class TestOutputs:
    """Several outputs, in each form in which Keras gives them."""

    def make(self, structure):
        net, other = net_layers(), net_layers(activation="sigmoid")
        kernel, bias = other[-1].get_weights()
        other[-1].set_weights([kernel[:, ::-1], bias])
        other[-1].name = "second"
        inputs = x = keras.Input(SHAPE)
        for layer in net[:6]:
            x = layer(x)
        first, second = net[6](x), other[6](x)
        outputs = {
            "list": [first, second],
            "dict": {"kind": first, "colour": second},
        }[structure]
        return keras.Model(inputs, outputs), net, [*net[:6], other[-1]]

    @pytest.mark.parametrize(
        ("structure", "output", "position"),
        [
            ("list", 0, 0),
            ("list", 1, 1),
            ("list", -1, 1),
            ("list", "head", 0),
            ("list", "second", 1),
            ("dict", "kind", 0),
            ("dict", "colour", 1),
        ],
    )
    def test_output_by_name_and_by_index(self, structure, output, position):
        model, *nets = self.make(structure)
        for explanation in explain_twice(model, targets=[1], output=output):
            assert_explains(explanation, nets[position], 1)

    def test_explanation_names_the_output(self):
        model, *_ = self.make("dict")
        for name in ("kind", "colour"):
            explanation = explain_prediction(model, DOC, targets=[1], output=name)
            assert explanation.output == name
            assert repr(name) in explanation.description

    @pytest.mark.parametrize("structure", ["list", "dict"])
    def test_first_output_is_not_explained_in_silence(self, structure):
        model, net, other = self.make(structure)
        # A dict has no first: Keras orders it by its keys.
        first = net if structure == "list" else other
        for _ in range(2):
            with pytest.warns(eli5k.AmbiguousOutputWarning, match="output="):
                explanation = explain_prediction(model, DOC, targets=[1])
            assert_explains(explanation, first, 1)

    def test_subclassed_model_with_a_dict_of_outputs(self):
        net = net_layers()
        gap = net[5]

        class TwoHeads(keras.Model):
            def __init__(self):
                super().__init__()
                self.body = Subclassed(net[:5])
                self.one, self.two = net[6], layers.Dense(2, name="two")

            def call(self, x):
                x = gap(self.body(x))
                return {"one": self.one(x), "rest": {"two": self.two(x)}}

        model = TwoHeads()
        for explanation in explain_twice(model, targets=[1], output="one"):
            assert_explains(explanation, net, 1)
        with pytest.raises(ValueError, match=r"output must be one of \['one', 'rest/two'\]"):
            explain_prediction(model, DOC, output="three")

    @pytest.mark.parametrize(
        ("output", "error", "message"),
        [
            ("third", ValueError, r"\['head', 'second'\].*'third'"),
            (2, ValueError, "below 2.*Received: 2"),
            (-3, ValueError, "Received: -3"),
            (1.0, TypeError, "name.*index.*Received: 1.0"),
        ],
    )
    def test_wrong_output_is_named(self, output, error, message):
        model, *_ = self.make("list")
        with pytest.raises(error, match=f"(?s)output must be.*{message}"):
            explain_prediction(model, DOC, output=output)

    def test_layer_that_only_the_other_output_depends_on(self):
        inputs = keras.Input(SHAPE)
        x = layers.Conv2D(4, 3, activation="relu", name="trunk")(inputs)
        one = layers.Conv2D(4, 3, activation="relu", name="branch_one")(x)
        two = layers.Conv2D(4, 3, activation="relu", name="branch_two")(x)
        gap = layers.GlobalAveragePooling2D()
        model = keras.Model(
            inputs, [layers.Dense(2, name="one")(gap(one)), layers.Dense(2, name="two")(gap(two))]
        )
        for output in ("one", "two"):
            for explanation in explain_twice(model, top_targets=1, output=output):
                assert explanation.layer == f"branch_{output}"
        with pytest.raises(ValueError, match="does not depend on layer 'branch_two'"):
            explain_prediction(model, DOC, targets=[0], output="one", layer="branch_two")


class TestPrecision:
    @pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
    @pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64:UserWarning")  # of JAX
    def test_close_to_the_map_in_single_precision(self, policy):
        net = net_layers()
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(policy)
        try:
            model = functional(net_layers())
        finally:
            keras.config.set_dtype_policy(before)
        bits = {"mixed_float16": 11, "mixed_bfloat16": 8, "float64": 21}[policy]
        expected = closed_form(net, DOC, 1)
        for explanation in explain_twice(model, targets=[1]):
            [target] = explanation.targets
            assert target.heatmap.dtype == np.float64
            assert target.attribution.dtype == np.float32
            np.testing.assert_allclose(target.heatmap, as_heatmap(expected), atol=16 / 2**bits)
            assert target.score == pytest.approx(run_layers(net, DOC)[0, 1], rel=16 / 2**bits)

    def test_half_precision_does_not_underflow(self):
        """Over a large grid the gradient of a mean is below the smallest float16."""
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_float16")
        try:
            net = [
                layers.Conv2D(4, 3, padding="same", activation="relu", name="top"),
                layers.GlobalAveragePooling2D(),
                layers.Dense(3, dtype="float32"),
            ]
            model = keras.Sequential([keras.Input((300, 300, 3)), *net])
        finally:
            keras.config.set_dtype_policy(before)
        doc = noise(1, 300, 300, 3, low=0)
        best = int(np.argmax([closed_form(net, doc, target).max() for target in range(3)]))
        expected = closed_form(net, doc, best)
        assert np.abs(expected).max() < 2**-14
        for explanation in explain_twice(model, doc, targets=[best]):
            np.testing.assert_allclose(
                explanation.targets[0].heatmap, as_heatmap(expected), atol=0.02
            )

    @pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`:UserWarning")
    def test_quantized_weights(self):
        net = net_layers()
        model = functional(net)
        before = explain_twice(model, targets=[1])
        model.quantize("int8")
        assert net[-1].quantization_mode == "int8"
        for explanation in explain_twice(model, targets=[1]):
            np.testing.assert_allclose(
                explanation.targets[0].heatmap, before[0].targets[0].heatmap, atol=0.05
            )
            score = keras.ops.convert_to_numpy(model(DOC))[0, 1]
            assert explanation.targets[0].score == pytest.approx(float(score), abs=1e-6)

    def test_channels_first(self):
        net = net_layers()
        turned = []
        for layer in net:
            config = layer.get_config()
            config.pop("build_config", None)
            if "data_format" in config:
                config["data_format"] = "channels_first"
            if isinstance(layer, layers.BatchNormalization):
                config["axis"] = 1
            turned.append(type(layer).from_config(config))
        model = keras.Sequential([keras.Input((3, 12, 12)), *turned])
        model.set_weights([array for layer in net for array in layer.get_weights()])
        doc = np.moveaxis(DOC, -1, 1)
        try:
            model(doc)
        except Exception as error:  # each backend has its own
            pytest.skip(f"this backend cannot run channels_first here: {error!r:.80}")
        for explanation in explain_twice(model, doc, targets=[1]):
            assert_explains(explanation, net, 1)
            assert explanation.layer == "top"
            last = functional(net)
            same_picture = explain_prediction(last, DOC, targets=[1]).image
            assert explanation.image.tobytes() == same_picture.tobytes()

    def test_channels_first_on_any_machine(self):
        """TensorFlow has no such convolution on a CPU; a layer of one's own may turn the axes."""

        class Turned(layers.Layer):
            data_format = "channels_first"

            def __init__(self, net):
                super().__init__(name="turned")
                self.net = net

            def call(self, x):
                x = keras.ops.moveaxis(x, 1, -1)
                for layer in self.net:
                    x = layer(x)
                return keras.ops.moveaxis(x, -1, 1)

        net = net_layers()
        pool = layers.GlobalAveragePooling2D(data_format="channels_first")
        model = keras.Sequential([keras.Input((3, 12, 12)), Turned(net[:5]), pool, net[6]])
        doc = np.moveaxis(DOC, -1, 1)
        same_picture = explain_prediction(functional(net_layers()), DOC, targets=[1]).image
        for given in (doc, doc[0]):
            for explanation in explain_twice(model, given, targets=[1]):
                assert explanation.layer == "turned"
                np.testing.assert_allclose(
                    maps(explanation)[0], closed_form(net, DOC, 1), atol=1e-6
                )
                assert explanation.image.tobytes() == same_picture.tobytes()


def test_eli5s_number_of_features_says_which_keyword_is_meant():
    model = functional(net_layers())
    with pytest.warns(eli5k.ExplanationWarning, match=r"pass top_targets=N"):
        explained = explain_prediction(model, DOC, top=3)
    assert len(explained.targets) == 1
