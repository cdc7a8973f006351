"""Sequences held in memory: one array of all steps, and a length for each sequence."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from scanline.data.labels import names_before_types
from scanline.data.source import Batch, ClassName, Indices, Layout, SequenceSource, evenly_spaced
from scanline.data.source_info import NO_INFO, SourceInfo
from scanline.errors import DataError


@dataclass(frozen=True, eq=False)
class MemorySource(SequenceSource):
    """N sequences in memory, without padding.

    Attributes:
        concatenated: (S, F) uint8 or float32, the steps of all sequences one after another; S is the sum of
            `lengths`. Code outside `scanline.data` uses `gather`, `values` or `steps_of`.
        lengths: (N,) int64 number of steps of each sequence, at least 1.
        targets: (N,) int64, 0 <= target < K: indices into `classes`; all 0 if there are no classes.
        classes: The K class names, integers or text; empty if the targets are unknown.
        name: Where the sequences come from, for messages.
        ids: (N,) identifier of each sequence, or None.
        groups: (N,) group of each sequence, or None.
        weights: (N,) float32 weight of each sequence in the loss, or None.
        info: What the reader knows about the sequences.
        layout: How the sequences are stored where they were read as a whole, to be visited in the same order.
        step_targets: (S,) int64 index into `classes` of each step, -1 for none; None if sequences have one
            target each.

    Raises:
        DataError: If the arrays do not fit together; names the first offending sequence.
    """

    concatenated: NDArray[Any]
    lengths: NDArray[np.int64]
    targets: NDArray[np.int64]
    classes: tuple[ClassName, ...]
    name: str = "sequences"
    ids: NDArray[Any] | None = None
    groups: NDArray[Any] | None = None
    weights: NDArray[np.float32] | None = None
    info: SourceInfo = NO_INFO
    layout: Layout | None = None
    step_targets: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        steps = self.concatenated
        if steps.ndim != 2 or 0 in steps.shape:
            raise DataError(
                f"{self.name}: expected steps of shape (steps, features), neither of them 0, "
                f"found {steps.shape}"
            )
        if steps.dtype not in (np.uint8, np.float32):
            raise DataError(f"{self.name}: expected uint8 or float32 values, found {steps.dtype}")
        n = len(self.lengths)
        for field in ("targets", "ids", "groups", "weights"):
            array = getattr(self, field)
            if array is not None and array.shape != (n,):
                raise DataError(f"{self.name}: {n} sequences need {n} {field}, found shape {array.shape}")
        check_range(self.name, "length", self.lengths, 1, len(steps))
        check_range(self.name, "target", self.targets, 0, max(len(self.classes) - 1, 0))
        if self.total_steps != len(steps):
            raise DataError(
                f"{self.name}: the lengths add up to {self.total_steps}, found {len(steps)} steps"
            )
        if self.step_targets is not None and self.step_targets.shape != (len(steps),):
            raise DataError(
                f"{self.name}: {len(steps)} steps need as many targets, found shape {self.step_targets.shape}"
            )

    @classmethod
    def from_array(
        cls, values: NDArray[Any], targets: NDArray[Any], classes: tuple[ClassName, ...], name: str
    ) -> Self:
        """Make a source of sequences that all have T steps.

        Args:
            values: (N, T, F), uint8 or float32.
            targets: (N,) indices into `classes`, any integer dtype.
            classes: The class names.
            name: Name of the source, for messages.
        """
        _check_shape(values, name)
        lengths = np.full(len(values), values.shape[1], dtype=np.int64)
        return cls(values.reshape(-1, values.shape[2]), lengths, targets.astype(np.int64), classes, name)

    @classmethod
    def from_padded(
        cls,
        values: NDArray[Any],
        lengths: NDArray[np.int64],
        targets: NDArray[np.int64],
        classes: tuple[ClassName, ...],
        name: str,
    ) -> Self:
        """Make a source from padded values (N, T, F). Padding is dropped without being read."""
        _check_shape(values, name)
        n, steps, features = values.shape
        if lengths.shape != (n,):
            raise DataError(f"{name}: {n} sequences need {n} lengths, found shape {lengths.shape}")
        check_range(name, "length", lengths, 1, steps)
        real = np.arange(steps) < lengths[:, None]  # (N, T)
        concatenated = values.reshape(-1, features) if real.all() else values[real]
        return cls(concatenated, lengths, targets, classes, name)

    @classmethod
    def from_list(
        cls,
        sequences: Sequence[NDArray[Any]],
        targets: NDArray[np.int64],
        classes: tuple[ClassName, ...],
        name: str,
    ) -> Self:
        """Make a source from N arrays (T_i, F)."""
        lengths = np.array([len(each) for each in sequences], dtype=np.int64)
        return cls(np.concatenate(sequences), lengths, targets, classes, name)

    @property
    def features(self) -> int:
        """F, the number of values of one step."""
        return int(self.concatenated.shape[1])

    @cached_property
    def starts(self) -> NDArray[np.int64]:  # type: ignore[override]  # it is never written to
        """(N,) row of `concatenated` at which each sequence starts."""
        return np.cumsum(self.lengths) - self.lengths

    @property
    def values(self) -> NDArray[Any]:
        """(N, T, F), 0 past the end of each sequence. A view if all lengths are equal."""
        if self.uniform:
            return self.concatenated.reshape(self.shape)
        return self._padded(np.arange(len(self)))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of the values, uint8 or float32."""
        return self.concatenated.dtype

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> Batch:
        """Return the sequences at `indices` as one batch, in that order; see `SequenceSource.gather`."""
        lengths = self.lengths[indices]
        return Batch(
            self._padded(indices, out),
            None if self.uniform or (lengths == lengths[0]).all() else lengths,
            self.targets[indices],
            None if self.weights is None else self.weights[indices],
        )

    def _padded(self, indices: Indices, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """The sequences at `indices` as (n, longest of them, F), 0 past the end of each."""
        lengths, n = self.lengths[indices], len(indices)
        longest = int(lengths.max())
        shape = n, longest, self.features
        values = np.empty(shape, self.dtype) if out is None else out[: math.prod(shape)].reshape(shape)
        if self.uniform:
            # mode="clip": with "raise", NumPy would gather into a copy of `out` first.
            return self.concatenated.reshape(self.shape).take(indices, 0, values, "clip")
        steps = np.arange(longest)
        # Padding steps repeat the last row of their own sequence, which keeps every index valid; zeroed
        # below.
        rows = self.starts[indices][:, None] + np.minimum(steps, lengths[:, None] - 1)
        self.concatenated.take(rows.reshape(-1), 0, values.reshape(-1, self.features), "clip")
        values[steps >= lengths[:, None]] = 0
        return values

    def windows(self, indices: Indices, offsets: Indices, width: int) -> NDArray[Any]:
        """Return runs of consecutive values; see `SequenceSource.windows`."""
        flat = self.concatenated.reshape(-1)
        first = indices[:, None] * (self.max_length * self.features) + offsets
        # Row i of this view is flat[i : i + width]; rows overlap, and nothing is copied.
        views: NDArray[Any] = np.ndarray(
            (flat.size - width + 1, width), flat.dtype, flat, strides=flat.strides * 2
        )
        # Runs that start before the first value or end past the last are clamped to valid memory.
        runs: NDArray[Any] = views[np.minimum(np.maximum(first, 0), len(views) - 1)]
        return runs

    def take(self, indices: slice | Indices) -> Self:
        """Return a source of the sequences at `indices`, in that order."""
        chosen = np.arange(len(self))[indices]
        if len(chosen) == 0:
            raise DataError(f"{self.name}: no sequence is left")
        lengths = self.lengths[chosen]
        rows: slice | Indices
        if isinstance(indices, slice) and indices.step in (None, 1):
            # A contiguous slice is a view: holding out the first images of a large file copies nothing.
            rows = slice(self.starts[chosen[0]], self.starts[chosen[-1]] + lengths[-1])
        else:
            ends = np.cumsum(lengths)
            # New row r of sequence i is old row starts[i] + (r - new start of i), as one vectorised
            # expression.
            rows = np.arange(ends[-1]) + np.repeat(self.starts[chosen] - ends + lengths, lengths)
        if self.uniform and not isinstance(rows, slice):
            steps = self.concatenated.reshape(self.shape)[chosen].reshape(-1, self.features)
        else:
            steps = self.concatenated[rows]
        return replace(
            self,
            concatenated=steps,
            step_targets=None if self.step_targets is None else self.step_targets[rows],
            lengths=lengths,
            targets=self.targets[chosen],
            ids=None if self.ids is None else self.ids[chosen],
            groups=None if self.groups is None else self.groups[chosen],
            weights=None if self.weights is None else self.weights[chosen],
            info=self.info.take(chosen),
            layout=None,
        )

    def with_targets(self, targets: NDArray[np.int64], classes: tuple[ClassName, ...]) -> Self:
        """Return the same sequences with other targets, (N,) indices into `classes`."""
        return replace(self, targets=targets, classes=classes)

    def with_weights(self, weights: NDArray[np.float32]) -> Self:
        """Return the same sequences with other weights, (N,)."""
        return replace(self, weights=weights)

    def parts(self) -> Iterator[Self]:
        """Yield all sequences: they are in memory."""
        yield self

    def subsample(self, count: int) -> Self:
        """Return at most `count` of the sequences, evenly spaced."""
        return self if len(self) <= count else self.take(evenly_spaced(len(self), count))

    def steps_of(self, index: int) -> NDArray[Any]:
        """Return the steps of one sequence, (T_i, F)."""
        start = self.starts[index]
        own: NDArray[Any] = self.concatenated[start : start + self.lengths[index]]
        return own

    def steps_between(self, first: int, end: int) -> NDArray[Any]:
        """Return the steps of the sequences `first` to `end` - 1 one after another, (S, F)."""
        starts = self.starts
        stop = int(starts[end]) if end < len(self) else None
        steps: NDArray[Any] = self.concatenated[int(starts[first]) : stop]
        return steps

    def value_range(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (lowest, highest) value of each feature, (F,) each, over about 100,000 of the steps."""
        steps = self.concatenated[:: max(1, len(self.concatenated) // 100_000)].astype(np.float32)
        return np.nanmin(steps, 0), np.nanmax(steps, 0)

    def fingerprint(self) -> str:
        """Return the SHA-256 of values, lengths, targets and class names as hexadecimal digits.

        Run directories and model files record it: its input must never change.
        """
        return self._fingerprint(self.classes)

    def fingerprint_like(self, recorded: Collection[str]) -> str:
        """Return the fingerprint, or the one that versions which did not keep label types made of these data.

        Args:
            recorded: Digests that were recorded; the older fingerprint is returned if it is one of them.
        """
        before = names_before_types(self.classes)
        if before != self.classes and recorded and (older := self._fingerprint(before)) in recorded:
            return older
        return self.fingerprint()

    def _fingerprint(self, classes: tuple[ClassName, ...]) -> str:
        header = repr((self.features, str(self.concatenated.dtype), classes))
        sha = hashlib.sha256(header.encode())
        # Only these three, in this order: anything more would change fingerprints that are already recorded.
        # Step targets take the place of the targets, which are 0 then.
        targets = self.targets if self.step_targets is None else self.step_targets
        for array in (self.concatenated, self.lengths, targets):
            sha.update(np.ascontiguousarray(array).data)
        return sha.hexdigest()


def check_range(name: str, what: str, array: NDArray[np.int64], low: int, high: int) -> None:
    """Check that all values of `array` lie between `low` and `high`.

    Raises:
        DataError: Names the first sequence whose value is out of range.
    """
    wrong = np.flatnonzero((array < low) | (array > high))
    if wrong.size:
        first = int(wrong[0])
        raise DataError(
            f"{name}: sequence {first} has {what} {array[first]}, expected {low} to {high}"
            + (f" ({wrong.size} of {len(array)} are out of range)" if wrong.size > 1 else "")
        )


def _check_shape(values: NDArray[Any], name: str) -> None:
    if values.ndim != 3 or 0 in values.shape:
        raise DataError(
            f"{name}: expected values of shape (sequences, steps, features), none of them 0, "
            f"found {values.shape}"
        )
