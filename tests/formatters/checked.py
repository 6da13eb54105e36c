"""A target whose map was checked."""

from dataclasses import dataclass

from eli5k.base import TargetExplanation


@dataclass
class Checked(TargetExplanation):
    check: object = None
