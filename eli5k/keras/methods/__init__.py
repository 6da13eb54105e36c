"""The methods: each a function from a run of the model to maps, and the registry that names them.

To add one, write a function from :class:`Evidence` to maps in the file of its family, and give it a
line in ``METHODS``. A method that runs the model several times, or has parameters, is instead a
function or a frozen dataclass that maps a :class:`~eli5k.keras.run.Run` to an
:class:`~eli5k.keras.run.Answer`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from eli5k.keras.methods.cam import (
    cam,
    eigen_cam,
    eigen_grad_cam,
    grad_cam,
    grad_cam_plus_plus,
    hires_cam,
    layer_cam,
    xgrad_cam,
)
from eli5k.keras.methods.evidence import Evidence
from eli5k.keras.methods.gradient import (
    GuidedGradCAM,
    IntegratedGradients,
    full_gradient,
    full_gradient_parts,
    gradient,
    gradient_x_input,
)
from eli5k.keras.methods.meta import TTA, Contrast, Counterfactual, Fuse, Smooth
from eli5k.keras.methods.perturbation import RISE, AblationCAM, Occlusion, ScoreCAM

if TYPE_CHECKING:
    from eli5k.keras.run import Answer, Run

__all__ = [
    "METHODS",
    "RISE",
    "TTA",
    "AblationCAM",
    "AtInput",
    "AtLayer",
    "Contrast",
    "Counterfactual",
    "Evidence",
    "Fuse",
    "GuidedGradCAM",
    "IntegratedGradients",
    "Method",
    "Occlusion",
    "ScoreCAM",
    "Smooth",
    "find_method",
    "full_gradient_parts",
    "names_without_layer",
]


@dataclass(frozen=True)
class AtLayer:
    """A method that looks at one layer in one run: ``function`` makes maps of its evidence."""

    function: Callable[[Evidence], Any]
    needs_layer = True

    def __call__(self, run: Run) -> Answer:
        return run.at_layer(self.function)


@dataclass(frozen=True)
class AtInput:
    """A method that looks at the input in one run: ``function`` makes maps of its evidence.

    ``guided`` lets only positive gradients pass the ReLUs.
    """

    function: Callable[[Evidence], Any]
    guided: bool = False

    def __call__(self, run: Run) -> Answer:
        return run.at_input(self.function, guided=self.guided)


class Method(NamedTuple):
    """One line of the registry.

    Attributes
    ----------
    title : str
        Name of the method in its paper.
    family : str
        What it works from: ``"layer"``, ``"input"``, ``"trying"`` or ``"meta"``.
    explain : callable
        From a :class:`~eli5k.keras.run.Run` to an :class:`~eli5k.keras.run.Answer`.
    what : str
        What it does, in a sentence.
    when : str
        When to use it, in a sentence.
    cost : str
        How often it runs the model for one sample.
    paper : str
        Where it was published.
    """

    title: str
    family: str
    explain: Callable[[Run], Answer]
    what: str
    when: str
    cost: str
    paper: str

    @property
    def needs_layer(self) -> bool:
        """Whether it needs a layer that has a grid; the others explain any model of images."""
        return getattr(self.explain, "needs_layer", self.family == "layer")


# What the methods cost that run the model once.
FORWARD = "1 forward, and 1 backward to the layer"
BACKWARD = "1 forward, 1 backward"

METHODS: dict[str, Method] = {
    # From a layer.
    "cam": Method(
        "CAM",
        "layer",
        cam,
        "Weights each channel by the dense kernel behind global average pooling.",
        "For models that end in global average pooling and one dense layer; the plainest of all.",
        FORWARD,
        "Zhou et al. 2016, https://arxiv.org/abs/1512.04150",
    ),
    "grad-cam": Method(
        "Grad-CAM",
        "layer",
        AtLayer(grad_cam),
        "Weights each channel by the mean of the score's gradient.",
        "The default: class-specific, robust and known to most readers.",
        FORWARD,
        "Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391",
    ),
    "grad-cam++": Method(
        "Grad-CAM++",
        "layer",
        AtLayer(grad_cam_plus_plus),
        "Weights each pixel's positive gradient before it sums them to a channel's weight.",
        "Where several objects of the class are in the picture; pass logits=True.",
        FORWARD,
        "Chattopadhay et al. 2018, https://arxiv.org/abs/1710.11063",
    ),
    "hires-cam": Method(
        "HiResCAM",
        "layer",
        AtLayer(hires_cam),
        "Multiplies each activation by its own gradient, without a mean.",
        "Where the map must be faithful to the score, and for heads other than a global pooling.",
        FORWARD,
        "Draelos and Carin 2020, https://arxiv.org/abs/2011.08891",
    ),
    "layer-cam": Method(
        "LayerCAM",
        "layer",
        AtLayer(layer_cam),
        "Multiplies each activation by the positive part of its own gradient.",
        "For layers early in the model, whose maps are finer.",
        FORWARD,
        "Jiang et al. 2021, https://doi.org/10.1109/TIP.2021.3089943",
    ),
    "xgrad-cam": Method(
        "XGrad-CAM",
        "layer",
        AtLayer(xgrad_cam),
        "Weights each channel by the mean of its gradient where the channel is active.",
        "Like Grad-CAM, where the gradient differs much between pixels.",
        FORWARD,
        "Fu et al. 2020, https://arxiv.org/abs/2008.02312",
    ),
    "eigen-cam": Method(
        "Eigen-CAM",
        "layer",
        AtLayer(eigen_cam),
        "Projects the activations on their first principal component.",
        "To see what the layer responds to most, whatever the class.",
        FORWARD,
        "Muhammad and Yeasin 2020, https://arxiv.org/abs/2008.00299",
    ),
    "eigen-grad-cam": Method(
        "Eigen-Grad-CAM",
        "layer",
        AtLayer(eigen_grad_cam),
        "Projects activations times gradients on their first principal component.",
        "Like Eigen-CAM, but for a class: a smoother HiResCAM.",
        FORWARD,
        "Gildenblat 2021, https://github.com/jacobgil/pytorch-grad-cam",
    ),
    # From the input.
    "gradient": Method(
        "Gradient",
        "input",
        AtInput(gradient),
        "Takes the largest absolute gradient of the score among the channels of each pixel.",
        "To see to which pixels the score is sensitive, on any model.",
        BACKWARD,
        "Simonyan et al. 2013, https://arxiv.org/abs/1312.6034",
    ),
    "gradient-x-input": Method(
        "Gradient x input",
        "input",
        AtInput(gradient_x_input),
        "Multiplies the input by the score's gradient and sums over the channels.",
        "For inputs in which zero means nothing; signed.",
        BACKWARD,
        "Shrikumar et al. 2016, https://arxiv.org/abs/1605.01713",
    ),
    "integrated-gradients": Method(
        "Integrated gradients",
        "input",
        IntegratedGradients(),
        "Averages the gradient on the way from a baseline to the input.",
        "Where the map must sum to the score's difference from a meaningful baseline.",
        "1 forward, and steps (50) forward and backward",
        "Sundararajan et al. 2017, https://arxiv.org/abs/1703.01365",
    ),
    "full-gradient": Method(
        "Full-gradient",
        "input",
        full_gradient,
        "Adds gradient times input and gradient times bias of every layer.",
        "Where both the pixels and all layers of the model are to have their say.",
        BACKWARD,
        "Srinivas and Fleuret 2019, https://arxiv.org/abs/1905.00780",
    ),
    "guided-backprop": Method(
        "Guided backpropagation",
        "input",
        AtInput(gradient, guided=True),
        "Takes the gradient back through positive paths only.",
        "For sharp pictures of edges; it hardly depends on the class.",
        BACKWARD,
        "Springenberg et al. 2014, https://arxiv.org/abs/1412.6806",
    ),
    "guided-grad-cam": Method(
        "Guided Grad-CAM",
        "input",
        GuidedGradCAM(),
        "Multiplies guided backpropagation by the Grad-CAM map.",
        "For sharp pictures of edges, where Grad-CAM sees the class.",
        "2 forward, 1 backward, and 1 backward to the layer",
        "Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391",
    ),
    # From trying.
    "score-cam": Method(
        "Score-CAM",
        "trying",
        ScoreCAM(),
        "Weights each channel by the score of the input seen through its activation.",
        "Where gradients vanish or mislead; pass logits=True, and max_channels to be quicker.",
        "1 forward, 1 backward to the layer, and 1 forward for each channel",
        "Wang et al. 2020, https://arxiv.org/abs/1910.01279",
    ),
    "ablation-cam": Method(
        "Ablation-CAM",
        "trying",
        AblationCAM(),
        "Weights each channel by what the score loses without it.",
        "Where gradients vanish or mislead; much quicker than Score-CAM at a late layer.",
        "1 forward, 1 backward to the layer, and the rest after the layer for each channel",
        "Desai and Ramaswamy 2020, https://doi.org/10.1109/WACV45572.2020.9093360",
    ),
    "occlusion": Method(
        "Occlusion",
        "trying",
        Occlusion(),
        "Hides one window of the input after the other, and looks at what the score loses.",
        "To check another map by experiment, on any model; in units of the score.",
        "1 forward, and 1 for each window (225 for a picture)",
        "Zeiler and Fergus 2014, https://arxiv.org/abs/1311.2901",
    ),
    "rise": Method(
        "RISE",
        "trying",
        RISE(),
        "Averages random masks, weighted by the score of the input seen through them.",
        "On any model, also where one window alone changes nothing; slow.",
        "1 forward, and 1 for each mask (4000)",
        "Petsiuk et al. 2018, https://arxiv.org/abs/1806.07421",
    ),
    # Around any other.
    "smooth": Method(
        "SmoothGrad",
        "meta",
        Smooth(),
        "Averages the maps of noisy copies of the input.",
        "Where a map from the input, such as gradient, is too noisy to read.",
        "the method's, and that for each sample of the noise (50)",
        "Smilkov et al. 2017, https://arxiv.org/abs/1706.03825",
    ),
    "square-grad": Method(
        "SquareGrad",
        "meta",
        Smooth(kind="square"),
        "Averages the squared maps of noisy copies of the input.",
        "Like smooth, with the strong parts of the map stressed.",
        "the method's, and that for each sample of the noise (50)",
        "Hooker et al. 2019, https://arxiv.org/abs/1806.10758",
    ),
    "var-grad": Method(
        "VarGrad",
        "meta",
        Smooth(kind="variance"),
        "Takes the variance of the maps of noisy copies of the input.",
        "To see where a map depends on details of the input.",
        "the method's, and that for each sample of the noise (50)",
        "Adebayo et al. 2018, https://arxiv.org/abs/1810.03307",
    ),
    "tta": Method(
        "Test-time augmentation",
        "meta",
        TTA(),
        "Averages the maps of the input flipped and scaled, each turned back.",
        "For sharper and more complete maps of a layer.",
        "1 forward, and the method's for each view (6)",
        "Ahn and Kwak 2018, https://arxiv.org/abs/1803.10464",
    ),
    "fuse": Method(
        "Fused layers",
        "meta",
        Fuse(),
        "Combines the maps of several layers at the size of the largest; pass layer=[...].",
        "Where one layer is too coarse and another too noisy.",
        "the method's for each layer",
        "Jiang et al. 2021, https://doi.org/10.1109/TIP.2021.3089943",
    ),
    "contrast": Method(
        "Finer-CAM",
        "meta",
        Contrast(),
        "Explains the class against those with the nearest scores.",
        "To see what tells similar classes apart; pass logits=True.",
        "2 forward, and the method's",
        "Zhang et al. 2025, https://arxiv.org/abs/2501.11309",
    ),
    "counterfactual": Method(
        "Counterfactual",
        "meta",
        Counterfactual(),
        "Explains the negated score: shows what speaks against the class.",
        "To see what would have to go for the score to rise.",
        "the method's",
        "Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391",
    ),
}


def names_without_layer() -> list[str]:
    """Names of the methods that need no layer with a grid.

    Examples
    --------
    >>> "gradient" in names_without_layer(), "grad-cam" in names_without_layer()
    (True, False)
    """
    return [name for name, method in METHODS.items() if not method.needs_layer]


def find_method(method: str | Callable[[Run], Answer]) -> Method:
    """Return the method of a name, or of an object with parameters.

    Parameters
    ----------
    method : str or callable
        A key of ``METHODS``, or what maps a :class:`~eli5k.keras.run.Run` to an answer.

    Raises
    ------
    TypeError
        If ``method`` is the class of such objects.
    ValueError
        If there is no such method; the error lists them.

    Examples
    --------
    >>> find_method("grad-cam").title, find_method(IntegratedGradients(steps=20)).title
    ('Grad-CAM', 'Integrated gradients')
    """
    if isinstance(method, type):
        raise TypeError(
            f"method must be a name or an object. Received the class {method.__name__}: pass "
            f"{method.__name__}() or, with parameters, {method.__name__}(...)."
        )
    if callable(method):
        for known in METHODS.values():
            if _kind(known.explain) == _kind(method):
                return known._replace(explain=method)
        return Method(_name(method), "", method, "", "", "", "")
    if isinstance(method, str) and method in METHODS:
        return METHODS[method]
    near = difflib.get_close_matches(str(method), METHODS, n=1)
    raise ValueError(
        f"method must be one of {', '.join(METHODS)}. Received: {method!r}"
        + (f". Did you mean {near[0]!r}?" if near else "")
    )


def _kind(explain: Callable) -> Any:
    """What methods share that differ in their parameters only."""
    has_parameters = is_dataclass(explain) and not isinstance(explain, AtLayer | AtInput)
    return (type(explain), getattr(explain, "kind", None)) if has_parameters else explain


def _name(explain: Callable) -> str:
    function = getattr(explain, "function", explain)
    return getattr(function, "__name__", type(function).__name__)
