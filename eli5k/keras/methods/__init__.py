"""Methods: functions from a run of the model to maps.

To add one, write a function from :class:`~eli5k.keras.evidence.probes.Evidence` to maps in the file
of its family, and decorate it with :func:`~eli5k.keras.methods.registry.register`.
"""

from eli5k.keras.evidence.probes import Evidence
from eli5k.keras.methods.cam import grad_cam
from eli5k.keras.methods.channels import AblationCAM, ScoreCAM
from eli5k.keras.methods.class_activation import cam
from eli5k.keras.methods.contrast import Counterfactual, FinerCAM
from eli5k.keras.methods.full_gradient import full_gradient_parts
from eli5k.keras.methods.fuse import Fuse
from eli5k.keras.methods.guided import GuidedGradCAM
from eli5k.keras.methods.noise import Smooth
from eli5k.keras.methods.path import IntegratedGradients
from eli5k.keras.methods.perturbation import RISE, Occlusion
from eli5k.keras.methods.registry import (
    METHODS,
    AtInput,
    AtLayer,
    Cost,
    Method,
    find_method,
    in_order,
    names_without_layer,
    register,
)
from eli5k.keras.methods.views import TTA

# A former name.
Contrast = FinerCAM

__all__ = [
    "METHODS",
    "RISE",
    "TTA",
    "AblationCAM",
    "AtInput",
    "AtLayer",
    "Contrast",
    "Cost",
    "Counterfactual",
    "Evidence",
    "FinerCAM",
    "Fuse",
    "GuidedGradCAM",
    "IntegratedGradients",
    "Method",
    "Occlusion",
    "ScoreCAM",
    "Smooth",
    "cam",
    "find_method",
    "full_gradient_parts",
    "grad_cam",
    "names_without_layer",
    "register",
]

in_order()
