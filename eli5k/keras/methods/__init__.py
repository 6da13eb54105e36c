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

if TYPE_CHECKING:
    from eli5k.keras.run import Answer, Run

__all__ = [
    "METHODS",
    "AtInput",
    "AtLayer",
    "Evidence",
    "GuidedGradCAM",
    "IntegratedGradients",
    "Method",
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
    ValueError
        If there is no such method; the error lists them.

    Examples
    --------
    >>> find_method("grad-cam").title, find_method(IntegratedGradients(steps=20)).title
    ('Grad-CAM', 'Integrated gradients')
    """
    if callable(method):
        for known in METHODS.values():
            if _kind(known.explain) == _kind(method):
                return known._replace(explain=method)
        return Method(_name(method), "", method, "", "", "", "")
    if method in METHODS:
        return METHODS[method]
    near = difflib.get_close_matches(str(method), METHODS, n=1)
    raise ValueError(
        f"method must be one of {', '.join(METHODS)}. Received: {method!r}"
        + (f". Did you mean {near[0]!r}?" if near else "")
    )


def _kind(explain: Callable) -> Any:
    """What methods share that differ in their parameters only."""
    has_parameters = is_dataclass(explain) and not isinstance(explain, AtLayer | AtInput)
    return type(explain) if has_parameters else explain


def _name(explain: Callable) -> str:
    function = getattr(explain, "function", explain)
    return getattr(function, "__name__", type(function).__name__)
