"""Estimators of scikit-learn: `LSTMClassifier`, `GRUClassifier`, `RNNClassifier`."""

from scanline.estimator.classifier import GRUClassifier, LSTMClassifier, RNNClassifier

__all__ = ["GRUClassifier", "LSTMClassifier", "RNNClassifier"]
