"""Metrics of a class for each step, and of the segments that the steps form.

Steps of one sequence are not independent: all intervals are percentiles of a bootstrap that resamples whole
sequences. With a single sequence there are none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from scanline.data.source import ClassName
from scanline.metrics.calibration import Reliability, reliability
from scanline.metrics.probabilities import mean_loss, softmax
from scanline.metrics.resampling import TAILS, resample
from scanline.metrics.results import Interval, Metrics, Result
from scanline.metrics.segments import OVERLAP, SegmentCounts, count_segments

MAX_SEQUENCES = 20
Counts = NDArray[np.float64]


class StepClassMetrics(Result):
    """Metrics of one class over the labelled steps; None where a value is undefined.

    Attributes:
        name: The class, "class" in JSON.
        n: Number of steps of the class.
        correct: How many of them were predicted correctly.
        precision: Fraction of the predictions of this class that are correct.
        precision_ci95: Its bootstrap interval; `recall_ci95` and `f1_ci95` likewise.
        recall: Fraction of the steps of this class that are predicted correctly.
        f1: Harmonic mean of precision and recall.
    """

    name: ClassName = Field(alias="class")
    n: int
    correct: int
    precision: float | None
    precision_ci95: Interval | None
    recall: float | None
    recall_ci95: Interval | None
    f1: float | None
    f1_ci95: Interval | None


class SegmentMetrics(Result):
    """Metrics of segments, see `count_segments`.

    Attributes:
        overlap: Intersection over union from which a predicted segment is correct.
        n: Number of true segments.
        predicted: Number of predicted segments.
        correct: Number of predicted segments that are correct.
        f1: Their F1; None if there are no segments.
        f1_ci95: Its bootstrap interval.
        edit: Mean edit score of the sequences, 0 to 1.
        edit_ci95: Its bootstrap interval.
    """

    overlap: float
    n: int
    predicted: int
    correct: int
    f1: float | None
    f1_ci95: Interval | None
    edit: float | None
    edit_ci95: Interval | None


class SequenceErrors(Result):
    """Errors of one sequence.

    Attributes:
        index: Index of the sequence in its split.
        sequence: Identifier of the sequence, or its index.
        n: Number of its labelled steps.
        correct: How many of them were predicted correctly.
    """

    index: int
    sequence: int | str
    n: int
    correct: int


class StepMetrics(Metrics):
    """All metrics of a class for each step on one split.

    Attributes:
        n: Number of labelled steps.
        sequences: Number of sequences.
        unlabelled: Number of steps without a label, which count nowhere.
        correct: Number of correct predictions.
        accuracy: `correct / n`.
        ci95: Its bootstrap interval over sequences, None if there is one sequence.
        loss: Mean cross-entropy in nats.
        macro_f1: Mean F1 of the classes that occur among labels or predictions.
        macro_f1_ci95: Its bootstrap interval over sequences.
        classes: Metrics of each class.
        confusion: K x K counts of steps, a row for each true class.
        segments: Metrics of segments.
        calibration: See `reliability`.
        mistakes: Sequences with the most wrong steps, the most first.
    """

    sequences: int
    unlabelled: int
    correct: int
    accuracy: float
    ci95: Interval | None
    loss: float
    macro_f1: float
    macro_f1_ci95: Interval | None
    classes: list[StepClassMetrics]
    confusion: list[list[int]]
    segments: SegmentMetrics
    calibration: Reliability
    mistakes: list[SequenceErrors]


def step_metrics(
    logits: NDArray[np.float32],
    targets: NDArray[np.int64],
    classes: Sequence[ClassName],
    lengths: NDArray[np.int64],
    identifier: Callable[[int], int | str] = int,
) -> StepMetrics:
    """Compute all metrics of a class for each step.

    Args:
        logits: (S, K) of the steps of N sequences, one sequence after another.
        targets: (S,) class indices, -1 for steps without a label; at least one step has one.
        classes: K class names.
        lengths: (N,) number of steps of each sequence.
        identifier: Returns the identifier of the sequence at an index.
    """
    K, labelled = len(classes), targets >= 0
    predicted = logits.argmax(1)
    per_sequence, cells = _count_cells(predicted, targets, lengths, K)
    whole = per_sequence.sum(0, keepdims=True)
    confusion = np.zeros((K, K), np.int64)
    confusion.flat[cells] = whole[0]
    segments = count_segments(predicted, targets, lengths)
    n, correct = int(labelled.sum()), int(confusion.trace())
    sampled = _resampled(per_sequence, cells, segments, K) if len(lengths) > 1 else None
    precision, recall, f1 = (values[0] for values in _class_values(whole, cells, K))
    probabilities = softmax(logits[labelled])
    return StepMetrics(
        n=n,
        sequences=len(lengths),
        unlabelled=len(targets) - n,
        correct=correct,
        accuracy=correct / n,
        ci95=_interval(sampled, "accuracy"),
        loss=mean_loss(logits[labelled], targets[labelled]),
        macro_f1=float(np.nanmean(f1)),
        macro_f1_ci95=_interval(sampled, "macro_f1"),
        classes=[
            _of_class(name, index, confusion, (precision, recall, f1), sampled)
            for index, name in enumerate(classes)
        ],
        confusion=confusion.tolist(),
        segments=_of_segments(segments, sampled),
        calibration=reliability(probabilities.max(1), predicted[labelled] == targets[labelled]),
        mistakes=_most_errors(per_sequence, cells, K, identifier),
    )


def resampled_scores(
    predicted: NDArray[np.int64], targets: NDArray[np.int64], lengths: NDArray[np.int64], K: int
) -> dict[str, Counts]:
    """Return metrics of each resample of the N sequences, the same resamples for all predictions of them.

    Args:
        predicted: (S,) predicted class of each step, one sequence after another.
        targets: (S,) class indices, -1 for steps without a label.
        lengths: (N,) number of steps of each sequence, N > 1.
        K: Number of classes.

    Returns:
        (RESAMPLES,) "accuracy", "macro_f1" and "segments", the F1 of segments; NaN where undefined.
    """
    per_sequence, cells = _count_cells(predicted, targets, lengths, K)
    found = _resampled(per_sequence, cells, count_segments(predicted, targets, lengths), K)
    return {name: found[name] for name in ("accuracy", "macro_f1", "segments")}


def _count_cells(
    predicted: NDArray[np.int64], targets: NDArray[np.int64], lengths: NDArray[np.int64], K: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return counts (N, C) of each sequence and cell of the confusion matrix, and the C cells that occur."""
    labelled = targets >= 0
    sequence = np.repeat(np.arange(len(lengths)), lengths)[labelled]
    cells, cell = np.unique(targets[labelled] * K + predicted[labelled], return_inverse=True)
    per_sequence = np.zeros((len(lengths), len(cells)), np.int64)
    np.add.at(per_sequence, (sequence, cell), 1)
    return per_sequence, cells


def _class_values(
    counts: NDArray[np.int64], cells: NDArray[np.int64], K: int
) -> tuple[Counts, Counts, Counts]:
    """Return precision, recall and F1 of each class, (R, K) each; NaN where undefined.

    Args:
        counts: (R, C) counts of C cells of a confusion matrix.
        cells: (C,) the cells, row * K + column.
        K: Number of classes.
    """
    true, predicted, hits = (np.zeros((len(counts), K)) for _ in range(3))
    for place, each in enumerate(cells):
        row, column = divmod(int(each), K)
        true[:, row] += counts[:, place]
        predicted[:, column] += counts[:, place]
        if row == column:
            hits[:, row] += counts[:, place]
    with np.errstate(invalid="ignore"):
        return hits / predicted, hits / true, 2 * hits / (true + predicted)


def _resampled(
    per_sequence: NDArray[np.int64], cells: NDArray[np.int64], segments: SegmentCounts, K: int
) -> dict[str, Counts]:
    """Return the metrics of each resample of the N sequences, by name, (RESAMPLES,) or (RESAMPLES, K)."""
    edited = np.isfinite(segments.edit)

    def metrics(drawn: NDArray[np.int64]) -> dict[str, Counts]:
        counts = drawn @ per_sequence
        precision, recall, f1 = _class_values(counts, cells, K)
        with np.errstate(invalid="ignore"):
            return {
                "accuracy": counts[:, cells % K == cells // K].sum(1) / counts.sum(1),
                "precision": precision,
                "recall": recall,
                "f1": f1,
                # Not `nanmean`, which warns where a resample has no labels at all.
                "macro_f1": np.nansum(f1, 1) / np.isfinite(f1).sum(1),
                "segments": 2 * (drawn @ segments.correct) / (drawn @ (segments.true + segments.predicted)),
                "edit": (drawn[:, edited] @ segments.edit[edited]) / drawn[:, edited].sum(1),
            }

    return resample(len(per_sequence), max(K, len(cells)), metrics, at_once=2**24)


def _interval(sampled: dict[str, Counts] | None, name: str, index: int | None = None) -> Interval | None:
    """Return the percentiles of the resamples in which a metric has a value; None if there are none."""
    if sampled is None:
        return None
    values = sampled[name] if index is None else sampled[name][:, index]
    if not np.isfinite(values).any():
        return None
    low, high = np.quantile(values[np.isfinite(values)], TAILS)
    return float(low), float(high)


def _of_class(
    name: ClassName,
    index: int,
    confusion: NDArray[np.int64],
    values: tuple[Counts, Counts, Counts],
    sampled: dict[str, Counts] | None,
) -> StepClassMetrics:
    precision, recall, f1 = (float(each[index]) if np.isfinite(each[index]) else None for each in values)
    intervals = {
        key: None if value is None else _interval(sampled, key, index)
        for key, value in (("precision", precision), ("recall", recall), ("f1", f1))
    }
    return StepClassMetrics(
        name=name,
        n=int(confusion[index].sum()),
        correct=int(confusion[index, index]),
        precision=precision,
        precision_ci95=intervals["precision"],
        recall=recall,
        recall_ci95=intervals["recall"],
        f1=f1,
        f1_ci95=intervals["f1"],
    )


def _of_segments(segments: SegmentCounts, sampled: dict[str, Counts] | None) -> SegmentMetrics:
    edited = np.isfinite(segments.edit)
    return SegmentMetrics(
        overlap=OVERLAP,
        n=int(segments.true.sum()),
        predicted=int(segments.predicted.sum()),
        correct=int(segments.correct.sum()),
        f1=segments.f1(),
        f1_ci95=_interval(sampled, "segments"),
        edit=float(segments.edit[edited].mean()) if edited.any() else None,
        edit_ci95=_interval(sampled, "edit"),
    )


def _most_errors(
    per_sequence: NDArray[np.int64], cells: NDArray[np.int64], K: int, identifier: Callable[[int], int | str]
) -> list[SequenceErrors]:
    totals = per_sequence.sum(1)
    hits = per_sequence[:, cells % K == cells // K].sum(1)
    order = np.argsort(hits - totals, kind="stable")[:MAX_SEQUENCES]
    return [
        SequenceErrors(
            index=index, sequence=identifier(index), n=int(totals[index]), correct=int(hits[index])
        )
        for index in map(int, order)
        if totals[index] > hits[index]
    ]
