"""Estimators of scikit-learn: classifiers, regressors, and a classifier that searches its settings."""

from scanline.estimator.classifier import GRUClassifier, LSTMClassifier, RNNClassifier
from scanline.estimator.regressor import GRURegressor, LSTMRegressor, RNNRegressor
from scanline.estimator.search import SequenceClassifierCV

__all__ = [
    "GRUClassifier",
    "GRURegressor",
    "LSTMClassifier",
    "LSTMRegressor",
    "RNNClassifier",
    "RNNRegressor",
    "SequenceClassifierCV",
]
