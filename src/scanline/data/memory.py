"""The one value that flows through the house: sequences with explicit lengths."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.errors import DataError

ClassName = int | str


@dataclass(frozen=True, eq=False)
class MemorySource:
    """N labelled sequences of different lengths, up to T steps of F features. There is no padding in it.

    flat: (S, F), uint8 or float32: the steps of all sequences one after another, S the sum of the lengths.
    lengths: (N,) int64, each at least 1.
    labels: (N,) int64, 0 <= label < K, an index into `classes`.
    classes: the K names, whole numbers or text; none of them where the labels are not known, all then 0.
    source: what the sequences came from, for messages.
    ids: (N,) what each is called there, or None: then its number says which it is.
    groups: (N,) whom each belongs to, or None: sequences of one group stay in one part of a data set.
    Raises DataError, naming the first offending sequence, if they do not fit together.
    """

    flat: NDArray[Any]
    lengths: NDArray[np.int64]
    labels: NDArray[np.int64]
    classes: tuple[ClassName, ...]
    source: str = field(default="sequences")
    ids: NDArray[Any] | None = None
    groups: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        if self.flat.ndim != 2 or 0 in self.flat.shape:
            raise DataError(
                f"{self.source}: expected steps of shape (steps, features), neither of them 0, "
                f"found {self.flat.shape}"
            )
        if self.flat.dtype not in (np.uint8, np.float32):
            raise DataError(f"{self.source}: expected uint8 or float32 values, found {self.flat.dtype}")
        n = len(self.lengths)
        for name, array in (("labels", self.labels), ("ids", self.ids), ("groups", self.groups)):
            if array is not None and array.shape != (n,):
                raise DataError(f"{self.source}: {n} sequences need {n} {name}, found shape {array.shape}")
        check_range(self.source, "length", self.lengths, 1, len(self.flat))
        check_range(self.source, "label", self.labels, 0, max(len(self.classes) - 1, 0))
        if int(self.lengths.sum()) != len(self.flat):
            raise DataError(
                f"{self.source}: lengths that add up to {self.lengths.sum()} need as many steps, "
                f"found {len(self.flat)}"
            )

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def labelled(self) -> bool:
        """Whether the labels are known."""
        return bool(self.classes)

    @property
    def steps(self) -> int:
        """T, the longest length."""
        return int(self.lengths.max())

    @property
    def features(self) -> int:
        """F, the values of one step."""
        return int(self.flat.shape[1])

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, T, F)."""
        return len(self), self.steps, self.features

    @cached_property
    def uniform(self) -> bool:
        """Whether all sequences have T steps."""
        return bool((self.lengths == self.lengths[0]).all())

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """(N,) where each sequence begins in `flat`."""
        return np.cumsum(self.lengths) - self.lengths

    @property
    def values(self) -> NDArray[Any]:
        """(N, T, F), 0 past a sequence's end. Costs nothing where all are of one length."""
        if self.uniform:
            return self.flat.reshape(self.shape)
        return self.padded(np.arange(len(self)))

    def padded(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """The sequences at `index` as (n, longest of them, F), 0 past the end of each."""
        lengths, starts = self.lengths[index], self.starts[index]
        if self.uniform:
            same: NDArray[Any] = self.flat.reshape(self.shape)[index]
            return same
        padded = np.zeros((len(index), int(lengths.max()), self.features), self.flat.dtype)
        for row, start, length in zip(padded, starts.tolist(), lengths.tolist(), strict=True):
            row[:length] = self.flat[start : start + length]
        return padded

    def take(self, index: slice | NDArray[np.int64]) -> MemorySource:
        """The sequences at `index`, in its order."""
        chosen = np.arange(len(self))[index]
        if len(chosen) == 0:
            raise DataError(f"{self.source}: no sequence is left")
        lengths = self.lengths[chosen]
        if isinstance(index, slice) and index.step in (None, 1):
            flat = self.flat[self.starts[chosen[0]] : self.starts[chosen[-1]] + lengths[-1]]
        elif self.uniform:
            flat = self.flat.reshape(self.shape)[chosen].reshape(-1, self.features)
        else:
            ends = np.cumsum(lengths)
            flat = self.flat[np.arange(ends[-1]) + np.repeat(self.starts[chosen] - ends + lengths, lengths)]
        return replace(
            self,
            flat=flat,
            lengths=lengths,
            labels=self.labels[chosen],
            ids=None if self.ids is None else self.ids[chosen],
            groups=None if self.groups is None else self.groups[chosen],
        )

    def steps_of(self, index: int) -> NDArray[Any]:
        """(T_i, F): the steps of the sequence at `index`."""
        start = self.starts[index]
        own: NDArray[Any] = self.flat[start : start + self.lengths[index]]
        return own

    def spread(self, most: int) -> MemorySource:
        """These sequences, or `most` of them at equal distances if there are more."""
        if len(self) <= most:
            return self
        return self.take(np.unique(np.linspace(0, len(self) - 1, most).round().astype(np.int64)))

    def digest(self) -> str:
        """SHA-256 over values, lengths, labels and class names; equal data, equal digest."""
        sha = hashlib.sha256(repr((self.features, str(self.flat.dtype), self.classes)).encode())
        for array in (self.flat, self.lengths, self.labels):
            sha.update(np.ascontiguousarray(array).data)
        return sha.hexdigest()

    def id_of(self, index: int) -> int | str:
        """What the sequence at `index` is called, or its number where it has no name."""
        return int(index) if self.ids is None else str(self.ids[index])

    def name(self, index: int) -> str:
        """What to call the sequence at `index` in a message."""
        return f"sequence {self.id_of(index)}"


def check_range(source: str, what: str, array: NDArray[np.int64], low: int, high: int) -> None:
    """Raises DataError naming the first sequence whose `what` is not between `low` and `high`."""
    wrong = np.flatnonzero((array < low) | (array > high))
    if wrong.size:
        first = int(wrong[0])
        raise DataError(
            f"{source}: sequence {first} has {what} {array[first]}, expected {low} to {high}"
            + (f" ({wrong.size} of {len(array)} are out of range)" if wrong.size > 1 else "")
        )


def full_length(
    values: NDArray[Any], labels: NDArray[Any], classes: tuple[ClassName, ...], source: str
) -> MemorySource:
    """Sequences that all have T steps. values: (N, T, F); labels: (N,), any whole-number dtype."""
    _check_shape(values, source)
    lengths = np.full(len(values), values.shape[1], dtype=np.int64)
    flat = values.reshape(-1, values.shape[2])
    return MemorySource(flat, lengths, labels.astype(np.int64), classes, source)


def from_padded(
    values: NDArray[Any],
    lengths: NDArray[np.int64],
    labels: NDArray[np.int64],
    classes: tuple[ClassName, ...],
    source: str,
) -> MemorySource:
    """Sequences out of (N, T, F); what lies past a sequence's length is padding and dropped unread."""
    _check_shape(values, source)
    n, steps, features = values.shape
    if lengths.shape != (n,):
        raise DataError(f"{source}: {n} sequences need {n} lengths, found shape {lengths.shape}")
    check_range(source, "length", lengths, 1, steps)
    real = np.arange(steps) < lengths[:, None]  # (N, T)
    flat = values.reshape(-1, features) if real.all() else values[real]
    return MemorySource(flat, lengths, labels, classes, source)


def join(
    parts: Sequence[NDArray[Any]], labels: NDArray[np.int64], classes: tuple[ClassName, ...], source: str
) -> MemorySource:
    """Sequences out of N arrays (T_i, F)."""
    lengths = np.array([len(part) for part in parts], dtype=np.int64)
    return MemorySource(np.concatenate(parts), lengths, labels, classes, source)


def _check_shape(values: NDArray[Any], source: str) -> None:
    if values.ndim != 3 or 0 in values.shape:
        raise DataError(
            f"{source}: expected values of shape (sequences, steps, features), none of them 0, "
            f"found {values.shape}"
        )
