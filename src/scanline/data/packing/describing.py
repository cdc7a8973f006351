"""The entry of a split in the manifest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scanline.data.packed.location import Location
from scanline.data.packed.manifest import (
    MOST_GROUPS,
    FileDigest,
    Lengths,
    PackedSplit,
    Statistics,
    TargetRange,
)
from scanline.data.packed.row_groups import encode_index
from scanline.data.packing.writing import WrittenSplit
from scanline.data.source import ClassName
from scanline.storage.digest import sha256

_BINS = 40  # of the histogram of lengths


def describe_split(
    split: WrittenSplit,
    origin: str,
    classes: tuple[ClassName, ...],
    numbers: bool,
    target: Location,
    group_names: list[str],
) -> PackedSplit:
    """Write the index of a split, and return its entry in the manifest.

    Args:
        split: The split, whose row groups are written.
        origin: Where it comes from, in words.
        classes: The K class names, or distinct numbers.
        numbers: Whether targets are numbers.
        target: Where the index is written.
        group_names: Names of the groups.
    """
    lengths = np.concatenate(split.lengths).astype(np.int64)
    targets = np.concatenate(split.targets)
    values = np.array(classes, np.float64)[targets] if numbers else None
    content = encode_index(lengths, targets if values is None else values)
    name = f"{split.name}-index.parquet"
    target.write(name, content)
    counts = [] if numbers else np.bincount(targets, minlength=len(classes))[: len(classes)].tolist()
    groups = sorted(group_names[code] for code in split.group_codes if code >= 0)
    return PackedSplit(
        n=len(lengths),
        steps=int(lengths.sum()),
        origin=origin,
        class_counts=counts,
        targets=None if values is None else _range(values),
        group_count=len(groups) if groups else None,
        groups=groups if len(groups) <= MOST_GROUPS else [],
        lengths=_lengths(lengths),
        missing=split.missing,
        first_missing=split.first_missing,
        statistics=Statistics(
            count=split.moments.count.tolist(), mean=split.moments.mean.tolist(), m2=split.moments.m2.tolist()
        ),
        index=FileDigest(file=name, bytes=len(content), sha256=sha256(content)),
        row_groups=split.row_groups,
    )


def _range(values: NDArray[np.float64]) -> TargetRange:
    return TargetRange(min=float(values.min()), mean=float(values.mean()), max=float(values.max()))


def _lengths(lengths: NDArray[np.int64]) -> Lengths:
    low, high = int(lengths.min()), int(lengths.max())
    # Whole numbers: each bin begins after the end of the one before.
    edges = np.unique(np.linspace(low, high + 1, min(_BINS, high - low + 1) + 1).astype(np.int64))
    counts, _ = np.histogram(lengths, edges)
    bins = zip(edges[:-1].tolist(), (edges[1:] - 1).tolist(), counts.tolist(), strict=True)
    return Lengths(min=low, median=float(np.median(lengths)), max=high, histogram=list(bins))
