"""Loading a model of any kind: what `scanline.load` returns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from scanline.errors import ModelError
from scanline.model.artifact import Model, TrainedModel
from scanline.model.ensemble import Ensemble
from scanline.model.ensemble_files import is_ensemble
from scanline.model.model_files import find_model


def load(run: str | Path, device: str = "cpu", calibrated: bool = False) -> TrainedModel:
    """Read the model of a run, or an ensemble.

    Args:
        run: A run directory, a model folder (`runs/<name>/model`), or the folder of an ensemble.
        device: "cpu" or "cuda".
        calibrated: Whether probabilities are calibrated.

    Raises:
        ModelError: If a file is missing or damaged, or if the model has no temperature to calibrate with.
    """
    path = find_model(Path(run))
    kind = Ensemble if is_ensemble(path) else Model
    loaded: Model | Ensemble = kind.load(path, device)
    if calibrated and (loaded.task.predicts_numbers() or loaded.task.targets == "label-sets"):
        raise ModelError(
            f"{path} has no temperature, as its task is {loaded.task.name}: use it without calibration"
        )
    if calibrated and loaded.temperature is None:
        raise ModelError(
            f"{path} has no temperature, as its training had no validation split to fit one on: "
            "use it without calibration"
        )
    return replace(loaded, calibrated=calibrated)
