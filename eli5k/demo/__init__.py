"""A real classifier and photographs to try eli5k on, offline.

The net is EfficientNet-Lite0, trained on ImageNet; ``NOTICE`` tells where it and the photographs
come from, and under which licences.
"""

from eli5k.demo.network import load_model
from eli5k.demo.samples import NAMES, PHOTOS, preprocess

__all__ = ["NAMES", "PHOTOS", "load_model", "preprocess"]
