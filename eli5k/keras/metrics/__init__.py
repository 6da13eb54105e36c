"""Measure what a map is worth, with runs of the model."""
