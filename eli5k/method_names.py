"""Names of the methods: known before Keras is imported, which takes long."""

from __future__ import annotations

import difflib
import re

# By family, the best known of each first.
NAMES = (
    "cam",
    "grad-cam",
    "grad-cam++",
    "hires-cam",
    "layer-cam",
    "xgrad-cam",
    "eigen-cam",
    "eigen-grad-cam",
    "gradient",
    "gradient-x-input",
    "full-grad",
    "guided-backprop",
    "guided-grad-cam",
    "integrated-gradients",
    "score-cam",
    "ablation-cam",
    "occlusion",
    "rise",
    "smooth-grad",
    "finer-cam",
    "counterfactual",
    "fuse",
    "var-grad",
    "square-grad",
    "tta",
)
# Names of earlier versions, and other common names.
ALIASES = {
    "smooth": "smooth-grad",
    "full-gradient": "full-grad",
    "contrast": "finer-cam",
    "saliency": "gradient",
    "vanilla-gradient": "gradient",
    "grad": "gradient",
    "input-x-gradient": "gradient-x-input",
    "gradient-times-input": "gradient-x-input",
    "ig": "integrated-gradients",
    "guided-backpropagation": "guided-backprop",
    "gbp": "guided-backprop",
    "grad-cam-plus-plus": "grad-cam++",
    "grad-cam-pp": "grad-cam++",
    "sliding-window": "occlusion",
    "test-time-augmentation": "tta",
}


def find_name(written: str) -> str:
    """Return the name of a method that people write in several ways.

    Raises
    ------
    ValueError
        If there is no such method; the error suggests the nearest, and lists all.

    Examples
    --------
    >>> find_name("GradCAM"), find_name("Grad CAM"), find_name("ig")
    ('grad-cam', 'grad-cam', 'integrated-gradients')
    """
    names = {bare(alias): name for alias, name in ALIASES.items()} | {
        bare(name): name for name in NAMES
    }
    if bare(written) in names:
        return names[bare(written)]
    near = [names[each] for each in difflib.get_close_matches(bare(written), names, n=1)]
    raise ValueError(
        f"method must be one of {', '.join(NAMES)}. Received: {written!r}"
        + (f". Did you mean {near[0]!r}?" if near else "")
    )


def bare(name: str) -> str:
    """Reduce a name to what all its spellings share.

    Examples
    --------
    >>> bare("Grad-CAM++")
    'gradcam++'
    """
    return re.sub(r"[^a-z0-9+]", "", name.lower())
