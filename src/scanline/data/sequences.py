"""The one value that flows through the house: sequences with explicit lengths."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.errors import DataError

ClassName = int | str


@dataclass(frozen=True, eq=False)
class Sequences:
    """N labelled sequences of up to T steps of F features.

    values: (N, T, F), uint8 or float32; what lies past a sequence's length is padding and never read.
    lengths: (N,) int64, 1 <= length <= T.
    labels: (N,) int64, 0 <= label < K, an index into `classes`.
    classes: the K names, whole numbers or text.
    source: what the sequences came from, for messages.
    Raises DataError, naming the first offending sequence, if they do not fit together.
    """

    values: NDArray[Any]
    lengths: NDArray[np.int64]
    labels: NDArray[np.int64]
    classes: tuple[ClassName, ...]
    source: str = field(default="sequences")

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or 0 in self.values.shape:
            raise DataError(
                f"{self.source}: expected values of shape (sequences, steps, features), none of them 0, "
                f"found {self.values.shape}"
            )
        n, steps, _ = self.values.shape
        if self.values.dtype not in (np.uint8, np.float32):
            raise DataError(f"{self.source}: expected uint8 or float32 values, found {self.values.dtype}")
        for name, array in (("lengths", self.lengths), ("labels", self.labels)):
            if array.shape != (n,):
                raise DataError(f"{self.source}: {n} sequences need {n} {name}, found shape {array.shape}")
        self._check_range("length", self.lengths, 1, steps)
        self._check_range("label", self.labels, 0, len(self.classes) - 1)

    def _check_range(self, what: str, array: NDArray[np.int64], low: int, high: int) -> None:
        wrong = np.flatnonzero((array < low) | (array > high))
        if wrong.size:
            first = int(wrong[0])
            raise DataError(
                f"{self.source}: sequence {first} has {what} {array[first]}, expected {low} to {high}"
                + (f" ({wrong.size} of {len(array)} are out of range)" if wrong.size > 1 else "")
            )

    def __len__(self) -> int:
        return len(self.values)

    @property
    def steps(self) -> int:
        """T, the longest length that fits."""
        return int(self.values.shape[1])

    @property
    def features(self) -> int:
        """F, the values of one step."""
        return int(self.values.shape[2])

    def take(self, index: slice | NDArray[np.int64]) -> Sequences:
        """The sequences at `index`, in its order."""
        return Sequences(
            self.values[index], self.lengths[index], self.labels[index], self.classes, self.source
        )

    def digest(self) -> str:
        """SHA-256 over values, lengths, labels and class names; equal data, equal digest."""
        sha = hashlib.sha256(repr((self.values.shape, str(self.values.dtype), self.classes)).encode())
        for array in (self.values, self.lengths, self.labels):
            sha.update(np.ascontiguousarray(array).data)
        return sha.hexdigest()


def full_length(
    values: NDArray[Any], labels: NDArray[Any], classes: tuple[ClassName, ...], source: str
) -> Sequences:
    """Sequences that all have T steps. values: (N, T, F); labels: (N,), any whole-number dtype."""
    lengths = np.full(len(values), values.shape[1] if values.ndim > 1 else 0, dtype=np.int64)
    return Sequences(values, lengths, labels.astype(np.int64), classes, source)
