"""The confusion matrix, and examples of the sequences behind its cells."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.evaluation.evaluate import Evaluation
from scanline.formats.png import data_uri
from scanline.model.artifact import Model
from scanline.reporting.charts import MAX_CLASSES

_MAX_PAIRS = 30
_EXAMPLES_OF_ERRORS, _EXAMPLES_OF_CORRECT = 24, 8  # per cell
_WIDTH, _HEIGHT = 96, 40  # of the drawing of a sequence that is not a picture
_MAX_FEATURES, _MAX_POINTS = 8, 120  # of such a drawing


def frequent_errors(confusion: list[list[int]]) -> list[tuple[int, int, int]]:
    """Return the most frequent errors, at most 30, as (count, true class, predicted class).

    Args:
        confusion: (K, K) counts, rows by true class.
    """
    errors = np.array(confusion)
    np.fill_diagonal(errors, 0)
    order = np.argsort(-errors, axis=None, kind="stable")[: min(_MAX_PAIRS, np.count_nonzero(errors))]
    cells = np.stack(np.unravel_index(order, errors.shape), 1).tolist()
    return [(confusion[row][column], row, column) for row, column in cells]


def confusion_matrix(test: dict[str, Any]) -> dict[str, Any]:
    """Return the confusion matrix as the page shows it.

    Args:
        test: The evaluation's metrics.

    Returns:
        "names" of classes; "rows" of cells with "n", "correct" and "tint" in per cent; "wide", whether there
        are too many classes for a table; "worst", as `frequent_errors` gives them.
    """
    names = [str(entry["class"]) for entry in test["classes"]]
    counts = np.array(test["confusion"])
    fractions = counts / np.maximum(counts.sum(1), 1)[:, None]
    worst = frequent_errors(test["confusion"])
    largest = worst[0][0] if worst else 1

    def tint(row: int, column: int) -> int:
        value = fractions[row, row] if row == column else counts[row, column] / largest
        return round(100 * float(value))

    rows = [
        [
            {"n": int(counts[row, column]), "correct": row == column, "tint": tint(row, column)}
            for column in range(len(names))
        ]
        for row in range(len(names))
    ]
    return {"names": names, "rows": rows, "wide": len(names) > MAX_CLASSES, "worst": worst}


def cell_examples(evaluation: Evaluation, model: Model, matrix: dict[str, Any]) -> list[dict[str, Any]]:
    """Return examples of the sequences in each cell of the confusion matrix, most confident first.

    Args:
        evaluation: Predictions and sequences.
        model: The model, which knows whether sequences are pictures.
        matrix: As `confusion_matrix` gives it; if it is too wide for a table, only its "worst" cells get
            examples.

    Returns:
        For each cell "row", "column", "n" and "examples": "name", "probability", and "png", a data URI, or
        "lines", the points of polylines.
    """
    source, preprocessing = evaluation.source, model.preprocessing
    low, high = source.value_range()
    confidence = evaluation.model.task.probabilities(evaluation.outputs).max(1)
    linked = {(row, column) for _, row, column in matrix["worst"]} if matrix["wide"] else None
    made = []
    for (row, column), indices in _by_cell(evaluation, confidence).items():
        if linked is not None and (row, column) not in linked:
            continue
        examples = []
        for index in indices[: _EXAMPLES_OF_CORRECT if row == column else _EXAMPLES_OF_ERRORS]:
            values = source.steps_of(index)
            picture = preprocessing.as_picture(values)
            drawn = (
                {"lines": _polylines(values, low, high)} if picture is None else {"png": data_uri(picture)}
            )
            examples.append({"name": source.describe(index), "probability": float(confidence[index])} | drawn)
        made.append({"row": row, "column": column, "n": len(indices), "examples": examples})
    return made


def _by_cell(evaluation: Evaluation, confidence: NDArray[np.float64]) -> dict[tuple[int, int], list[int]]:
    """Return the indices of the sequences of each cell that has any, most confident first."""
    cells: dict[tuple[int, int], list[int]] = {}
    predicted = evaluation.outputs.argmax(1)
    for index in np.argsort(-confidence, kind="stable").tolist():
        cells.setdefault((int(evaluation.source.targets[index]), int(predicted[index])), []).append(index)
    return dict(sorted(cells.items()))


def _polylines(values: NDArray[Any], low: NDArray[Any], high: NDArray[Any]) -> list[str]:
    """Return a polyline for each feature of (T, F), scaled to the range from `low` to `high`, each (F,)."""
    T = len(values)
    chosen = np.unique(np.linspace(0, T - 1, min(T, _MAX_POINTS)).round().astype(int))
    scaled = np.clip((values[chosen] - low) / np.where(high > low, high - low, 1), 0, 1)
    y = _HEIGHT * (1 - np.nan_to_num(scaled, nan=0.5))
    x = chosen / max(T - 1, 1) * _WIDTH
    return [
        " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y[:, feature], strict=True))
        for feature in range(min(values.shape[1], _MAX_FEATURES))
    ]
