"""Sections that a format may show, under eli5's names."""

WEIGHTS = ("transition_features", "targets", "feature_importances", "decision_tree")
INFO = ("method", "description")
ALL = INFO + WEIGHTS
