"""The confusion matrix, and examples of the sequences behind its cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.evaluation.evaluate import Evaluation
from scanline.formats.png import data_uri
from scanline.metrics.classification import ClassificationMetrics
from scanline.model.artifact import TrainedModel
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
    # A copy: the diagonal is cleared, and the counts are needed below.
    errors = np.array(confusion)
    np.fill_diagonal(errors, 0)
    # Flattened and stable: ties stay in the order of the classes, so that the report is reproducible.
    order = np.argsort(-errors, axis=None, kind="stable")[: min(_MAX_PAIRS, np.count_nonzero(errors))]
    cells = np.stack(np.unravel_index(order, errors.shape), 1).tolist()
    return [(confusion[row][column], row, column) for row, column in cells]


@dataclass(frozen=True)
class Cell:
    """A cell of the confusion matrix.

    Attributes:
        n: Number of sequences.
        correct: Whether it is on the diagonal.
        tint: Depth of its colour, 0 to 100.
    """

    n: int
    correct: bool
    tint: int


@dataclass(frozen=True)
class ConfusionMatrix:
    """The confusion matrix as the page shows it.

    Attributes:
        names: K class names.
        rows: K rows, by true class, of K cells, by predicted class.
        wide: Whether there are too many classes for a table.
        worst: The most frequent errors, as returned by `frequent_errors`.
    """

    names: list[str]
    rows: list[list[Cell]]
    wide: bool
    worst: list[tuple[int, int, int]]


@dataclass(frozen=True)
class Example:
    """A sequence behind a cell.

    Attributes:
        name: Name of the sequence.
        probability: Probability of the predicted class.
        png: The picture as a data URI, or None.
        lines: The points of polylines, for sequences that are not pictures.
    """

    name: str
    probability: float
    png: str | None
    lines: list[str]


@dataclass(frozen=True)
class CellExamples:
    """Examples of the sequences behind a cell.

    Attributes:
        row: Index of the true class.
        column: Index of the predicted class.
        n: Number of sequences in the cell.
        examples: Some of them, most confident first.
    """

    row: int
    column: int
    n: int
    examples: list[Example]


def confusion_matrix(test: ClassificationMetrics) -> ConfusionMatrix:
    """Return the confusion matrix of an evaluation."""
    counts = np.array(test.confusion)
    # A class without sequences has a row of zeros, not NaN.
    fractions = counts / np.maximum(counts.sum(1), 1)[:, None]
    worst = frequent_errors(test.confusion)
    largest = worst[0][0] if worst else 1

    def cell(row: int, column: int) -> Cell:
        correct = row == column
        # Diagonal: recall of the class. Elsewhere: relative to the largest error, so that rare errors stay
        # visible.
        depth = fractions[row, row] if correct else counts[row, column] / largest
        return Cell(int(counts[row, column]), correct, round(100 * float(depth)))

    K = len(test.classes)
    rows = [[cell(row, column) for column in range(K)] for row in range(K)]
    return ConfusionMatrix([str(each.name) for each in test.classes], rows, K > MAX_CLASSES, worst)


def cell_examples(evaluation: Evaluation, model: TrainedModel, matrix: ConfusionMatrix) -> list[CellExamples]:
    """Return examples of the sequences in each cell of the confusion matrix, most confident first.

    Args:
        evaluation: Predictions and sequences.
        model: The model, which knows whether sequences are pictures.
        matrix: The matrix; if it is too wide for a table, only its most frequent errors get examples.
    """
    source = evaluation.source
    # The range of all sequences, not of each one: drawings can then be compared.
    low, high = source.value_range()
    confidence = evaluation.model.task.probabilities(evaluation.outputs).max(1)
    # None: every cell of the table gets examples.
    linked = {(row, column) for _, row, column in matrix.worst} if matrix.wide else None

    def example(index: int) -> Example:
        values = source.steps_of(index)
        picture = model.preprocessing.as_picture(values)
        png = None if picture is None else data_uri(picture)
        lines = _polylines(values, low, high) if picture is None else []
        return Example(source.describe(index), float(confidence[index]), png, lines)

    made = []
    for (row, column), indices in _by_cell(evaluation, confidence).items():
        if linked is None or (row, column) in linked:
            count = _EXAMPLES_OF_CORRECT if row == column else _EXAMPLES_OF_ERRORS
            examples = [example(index) for index in indices[:count]]
            made.append(CellExamples(row, column, len(indices), examples))
    return made


def _by_cell(evaluation: Evaluation, confidence: NDArray[np.float64]) -> dict[tuple[int, int], list[int]]:
    """Return the indices of the sequences of each cell that has any, most confident first."""
    cells: dict[tuple[int, int], list[int]] = {}
    predicted = evaluation.outputs.argmax(1)
    # Filled in order of confidence, so that each cell needs no sorting.
    for index in np.argsort(-confidence, kind="stable").tolist():
        cells.setdefault((int(evaluation.source.targets[index]), int(predicted[index])), []).append(index)
    return dict(sorted(cells.items()))


def _polylines(values: NDArray[Any], low: NDArray[Any], high: NDArray[Any]) -> list[str]:
    """Return a polyline for each feature of (T, F), scaled to the range from `low` to `high`, each (F,)."""
    T = len(values)
    # Evenly spaced steps; `unique` removes duplicates that rounding can produce.
    chosen = np.unique(np.linspace(0, T - 1, min(T, _MAX_POINTS)).round().astype(int))
    scaled = np.clip((values[chosen] - low) / np.where(high > low, high - low, 1), 0, 1)
    # SVG's y axis points down. Missing values are drawn in the middle, as a polyline cannot have gaps.
    y = _HEIGHT * (1 - np.nan_to_num(scaled, nan=0.5))
    x = chosen / max(T - 1, 1) * _WIDTH
    return [
        " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y[:, feature], strict=True))
        for feature in range(min(values.shape[1], _MAX_FEATURES))
    ]
