"""Estimators of scikit-learn: `LSTMClassifier`, `GRUClassifier`, `RNNClassifier`, `SequenceClassifierCV`."""

from scanline.estimator.classifier import GRUClassifier, LSTMClassifier, RNNClassifier
from scanline.estimator.search import SequenceClassifierCV

__all__ = ["GRUClassifier", "LSTMClassifier", "RNNClassifier", "SequenceClassifierCV"]
