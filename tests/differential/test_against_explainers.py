"""The same maps as captum, grad-cam and torchcam, or a known difference from them.

eli5k explains a Keras net, and the others its twin: the same net written in PyTorch, with the same
weights. Maps are compared raw, before they are scaled to be shown. Where an implementation differs,
the formula that it follows is written down here, and both sides are held to theirs.
"""

from __future__ import annotations

import copy
import functools
import sys
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import captum.attr
import keras
import numpy as np
import pytest
import torch
import torchcam.methods
import ttach
from keras import layers
from torch.nn import functional

from eli5k.keras import attribute
from eli5k.keras.methods import TTA, FinerCAM, Fuse, IntegratedGradients, Occlusion, Smooth
from tests.zoo import noise, settle

try:
    import torchvision  # noqa: F401
except (ImportError, RuntimeError):
    # grad-cam imports torchvision for its picture helpers, of which nothing here is used, and the
    # torchvision of PyPI does not import beside a torch that was built for the CPU alone.
    for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["torchvision"].transforms = sys.modules["torchvision.transforms"]
    for name in ("Compose", "Normalize", "ToTensor"):
        setattr(sys.modules["torchvision.transforms"], name, None)
    sys.modules["torchvision.transforms.functional"].resize = None

import pytorch_grad_cam

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:captum")

SHAPE = (13, 11, 3)
CLASSES = 5
HEADS = {
    "pooled": lambda: [layers.GlobalAveragePooling2D(), layers.Dense(CLASSES)],
    "flattened": lambda: [layers.Flatten(), layers.Dense(CLASSES)],
    "deep": lambda: [
        layers.Conv2D(5, 2, activation="relu", kernel_initializer="he_uniform"),
        layers.Flatten(),
        layers.Dense(16, activation="relu", kernel_initializer="he_uniform"),
        layers.Dense(CLASSES),
    ],
}
# The activations of "norm" have both signs and the size of the input, those of "top" neither.
LAYERS = ["norm", "top"]


class Net(NamedTuple):
    """A net in Keras, its twin in PyTorch, and some images with the classes to explain."""

    model: keras.Model
    twin: torch.nn.Sequential
    images: np.ndarray
    classes: np.ndarray
    logits: bool

    @property
    def pixels(self) -> torch.Tensor:
        return channels_first(self.images)

    @property
    def targets(self) -> list[Callable]:
        of_class = pytorch_grad_cam.utils.model_targets.ClassifierOutputTarget
        return [of_class(int(chosen)) for chosen in self.classes]

    def layer(self, name: str) -> torch.nn.Module:
        return self.twin.get_submodule(name)

    def ours(self, method: Any, layer: str | list[str] | None = None) -> np.ndarray:
        """The maps of eli5k."""
        _, maps = attribute(
            self.model, self.images, self.classes, method=method, layer=layer, logits=self.logits
        )
        return maps

    def scores(self, pixels: torch.Tensor, rest: torch.nn.Module | None = None) -> torch.Tensor:
        """Scores ``(batch,)`` of the twin, or of the rest of it, for the chosen classes."""
        outputs = (self.twin if rest is None else rest)(pixels)
        return outputs[torch.arange(len(pixels)), torch.tensor(self.classes)]

    def evidence(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Activations and gradients ``(batch, channels, height, width)`` of a layer, in float64."""
        names = [child for child, _ in self.twin.named_children()]
        position = names.index(name) + 1
        activations = self.twin[:position](self.pixels).detach().requires_grad_()
        total = self.scores(activations, self.twin[position:]).sum()
        [gradients] = torch.autograd.grad(total, activations)
        return activations.detach().double().numpy(), gradients.double().numpy()


def channels_first(images: np.ndarray) -> torch.Tensor:
    return torch.tensor(images).permute(0, 3, 1, 2).contiguous()


class FlattenedAsInKeras(torch.nn.Module):
    """Flatten with the channels last."""

    def forward(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.permute(0, 2, 3, 1).flatten(1)


def in_torch(layer: keras.Layer) -> Iterator[torch.nn.Module]:
    """The modules that compute what a layer of Keras computes."""
    weights = [torch.nn.Parameter(torch.tensor(array)) for array in layer.get_weights()]
    match layer:
        case layers.Conv2D():
            *size, inputs, outputs = layer.kernel.shape
            module = torch.nn.Conv2d(inputs, outputs, size, padding=layer.padding)
            module.weight.data = weights[0].data.permute(3, 2, 0, 1).contiguous()
            module.bias = weights[1]
        case layers.BatchNormalization():
            module = torch.nn.BatchNorm2d(len(weights[0]), eps=layer.epsilon)
            module.weight, module.bias = weights[:2]
            module.running_mean, module.running_var = (weight.data for weight in weights[2:])
        case layers.Dense():
            module = torch.nn.Linear(*layer.kernel.shape)
            module.weight.data = weights[0].data.T.contiguous()
            module.bias = weights[1]
        case layers.ReLU():
            module = torch.nn.ReLU()
        case layers.MaxPooling2D():
            module = torch.nn.MaxPool2d(2)
        case layers.GlobalAveragePooling2D():
            module = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
        case layers.Flatten():
            module = FlattenedAsInKeras()
        case layers.Softmax():
            module = torch.nn.Softmax(dim=1)
    yield module
    if getattr(layer, "activation", None) is keras.activations.relu:
        yield torch.nn.ReLU()


@functools.cache
def build(head: str, seed: int, logits: bool) -> Net:
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Conv2D(4, 3, padding="same", name="stem"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="relu"),
            layers.MaxPooling2D(name="pool"),
            layers.Conv2D(6, 3, padding="same", activation="relu", name="top"),
            *HEADS[head](),
            layers.Softmax(name="softmax"),
        ]
    )
    for number, variable in enumerate(model.trainable_variables):
        if len(variable.shape) == 1:  # Biases, scales and shifts, which begin as zeros and ones.
            variable.assign(variable + noise(*variable.shape, seed=number, low=-0.3, high=0.3))
    settle(model, noise(16, *SHAPE, seed=seed + 50))
    named = OrderedDict(
        (layer.name, torch.nn.Sequential(*in_torch(layer))) for layer in model.layers
    )
    if logits:
        del named["softmax"]
    twin = torch.nn.Sequential(named).eval()
    images = noise(3, *SHAPE, seed=seed + 100)
    return Net(model, twin, images, np.array([seed % CLASSES, 1, 4]), logits)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Nets as small as these take many times as long where threads wait for each other."""
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(count)


@pytest.fixture(params=[True, False], ids=["logit", "probability"])
def logits(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture(params=[0, 1])
def seed(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture(params=HEADS)
def net(request: pytest.FixtureRequest, seed: int, logits: bool) -> Net:
    return build(request.param, seed, logits)


def assert_same(ours: Any, theirs: Any) -> None:
    """Compare maps to four digits of the strongest.

    Some weights are quotients, of sums that nearly cancel: the last digits of float32 go there.
    """
    ours, theirs = np.asarray(ours, "float64"), np.asarray(theirs, "float64")
    peak = np.abs(theirs).max()
    assert ours.shape == theirs.shape
    assert peak > 0, "their maps are blank: this compares nothing"
    assert np.abs(ours - theirs).max() <= 1e-4 * peak


def assert_differ(ours: Any, theirs: Any) -> None:
    """Tell that the maps of some image are no multiples of each other."""
    ours, theirs = (np.asarray(maps, "float64") for maps in (ours, theirs))
    products, *squares = (
        (one * other).sum(axis=(1, 2))
        for one, other in ((ours, theirs), (ours, ours), (theirs, theirs))
    )
    size = np.sqrt(np.prod(squares, axis=0))
    assert size.max() > 0
    assert (np.abs(products) < 0.9999 * size).any()


def positive(maps: Any) -> np.ndarray:
    return np.maximum(np.asarray(maps), 0)


def sum_of_channels(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().sum(dim=1).numpy()


def largest_of_channels(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().abs().amax(dim=1).numpy()


def by_grad_cam(method: type, net: Net, layer: str, targets: list | None = None) -> np.ndarray:
    """The map of grad-cam before it takes the positive part, and scales and enlarges that."""
    targets = targets or net.targets
    with method(net.twin, [net.layer(layer)]) as cam:
        cam(net.pixels, targets)
        seen = cam.activations_and_grads
        parts = [part[0].numpy() if part else None for part in (seen.activations, seen.gradients)]
        return cam.get_cam_image(net.pixels, net.layer(layer), targets, *parts, False)


def by_torchcam(method: type, net: Net, layer: str, **options: Any) -> np.ndarray:
    """The map of torchcam before it scales it: of all its methods but CAM the positive part."""
    with method(net.twin, layer, **options) as cam:
        scores = net.twin(net.pixels)
        [maps] = cam(net.classes.tolist(), scores, normalized=False)
    return maps.detach().numpy()


def by_captum(peer: type, net: Net, *arguments: Any, **options: Any) -> torch.Tensor:
    classes = torch.tensor(net.classes)
    return peer(net.twin, *arguments).attribute(net.pixels, target=classes, **options).detach()


def test_twins_compute_the_same(net):
    theirs = net.twin(net.pixels).detach()
    ours = keras.ops.convert_to_numpy(net.model(net.images))
    assert_same(ours, theirs.softmax(dim=1) if net.logits else theirs)


class TestGradCAM:
    @pytest.mark.parametrize("layer", LAYERS)
    def test_grad_cam(self, net, layer):
        ours = net.ours("grad-cam", layer)
        theirs = by_captum(captum.attr.LayerGradCam, net, net.layer(layer))
        assert_same(ours, sum_of_channels(theirs))
        assert_same(ours, by_grad_cam(pytorch_grad_cam.GradCAM, net, layer))
        assert_same(positive(ours), by_torchcam(torchcam.methods.GradCAM, net, layer))

    @pytest.mark.parametrize("layer", LAYERS)
    def test_counterfactual(self, net, layer):
        ours = net.ours("counterfactual", layer)
        negated = [lambda output, target=target: -target(output) for target in net.targets]
        assert_same(ours, by_grad_cam(pytorch_grad_cam.GradCAM, net, layer, negated))
        with torchcam.methods.GradCAM(net.twin, layer) as cam:
            [theirs] = cam(scores=net.twin(net.pixels), targets=negated, normalized=False)
        assert_same(positive(ours), theirs)

    def test_what_is_shown(self, net):
        """What grad-cam returns is the positive part, enlarged and scaled to at most 1."""
        with pytorch_grad_cam.GradCAM(net.twin, [net.layer("top")]) as cam:
            shown = cam(net.pixels, net.targets)
        assert np.abs(as_shown(net.ours("grad-cam", "top")) - shown).max() <= 1e-5


def as_shown(maps: np.ndarray) -> np.ndarray:
    """Scale and enlarge maps as grad-cam does: from the lowest to the highest, before and after."""
    return scaled_to_show(enlarged(scaled_to_show(positive(maps))))


def scaled_to_show(maps: np.ndarray, epsilon: float = 1e-7) -> np.ndarray:
    maps = maps - maps.min(axis=(-2, -1), keepdims=True)
    return maps / (epsilon + maps.max(axis=(-2, -1), keepdims=True))


def enlarged(maps: np.ndarray, corners: bool = False) -> np.ndarray:
    """Interpolate ``(batch, height, width)`` or ``(batch, channels, ...)`` to the input's size."""
    tensor = torch.tensor(maps)
    tensor = tensor if tensor.ndim == 4 else tensor[:, None]
    size = SHAPE[:2]
    tensor = functional.interpolate(tensor, size, mode="bilinear", align_corners=corners)
    return tensor.numpy().reshape(*maps.shape[:-2], *size)


class TestOtherCAMs:
    def test_cam(self, seed, logits):
        net = build("pooled", seed, logits)
        [linear] = [part for part in net.twin.modules() if isinstance(part, torch.nn.Linear)]
        theirs = by_torchcam(torchcam.methods.CAM, net, "top", fc_layer=linear)
        assert_same(net.ours("cam", "top"), theirs)

    @pytest.mark.parametrize("layer", LAYERS)
    def test_hires_cam(self, net, layer):
        theirs = by_grad_cam(pytorch_grad_cam.HiResCAM, net, layer)
        assert_same(net.ours("hires-cam", layer), theirs)

    @pytest.mark.parametrize("layer", LAYERS)
    def test_layer_cam(self, net, layer):
        ours = net.ours("layer-cam", layer)
        assert_same(ours, by_grad_cam(pytorch_grad_cam.LayerCAM, net, layer))
        assert_same(positive(ours), by_torchcam(torchcam.methods.LayerCAM, net, layer))

    @pytest.mark.parametrize("layer", LAYERS)
    def test_xgrad_cam(self, net, layer):
        ours = net.ours("xgrad-cam", layer)
        assert_same(ours, by_grad_cam(pytorch_grad_cam.XGradCAM, net, layer))
        assert_same(positive(ours), by_torchcam(torchcam.methods.XGradCAM, net, layer))


def grad_cam_plus_plus(a: np.ndarray, g: np.ndarray, epsilon: float = 0.0) -> np.ndarray:
    """The paper's map, of activations and gradients ``(batch, channels, height, width)``."""
    total = a.sum(axis=(2, 3), keepdims=True)
    denominator = 2 * g**2 + total * g**3 + epsilon
    alpha = np.divide(g**2, denominator, out=np.zeros_like(g), where=denominator != 0)
    weights = (alpha * positive(g)).sum(axis=(2, 3), keepdims=True)
    return (weights * a).sum(axis=1)


class TestGradCAMPlusPlus:
    def test_grad_cam_adds_a_constant(self, net):
        """grad-cam adds 1e-6 to the denominator: no little beside the squares of gradients.

        The paper has no such constant; eli5k divides by what there is, and 0 by 0 is 0. Of negative
        activations the denominator may nearly vanish, which leaves few digits to compare.
        """
        a, g = net.evidence("top")
        ours = net.ours("grad-cam++", "top")
        theirs = by_grad_cam(pytorch_grad_cam.GradCAMPlusPlus, net, "top")
        assert_same(ours, grad_cam_plus_plus(a, g))
        assert_same(theirs, grad_cam_plus_plus(a, g, epsilon=1e-6))
        assert np.abs(ours - theirs).max() > 1e-4 * ours.max()

    @pytest.mark.parametrize("layer", LAYERS)
    def test_torchcam_does_not_divide(self, net, layer):
        """torchcam's quotient is lost in a copy, so that its alpha is the square alone."""
        a, g = net.evidence(layer)
        weights = (g**2 * positive(g)).sum(axis=(2, 3), keepdims=True)
        theirs = by_torchcam(torchcam.methods.GradCAMpp, net, layer)
        assert_same(theirs, positive((weights * a).sum(axis=1)))
        assert_differ(theirs, net.ours("grad-cam++", layer))


def first_component(tensor: np.ndarray, centred: bool) -> np.ndarray:
    """Project pixels on their first principal component, of which the sign is arbitrary."""
    rows = tensor.reshape(*tensor.shape[:2], -1).swapaxes(1, 2)
    rows = rows - rows.mean(axis=1, keepdims=True) if centred else rows
    _, _, components = np.linalg.svd(rows, full_matrices=False)
    projection = np.einsum("bpc,bc->bp", rows, components[:, 0])
    return projection.reshape(-1, *tensor.shape[2:])


def turned_towards(maps: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Give each map the sign with which it agrees with another."""
    agreement = (maps * other).sum(axis=(1, 2), keepdims=True)
    return np.where(agreement < 0, -maps, maps)


class TestEigenCAM:
    """grad-cam takes the mean of each channel off first, and leaves the sign as it comes.

    Eigen-CAM's paper decomposes the activations as they are, as eli5k does. Eigen-Grad-CAM has no
    paper: grad-cam is where it comes from, and eli5k treats it as Eigen-CAM's paper would.
    """

    @pytest.mark.parametrize("layer", LAYERS)
    @pytest.mark.parametrize(
        ("method", "peer", "of_class"),
        [
            ("eigen-cam", pytorch_grad_cam.EigenCAM, False),
            ("eigen-grad-cam", pytorch_grad_cam.EigenGradCAM, True),
        ],
        ids=["eigen-cam", "eigen-grad-cam"],
    )
    def test_grad_cam_centres(self, net, layer, method, peer, of_class):
        a, g = net.evidence(layer)
        decomposed = a * g if of_class else a
        ours, theirs = net.ours(method, layer), by_grad_cam(peer, net, layer)
        for maps, centred in ((ours, False), (theirs, True)):
            expected = first_component(decomposed, centred)
            assert_same(maps, turned_towards(expected, maps))
        strength = decomposed.sum(axis=1) if of_class else (a**2).sum(axis=1)
        assert ((ours * strength).sum(axis=(1, 2)) >= 0).all()
        assert np.abs(theirs.mean(axis=(1, 2))).max() <= 1e-5 * np.abs(theirs).max()
        assert_differ(ours, theirs)


def scaled(masks: np.ndarray) -> np.ndarray:
    low, high = (end(masks, axis=(2, 3), keepdims=True) for end in (np.min, np.max))
    return (masks - low) / np.where(high > low, high - low, 1)


def score_cam(net: Net, layer: str, to_masks: Callable) -> np.ndarray:
    """The paper's map for some way to make masks ``(batch, channels, *size)`` of activations."""
    a, _ = net.evidence(layer)
    masks = torch.tensor(to_masks(a), dtype=torch.float32)
    with torch.no_grad():
        each = [net.scores(net.pixels * masks[:, [k]]) for k in range(a.shape[1])]
    weights = torch.stack(each, dim=1).double().softmax(dim=1).numpy()
    return (weights[..., None, None] * a).sum(axis=1)


class TestScoreCAM:
    """The paper enlarges an activation, and scales what comes out: as eli5k and grad-cam do.

    Its own code interpolates between the centres of the pixels, as eli5k and torchcam do.
    """

    def test_same_where_nothing_is_enlarged(self, net):
        ours = net.ours("score-cam", "norm")
        assert_same(ours, score_cam(net, "norm", scaled))
        assert_same(ours, by_grad_cam(pytorch_grad_cam.ScoreCAM, net, "norm"))
        assert_same(positive(ours), by_torchcam(torchcam.methods.ScoreCAM, net, "norm"))

    def test_ways_to_enlarge(self, net):
        ours = net.ours("score-cam", "top")
        assert_same(ours, score_cam(net, "top", lambda a: scaled(enlarged(a))))
        by_corners = score_cam(net, "top", lambda a: scaled(enlarged(a, corners=True)))
        assert_same(by_grad_cam(pytorch_grad_cam.ScoreCAM, net, "top"), by_corners)
        scaled_first = score_cam(net, "top", lambda a: enlarged(scaled(a)))
        assert_same(by_torchcam(torchcam.methods.ScoreCAM, net, "top"), scaled_first)


def ablation_cam(net: Net, layer: str, ablated: float | None, sign: bool) -> np.ndarray:
    """The map where a channel becomes ``ablated``, or 1e7 less than the least activation."""
    a, _ = net.evidence(layer)
    names = [child for child, _ in net.twin.named_children()]
    rest = net.twin[names.index(layer) + 1 :]
    with torch.no_grad():
        full = net.scores(torch.tensor(a).float(), rest).double().numpy()
        drops = []
        for k in range(a.shape[1]):
            without = a.copy()
            least = a.min(axis=(1, 2, 3)) - 1e7
            without[:, k] = least[:, None, None] if ablated is None else ablated
            drops.append(full - net.scores(torch.tensor(without).float(), rest).double().numpy())
    weights = np.stack(drops, axis=1) / (full if sign else np.abs(full))[:, None]
    return (weights[..., None, None] * a).sum(axis=1)


class TestAblationCAM:
    """The paper takes a channel out by setting it to zero, and divides by the score.

    A negative score turns the paper's map round, and grad-cam's: eli5k divides by its size.
    """

    def test_same_but_for_the_sign_of_the_score(self, net):
        ours = net.ours("ablation-cam", "top")
        theirs = by_grad_cam(pytorch_grad_cam.AblationCAM, net, "top")
        signs = np.sign(net.scores(net.pixels).detach().numpy())
        assert_same(ours * signs[:, None, None], theirs)
        assert_same(ours, ablation_cam(net, "top", 0.0, sign=False))

    def test_grad_cam_does_not_use_zero_where_activations_are_negative(self, net):
        """grad-cam then sets the channel to 1e7 less than the least activation, and says so."""
        theirs = by_grad_cam(pytorch_grad_cam.AblationCAM, net, "stem")
        assert_same(theirs, ablation_cam(net, "stem", None, sign=True))
        ours = net.ours("ablation-cam", "stem")
        assert_same(ours, ablation_cam(net, "stem", 0.0, sign=False))
        assert_differ(ours, theirs)


class TestGradients:
    def test_gradient(self, net):
        theirs = by_captum(captum.attr.Saliency, net)
        assert_same(net.ours("gradient"), largest_of_channels(theirs))

    def test_gradient_x_input(self, net):
        theirs = by_captum(captum.attr.InputXGradient, net)
        assert_same(net.ours("gradient-x-input"), sum_of_channels(theirs))

    def test_guided_backprop(self, net):
        ours = net.ours("guided-backprop")
        assert_same(ours, largest_of_channels(by_captum(captum.attr.GuidedBackprop, net)))
        for row, chosen in enumerate(net.classes):
            # It replaces all ReLUs by one and the same: so a copy.
            peer = pytorch_grad_cam.GuidedBackpropReLUModel(copy.deepcopy(net.twin))
            theirs = peer(net.pixels[[row]], int(chosen))
            assert_same(ours[row], np.abs(theirs).max(axis=-1))

    def test_guided_grad_cam(self, net):
        """captum enlarges the map of Grad-CAM by "nearest", unless told to do as the paper."""
        ours = net.ours("guided-grad-cam", "top")
        peer = functools.partial(by_captum, captum.attr.GuidedGradCam, net, net.layer("top"))
        assert_same(ours, largest_of_channels(peer(interpolate_mode="bilinear")))
        nearest = peer()
        coarse = by_captum(captum.attr.LayerGradCam, net, net.layer("top"), relu_attributions=True)
        fine = by_captum(captum.attr.GuidedBackprop, net)
        assert_same(nearest, fine * functional.interpolate(coarse, SHAPE[:2]))
        nearest = largest_of_channels(nearest)
        assert_differ(ours, nearest)


class TestIntegratedGradients:
    @pytest.mark.parametrize("steps", [1, 7, 50])
    @pytest.mark.parametrize("baseline", [0.0, 0.5])
    def test_same_rule(self, net, steps, baseline):
        ours = net.ours(IntegratedGradients(steps=steps, baseline=baseline))
        theirs = by_captum(captum.attr.IntegratedGradients, net, n_steps=steps, baselines=baseline)
        assert_same(ours, sum_of_channels(theirs))

    def test_other_rules_come_nearer(self, seed):
        net = build("deep", seed, logits=False)
        ours = net.ours(IntegratedGradients(steps=200))
        options = {"peer": captum.attr.IntegratedGradients, "method": "riemann_middle"}
        errors = [
            np.abs(sum_of_channels(by_captum(net=net, n_steps=steps, **options)) - ours).max()
            for steps in (5, 20, 80)
        ]
        assert errors[0] > 2 * errors[1] > 4 * errors[2]
        assert errors[2] < 0.02 * np.abs(ours).max()


def full_gradient(net: Net, scale: Callable) -> np.ndarray:
    """The paper's map for some way to scale the parts ``(batch, channels, height, width)``."""
    pixels = net.pixels.requires_grad_()
    with_bias = [
        module
        for module in net.twin.modules()
        if isinstance(module, torch.nn.Conv2d | torch.nn.BatchNorm2d)
    ]
    outputs: list = []
    handles = [
        m.register_forward_hook(lambda *hooked: outputs.append(hooked[2])) for m in with_bias
    ]
    gradients = torch.autograd.grad(net.scores(pixels).sum(), [pixels, *outputs])
    for handle in handles:
        handle.remove()
    factors = [pixels, *[bias_of(module)[:, None, None] for module in with_bias]]
    parts = [(factor * gradient).detach().abs() for factor, gradient in zip(factors, gradients)]
    return sum(enlarged(scale(part.double().numpy())).sum(axis=1) for part in parts)


def bias_of(module: torch.nn.Module) -> torch.Tensor:
    if isinstance(module, torch.nn.Conv2d):
        return module.bias
    deviation = torch.sqrt(module.running_var + module.eps)
    return module.bias - module.running_mean * module.weight / deviation


class UnscaledFullGrad(pytorch_grad_cam.FullGrad):
    """grad-cam's sum of all parts, before it is scaled as a whole."""

    def aggregate_multi_layers(self, parts: np.ndarray) -> np.ndarray:
        return parts[:, 0]


class TestFullGradient:
    def test_grad_cam_scales_each_channel(self, net):
        """The paper's own code scales all of a layer at once, as eli5k does."""
        ours = net.ours("full-grad")
        assert_same(ours, full_gradient(net, scaled_as_one))
        with UnscaledFullGrad(net.twin, []) as cam:
            theirs = cam(net.pixels, net.targets)
        assert_same(theirs, full_gradient(net, scaled_to_show))
        assert_differ(ours, theirs)


def scaled_as_one(part: np.ndarray) -> np.ndarray:
    part = part - part.min(axis=(1, 2, 3), keepdims=True)
    return part / part.max(axis=(1, 2, 3), keepdims=True)


def occlusion(net: Net, windows: list[tuple[slice, slice]], fill: float) -> np.ndarray:
    """The mean loss over all windows that hide a pixel."""
    drops, counts = np.zeros((len(net.images), *SHAPE[:2])), np.zeros(SHAPE[:2])
    with torch.no_grad():
        full = net.scores(net.pixels)
        for rows, columns in windows:
            hidden = net.pixels.clone()
            hidden[:, :, rows, columns] = fill
            drops[:, rows, columns] += (full - net.scores(hidden)).numpy()[:, None, None]
            counts[rows, columns] += 1
    return drops / counts


class TestOcclusion:
    @pytest.mark.parametrize("baseline", [0.0, 0.25, "mean"])
    def test_same_where_the_windows_fit(self, net, baseline):
        theirs = by_captum(
            captum.attr.Occlusion,
            net,
            sliding_window_shapes=(3, 4, 3),
            strides=(3, 3, 2),
            baselines=net.pixels.mean(dim=(2, 3), keepdim=True).expand(net.pixels.shape)
            if baseline == "mean"
            else baseline,
        )
        ours = net.ours(Occlusion(window=(4, 3), stride=(3, 2), baseline=baseline))
        assert_same(ours, theirs[:, 0])

    def test_last_window(self, net):
        """Where windows do not fit, captum cuts the last one off, and eli5k moves it inside."""
        theirs = by_captum(
            captum.attr.Occlusion, net, sliding_window_shapes=(3, 4, 3), strides=(3, 2, 3)
        )
        ours = net.ours(Occlusion(window=(4, 3), stride=(2, 3), baseline=0.0))
        cut = [(slice(r, r + 4), slice(c, c + 3)) for r in range(0, 11, 2) for c in range(0, 11, 3)]
        moved = [
            (slice(r, r + 4), slice(c, c + 3)) for r in (0, 2, 4, 6, 8, 9) for c in (0, 3, 6, 8)
        ]
        assert_same(theirs[:, 0], occlusion(net, cut, 0.0))
        assert_same(ours, occlusion(net, moved, 0.0))


SAMPLES = 6


class TestNoise:
    """Under the same noise: both draw it anew, so both are given what was drawn here."""

    @pytest.fixture(autouse=True)
    def _same_noise(self, monkeypatch):
        draws = np.random.default_rng(3).standard_normal((SAMPLES, *SHAPE), "float32")

        def normal(mean, deviation):
            return mean + deviation * channels_first(draws)

        monkeypatch.setattr(torch, "normal", normal)
        monkeypatch.setattr(Smooth, "_noise", lambda self, chunk, shape: draws[chunk.numbers])

    def by_noise_tunnel(self, net: Net, kind: str, **options: Any) -> torch.Tensor:
        """captum has one deviation for a batch, and eli5k one for each image: so one by one."""
        tunnel = captum.attr.NoiseTunnel(captum.attr.Saliency(net.twin))
        rows = [
            tunnel.attribute(
                net.pixels[[row]],
                kind,
                SAMPLES,
                stdevs=0.15 * float(np.ptp(net.images[row])),
                target=int(chosen),
                **options,
            )
            for row, chosen in enumerate(net.classes)
        ]
        return torch.cat(rows)

    @pytest.mark.parametrize(
        ("method", "kind"),
        [("smooth-grad", "smoothgrad"), ("square-grad", "smoothgrad_sq"), ("var-grad", "vargrad")],
    )
    def test_moments_of_the_gradient(self, net, method, kind):
        kinds = {"smooth-grad": "mean", "square-grad": "square", "var-grad": "variance"}
        ours = net.ours(Smooth(samples=SAMPLES, kind=kinds[method]))
        theirs = self.by_noise_tunnel(net, kind, abs=False)
        assert_same(ours, largest_of_channels(theirs))

    @pytest.mark.parametrize(("kind", "same"), [("smoothgrad", False), ("smoothgrad_sq", True)])
    def test_captum_drops_the_sign_first(self, net, kind, same):
        """Unless told not to, Saliency drops it before the mean, so that noise does not cancel.

        SmoothGrad's paper averages the gradients themselves. A square has no sign to drop.
        """
        ours = net.ours(Smooth(samples=SAMPLES, kind="square" if same else "mean"))
        theirs = largest_of_channels(self.by_noise_tunnel(net, kind))
        (assert_same if same else assert_differ)(ours, theirs)


class TestAugmentation:
    def test_grad_cam_scales_each_view(self, net):
        """grad-cam's aug_smooth averages maps as they are shown: each view has the same say.

        eli5k averages the maps themselves. Their views differ too: only flips are in both.
        """
        flipped = net._replace(images=net.images[:, :, ::-1].copy())
        views = [
            sum_of_channels(by_captum(captum.attr.LayerGradCam, view, view.layer("top")))
            for view in (net, flipped)
        ]
        ours = net.ours(TTA("grad-cam", flips=(-1,), scales=(1.0,)), "top")
        assert_same(ours, (views[0] + views[1][..., ::-1]) / 2)
        with pytorch_grad_cam.GradCAM(net.twin, [net.layer("top")]) as cam:
            cam.tta_transforms = ttach.Compose([ttach.HorizontalFlip()])
            theirs = cam(net.pixels, net.targets, aug_smooth=True)
        shown = (as_shown(views[0]) + as_shown(views[1])[..., ::-1]) / 2
        assert np.abs(theirs - shown).max() <= 1e-5
        assert_differ(theirs, as_shown(ours))


class TestFusedLayers:
    def test_torchcam_brightens(self, net):
        """Both scale the maps of the layers, enlarge them and take the largest at each point.

        torchcam scales each map from its lowest to its highest value, and brightens it by tanh, as
        LayerCAM's paper does. eli5k keeps the sign, zero and the strength: it scales each by its
        peak, and the result by the mean of the peaks.
        """
        raw = [by_grad_cam(pytorch_grad_cam.LayerCAM, net, layer) for layer in LAYERS]
        peaks = [np.abs(maps).max(axis=(1, 2), keepdims=True) for maps in raw]
        largest = np.max([enlarged(maps / peak) for maps, peak in zip(raw, peaks)], axis=0)
        ours = net.ours(Fuse("layer-cam", combine="max"), LAYERS)
        assert_same(ours, largest * np.mean(peaks, axis=0))
        with torchcam.methods.LayerCAM(net.twin, LAYERS) as cam:
            maps = cam(net.classes.tolist(), net.twin(net.pixels))
            theirs = cam.fuse_cams(maps)
        bright = [np.tanh(2 * scaled_to_show(positive(maps), epsilon=1e-8)) for maps in raw]
        assert_same(theirs, np.max([enlarged(maps) for maps in bright], axis=0))
        assert_differ(positive(ours), theirs)


class TestFinerCAM:
    @pytest.mark.parametrize("references", [1, 3])
    def test_torchcam(self, net, references):
        ours = net.ours(FinerCAM(similar=references, alpha=0.6), "top")
        options = {"gamma": 0.6, "num_references": references}
        assert_same(positive(ours), by_torchcam(torchcam.methods.FinerCAM, net, "top", **options))

    def by_grad_cam(self, net: Net, references: int) -> np.ndarray:
        """One image at a time: grad-cam takes one class for a batch."""
        maps = []
        for row, chosen in enumerate(net.classes):
            one = net._replace(images=net.images[[row]], classes=net.classes[[row]])
            cam = pytorch_grad_cam.FinerCAM(net.twin, [net.layer("top")])
            nearest = list(range(1, 1 + references))
            with cam:
                cam(one.pixels, alpha=0.6, comparison_categories=nearest, target_idx=int(chosen))
                seen = cam.base_cam.activations_and_grads
                parts = (seen.activations[0].numpy(), seen.gradients[0].numpy())
                maps.append(cam.base_cam.get_cam_image(one.pixels, None, None, *parts))
        return np.concatenate(maps)

    def test_grad_cam_of_one_reference(self, net):
        ours = net.ours(FinerCAM(similar=1, alpha=0.6), "top")
        assert_same(ours, self.by_grad_cam(net, 1))

    def test_grad_cam_weights_references(self, net):
        """grad-cam weights them by their softmax, and differentiates the weights; we average."""
        theirs = self.by_grad_cam(net, 3)
        assert_same(theirs, grad_cam_of(net, weighted_difference))
        ours = net.ours(FinerCAM(similar=3, alpha=0.6), "top")
        assert_same(ours, grad_cam_of(net, lambda own, others, _: own - 0.6 * others.mean()))
        assert_differ(ours, theirs)


def weighted_difference(own, others, weights):
    return (weights * (own - 0.6 * others)).sum() / weights.sum()


def grad_cam_of(net: Net, compare: Callable) -> np.ndarray:
    """Grad-CAM at "top" of a class compared with the three of the nearest scores."""
    names = [child for child, _ in net.twin.named_children()]
    position = names.index("top") + 1
    activations = net.twin[:position](net.pixels).detach().requires_grad_()
    total = 0
    for chosen, scores in zip(net.classes, net.twin[position:](activations)):
        nearest = (scores - scores[chosen]).abs().argsort()[1:4]
        total = total + compare(scores[chosen], scores[nearest], scores.softmax(dim=0)[nearest])
    [gradients] = torch.autograd.grad(total, activations)
    return sum_of_channels(gradients.mean(dim=(2, 3), keepdim=True) * activations)
