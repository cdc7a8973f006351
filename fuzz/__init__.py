"""Damaged and hostile inputs for every reader: see README.md."""
