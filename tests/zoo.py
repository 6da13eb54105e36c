"""Builders of the models that the tests explain, and the mathematics that they must obey.

Most tests use one small net, "the net": conv, norm, relu, pooling, conv, mean over the grid, dense.
For it Grad-CAM has a closed form (:func:`closed_form`), and :data:`STRUCTURES` holds every way in
which Keras can put the same layers with the same weights together.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
from keras import layers

from eli5k.keras.model import state as model_state
from eli5k.keras.model.state import is_built

SHAPE = (12, 12, 3)
CLASSES = 3


def noise(*shape: int, seed: int = 0, low: float = -1, high: float = 1) -> np.ndarray:
    """Uniform noise, float32."""
    return np.random.default_rng(seed).uniform(low, high, shape).astype("float32")


def settle(model: keras.Model, *inputs: np.ndarray) -> keras.Model:
    """Give each batch normalization the statistics of the inputs; else a random net is blind."""
    norms = [
        layer for layer in model._flatten_layers() if isinstance(layer, layers.BatchNormalization)
    ]
    momenta = [norm.momentum for norm in norms]
    statistics = [
        variable for norm in norms for variable in (norm.moving_mean, norm.moving_variance)
    ]

    def measure(*arrays):
        model(arrays[0] if len(arrays) == 1 else list(arrays), training=True)
        return [variable.value for variable in statistics]

    for norm in norms:
        norm.momentum = 0.0
    measured = run_compiled(model, measure, *inputs)
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
    for variable, value in zip(statistics, measured):
        variable.assign(value)
    return model


def run_compiled(model: keras.Model, function: Callable, *inputs: np.ndarray) -> object:
    """Run a function of tensors that calls the model; eagerly, JAX would compile each operation."""
    if not is_built(model):
        model(inputs[0] if len(inputs) == 1 else list(inputs))
    return model_state.compiled(function, model)(*map(keras.ops.convert_to_tensor, inputs))


def describe_layers(activation: str | None = "softmax", classes: int = CLASSES) -> list:
    """The layers of the net, without weights."""
    return [
        layers.Conv2D(4, 3, padding="same", name="stem"),
        layers.BatchNormalization(name="norm"),
        layers.ReLU(name="relu"),
        layers.MaxPooling2D(name="pool"),
        layers.Conv2D(6, 3, activation="relu", name="top"),
        layers.GlobalAveragePooling2D(name="gap"),
        layers.Dense(classes, activation=activation, name="head"),
    ]


def run_layers(net: Sequence[keras.Layer], x: np.ndarray, until: str | None = None) -> np.ndarray:
    """Call one layer after another, and return the output of the one named ``until``."""
    x = keras.ops.convert_to_tensor(x)
    for layer in net:
        x = layer(x, training=False)
        if layer.name == until:
            break
    return keras.ops.convert_to_numpy(keras.ops.cast(x, "float32"))


_weights: dict[tuple, list] = {}


def net_layers(activation: str | None = "softmax", classes: int = CLASSES) -> list:
    """Fresh layers of the net, always with the same random weights for the same arguments."""
    net = describe_layers(activation, classes)
    run_layers(net, noise(1, *SHAPE))
    key = (keras.config.backend(), classes)
    if key not in _weights:
        # With this seed every class has evidence for and against it, at each layer.
        keras.utils.set_random_seed(38)
        original = sequential_of_list(describe_layers(activation, classes))
        settle(original, noise(16, *SHAPE, seed=3))
        # Small logits would make all three classes alike.
        head = original.get_layer("head")
        head.set_weights([head.get_weights()[0] * 4, noise(classes, seed=4)])
        _weights[key] = [layer.get_weights() for layer in original.layers]
    for layer, arrays in zip(net, _weights[key]):
        layer.set_weights(arrays)
    return net


def run_in_numpy(net: Sequence[keras.Layer], x: np.ndarray) -> np.ndarray:
    """The same by hand, in float64: what convolution, normalization and the others are."""
    x = x.astype("float64")
    for layer in net:
        weights = [array.astype("float64") for array in layer.get_weights()]
        match layer:
            case layers.Conv2D():
                if layer.padding == "same":
                    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
                windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
                x = np.einsum("bhwcij,ijck->bhwk", windows, weights[0]) + weights[1]
            case layers.BatchNormalization():
                gamma, beta, mean, variance = weights
                x = gamma * (x - mean) / np.sqrt(variance + layer.epsilon) + beta
            case layers.ReLU():
                x = np.maximum(x, 0)
            case layers.MaxPooling2D():
                batch, height, width, channels = x.shape
                x = x.reshape(batch, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))
            case layers.GlobalAveragePooling2D():
                x = x.mean(axis=(1, 2))
            case layers.Dense():
                x = x @ weights[0] + weights[1]
        match getattr(getattr(layer, "activation", None), "__name__", None):
            case "relu":
                x = np.maximum(x, 0)
            case "softmax":
                x = np.exp(x - x.max(axis=-1, keepdims=True))
                x = x / x.sum(axis=-1, keepdims=True)
            case "sigmoid":
                x = 1 / (1 + np.exp(-x))
    return x


def from_differences(
    net: Sequence[keras.Layer], name: str, doc: np.ndarray, target: int
) -> np.ndarray:
    """The signed Grad-CAM map at any layer of the net, from central differences in float64.

    The mean gradient of a channel is the slope of the score as the whole channel is raised.
    """
    step = 1e-5
    position = [layer.name for layer in net].index(name) + 1
    activations = run_in_numpy(net[:position], doc)
    raised = step * np.eye(activations.shape[-1])[:, None, None, :]
    up, down = (run_in_numpy(net[position:], activations + sign * raised) for sign in (1, -1))
    slopes = (up - down)[:, target] / (2 * step)
    return activations[0] @ slopes / activations[0, ..., 0].size


def closed_form(net: Sequence[keras.Layer], doc: np.ndarray, target: int) -> np.ndarray:
    """The signed Grad-CAM map of the net at its layer ``top``, derived by hand, in float64.

    With ``z = W' mean(A) + b`` and ``y = f(z)``, the gradient of ``y_c`` is the same at each of the
    ``n`` pixels of ``A``: ``W (dy_c / dz) / n``.
    """
    top = [layer.name for layer in net].index("top") + 1
    activations = run_in_numpy(net[:top], doc)[0]
    kernel, bias = (array.astype("float64") for array in net[-1].get_weights())
    logits = activations.mean(axis=(0, 1)) @ kernel + bias
    one_hot = np.eye(len(logits))[target]
    match net[-1].activation.__name__:
        case "softmax":
            p = np.exp(logits - logits.max())
            p /= p.sum()
            slope = p[target] * (one_hot - p)
        case "sigmoid":
            p = 1 / (1 + np.exp(-logits))
            slope = one_hot * p * (1 - p)
        case "linear":
            slope = one_hot
    return activations @ (kernel @ slope) / activations[..., 0].size


def as_heatmap(attribution: np.ndarray) -> np.ndarray:
    """What eli5 shows of a signed map."""
    positive = np.maximum(attribution, 0)
    return positive / (positive.max() + 1e-7)


# The same layers, put together in every way that Keras knows.


def functional(net: Sequence[keras.Layer]) -> keras.Model:
    inputs = x = keras.Input(SHAPE)
    for layer in net:
        x = layer(x)
    return keras.Model(inputs, x)


def sequential_of_list(net: Sequence[keras.Layer]) -> keras.Model:
    return keras.Sequential([keras.Input(SHAPE), *net])


def sequential_by_add(net: Sequence[keras.Layer]) -> keras.Model:
    model = keras.Sequential()
    model.add(keras.Input(SHAPE))
    for layer in net:
        model.add(layer)
    return model


def sequential_never_built(net: Sequence[keras.Layer]) -> keras.Model:
    return keras.Sequential(net)


def reload(model: keras.Model, suffix: str) -> keras.Model:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model" + suffix)
        model.save(path)
        return keras.saving.load_model(path, compile=False)


def backbone_and_head(net: Sequence[keras.Layer]) -> keras.Model:
    backbone = functional(net[:5])
    backbone.name = "mobile_1.00_12"
    return keras.Sequential([backbone, *net[5:]])


def two_levels_deep(net: Sequence[keras.Layer]) -> keras.Model:
    inner = functional(net[:5])
    outer = keras.Sequential([keras.Input(SHAPE), inner], name="outer")
    return keras.Sequential([keras.Input(SHAPE), outer, *net[5:]])


def functional_in_functional(net: Sequence[keras.Layer]) -> keras.Model:
    inputs = keras.Input(SHAPE)
    x = functional(net[:5])(inputs)
    for layer in net[5:]:
        x = layer(x)
    return keras.Model(inputs, x)


def all_of_it_nested(net: Sequence[keras.Layer]) -> keras.Model:
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, sequential_of_list(net)(inputs))


class Subclassed(keras.Model):
    """Layers in a list, and calls in a loop."""

    def __init__(self, net: Sequence[keras.Layer]) -> None:
        super().__init__()
        self.parts = list(net)

    def call(self, x, training=None):
        for layer in self.parts:
            x = layer(x, training=training) if layer.name == "norm" else layer(x)
        return x


class Block(keras.layers.Layer):
    """A layer made of layers, as research code has it."""

    def __init__(self, net: Sequence[keras.Layer]) -> None:
        super().__init__()
        self.first, self.norm, *self.others = net

    def call(self, x):
        x = self.norm(self.first(x))
        for layer in self.others:
            x = layer(x)
        return x


class SubclassedOfBlocks(keras.Model):
    """A subclassed model, a custom layer, and layers in a dict."""

    def __init__(self, net: Sequence[keras.Layer]) -> None:
        super().__init__()
        self.body = Block(net[:5])
        self.ends = {"gap": net[5], "head": net[6]}

    def call(self, x):
        return self.ends["head"](self.ends["gap"](self.body(x)))


class SubclassedAroundFunctional(keras.Model):
    """What transfer learning tutorials teach."""

    def __init__(self, net: Sequence[keras.Layer]) -> None:
        super().__init__()
        self.backbone = functional(net[:5])
        self.classifier = keras.Sequential(net[5:])

    def call(self, x):
        return self.classifier(self.backbone(x))


def frozen(net: Sequence[keras.Layer]) -> keras.Model:
    model = functional(net)
    model.trainable = False
    return model


def frozen_backbone(net: Sequence[keras.Layer]) -> keras.Model:
    model = backbone_and_head(net)
    model.layers[0].trainable = False
    return model


def compiled(net: Sequence[keras.Layer]) -> keras.Model:
    model = functional(net)
    model.compile("adam", "sparse_categorical_crossentropy", jit_compile=False)
    return model


STRUCTURES: dict[str, Callable[[Sequence[keras.Layer]], keras.Model]] = {
    "functional": functional,
    "sequential of a list": sequential_of_list,
    "sequential by add": sequential_by_add,
    "sequential never built": sequential_never_built,
    "sequential from .keras": lambda net: reload(sequential_by_add(net), ".keras"),
    "sequential from .h5": lambda net: reload(sequential_of_list(net), ".h5"),
    "functional from .keras": lambda net: reload(functional(net), ".keras"),
    "nested from .keras": lambda net: reload(backbone_and_head(net), ".keras"),
    "backbone and head": backbone_and_head,
    "two levels deep": two_levels_deep,
    "functional in functional": functional_in_functional,
    "all of it nested": all_of_it_nested,
    "subclassed": Subclassed,
    "subclassed of blocks": SubclassedOfBlocks,
    "subclassed around functional": SubclassedAroundFunctional,
    "frozen": frozen,
    "frozen backbone": frozen_backbone,
    "compiled": compiled,
}


# A net that has learnt something.


def draw_shapes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Squares, rings and crosses at random places on noise: images, classes and boxes.

    Returns
    -------
    images : numpy.ndarray
        ``(count, 24, 24, 3)``, in [0, 1].
    classes : numpy.ndarray
        ``(count,)``: 0 for a square, 1 for a ring, 2 for a cross.
    boxes : numpy.ndarray
        ``(count, 4)``: top, left, bottom, right in pixels.
    """
    random = np.random.default_rng(seed)
    images = random.uniform(0, 0.3, (count, 24, 24, 3)).astype("float32")
    classes = random.integers(0, 3, count)
    rows, columns = np.mgrid[-4:5, -4:5]
    masks = [
        (abs(rows) <= 3) & (abs(columns) <= 3),
        abs(np.hypot(rows, columns) - 3.2) < 0.9,
        (abs(rows) <= 0) | (abs(columns) <= 0),
    ]
    boxes = np.zeros((count, 4), "int64")
    for image, kind, box in zip(images, classes, boxes):
        top, left = random.integers(0, 24 - 9, 2)
        image[top : top + 9, left : left + 9][masks[kind]] = random.uniform(0.6, 1, 3)
        box[:] = top, left, top + 9, left + 9
    return images, classes, boxes


def train_on_shapes() -> keras.Model:
    """A small classifier of :func:`draw_shapes`, trained for some seconds."""
    keras.utils.set_random_seed(11)
    model = keras.Sequential(
        [
            keras.Input((24, 24, 3), name="image"),
            layers.Conv2D(12, 3, padding="same", activation="relu", name="conv1"),
            layers.Conv2D(16, 3, padding="same", activation="relu", name="conv2"),
            layers.MaxPooling2D(name="pool1"),
            layers.Conv2D(24, 3, padding="same", name="conv3"),
            layers.BatchNormalization(momentum=0.9, name="norm"),
            layers.ReLU(name="relu"),
            layers.Conv2D(24, 3, padding="same", activation="relu", name="conv4"),
            layers.GlobalAveragePooling2D(name="gap"),
            layers.Dense(3, activation="softmax", name="classes"),
        ],
        name="shapes",
    )
    images, classes, _ = draw_shapes(1200, seed=1)
    model.compile(
        keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    model.fit(images, classes, batch_size=64, epochs=4, verbose=0)
    return model
