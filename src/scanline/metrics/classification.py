"""Metrics of a classification, computed from logits and targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scanline.data.source import ClassName
from scanline.metrics.calibration import Reliability, reliability
from scanline.metrics.intervals import class_intervals, wilson_interval
from scanline.metrics.probabilities import mean_loss, softmax
from scanline.metrics.results import Interval, Metrics, Result

TUTORIALS_COUNT = 128  # the tutorials evaluate on the first 128 test images only
MAX_ERRORS = 20
_COVERAGES = (*range(1, 10), *range(10, 101, 5))  # per cent
_LENGTH_GROUPS = 8


class ClassMetrics(Result):
    """Metrics of one class; None where a value is undefined.

    Attributes:
        name: The class, "class" in JSON.
        n: Number of sequences of the class.
        correct: How many of them were predicted correctly.
        accuracy: `correct / n`.
        precision: Fraction of the predictions of this class that are correct.
        precision_ci95: Its bootstrap interval; `recall_ci95` and `f1_ci95` likewise.
        recall: Fraction of the sequences of this class that are predicted correctly.
        f1: Harmonic mean of precision and recall.
    """

    name: ClassName = Field(alias="class")
    n: int
    correct: int
    accuracy: float | None
    precision: float | None
    precision_ci95: Interval | None
    recall: float | None
    recall_ci95: Interval | None
    f1: float | None
    f1_ci95: Interval | None


class CoveragePoint(Result):
    """Accuracy on the most confident predictions.

    Attributes:
        coverage: Fraction of all sequences that is kept.
        n: Number of sequences kept, at least 1.
        accuracy: Accuracy on them.
        confidence: Lowest confidence among them.
    """

    coverage: float
    n: int
    accuracy: float
    confidence: float


class LengthGroup(Result):
    """Accuracy on sequences of similar lengths.

    Attributes:
        shortest: Length of the shortest sequence in the group, "from" in JSON.
        longest: Length of the longest, "to" in JSON.
        n: Number of sequences.
        correct: Number of correct predictions.
        accuracy: `correct / n`.
        ci95: Wilson's interval of the accuracy.
    """

    shortest: int = Field(alias="from")
    longest: int = Field(alias="to")
    n: int
    correct: int
    accuracy: float
    ci95: Interval


class ConfidentError(Result):
    """A wrong prediction.

    Attributes:
        index: Index of the sequence in its split.
        sequence: Identifier of the sequence, or its index.
        true: Its class.
        predicted: The predicted class.
        probability: Probability of the predicted class.
        probability_of_true: Probability of the true class.
    """

    index: int
    sequence: int | str
    true: ClassName
    predicted: ClassName
    probability: float
    probability_of_true: float


class ClassificationMetrics(Metrics):
    """All metrics of a classification on one split.

    Attributes:
        n: Number of sequences.
        correct: Number of correct predictions.
        accuracy: `correct / n`.
        ci95: Wilson's interval of the accuracy.
        loss: Mean cross-entropy in nats.
        first128_accuracy: Accuracy on the first 128 sequences, or all if there are fewer, as the tutorials
            compute it.
        classes: Metrics of each class.
        confusion: K x K counts, a row for each true class.
        calibration: See `reliability`.
        coverage: See `coverage_curve`.
        by_length: See `accuracy_by_length`.
        mistakes: See `most_confident_errors`.
    """

    correct: int
    accuracy: float
    ci95: Interval
    loss: float
    first128_accuracy: float
    classes: list[ClassMetrics]
    confusion: list[list[int]]
    calibration: Reliability
    coverage: list[CoveragePoint]
    by_length: list[LengthGroup]
    mistakes: list[ConfidentError]


def classification_metrics(
    logits: NDArray[np.float32],
    targets: NDArray[np.int64],
    classes: Sequence[ClassName],
    lengths: NDArray[np.int64],
    identifier: Callable[[int], int | str] = int,
) -> ClassificationMetrics:
    """Compute all metrics of a classification.

    Args:
        logits: (N, K).
        targets: (N,) class indices.
        classes: K class names.
        lengths: (N,) number of steps of each sequence.
        identifier: Returns the identifier of the sequence at an index.
    """
    from sklearn.metrics import confusion_matrix

    probabilities = softmax(logits)
    # From the logits, as the model predicts: rounding in the softmax can tie classes whose logits differ.
    predicted, confidence = logits.argmax(1), probabilities.max(1)
    correct = predicted == targets
    confusion = confusion_matrix(targets, predicted, labels=np.arange(len(classes)))
    count = int(correct.sum())
    return ClassificationMetrics(
        n=len(targets),
        correct=count,
        accuracy=count / len(targets),
        ci95=wilson_interval(count, len(targets)),
        loss=mean_loss(logits, targets),
        first128_accuracy=float(correct[:TUTORIALS_COUNT].mean()),
        classes=_class_metrics(confusion, classes),
        confusion=confusion.tolist(),
        calibration=reliability(confidence, correct),
        coverage=coverage_curve(confidence, correct),
        by_length=accuracy_by_length(lengths, correct),
        mistakes=most_confident_errors(probabilities, targets, classes, identifier),
    )


def _class_metrics(confusion: NDArray[np.int64], classes: Sequence[ClassName]) -> list[ClassMetrics]:
    from sklearn.metrics import precision_recall_fscore_support

    counts, hits = confusion.sum(1), confusion.diagonal()
    rows, columns = np.nonzero(confusion)
    # Each cell of the confusion matrix is one weighted sample, so the cost does not grow with N.
    values = precision_recall_fscore_support(
        rows,
        columns,
        labels=np.arange(len(confusion)),
        sample_weight=confusion[rows, columns],
        zero_division=np.nan,
    )
    intervals = class_intervals(confusion)
    found = []
    for index, name in enumerate(classes):
        n, correct = int(counts[index]), int(hits[index])
        precision, recall, f1 = (interval[index] for interval in intervals)
        found.append(
            ClassMetrics(
                name=name,
                n=n,
                correct=correct,
                accuracy=correct / n if n else None,
                precision=None if precision is None else float(values[0][index]),
                precision_ci95=precision,
                recall=None if recall is None else float(values[1][index]),
                recall_ci95=recall,
                f1=None if f1 is None else float(values[2][index]),
                f1_ci95=f1,
            )
        )
    return found


def coverage_curve(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> list[CoveragePoint]:
    """Compute accuracy on the most confident predictions, for increasing fractions of them.

    Args:
        confidence: (N,) probability of each predicted class.
        correct: (N,) whether each prediction is correct.

    Source: El-Yaniv & Wiener (2010), the risk-coverage curve.
    """
    # Stable: sequences of equal confidence keep their order, so the curve is the same on every machine.
    order = np.argsort(-confidence, kind="stable")
    hits = np.cumsum(correct[order])
    curve = []
    for percent in _COVERAGES:
        n = max(1, round(len(order) * percent / 100))
        curve.append(
            CoveragePoint(
                coverage=percent / 100,
                n=n,
                accuracy=float(hits[n - 1] / n),
                confidence=float(confidence[order[n - 1]]),
            )
        )
    return curve


def accuracy_by_length(lengths: NDArray[np.int64], correct: NDArray[np.bool_]) -> list[LengthGroup]:
    """Compute accuracy in up to eight groups of sequences of similar lengths and about equal size.

    Args:
        lengths: (N,) number of steps of each sequence.
        correct: (N,) whether each prediction is correct.

    Returns:
        The groups, from the shortest to the longest; one group if all lengths are equal.
    """
    # method="lower" takes lengths that occur; `unique` merges groups that would end at the same length.
    fractions = np.arange(1, _LENGTH_GROUPS + 1) / _LENGTH_GROUPS
    longest = np.unique(np.quantile(lengths, fractions, method="lower").astype(np.int64))  # of each group
    group_of = np.searchsorted(longest, lengths, side="left")
    groups = []
    for group in np.unique(group_of):
        members = group_of == group
        n, count = int(members.sum()), int(correct[members].sum())
        groups.append(
            LengthGroup(
                shortest=int(lengths[members].min()),
                longest=int(lengths[members].max()),
                n=n,
                correct=count,
                accuracy=count / n,
                ci95=wilson_interval(count, n),
            )
        )
    return groups


def most_confident_errors(
    probabilities: NDArray[np.float64],
    targets: NDArray[np.int64],
    classes: Sequence[ClassName],
    identifier: Callable[[int], int | str] = int,
    max_count: int = MAX_ERRORS,
) -> list[ConfidentError]:
    """Return the wrong predictions with the highest probability, the highest first.

    Args:
        probabilities: (N, K).
        targets: (N,) class indices.
        classes: K class names.
        identifier: Returns the identifier of the sequence at an index.
        max_count: Maximum number of errors returned.
    """
    predicted = probabilities.argmax(1)
    confidence = probabilities.max(1)
    wrong = np.flatnonzero(predicted != targets)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][:max_count]
    return [
        ConfidentError(
            index=index,
            sequence=identifier(index),
            true=classes[targets[index]],
            predicted=classes[predicted[index]],
            probability=float(confidence[index]),
            probability_of_true=float(probabilities[index, targets[index]]),
        )
        for index in map(int, wrong)
    ]
