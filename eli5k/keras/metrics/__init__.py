"""Measure what a map is worth, with runs of the model."""

from eli5k.keras.metrics.audit import Audit
from eli5k.keras.metrics.check import check_maps, check_run
from eli5k.keras.metrics.completeness import completeness
from eli5k.keras.metrics.curves import area, deletion, insertion, lerf_minus_morf
from eli5k.keras.metrics.groups import Group
from eli5k.keras.metrics.infidelity import infidelity
from eli5k.keras.metrics.pointing import heat_in, points_at
from eli5k.keras.metrics.randomisation import WeightsTest, weights_test
from eli5k.keras.metrics.ranking import Rank, Ranking, rank_layers, rank_methods
from eli5k.keras.metrics.rival import rival_likeness
from eli5k.keras.metrics.road import road
from eli5k.keras.metrics.sensitivity import max_sensitivity
from eli5k.keras.metrics.sparseness import sparseness

__all__ = [
    "Audit",
    "Group",
    "Rank",
    "Ranking",
    "WeightsTest",
    "area",
    "check_maps",
    "check_run",
    "completeness",
    "deletion",
    "heat_in",
    "infidelity",
    "insertion",
    "lerf_minus_morf",
    "max_sensitivity",
    "points_at",
    "rank_layers",
    "rank_methods",
    "rival_likeness",
    "road",
    "sparseness",
    "weights_test",
]
