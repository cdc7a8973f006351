"""From logits and labels to the figures of a test."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.sequences import ClassName
from scanline.evaluation.intervals import wilson_interval
from scanline.model.inference import mean_loss

TUTORIALS_COUNT = 128  # the tutorials look at the first 128 test images only


def judge(
    logits: NDArray[np.float32], labels: NDArray[np.int64], classes: tuple[ClassName, ...]
) -> dict[str, Any]:
    """The figures of one part of the data, ready for JSON.

    logits: (N, K). labels: (N,). classes: K names.
    n, correct, accuracy, ci95 (Wilson), loss (mean cross-entropy, nats), first128_accuracy (over the first
    128 sequences, or all if there are fewer: the tutorials' measure), classes (for each its name, n,
    correct and accuracy, None where n is 0), confusion (K x K counts, a row for each true class).
    """
    from sklearn.metrics import confusion_matrix

    predicted = logits.argmax(1)
    right = predicted == labels
    confusion = confusion_matrix(labels, predicted, labels=np.arange(len(classes)))
    counts, hits = confusion.sum(1), confusion.diagonal()
    correct = int(right.sum())
    return {
        "n": len(labels),
        "correct": correct,
        "accuracy": correct / len(labels),
        "ci95": list(wilson_interval(correct, len(labels))),
        "loss": mean_loss(logits, labels),
        "first128_accuracy": float(right[:TUTORIALS_COUNT].mean()),
        "classes": [
            {"class": name, "n": int(n), "correct": int(hit), "accuracy": int(hit) / int(n) if n else None}
            for name, n, hit in zip(classes, counts, hits, strict=True)
        ],
        "confusion": confusion.tolist(),
    }
