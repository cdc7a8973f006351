"""The confusion matrix, and the pictures behind its cells."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.evaluation.evaluate import Evaluation
from scanline.formats.images import data_uri
from scanline.metrics.probabilities import softmax
from scanline.model.artifact import Model
from scanline.reporting.charts import MOST_CLASSES

_MOST_PAIRS = 30
_IN_CELL, _IN_RIGHT_CELL = 24, 8
_WIDTH, _HEIGHT = 96, 40  # of the drawing of a sequence that is no picture
_LINES, _POINTS = 8, 120  # features, and steps, that it shows


def frequent_mistakes(confusion: list[list[int]]) -> list[tuple[int, int, int]]:
    """(count, true class, answer) of the most frequent mistakes, up to 30."""
    off = np.array(confusion)
    np.fill_diagonal(off, 0)
    order = np.argsort(-off, axis=None, kind="stable")[: min(_MOST_PAIRS, np.count_nonzero(off))]
    places = np.stack(np.unravel_index(order, off.shape), 1).tolist()
    return [(confusion[row][column], row, column) for row, column in places]


def confusion_matrix(test: dict[str, Any]) -> dict[str, Any]:
    """{"names", "rows" of cells {"n", "right", "tint" in per cent}, "wide": whether it is too large for a
    table, "worst": (count, true, answer) of the most frequent mistakes}."""
    names = [str(entry["class"]) for entry in test["classes"]]
    counts = np.array(test["confusion"])
    shares = counts / np.maximum(counts.sum(1), 1)[:, None]
    worst = frequent_mistakes(test["confusion"])
    most = worst[0][0] if worst else 1
    rows = [
        [
            {
                "n": int(counts[row, column]),
                "right": row == column,
                "tint": round(100 * float(shares[row, row] if row == column else counts[row, column] / most)),
            }
            for column in range(len(names))
        ]
        for row in range(len(names))
    ]
    return {"names": names, "rows": rows, "wide": len(names) > MOST_CLASSES, "worst": worst}


def sheets(judgement: Evaluation, model: Model, matrix: dict[str, Any]) -> list[dict[str, Any]]:
    """Of each filled cell, the surest answers first, some of the sequences behind it: {"row", "column", "n",
    "thumbs": {"name", "sure", and "png", a data URI, or "lines", points of polylines}}."""
    part, form = judgement.part, model.preprocessing
    limits = part.value_range()
    sure = softmax(judgement.logits).max(1)
    linked = {(row, column) for _, row, column in matrix["worst"]} if matrix["wide"] else None
    made = []
    for (row, column), indices in _cells(judgement, sure).items():
        if linked is not None and (row, column) not in linked:
            continue
        thumbs = []
        for index in indices[: _IN_RIGHT_CELL if row == column else _IN_CELL]:
            values = part.steps_of(index)
            picture = form.as_picture(values)
            drawn = {"lines": _lines(values, *limits)} if picture is None else {"png": data_uri(picture)}
            thumbs.append({"name": part.describe(index), "sure": float(sure[index])} | drawn)
        made.append({"row": row, "column": column, "n": len(indices), "thumbs": thumbs})
    return made


def _cells(judgement: Evaluation, sure: NDArray[np.float64]) -> dict[tuple[int, int], list[int]]:
    """Of each filled cell its sequences, the surest first; row by row."""
    found: dict[tuple[int, int], list[int]] = {}
    answers = judgement.logits.argmax(1)
    for index in np.argsort(-sure, kind="stable").tolist():
        found.setdefault((int(judgement.part.targets[index]), int(answers[index])), []).append(index)
    return dict(sorted(found.items()))


def _lines(values: NDArray[Any], low: NDArray[Any], high: NDArray[Any]) -> list[str]:
    """A line for each feature of (T, F), each between `low` and `high`, those of the whole part."""
    T = len(values)
    chosen = np.unique(np.linspace(0, T - 1, min(T, _POINTS)).round().astype(int))
    places = np.clip((values[chosen] - low) / np.where(high > low, high - low, 1), 0, 1)
    places = _HEIGHT * (1 - np.nan_to_num(places, nan=0.5))
    x = chosen / max(T - 1, 1) * _WIDTH
    return [
        " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, places[:, feature], strict=True))
        for feature in range(min(values.shape[1], _LINES))
    ]
