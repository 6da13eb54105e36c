"""Engines that explain on many machines, into the same store as one machine does."""
