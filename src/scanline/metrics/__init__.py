"""Metrics, confidence intervals and calibration, computed from arrays."""
