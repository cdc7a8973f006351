"""Metrics of segments: runs of steps with the same class.

Steps without a label end the segments beside them, true and predicted ones, and are in no segment.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

OVERLAP = 0.5  # from which a predicted segment is correct


@dataclass(frozen=True, eq=False)
class SegmentCounts:
    """Segments of N sequences, (N,) each.

    Attributes:
        correct: Number of predicted segments that are correct.
        predicted: Number of predicted segments.
        true: Number of true segments.
        edit: Edit score, 0 (worst) to 1; NaN for sequences without labels.
    """

    correct: NDArray[np.int64]
    predicted: NDArray[np.int64]
    true: NDArray[np.int64]
    edit: NDArray[np.float64]

    def f1(self) -> float | None:
        """Return the F1 of all segments, None if there are none."""
        total = int(self.true.sum() + self.predicted.sum())
        return 2 * int(self.correct.sum()) / total if total else None


def count_segments(
    predicted: NDArray[np.int64],
    targets: NDArray[np.int64],
    lengths: NDArray[np.int64],
    overlap: float = OVERLAP,
) -> SegmentCounts:
    """Compare the predicted segments of N sequences with the true ones.

    A predicted segment is correct if the true segment of its class that it overlaps most has an intersection
    over union of at least `overlap`, and no earlier predicted segment was correct for it.

    Args:
        predicted: (S,) predicted class of each step, one sequence after another.
        targets: (S,) true class of each step, -1 for none.
        lengths: (N,) number of steps of each sequence.
        overlap: Least intersection over union, above 0.

    Source: Lea et al. (2017), "Temporal convolutional networks for action segmentation and detection"
    (segmental F1 and edit score).
    """
    ends = np.cumsum(lengths)
    rows = [
        _count_one(predicted[end - length : end], targets[end - length : end], overlap)
        for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)
    ]
    correct, of_predicted, true, edit = zip(*rows, strict=True)
    return SegmentCounts(np.array(correct), np.array(of_predicted), np.array(true), np.array(edit))


def segments(
    classes: NDArray[np.int64], labelled: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the segments of one sequence.

    Args:
        classes: (T,) class of each step.
        labelled: (T,) which steps have a label.

    Returns:
        First step, step after the last one, and class of each segment.
    """
    own = np.where(labelled, classes, -1)
    starts = np.append(0, np.flatnonzero(np.diff(own)) + 1)
    ends = np.append(starts[1:], len(own))
    kept = own[starts] >= 0
    return starts[kept], ends[kept], own[starts][kept]


def _count_one(
    predicted: NDArray[np.int64], targets: NDArray[np.int64], overlap: float
) -> tuple[int, int, int, float]:
    labelled = targets >= 0
    true_starts, true_ends, true_classes = segments(targets, labelled)
    starts, ends, classes = segments(predicted, labelled)
    taken = np.zeros(len(true_starts), bool)
    # Segments are sorted and disjoint: those that a segment overlaps are consecutive.
    first = np.searchsorted(true_ends, starts, "right")
    last = np.searchsorted(true_starts, ends, "left")
    for start, end, kind, low, high in zip(starts, ends, classes, first, last, strict=True):
        near = slice(low, high)
        common = np.minimum(end, true_ends[near]) - np.maximum(start, true_starts[near])
        union = np.maximum(end, true_ends[near]) - np.minimum(start, true_starts[near])
        shared = np.where(true_classes[near] == kind, common / union, 0.0)
        if shared.size and shared.max() >= overlap:
            taken[low + int(shared.argmax())] = True
    longest = max(len(classes), len(true_classes))
    edit = 1 - edit_distance(classes, true_classes) / longest if longest else np.nan
    return int(taken.sum()), len(starts), len(true_starts), edit


def edit_distance(one: NDArray[np.int64], other: NDArray[np.int64]) -> int:
    """Return the least number of insertions, deletions and substitutions that turn `one` into `other`.

    Source: Levenshtein (1966); a row of the table at a time, in which insertions are a running minimum.
    """
    places = np.arange(len(other) + 1)
    row = places
    for number, each in enumerate(one, 1):
        changed = np.empty_like(row)
        changed[0] = number
        changed[1:] = np.minimum(row[1:] + 1, row[:-1] + (other != each))
        row = np.minimum.accumulate(changed - places) + places
    return int(row[-1])
