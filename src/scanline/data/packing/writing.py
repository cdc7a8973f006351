"""Writes staged sequences as row groups, bucket after bucket, and continues where an earlier try ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.memory import MemorySource
from scanline.data.moments import Moments
from scanline.data.packed.location import Location
from scanline.data.packed.manifest import RowGroup
from scanline.data.packed.row_groups import encode_row_group, read_file
from scanline.data.packing.division import Division
from scanline.data.packing.intake import Report
from scanline.data.packing.journal import Journal
from scanline.data.packing.stage import Bucket, Order
from scanline.data.source import ClassName
from scanline.errors import DataError, one_line
from scanline.storage.digest import sha256

# What identifier, label and length of a sequence take in memory: row groups of short ones are no larger.
_ROW_BYTES = 128


@dataclass(eq=False)
class WrittenSplit:
    """A split that is being written.

    Attributes:
        name: Its name.
        classes: The K class names, or distinct numbers.
        row_groups: The files so far.
        moments: Statistics of the values so far.
        missing: Number of missing values so far.
        first_missing: Place of the first.
        lengths: Lengths of the sequences so far.
        targets: Targets of the sequences so far.
        group_codes: Codes of the groups of the sequences so far.
    """

    name: str
    classes: tuple[ClassName, ...]
    moments: Moments
    row_groups: list[RowGroup] = field(default_factory=list)
    missing: int = 0
    first_missing: str = ""
    lengths: list[NDArray[np.int32]] = field(default_factory=list)
    targets: list[NDArray[np.int32]] = field(default_factory=list)
    group_codes: set[int] = field(default_factory=set)

    @property
    def done(self) -> int:
        """Number of sequences that are in row groups."""
        return sum(each.n for each in self.row_groups)


@dataclass(eq=False)
class _Waiting:
    """Sequences that will be in the next row group."""

    steps: list[NDArray[Any]] = field(default_factory=list)
    lengths: list[NDArray[np.int64]] = field(default_factory=list)
    targets: list[NDArray[np.int64]] = field(default_factory=list)
    groups: list[NDArray[np.int32]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    bytes: int = 0


class RowGroupWriter:
    """Writes the row groups of all splits.

    Args:
        location: The target.
        journal: Record of the row groups that are written.
        division: The splits.
        features: F, the number of values of a step.
        dtype: Type of the values.
        feature_names: Their names, for the place of a missing value.
        group_names: Names of the groups.
        row_group_bytes: Size of a row group in bytes of step values, with `_ROW_BYTES` for each sequence.
    """

    def __init__(
        self,
        location: Location,
        journal: Journal,
        division: Division,
        features: int,
        dtype: np.dtype[Any],
        feature_names: tuple[str, ...],
        group_names: list[str],
        row_group_bytes: int,
    ) -> None:
        self.location, self.journal, self.division = location, journal, division
        self.features, self.dtype, self.names = features, dtype, feature_names
        self.group_names = np.array(group_names, dtype=object)
        self.row_group_bytes = row_group_bytes
        self.splits = [
            WrittenSplit(name, division.classes, Moments.none(features)) for name in division.names
        ]
        self._waiting = [_Waiting() for _ in self.splits]
        self._to_skip = [0] * len(self.splits)

    def go_on(self) -> None:
        """Count the row groups in the journal as written, as far as their files are there."""
        kept = 0
        for facts in self.journal.row_groups():
            group = RowGroup.model_validate(facts["row_group"])
            split = next((each for each in self.splits if each.name == facts["split"]), None)
            if split is None or not self._is_there(group):
                break
            count, mean, m2 = (np.array(facts[key]) for key in ("count", "mean", "m2"))
            self._record(split, group, Moments(count, mean, m2), facts["missing"], facts["first_missing"])
            kept += 1
        self.journal.keep_row_groups(kept)
        self._to_skip = [split.done for split in self.splits]

    def _is_there(self, group: RowGroup) -> bool:
        """Return whether the file of a row group is there, with the bytes that were written."""
        # Another packing to the same target, with another temporary folder, may have replaced it.
        try:
            read_file(self.location, group)
        except DataError:
            return False
        return True

    def write(self, stage: Path, buckets: int, order: Order, report: Report) -> None:
        """Write the sequences of all buckets.

        Raises:
            ScanlineError: If the target cannot be written.
        """
        total, first = len(self.division.of), 0
        for number in range(buckets):
            bucket = Bucket(stage, number, self.features, self.dtype)
            end = first + len(bucket.rows)
            if end > first:
                of, targets = self.division.of[first:end], self.division.targets[first:end]
                self._take_bucket(bucket, of, targets, order)
            first = end
            report("write", first, total)
        for index, waiting in enumerate(self._waiting):
            if waiting.ids:
                self._flush(index)

    def _take_bucket(
        self, bucket: Bucket, of: NDArray[np.int8], targets: NDArray[np.int32], order: Order
    ) -> None:
        rows = bucket.rows
        placed = np.lexsort((rows["number"], order.keys(rows["number"])))
        for index, split in enumerate(self.splits):
            own = placed[of[placed] == index]
            if not len(own):
                continue
            split.lengths.append(rows["length"][own])
            split.targets.append(targets[own])
            split.group_codes.update(np.unique(rows["group"][own]).tolist())
            # Sequences of row groups that an earlier try has written are passed over.
            skip = min(len(own), self._to_skip[index])
            self._to_skip[index] -= skip
            for piece in self._pieces(index, rows["length"], own[skip:]):
                self._hold(index, bucket, piece, targets)

    def _pieces(
        self, index: int, lengths: NDArray[np.int32], own: NDArray[np.int64]
    ) -> Iterator[NDArray[np.int64]]:
        """Yield the sequences that fill up a row group, one row group after another."""
        step_bytes = self.features * self.dtype.itemsize
        sizes = np.cumsum(lengths[own].astype(np.int64) * step_bytes + _ROW_BYTES)
        first, used = 0, 0
        while first < len(own):
            room = self.row_group_bytes - self._waiting[index].bytes
            end = max(first + 1, int(np.searchsorted(sizes, used + room, "left")) + 1)
            yield own[first:end]
            first = min(end, len(own))
            used = int(sizes[first - 1])

    def _hold(
        self, index: int, bucket: Bucket, chosen: NDArray[np.int64], targets: NDArray[np.int32]
    ) -> None:
        waiting = self._waiting[index]
        steps = bucket.steps(chosen)
        waiting.steps.append(steps)
        waiting.lengths.append(bucket.rows["length"][chosen].astype(np.int64))
        waiting.targets.append(targets[chosen].astype(np.int64))
        waiting.groups.append(bucket.rows["group"][chosen])
        waiting.ids += bucket.ids(chosen)
        waiting.bytes += steps.nbytes + _ROW_BYTES * len(chosen)
        if waiting.bytes >= self.row_group_bytes:
            self._flush(index)

    def _flush(self, index: int) -> None:
        """Write the row group of the sequences that wait."""
        split, waiting = self.splits[index], self._waiting[index]
        self._waiting[index] = _Waiting()
        codes = np.concatenate(waiting.groups)
        source = MemorySource(
            np.concatenate(waiting.steps),
            np.concatenate(waiting.lengths),
            np.concatenate(waiting.targets),
            split.classes,
            self.location.uri,
            np.array(waiting.ids, dtype=object),
            self.group_names[codes] if (codes >= 0).all() else None,
        )
        del waiting
        content = encode_row_group(source)
        name = f"{split.name}-{len(split.row_groups):06d}.parquet"
        group = RowGroup(
            file=name,
            bytes=len(content),
            sha256=sha256(content),
            n=len(source),
            steps=source.total_steps,
        )
        self.location.write(name, content)
        moments, (missing, place) = Moments.of(source.concatenated), self._missing(source)
        self._record(split, group, moments, missing, place)
        self.journal.add_row_group(
            {
                "split": split.name,
                "row_group": group.model_dump(mode="json"),
                "count": moments.count.tolist(),
                "mean": moments.mean.tolist(),
                "m2": moments.m2.tolist(),
                "missing": missing,
                "first_missing": place,
            }
        )

    def _record(
        self, split: WrittenSplit, group: RowGroup, moments: Moments, missing: int, place: str
    ) -> None:
        split.row_groups.append(group)
        split.moments = split.moments.plus(moments)
        split.missing += missing
        split.first_missing = split.first_missing or place

    def _missing(self, source: MemorySource) -> tuple[int, str]:
        """Return how many values are missing, and the place of the first."""
        if source.dtype == np.uint8:
            return 0, ""
        missing = np.isnan(source.concatenated)
        count = int(missing.sum())
        if not count:
            return 0, ""
        row = int(np.flatnonzero(missing.any(1))[0])
        feature = int(np.flatnonzero(missing[row])[0])
        index = int(np.searchsorted(source.starts, row, "right")) - 1
        step = row - int(source.starts[index])
        cell = f"feature {feature}"
        if self.names:
            cell = f"column {one_line(self.names[feature if len(self.names) == source.features else step])}"
        return count, f"{source.describe(index)}, step {step}, {cell}"
