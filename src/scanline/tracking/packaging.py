"""A model as an MLflow model: its own files, and the MLmodel file that names the loader.

Nothing is pickled: the flavour `python_function` imports `scanline.tracking.pyfunc`, which reads the files.
"""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scanline.model.artifact import TrainedModel
from scanline.model.loading import load
from scanline.version import __version__

_EXAMPLE_STEPS, _EXAMPLE_VALUES = 3, 10_000
# Scanline is not among them: the package index has another project of that name.
_NOTE = "install Scanline from its checkout where the model is loaded; see docs/tracking.md"


def write_mlflow_model(run: Path, folder: Path, run_id: str, model_id: str) -> None:
    """Write the model of a run as an MLflow model.

    Args:
        run: The run directory.
        folder: The folder to create.
        run_id: Id of the MLflow run.
        model_id: Id of the MLflow model.

    Raises:
        ModelError: If the model is missing or damaged.
    """
    import mlflow.pyfunc
    from mlflow.models import Model as MlflowModel
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array

    model = load(run)
    # Only outputs: no schema of inputs lets arrays, JSON and columns of Spark with sequences of different
    # lengths pass. The model checks its inputs itself. A tensor would be an array of arrays in Spark.
    outputs = Schema([ColSpec(Array(DataType.double), "probabilities")])
    mlflow.pyfunc.save_model(
        folder,
        loader_module="scanline.tracking.pyfunc",
        data_path=str(run / "model"),
        mlflow_model=MlflowModel(run_id=run_id, model_uuid=model_id, model_id=model_id),
        signature=ModelSignature(outputs=outputs),
        input_example=_example(model),
        pip_requirements=_requirements(),
        metadata={
            "scanline": __version__,
            "scanline_note": _NOTE,
            "classes": [str(name) for name in model.class_names],
            "trained_on": model.data,
        },
    )


def _example(model: TrainedModel) -> NDArray[np.uint8] | NDArray[np.float32] | None:
    """Return a sequence of zeros of a shape that the model reads; None if it would be large."""
    form = model.preprocessing
    if form.picture is not None:
        colour = (3,) if form.picture.channels == 3 else ()
        shape: tuple[int, ...] = (1, form.picture.height, form.picture.width, *colour)
        return np.zeros(shape, np.uint8) if np.prod(shape) <= _EXAMPLE_VALUES else None
    shape = (1, _EXAMPLE_STEPS, form.source_features)
    return np.zeros(shape, np.float32) if np.prod(shape) <= _EXAMPLE_VALUES else None


def _requirements() -> list[str]:
    """Return the versions of what Scanline and the loader need, as installed here."""
    try:
        declared = importlib.metadata.requires("scanline") or []
    except importlib.metadata.PackageNotFoundError:
        declared = ["torch", "numpy", "safetensors", "pydantic", "scikit-learn", "scipy", "pillow"]
    core = [name[0] for each in declared if "extra ==" not in each and (name := re.match(r"[\w.-]+", each))]
    names = ["mlflow-skinny", "pandas", *core]
    return [f"{name}=={version}" for name in names if (version := _version(name)) is not None]


def _version(name: str) -> str | None:
    try:
        # Without a local part such as "+cpu", which no package index has.
        return importlib.metadata.version(name).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None
