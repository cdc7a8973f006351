"""Keras import and export."""
