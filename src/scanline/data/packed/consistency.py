"""Whether a manifest agrees with its sequences: what can be compared without reading all of them.

Means and variances are not among it; only reading every value would show that they are wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.packed.manifest import Lengths, Manifest, PackedSplit, RowGroup, TargetRange
from scanline.data.packed.row_groups import label_text
from scanline.data.source import ClassName
from scanline.errors import DataError, one_line

if TYPE_CHECKING:
    import pyarrow

_PRECISION = 1e-9  # relative; means depend on the order of the summation
_REMEDY = "the files do not belong together: copy all of them again, or pack the source again"


def check_index(
    manifest: Manifest, split: PackedSplit, lengths: NDArray[np.int64], targets: NDArray[Any], where: str
) -> None:
    """Compare the entry of a split with its index.

    Args:
        manifest: The manifest.
        split: Its entry of the split.
        lengths: (N,) number of steps of each sequence.
        targets: (N,) targets in the index, integers or, if targets are numbers, floats.
        where: The index, for messages.

    Raises:
        DataError: If they disagree; names the first field that does.
    """
    _check(where, "sequences", split.n, len(lengths))
    _check(where, "steps", split.steps, int(lengths.sum()))
    _check_lengths(where, split.lengths, lengths)
    if split.targets is not None:
        _check_range(where, split.targets, targets)
        return
    most = max(1, len(manifest.classes)) - 1
    wrong = np.flatnonzero((targets < 0) | (targets > most))
    if wrong.size:
        first = int(wrong[0])
        raise DataError(
            where=f"{where}: sequence {first}",
            expected=f"a target from 0 to {most}",
            found=int(targets[first]),
        )
    if manifest.classes:
        counts = np.bincount(targets, minlength=len(manifest.classes)).tolist()
        _check(where, "sequences of each class", split.class_counts, counts)


def check_sizes(entry: RowGroup, lengths: NDArray[np.int64], where: str) -> None:
    """Compare the entry of a row group with its (n,) lengths; errors as for `check_index`."""
    _check(where, "sequences", entry.n, len(lengths))
    _check(where, "steps", entry.steps, int(lengths.sum()))


def check_values(split: PackedSplit, steps: NDArray[Any], where: str) -> None:
    """Check that values are finite, and none is missing unless the manifest says so.

    Args:
        split: The entry of the split.
        steps: (S, F) steps of a row group.
        where: The file, for messages.

    Raises:
        DataError: If they are not.
    """
    if steps.dtype == np.uint8 or np.isfinite(steps).all():
        return
    if np.isinf(steps).any():
        raise DataError(where=where, expected="finite numbers or missing values", found="infinity")
    missing = int(np.isnan(steps).sum())
    if missing > split.missing:
        _check(where, "missing values in the split", split.missing, f"{missing:,} in this file")


def check_labels(
    labels: pyarrow.Array, targets: NDArray[np.int64], classes: Sequence[ClassName], where: str
) -> None:
    """Compare the labels in a row group with the targets in the index.

    Args:
        labels: (n,) labels as text.
        targets: (n,) indices into `classes`.
        classes: The class names of the manifest, at least one.
        where: The file, for messages.

    Raises:
        DataError: If they differ; names the first sequence.
    """
    import pyarrow

    expected = pyarrow.array([label_text(name) for name in classes], pyarrow.string()).take(targets)
    if labels.equals(expected):
        return
    row = next(row for row, label in enumerate(labels) if label != expected[row])
    _check(f"{where}: row {row + 1}", "label", expected[row].as_py(), labels[row].as_py())


def _check_lengths(where: str, expected: Lengths, lengths: NDArray[np.int64]) -> None:
    ordered = np.sort(lengths)
    n = len(ordered)
    _check(where, "length of the shortest sequence", expected.min, int(ordered[0]))
    _check(where, "length of the longest sequence", expected.max, int(ordered[-1]))
    low, high = int(ordered[(n - 1) // 2]), int(ordered[n // 2])
    if not low <= expected.median <= high:
        _check(where, "median length", expected.median, (low + high) / 2)
    for first, last, count in expected.histogram:
        found = np.searchsorted(ordered, last, "right") - np.searchsorted(ordered, first, "left")
        _check(where, f"sequences of {first:,} to {last:,} steps", count, int(found))


def _check_range(where: str, expected: TargetRange, targets: NDArray[np.float64]) -> None:
    if not np.isfinite(targets).all():
        raise DataError(where=where, expected="targets that are finite numbers", found="others")
    low, high = float(targets.min()), float(targets.max())
    _check(where, "smallest target", expected.min, low)
    _check(where, "largest target", expected.max, high)
    mean = float(targets.mean())
    if abs(mean - expected.mean) > _PRECISION * max(abs(low), abs(high)):
        _check(where, "mean of the targets", expected.mean, mean)


def _check(where: str, what: str, expected: object, found: object) -> None:
    if expected != found:
        raise DataError(
            where=where,
            expected=f"{what}: {_shown(expected)}, as in the manifest",
            found=_shown(found),
            remedy=_REMEDY,
        )


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else one_line(value)
