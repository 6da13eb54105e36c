"""Engines that explain on many machines into one store."""
