"""Metrics of several classes at once for each sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scanline.metrics.intervals import wilson_interval
from scanline.metrics.resampling import percentiles, resample
from scanline.metrics.results import Interval, Metrics, Result

MAX_ERRORS = 20
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class LabelMetrics(Result):
    """Metrics of one class; None where a value is undefined.

    Attributes:
        name: The class, "class" in JSON.
        n: Number of sequences that have it.
        predicted: Number of sequences for which it is predicted.
        correct: Number of sequences that have it and for which it is predicted.
        precision: `correct / predicted`.
        precision_ci95: Its bootstrap interval; `recall_ci95` and `f1_ci95` likewise.
        recall: `correct / n`.
        f1: Harmonic mean of precision and recall.
        average_precision: Area under the curve of precision by recall; None if no sequence has the class.
        threshold: Probability from which the class is predicted.
    """

    name: str = Field(alias="class")
    n: int
    predicted: int
    correct: int
    precision: float | None
    precision_ci95: Interval | None
    recall: float | None
    recall_ci95: Interval | None
    f1: float | None
    f1_ci95: Interval | None
    average_precision: float | None
    threshold: float


class LabelErrors(Result):
    """A sequence with wrong labels.

    Attributes:
        index: Index of the sequence in its split.
        sequence: Identifier of the sequence, or its index.
        true: Its classes.
        predicted: The predicted classes.
        wrong: Number of classes that are in one of both only.
    """

    index: int
    sequence: int | str
    true: list[str]
    predicted: list[str]
    wrong: int


class MultilabelMetrics(Metrics):
    """All metrics of several classes at once on one split.

    Attributes:
        n: Number of sequences.
        loss: Mean binary cross-entropy of a class, in nats.
        subset_accuracy: Fraction of sequences all of whose classes are predicted, and no others.
        subset_accuracy_ci95: Its Wilson interval.
        hamming_loss: Fraction of wrong decisions, of N times K.
        hamming_loss_ci95: Its bootstrap interval; those of the F1 likewise.
        micro_f1: F1 of all decisions together.
        macro_f1: Mean F1 of the classes that occur or are predicted.
        samples_f1: Mean F1 of the sequences; 1 for a sequence without classes for which none is predicted.
        mean_average_precision: Mean average precision of the classes that occur.
        classes: Metrics of each class.
        errors: Sequences with the most wrong classes, the most first.
    """

    loss: float
    subset_accuracy: float
    subset_accuracy_ci95: Interval
    hamming_loss: float
    hamming_loss_ci95: Interval | None
    micro_f1: float
    micro_f1_ci95: Interval | None
    macro_f1: float
    macro_f1_ci95: Interval | None
    samples_f1: float
    samples_f1_ci95: Interval | None
    mean_average_precision: float | None
    classes: list[LabelMetrics]
    errors: list[LabelErrors]


def multilabel_metrics(
    probabilities: Floats,
    true: Bools,
    thresholds: Floats,
    names: Sequence[str],
    loss: float,
    identifier: Callable[[int], int | str] = int,
) -> MultilabelMetrics:
    """Return the metrics of predictions.

    Args:
        probabilities: (N, K) probability of each class.
        true: (N, K) which classes a sequence has.
        thresholds: (K,) probability from which each class is predicted.
        names: K class names.
        loss: Mean binary cross-entropy.
        identifier: Returns the identifier of the sequence at an index.
    """
    predicted = probabilities >= thresholds
    hits, wrong = predicted & true, predicted ^ true
    N, K = true.shape
    # Counts of each sequence: hits, predictions and classes of each of the K, then those of the whole.
    counts = np.concatenate([hits, predicted, true], 1).astype(np.float64)
    of_sequence = _f1(hits.sum(1), predicted.sum(1), true.sum(1), empty=1.0)
    extra = np.stack([wrong.sum(1) / K, of_sequence, np.ones(N)], 1)
    sums = np.concatenate([counts, extra], 1)
    whole, sampled = (
        _values(sums.sum(0, keepdims=True), K),
        resample(len(sums), sums.shape[1], lambda drawn: _values(drawn @ sums, K)),
    )
    average = _average_precisions(probabilities, true)
    known = average[~np.isnan(average)]
    exact = int((~wrong.any(1)).sum())
    return MultilabelMetrics(
        n=N,
        loss=loss,
        subset_accuracy=exact / N,
        subset_accuracy_ci95=wilson_interval(exact, N),
        hamming_loss=float(wrong.mean()),
        hamming_loss_ci95=percentiles(sampled["hamming_loss"]),
        micro_f1=float(whole["micro_f1"][0]),
        micro_f1_ci95=percentiles(sampled["micro_f1"]),
        macro_f1=float(whole["macro_f1"][0]),
        macro_f1_ci95=percentiles(sampled["macro_f1"]),
        samples_f1=float(of_sequence.mean()),
        samples_f1_ci95=percentiles(sampled["samples_f1"]),
        mean_average_precision=float(known.mean()) if known.size else None,
        classes=[
            _of_class(name, k, sums.sum(0)[k : 3 * K : K], whole, sampled, average[k], thresholds[k])
            for k, name in enumerate(names)
        ],
        errors=_most_wrong(true, predicted, names, identifier),
    )


def best_thresholds(probabilities: Floats, true: Bools) -> Floats:
    """Return the threshold of each class with the highest F1, (K,); 0.5 for a class that does not occur.

    Thresholds lie in the middle between two probabilities; of several with the same F1 the one nearest to 0.5
    is taken.

    Args:
        probabilities: (N, K) probability of each class for sequences that were not used in training.
        true: (N, K) which classes they have.
    """
    thresholds = np.full(probabilities.shape[1], 0.5)
    for k in range(len(thresholds)):
        if not true[:, k].any():
            continue
        order = np.argsort(-probabilities[:, k], kind="stable")
        ranked, hits = probabilities[order, k], np.cumsum(true[order, k])
        n = np.arange(1, len(ranked) + 1)
        ends = np.append(ranked[1:] < ranked[:-1], True)  # equal probabilities are on one side
        f1 = np.where(ends, 2 * hits / (n + hits[-1]), -1.0)
        middle = (ranked + np.append(ranked[1:], 0.0)) / 2
        best = np.flatnonzero(f1 == f1.max())
        thresholds[k] = middle[best[np.argmin(np.abs(middle[best] - 0.5))]]
    return thresholds


def _f1(hits: NDArray[Any], predicted: NDArray[Any], true: NDArray[Any], empty: float = np.nan) -> Floats:
    """Return the F1 of counts, elementwise; `empty` where nothing is true or predicted."""
    total = np.asarray(predicted + true, np.float64)
    values: Floats = np.where(total > 0, 2 * hits / np.maximum(total, 1e-300), empty)
    return values


def _values(sums: Floats, K: int) -> dict[str, Floats]:
    """Return metrics for sums over sequences (R, 3 K + 3), (R,) or (R, K) each; NaN where undefined."""
    hits, predicted, true = (sums[:, k * K : (k + 1) * K] for k in range(3))
    wrong, samples, n = sums[:, 3 * K :].T
    of_classes = _f1(hits, predicted, true)
    defined = ~np.isnan(of_classes)
    with np.errstate(invalid="ignore"):
        return {
            "hamming_loss": wrong / n,
            "samples_f1": samples / n,
            "micro_f1": _f1(hits.sum(1), predicted.sum(1), true.sum(1), empty=0.0),
            "macro_f1": np.nan_to_num(of_classes).sum(1) / np.maximum(defined.sum(1), 1),
            "precision": hits / predicted,
            "recall": hits / true,
            "f1": of_classes,
        }


def _average_precisions(probabilities: Floats, true: Bools) -> Floats:
    """Return the average precision of each class, (K,), NaN for those that no sequence has."""
    from sklearn.metrics import average_precision_score

    found = np.full(true.shape[1], np.nan)
    for k in np.flatnonzero(true.any(0)):
        found[k] = average_precision_score(true[:, k], probabilities[:, k])
    return found


def _of_class(
    name: str,
    k: int,
    counts: Floats,
    whole: dict[str, Floats],
    sampled: dict[str, Floats],
    average: float,
    threshold: float,
) -> LabelMetrics:
    """Return the metrics of class k; counts: (3,) of its hits, predictions and sequences."""

    def value(key: str) -> float | None:
        number = float(whole[key][0, k])
        return None if np.isnan(number) else number

    def interval(key: str) -> Interval | None:
        return None if value(key) is None else percentiles(sampled[key][:, k])

    correct, predicted, n = map(int, counts)
    return LabelMetrics(
        name=name,
        n=n,
        predicted=predicted,
        correct=correct,
        precision=value("precision"),
        precision_ci95=interval("precision"),
        recall=value("recall"),
        recall_ci95=interval("recall"),
        f1=value("f1"),
        f1_ci95=interval("f1"),
        average_precision=None if np.isnan(average) else float(average),
        threshold=float(threshold),
    )


def _most_wrong(
    true: Bools, predicted: Bools, names: Sequence[str], identifier: Callable[[int], int | str]
) -> list[LabelErrors]:
    wrong = (true ^ predicted).sum(1)
    order = np.argsort(-wrong, kind="stable")[:MAX_ERRORS]
    return [
        LabelErrors(
            index=index,
            sequence=identifier(index),
            true=[names[k] for k in np.flatnonzero(true[index]).tolist()],
            predicted=[names[k] for k in np.flatnonzero(predicted[index]).tolist()],
            wrong=int(wrong[index]),
        )
        for index in map(int, order)
        if wrong[index]
    ]
