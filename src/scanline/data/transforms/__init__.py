"""Transforms between what was read and what the network reads."""
