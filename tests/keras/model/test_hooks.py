"""Hooks see and replace, and leave nothing behind."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from keras import layers
from keras.src import backend as keras_backend

from eli5k import explain_prediction
from eli5k.keras.model.hooks import activation_hook, forward_hook, preactivation_hook
from tests.close import assert_close
from tests.zoo import (
    SHAPE,
    STRUCTURES,
    Subclassed,
    functional,
    net_layers,
    noise,
    run_layers,
    sequential_of_list,
)

DOC = noise(1, *SHAPE, seed=1)


def predict(model, doc=DOC):
    return keras.ops.convert_to_numpy(model(doc, training=False))


class TestForwardHook:
    @pytest.mark.parametrize("structure", STRUCTURES)
    def test_replaces_an_output_in_any_structure(self, structure):
        model = STRUCTURES[structure](net_layers())
        before = predict(model)
        [head] = [part for part in model._flatten_layers() if part.name == "head"]
        with forward_hook(head, lambda output: output * 2):
            assert_close(predict(model), before * 2)
        assert_close(predict(model), before)

    def test_sees_each_call_of_a_shared_layer_in_order(self):
        double = layers.Rescaling(2.0)
        inputs = keras.Input((1,))
        model = keras.Model(inputs, double(double(double(inputs))))
        seen = []

        def see(output):
            seen.append(float(output[0, 0]))
            return output

        with forward_hook(double, see):
            model(np.ones((1, 1)))
        assert seen == [2.0, 4.0, 8.0]

    def test_hooks_on_one_layer_nest(self):
        layer = layers.Rescaling(2.0)
        with forward_hook(layer, lambda x: x + 1):
            with forward_hook(layer, lambda x: x * 10):
                assert float(layer(3.0)) == 70.0
            assert float(layer(3.0)) == 7.0
        assert float(layer(3.0)) == 6.0

    def test_leaves_no_attribute_behind_after_an_exception(self):
        net = net_layers()
        model = functional(net)
        before = {id(part): dict(vars(part)) for part in model._flatten_layers()}

        def fail(output):
            raise RuntimeError("inside the hook")

        with pytest.raises(RuntimeError, match="inside the hook"), forward_hook(net[4], fail):
            model(DOC)
        with pytest.raises(KeyError), forward_hook(net[4], lambda output: output):
            raise KeyError
        for part in model._flatten_layers():
            assert vars(part).keys() == before[id(part)].keys()
            assert "call" not in vars(part)

    def test_keeps_a_call_that_the_user_had_set(self):
        layer = layers.Rescaling(2.0)
        layer.call = mine = lambda inputs: inputs - 1
        with forward_hook(layer, lambda output: output * 10):
            assert float(layer(3.0)) == 20.0
        assert layer.call is mine

    def test_passes_arguments_on(self):
        class TwoInputs(layers.Layer):
            def call(self, left, right=None, *, training=None):
                return left - right if not training else left

        layer = TwoInputs()
        left, right = np.float32([5]), np.float32([3])
        with forward_hook(layer, lambda output: -output):
            assert float(layer(left, right=right)[0]) == -2.0
            assert float(layer(left, right, training=True)[0]) == -5.0

    def test_quantized_layer_is_hooked_too(self):
        layer = layers.Dense(2)
        layer.build((None, 3))
        layer.quantize("int8")
        before = keras.ops.convert_to_numpy(layer(np.ones((1, 3))))
        with forward_hook(layer, lambda output: output + 5):
            after = keras.ops.convert_to_numpy(layer(np.ones((1, 3))))
        np.testing.assert_allclose(after, before + 5, rtol=1e-6)

    def test_other_threads_see_no_hook(self):
        """While one thread has a hook open, another that calls the model gets its own answer."""
        model = functional(net_layers())
        expected = predict(model)
        with forward_hook(model.layers[-1], lambda output: output * 0):
            with ThreadPoolExecutor(1) as other:
                from_outside = other.submit(predict, model).result(timeout=60)
            inside = predict(model)
        assert_close(from_outside, expected)
        np.testing.assert_array_equal(inside, expected * 0)

    def test_hooks_of_two_threads_exclude_each_other(self):
        layer = layers.Rescaling(2.0)
        inside, leave, second = threading.Event(), threading.Event(), threading.Event()
        results = {}

        def first_thread():
            with forward_hook(layer, lambda x: x + 1):
                inside.set()
                leave.wait(60)
                results["first"] = float(layer(3.0))

        def second_thread():
            inside.wait(60)
            with forward_hook(layer, lambda x: x * 10):
                second.set()
                results["second"] = float(layer(3.0))

        threads = [threading.Thread(target=run) for run in (first_thread, second_thread)]
        for thread in threads:
            thread.start()
        inside.wait(60)
        assert not second.wait(0.2), "the second hook opened while the first was open"
        leave.set()
        for thread in threads:
            thread.join(60)
        assert results == {"first": 7.0, "second": 60.0}
        assert "call" not in vars(layer)


class TestActivationHook:
    @pytest.mark.parametrize("name", ["relu", "softmax", "sigmoid", "relu6", "gelu"])
    @pytest.mark.parametrize("form", ["argument", "layer", "operation"])
    def test_sees_input_and_output_in_each_form(self, name, form):
        function = getattr(keras.ops, name)
        inputs = keras.Input((4,))
        outputs = {
            "argument": lambda: layers.Dense(4, name, kernel_initializer="identity")(inputs),
            "layer": lambda: layers.Activation(name)(inputs),
            "operation": lambda: function(inputs),
        }[form]()
        model = keras.Model(inputs, outputs)
        x = noise(2, 4, low=-3, high=3)
        seen = []

        def see(before, after):
            seen.append([keras.ops.convert_to_numpy(part) for part in (before, after)])
            return after

        with activation_hook(name, see):
            model(x)
        [(before, after)] = seen
        np.testing.assert_allclose(before, x, rtol=1e-6)
        np.testing.assert_allclose(after, predict(model, x), rtol=1e-6)

    def test_replaces_and_restores(self):
        original = keras_backend.nn.relu
        x = np.float32([-1, 1])
        with activation_hook("relu", lambda before, after: before):
            assert keras.ops.convert_to_numpy(keras.ops.relu(x)).tolist() == [-1, 1]
            with ThreadPoolExecutor(1) as other:
                outside = other.submit(lambda: keras.ops.relu(x)).result(timeout=60)
            assert keras.ops.convert_to_numpy(outside).tolist() == [0, 1]
        assert keras.ops.convert_to_numpy(keras.ops.relu(x)).tolist() == [0, 1]
        assert keras_backend.nn.relu is original

    def test_restores_after_an_exception(self):
        original = keras_backend.nn.softmax
        with pytest.raises(ZeroDivisionError), activation_hook("softmax", lambda x, y: 1 / 0):
            keras.ops.softmax(np.ones(3, "float32"))
        assert keras_backend.nn.softmax is original


class Breaks(layers.Layer):
    """Raises when it is told to, as a user's layer may."""

    broken = False

    def call(self, x):
        if Breaks.broken:
            raise RuntimeError("the layer is broken")
        return x


def state_of(model):
    """All of a model that an explanation must not change."""
    parts = model._flatten_layers()
    return {
        "attributes": [(part.name, dict(vars(part))) for part in parts],
        "trainable": [(part.name, part.trainable) for part in parts],
        "activations": [(part.name, getattr(part, "activation", None)) for part in parts],
        "compiled": (model.compiled, getattr(model, "optimizer", None)),
    }


def weights_of(model):
    return [array.copy() for array in model.get_weights()]


def seeds_of(model):
    return [
        keras.ops.convert_to_numpy(variable).tolist()
        for variable in model.variables
        if "seed" in variable.path
    ]


class TestNothingOfTheModelChanges:
    @pytest.mark.parametrize("structure", [name for name in STRUCTURES if "built" not in name])
    def test_state_before_and_after(self, structure):
        model = STRUCTURES[structure](net_layers())
        model(DOC)  # Keras itself builds a model at its first call.
        prediction = predict(model)
        state, weights = state_of(model), weights_of(model)
        for _ in range(2):
            explain_prediction(model, DOC, targets=[1], logits=True)
        after = state_of(model)
        for (name, before), (_, now) in zip(state["attributes"], after["attributes"]):
            assert before.keys() == now.keys(), name
            changed = [key for key in before if before[key] is not now[key]]
            # Keras makes the dictionary of its functions anew when it calls a model.
            assert not set(changed) & {"call", "activation", "_trainable", "optimizer"}, name
        for key in ("trainable", "activations", "compiled"):
            assert state[key] == after[key]
        for old, new in zip(weights, weights_of(model)):
            np.testing.assert_array_equal(old, new)
        assert_close(predict(model), prediction)

    def test_random_states(self):
        model = keras.Sequential(
            [keras.Input(SHAPE), layers.RandomFlip(), layers.Dropout(0.5), *net_layers()]
        )
        np.random.seed(3)  # noqa: NPY002
        keras.utils.set_random_seed(4)
        seeds, state = seeds_of(model), np.random.get_state()[1].tolist()  # noqa: NPY002
        assert len(seeds) == 2
        for _ in range(2):
            explain_prediction(model, DOC, targets=[1])
        assert seeds_of(model) == seeds
        assert np.random.get_state()[1].tolist() == state  # noqa: NPY002
        drawn = keras.ops.convert_to_numpy(keras.random.normal((3,)))
        keras.utils.set_random_seed(4)
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(keras.random.normal((3,))), drawn)

    def test_predict_and_fit_work_as_before(self):
        """The same training gives the same weights, whether the model was explained or not."""
        images, classes = noise(32, *SHAPE, seed=8), np.arange(32) % 3
        results = []
        for explained in (False, True):
            keras.utils.set_random_seed(0)
            model = sequential_of_list(net_layers())
            model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
            model.predict(images, verbose=0)
            for _ in range(2):
                if explained:
                    explain_prediction(model, DOC, targets=[1])
                model.fit(images, classes, epochs=1, shuffle=False, verbose=0)
            results.append([*model.get_weights(), model.predict(images, verbose=0)])
        for plain, explained in zip(*results):
            assert_close(explained, plain)

    @pytest.mark.filterwarnings("ignore::eli5k.UnscaledInputWarning")
    def test_training_mode_of_the_weights(self):
        """A batch normalization does not learn from what it is asked to explain."""
        model = functional(net_layers())
        norm = model.get_layer("norm")
        before = weights_of(norm)
        explain_prediction(model, DOC * 100, targets=[0], layer="norm", preprocess=False)
        for old, new in zip(before, weights_of(norm)):
            np.testing.assert_array_equal(old, new)

    @pytest.mark.parametrize("call", [0, 1, 2])
    def test_after_an_exception_inside_the_model(self, call):
        net = net_layers()
        model = Subclassed([*net[:5], Breaks(name="breaks"), *net[5:]])
        model(DOC)
        expected, state = predict(model), state_of(model)
        if call == 1 and keras.config.backend() == "jax":
            pytest.skip(
                "JAX has compiled the question by then, and runs nothing of the model's own"
            )
        # The survey, the tracing and the eager run are each broken once.
        for _ in range(call):
            explain_prediction(model, DOC, targets=[1])
        Breaks.broken = True
        try:
            with pytest.raises(RuntimeError, match="the layer is broken"):
                explain_prediction(model, DOC, targets=[1] if call < 2 else None)
        finally:
            Breaks.broken = False
        after = state_of(model)
        for (name, before), (_, now) in zip(state["attributes"], after["attributes"]):
            assert before.keys() == now.keys(), name
        assert_close(predict(model), expected)
        explanation = explain_prediction(model, DOC, targets=[1])
        assert explanation.targets[0].score == pytest.approx(float(expected[0, 1]), abs=1e-6)

    @pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
    def test_arrays_of_the_user(self, dtype):
        """``preprocess_input`` of keras.applications works in place."""
        model = functional(net_layers())
        doc = noise(1, *SHAPE, seed=2, low=0, high=255).astype(dtype)
        before = doc.copy()

        def in_place(array):
            array /= 127.5
            array -= 1
            return array

        for given in (doc, doc[0], np.asfortranarray(doc)):
            explanation = explain_prediction(model, given, targets=[1], preprocess=in_place)
            np.testing.assert_array_equal(doc, before)
            scaled = before.astype("float32") / 127.5 - 1
            expected = run_layers(net_layers(), scaled)[0, 1]
            assert explanation.targets[0].score == pytest.approx(float(expected), abs=1e-6)
        doc.flags.writeable = False
        explain_prediction(model, doc, targets=[1], preprocess=in_place)

    @pytest.mark.filterwarnings("ignore::eli5k.UnscaledInputWarning")
    @pytest.mark.filterwarnings("ignore::eli5k.BlankMapWarning")
    def test_pictures_and_lists_of_the_user(self):
        from PIL import Image

        model = functional(net_layers())
        picture = Image.fromarray(noise(20, 30, 3, low=0, high=255).astype("uint8"))
        before, targets, names = picture.tobytes(), [2, 0], ["a", "b", "c"]
        explanation = explain_prediction(
            model,
            picture,
            targets=targets,
            target_names=names,
            image=picture,
            preprocess=False,
        )
        explanation.image.putpixel((0, 0), (1, 2, 3))
        assert picture.tobytes() == before
        assert (targets, names) == ([2, 0], ["a", "b", "c"])

    def test_warning_filters(self):
        import warnings

        model = functional(net_layers())
        before = list(warnings.filters)
        for _ in range(2):
            explain_prediction(model, DOC, targets=[1])
        assert warnings.filters == before


class TestThreads:
    def test_eight_threads_explain_one_model(self):
        model = functional(net_layers())
        docs = [noise(1, *SHAPE, seed=seed) for seed in range(8)]
        alone = functional(net_layers())
        expected = [explain_prediction(alone, doc, targets=[1, 2]) for doc in docs]
        start = threading.Barrier(8)

        def explain(doc):
            start.wait(60)
            return [explain_prediction(model, doc, targets=[1, 2]) for _ in range(3)]

        with ThreadPoolExecutor(8) as threads:
            results = list(threads.map(explain, docs))
        for answers, right in zip(results, expected):
            for answer in answers:
                for one, other in zip(answer.targets, right.targets):
                    np.testing.assert_allclose(one.attribution, other.attribution, atol=1e-6)
                    assert one.score == pytest.approx(other.score, abs=1e-6)

    def test_threads_explain_models_that_share_a_backbone(self):
        net = net_layers()
        backbone = functional(net[:5])
        models = [keras.Sequential([backbone, *net_layers()[5:]]) for _ in range(4)]
        expected = explain_prediction(functional(net_layers()), DOC, targets=[1], layer="relu")
        start = threading.Barrier(4)

        def explain(model):
            start.wait(60)
            return [explain_prediction(model, DOC, targets=[1], layer="relu") for _ in range(2)]

        with ThreadPoolExecutor(4) as threads:
            for answers in threads.map(explain, models):
                for answer in answers:
                    np.testing.assert_allclose(
                        answer.targets[0].attribution, expected.targets[0].attribution, atol=1e-6
                    )

    def test_model_predicts_in_one_thread_while_another_explains_it(self):
        model = functional(net_layers())
        expected = predict(model)

        def explain():
            for target in (0, 1, 2):
                explain_prediction(model, DOC, targets=[target], logits=True)
                explain_prediction(model, DOC, top_targets=target + 1)

        calls = 0
        with ThreadPoolExecutor(1) as threads:
            explained = threads.submit(explain)
            while not explained.done() or not calls:
                assert_close(predict(model), expected)
                calls += 1
            explained.result()

    def test_model_is_saved_in_one_thread_while_another_has_a_hook_open(self, tmp_path):
        """The file has the name of the activation, and not that of what shadows it."""
        model = functional(net_layers())
        path = tmp_path / "model.keras"
        with (
            preactivation_hook(model.layers[-1], lambda x: x),
            ThreadPoolExecutor(1) as threads,
        ):
            threads.submit(model.save, path).result()
        assert_close(predict(keras.models.load_model(path)), predict(model))
