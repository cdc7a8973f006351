"""Loader of published models: MLflow imports this module for the flavour `python_function`.

A model published by Scanline consists of its own files, safetensors and JSON; nothing in it is pickled.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scanline.model.artifact import TrainedModel


class PyFuncModel:
    """A model behind the interface that MLflow expects.

    Attributes:
        model: The model.
    """

    def __init__(self, model: TrainedModel) -> None:
        self.model = model

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> NDArray[np.float64]:
        """Return the class probabilities (N, K), as `scanline.Model.predict_proba` does.

        Args:
            model_input: Values as for `predict_proba`; a data frame or a dictionary with one column of
                sequences, each (T, F) or (T,); or a data frame of numbers whose rows are sequences (N, T).
            params: Not used.

        Raises:
            DataError: If a shape or a value does not fit; names the expected and the actual one.
        """
        return self.model.predict_proba(_values(model_input))


def _load_pyfunc(path: str) -> PyFuncModel:
    """Return the model in a folder; called by MLflow."""
    from scanline.model.loading import load

    return PyFuncModel(load(Path(path)))


def _values(given: Any) -> Any:
    """Return what MLflow passes on, from JSON, Spark or a program, as values of `predict_proba`."""
    if isinstance(given, dict) and len(given) == 1:
        (given,) = given.values()
    if hasattr(given, "iloc"):
        return _values_of_frame(given)
    if isinstance(given, list):
        return _joined([_array(each) for each in given])
    # An array of objects holds sequences of different lengths, or missing values as None.
    if isinstance(given, np.ndarray) and given.dtype == object:
        return _joined([_array(each) for each in given])
    return given


def _values_of_frame(frame: Any) -> Any:
    column = frame if frame.ndim == 1 else frame.iloc[:, 0]
    is_table = frame.ndim == 2 and frame.shape[1] != 1
    if is_table or all(np.isscalar(each) for each in column):
        return frame.to_numpy()
    return _joined([_array(each) for each in column])


def _joined(sequences: list[NDArray[Any]]) -> Any:
    """Return sequences of one shape and type as one array, others as a list."""
    alike = len({(each.shape, each.dtype) for each in sequences}) == 1
    return np.stack(sequences) if alike else sequences


def _array(values: Any) -> NDArray[Any]:
    """Return a sequence as an array; lists of lists and Spark's arrays of arrays become (T, F)."""
    if isinstance(values, np.ndarray) and values.dtype != object:
        return values
    array = np.array([each if np.isscalar(each) or each is None else _array(each) for each in values])
    # None stands for a missing value in JSON and in Spark.
    return array.astype(np.float64) if array.dtype == object else array
