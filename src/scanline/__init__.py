"""Scanline: train, evaluate, explain and export recurrent sequence classifiers.

    run = scanline.train("mnist")
    model = scanline.load(run.path)
    model.predict(images)

Names are imported on first use: `import scanline` does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scanline.version import __version__

__all__ = [
    "Arrays",
    "Ensemble",
    "Explanation",
    "GRUClassifier",
    "GRURegressor",
    "LSTMClassifier",
    "LSTMRegressor",
    "Model",
    "Prediction",
    "RNNClassifier",
    "RNNRegressor",
    "Run",
    "ScanlineError",
    "SequenceClassifierCV",
    "Study",
    "__version__",
    "ensemble",
    "explain",
    "export",
    "load",
    "pack",
    "report",
    "track",
    "train",
    "tune",
    "tune_report",
]

if TYPE_CHECKING:
    from scanline.api import Run as Run
    from scanline.api import ensemble as ensemble
    from scanline.api import explain as explain
    from scanline.api import export as export
    from scanline.api import load as load
    from scanline.api import pack as pack
    from scanline.api import report as report
    from scanline.api import track as track
    from scanline.api import train as train
    from scanline.data.readers.arrays import Arrays as Arrays
    from scanline.errors import ScanlineError as ScanlineError
    from scanline.estimator import GRUClassifier as GRUClassifier
    from scanline.estimator import GRURegressor as GRURegressor
    from scanline.estimator import LSTMClassifier as LSTMClassifier
    from scanline.estimator import LSTMRegressor as LSTMRegressor
    from scanline.estimator import RNNClassifier as RNNClassifier
    from scanline.estimator import RNNRegressor as RNNRegressor
    from scanline.estimator import SequenceClassifierCV as SequenceClassifierCV
    from scanline.explanation.explanation import Explanation as Explanation
    from scanline.model.artifact import Model as Model
    from scanline.model.ensemble import Ensemble as Ensemble
    from scanline.model.prediction import Prediction as Prediction
    from scanline.tuning import Study as Study
    from scanline.tuning import tune as tune
    from scanline.tuning import tune_report as tune_report

_MODULES = {
    "Arrays": "scanline.data.readers.arrays",
    "Model": "scanline.model.artifact",
    "Ensemble": "scanline.model.ensemble",
    "load": "scanline.api",
    "pack": "scanline.api",
    "Run": "scanline.api",
    "ensemble": "scanline.api",
    "explain": "scanline.api",
    "export": "scanline.api",
    "Prediction": "scanline.model.prediction",
    "Explanation": "scanline.explanation.explanation",
    "report": "scanline.api",
    "track": "scanline.api",
    "train": "scanline.api",
    "tune": "scanline.tuning",
    "Study": "scanline.tuning",
    "tune_report": "scanline.tuning",
    "ScanlineError": "scanline.errors",
    "LSTMClassifier": "scanline.estimator",
    "LSTMRegressor": "scanline.estimator",
    "GRUClassifier": "scanline.estimator",
    "GRURegressor": "scanline.estimator",
    "RNNClassifier": "scanline.estimator",
    "RNNRegressor": "scanline.estimator",
    "SequenceClassifierCV": "scanline.estimator",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        import importlib

        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'scanline' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
