"""Evaluation, comparison and prediction of trained models."""
