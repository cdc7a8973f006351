"""The columns of scores: their Arrow types, and their values from a task's probabilities."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scanline.errors import MissingExtraError, UsageError
from scanline.tasks import Task, require_sequences
from scanline.tasks.classification import Classification

if TYPE_CHECKING:
    import pyarrow

METADATA = b"scanline"  # key of the schema's metadata: JSON with the classes and how they were predicted


def require_pyarrow(task: str = "scoring") -> Any:
    """Return the module pyarrow. Raises MissingExtraError if it is not installed."""
    try:
        import pyarrow
    except ImportError:
        raise MissingExtraError(task, ["pyarrow"], "tables") from None
    return pyarrow


@dataclass(frozen=True)
class Predicted:
    """Predictions for N sequences, in the types of the columns.

    Attributes:
        prediction: N class names as text, or numbers.
        probability: (N,) probability of each prediction; None if the task has none.
        probabilities: (N, K) probability of each class; None if the task has none.
        low: N lower ends of prediction intervals; None if the task has none.
        high: N upper ends, likewise.
    """

    prediction: list[str] | list[float]
    probability: NDArray[np.float64] | None
    probabilities: NDArray[np.float64] | None
    low: list[float | None] | None = None
    high: list[float | None] | None = None


def predicted(task: Task, probabilities: NDArray[np.float64]) -> Predicted:
    """Return the predictions of a task, as its `decode` does for each row of `probabilities` (N, M)."""
    if isinstance(task, Classification):
        best = probabilities.argmax(1)
        names = [str(name) for name in task.classes]
        chosen = probabilities[np.arange(len(best)), best]
        return Predicted([names[index] for index in best.tolist()], chosen, probabilities)
    decoded = [task.decode(row) for row in probabilities]
    numbers = _is_one_number(task)
    labels: Any = [each.label if numbers else str(each.label) for each in decoded]
    if all(each.probabilities is not None and each.probability is None for each in decoded):
        return Predicted(labels, None, probabilities)  # several classes, or none
    if any(each.probability is None or each.probabilities is None for each in decoded):
        ends = ([each.low for each in decoded], [each.high for each in decoded])
        return Predicted(labels, None, None, *(ends if task.has_interval else (None, None)))
    return Predicted(labels, np.array([each.probability for each in decoded], np.float64), probabilities)


def _is_one_number(task: Task) -> bool:
    """Return whether a prediction is a number; several numbers are text of them."""
    return task.predicts_numbers() and task.output_size == 1


def check_stop(task: Task, stop_at: float | None) -> None:
    """Raise UsageError if a task has no classes whose probability could reach `stop_at`."""
    if stop_at is None:
        return
    require_sequences(task, "--stop-at")
    if not 0 < stop_at <= 1:
        raise UsageError(f"--stop-at: expected a probability above 0 and up to 1, got {stop_at:g}")
    if not task.has_accuracy:
        raise UsageError(f"--stop-at: the task {task.name} has no class probabilities")


def score_schema(task: Task, stop_at: float | None, details: dict[str, Any]) -> pyarrow.Schema:
    """Return the schema of scores.

    Args:
        task: The model's task.
        stop_at: Probability at which reading stops, or None: then there are no columns for it.
        details: What the metadata of the schema say besides the classes.
    """
    pa = require_pyarrow()
    label = pa.float64() if _is_one_number(task) else pa.string()
    fields = [
        ("id", pa.string()),
        ("split", pa.string()),
        ("prediction", label),
        ("probability", pa.float64()),
        ("probabilities", pa.list_(pa.float64())),
    ]
    if task.has_interval:
        fields += [("low", pa.float64()), ("high", pa.float64())]
    if stop_at is not None:
        fields += [("stop_step", pa.int32()), ("stop_prediction", label)]
    classes = [str(name) for name in task.output_names]
    # Sorted, so that equal contents have equal bytes.
    metadata = json.dumps({"classes": classes, **details}, sort_keys=True, ensure_ascii=False)
    return pa.schema([*fields, ("error", pa.string())], metadata={METADATA: metadata.encode()})


def with_nulls(values: Any, rows: NDArray[np.int64], count: int, kind: Any) -> Any:
    """Return an Arrow array of `count` values: `values` at `rows`, null elsewhere.

    Args:
        values: n values; an array (n, K) for lists of K numbers.
        rows: (n,) increasing positions.
        count: Length of the result.
        kind: Arrow type of the result.
    """
    pa = require_pyarrow()
    if values is None or len(rows) == 0:
        return pa.nulls(count, kind)
    if isinstance(values, np.ndarray) and values.ndim == 2:
        n, K = values.shape
        offsets = np.arange(0, (n + 1) * K, K, dtype=np.int32)
        present = pa.ListArray.from_arrays(offsets, pa.array(values.reshape(-1)))
    else:
        present = pa.array(values, kind)
    if len(rows) == count:
        return present.cast(kind)
    # `take` gives null for a null index.
    places = np.zeros(count, np.int64)
    places[rows] = np.arange(len(rows))
    missing = np.ones(count, bool)
    missing[rows] = False
    return present.take(pa.array(places, mask=missing)).cast(kind)
