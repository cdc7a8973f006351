"""From logits and labels to the figures of a test."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.memory import MemorySource
from scanline.metrics.calibration import reliability
from scanline.metrics.intervals import class_intervals, wilson_interval
from scanline.metrics.probabilities import mean_loss, softmax

TUTORIALS_COUNT = 128  # the tutorials look at the first 128 test images only
MISTAKES = 20
_COVERAGES = (*range(1, 10), *range(10, 101, 5))  # per cent
_LENGTH_GROUPS = 8


def classification_metrics(logits: NDArray[np.float32], part: MemorySource) -> dict[str, Any]:
    """The figures of one part of the data, ready for JSON.

    logits: (N, K) for the N sequences of `part`, K its classes. n, correct, accuracy, ci95 (Wilson), loss
    (mean cross-entropy, nats), first128_accuracy (over the first 128 sequences, or all if there are fewer:
    the tutorials' measure), classes (for each its name, n, correct, accuracy, and precision, recall and f1
    with the bootstrap interval of each, None where undefined), confusion (K x K counts, a row for each true
    class), calibration (see `reliability`), coverage (see `coverage_curve`), by_length (see
    `accuracy_by_length`), mistakes (see `surest_mistakes`).
    """
    from sklearn.metrics import confusion_matrix

    labels, classes = part.targets, part.classes
    shares = softmax(logits)
    predicted, confidence = logits.argmax(1), shares.max(1)
    right = predicted == labels
    confusion = confusion_matrix(labels, predicted, labels=np.arange(len(classes)))
    correct = int(right.sum())
    return {
        "n": len(labels),
        "correct": correct,
        "accuracy": correct / len(labels),
        "ci95": list(wilson_interval(correct, len(labels))),
        "loss": mean_loss(logits, labels),
        "first128_accuracy": float(right[:TUTORIALS_COUNT].mean()),
        "classes": _classes(confusion, part),
        "confusion": confusion.tolist(),
        "calibration": reliability(confidence, right),
        "coverage": coverage_curve(confidence, right),
        "by_length": accuracy_by_length(part.lengths, right),
        "mistakes": most_confident_errors(shares, part),
    }


def _classes(confusion: NDArray[np.int64], part: MemorySource) -> list[dict[str, Any]]:
    from sklearn.metrics import precision_recall_fscore_support

    counts, hits = confusion.sum(1), confusion.diagonal()
    rows, columns = np.nonzero(confusion)
    figures = precision_recall_fscore_support(
        rows,
        columns,
        labels=np.arange(len(confusion)),
        sample_weight=confusion[rows, columns],
        zero_division=np.nan,
    )
    intervals = class_intervals(confusion)
    told = []
    for index, name in enumerate(part.classes):
        n, hit = int(counts[index]), int(hits[index])
        entry: dict[str, Any] = {"class": name, "n": n, "correct": hit, "accuracy": hit / n if n else None}
        for kind, values in zip(("precision", "recall", "f1"), figures, strict=False):
            between = intervals[kind][index]
            entry[kind] = None if between is None else float(values[index])
            entry[f"{kind}_ci95"] = between and list(between)
        told.append(entry)
    return told


def coverage_curve(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """How accurate the answers are on the share of the sequences that the network is most sure of.

    confidence, right: (N,). Returns for each coverage {"coverage", "n", "accuracy", "confidence"}: the
    share of all, how many these are (at least 1), the share of them that is right, and the least confidence
    among them. Source: El-Yaniv & Wiener 2010, the risk-coverage curve.
    """
    order = np.argsort(-confidence, kind="stable")
    hits = np.cumsum(right[order])
    curve = []
    for percent in _COVERAGES:
        n = max(1, round(len(order) * percent / 100))
        entry = {"coverage": percent / 100, "n": n, "accuracy": float(hits[n - 1] / n)}
        curve.append(entry | {"confidence": float(confidence[order[n - 1]])})
    return curve


def accuracy_by_length(lengths: NDArray[np.int64], right: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Accuracy in up to eight groups of sequences of alike lengths and about equal size.

    Returns for each {"from", "to", "n", "correct", "accuracy", "ci95"}, from the shortest to the longest; one
    group where all are of one length.
    """
    shares = np.arange(1, _LENGTH_GROUPS + 1) / _LENGTH_GROUPS
    longest = np.unique(np.quantile(lengths, shares, method="lower").astype(np.int64))  # of each group
    group_of = np.searchsorted(longest, lengths, side="left")
    groups = []
    for group in np.unique(group_of):
        own = group_of == group
        n, correct = int(own.sum()), int(right[own].sum())
        groups.append(
            {
                "from": int(lengths[own].min()),
                "to": int(lengths[own].max()),
                "n": n,
                "correct": correct,
                "accuracy": correct / n,
                "ci95": list(wilson_interval(correct, n)),
            }
        )
    return groups


def most_confident_errors(
    shares: NDArray[np.float64], part: MemorySource, most: int = MISTAKES
) -> list[dict[str, Any]]:
    """The wrong answers that the network was most sure of.

    shares: (N, K) probabilities. Returns up to `most` {"index", "sequence", "true", "predicted",
    "probability", "probability_of_true"}, the surest first; sequence is its name, or its number where it
    has none.
    """
    predicted = shares.argmax(1)
    confidence = shares.max(1)
    wrong = np.flatnonzero(predicted != part.targets)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][:most]
    return [
        {
            "index": int(index),
            "sequence": part.identifier(int(index)),
            "true": part.classes[part.targets[index]],
            "predicted": part.classes[predicted[index]],
            "probability": float(confidence[index]),
            "probability_of_true": float(shares[index, part.targets[index]]),
        }
        for index in wrong
    ]
