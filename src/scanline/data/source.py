"""The interface of all sequence sources, as training, evaluation and prediction use it.

A source knows how many sequences it has, how long they are and what their targets are, and gathers any of
them into a padded batch. Storage is up to the implementation: `scanline.data.memory` keeps the values in
one array, `scanline.data.stored` reads them from files when they are needed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from scanline.data.moments import Moments
from scanline.data.source_info import SourceInfo

# Class names keep the type and the text of the labels. Integers are sorted as numbers, also if they are text.
ClassName = bool | int | float | str
Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Batch:
    """Sequences padded to the longest of them.

    Attributes:
        values: (n, T, F), T the longest length in the batch; 0 past the end of each sequence.
        lengths: (n,) number of steps of each sequence; None if all have T.
        targets: (n,) encoded targets.
        weights: (n,) float32 weight of each sequence in the loss; None if all weigh 1.
    """

    values: NDArray[Any]
    lengths: NDArray[np.int64] | None
    targets: NDArray[np.int64]
    weights: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class Layout:
    """How sequences are stored in row groups, which are read as a whole.

    Attributes:
        group_sizes: (G,) number of sequences of each row group, in the order of the source.
        statistics: Statistics of the values, or None if they have to be computed.
        missing: Number of missing values.
        first_missing: Where the first missing value is, in words.
        groups: Names of the groups of sequences, or None if sequences have none or too many.
        group_count: Number of these groups, or None if sequences have none.
    """

    group_sizes: NDArray[np.int64]
    statistics: Moments | None = None
    missing: int = 0
    first_missing: str = ""
    groups: tuple[str, ...] | None = None
    group_count: int | None = None


class SequenceSource(ABC):
    """N sequences of different lengths, up to T steps of F features.

    Attributes:
        name: Where the sequences come from, for messages.
        lengths: (N,) number of steps of each sequence, at least 1.
        targets: (N,) encoded targets, for a classification indices into `classes`.
        classes: The K class names; empty if the targets are unknown.
        ids: (N,) identifier of each sequence, or None: then its index identifies it.
        groups: (N,) group of each sequence, or None. Sequences of one group stay in one split.
        weights: (N,) float32 weight of each sequence in the loss, or None: then all weigh 1.
        info: What the reader knows about the sequences.
        layout: How the sequences are stored, or None if any of them can be read at once.
        step_targets: (S,) index into `classes`, or into the distinct numbers there, of each step, one
            sequence after another, -1 for a step without a label; None if sequences have one target each. If
            there are any, `targets` are 0.
        starts: (N,) which of the step targets is that of the first step of each sequence, if there are any.
    """

    name: str
    lengths: NDArray[np.int64]
    targets: NDArray[np.int64]
    classes: tuple[ClassName, ...]
    ids: NDArray[Any] | None
    groups: NDArray[Any] | None
    weights: NDArray[np.float32] | None
    info: SourceInfo
    layout: Layout | None
    step_targets: NDArray[np.int64] | None = None
    starts: NDArray[np.int64]

    @property
    @abstractmethod
    def features(self) -> int:
        """F, the number of values of one step."""

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """Data type of the values, uint8 or float32."""

    @abstractmethod
    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> Batch:
        """Return the sequences at `indices` as one batch, in that order.

        Args:
            indices: (n,) which sequences; one may occur twice.
            out: One-dimensional array of the source's data type that has room for n * T * F values; the
                values of the batch are then a view of it. None allocates new memory.
        """

    @abstractmethod
    def windows(self, indices: Indices, offsets: Indices, width: int) -> NDArray[Any]:
        """Return runs of consecutive values of sequences that all have T steps.

        Args:
            indices: (n,) which sequences.
            offsets: (n, k) where each run starts, counted in values from the start of its sequence.
            width: Number of values of a run.

        Returns:
            (n, k, width) new memory. What a run has outside its sequence is undefined.
        """

    @abstractmethod
    def take(self, indices: slice | Indices) -> SequenceSource:
        """Return a source of the sequences at `indices`, in that order.

        Raises:
            DataError: If no sequence is left.
        """

    @abstractmethod
    def with_targets(self, targets: NDArray[np.int64], classes: tuple[ClassName, ...]) -> Self:
        """Return the same sequences with other targets, (N,) indices into `classes`."""

    @abstractmethod
    def with_weights(self, weights: NDArray[np.float32]) -> Self:
        """Return the same sequences with other weights, (N,)."""

    @abstractmethod
    def parts(self) -> Iterator[SequenceSource]:
        """Yield the sequences in order, in parts that are each in memory; read ahead by a part."""

    @abstractmethod
    def steps_between(self, first: int, end: int) -> NDArray[Any]:
        """Return the steps of the sequences `first` to `end` - 1 one after another, (S, F)."""

    @abstractmethod
    def steps_of(self, index: int) -> NDArray[Any]:
        """Return the steps of one sequence, (T_i, F)."""

    @abstractmethod
    def value_range(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (lowest, highest) value of each feature, (F,) each, over about 100,000 of the steps."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a SHA-256 of values, lengths, targets and class names as hexadecimal digits."""

    def fingerprint_like(self, recorded: Collection[str]) -> str:
        """Return the fingerprint in the form of an earlier version, if that is one of `recorded`."""
        return self.fingerprint()

    def expect(self, groups: Sequence[int]) -> None:
        """Be prepared for sequences of these row groups, the first ones first, and of no others."""
        # Sequences in memory need no preparation.
        return

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def has_targets(self) -> bool:
        """Whether the targets are known."""
        return bool(self.classes)

    @cached_property
    def max_length(self) -> int:
        """T, the length of the longest sequence."""
        return int(self.lengths.max())

    @cached_property
    def uniform(self) -> bool:
        """Whether all sequences have T steps."""
        # Uniform sources need no lengths and no padding: (S, F) reshapes to (N, T, F) without a copy.
        return bool((self.lengths == self.lengths[0]).all())

    @property
    def total_steps(self) -> int:
        """The sum of all lengths."""
        return int(self.lengths.sum())

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, T, F)."""
        return len(self), self.max_length, self.features

    def subsample(self, count: int) -> SequenceSource:
        """Return at most `count` of the sequences, evenly spaced."""
        return self if len(self) <= count else self.take(evenly_spaced(len(self), count))

    def identifier(self, index: int) -> int | str:
        """Return the identifier of a sequence, or its index if the source has no identifiers."""
        return int(index) if self.ids is None else str(self.ids[index])

    def find(self, identifier: str) -> int | None:
        """Return the index of the first sequence with an identifier, None if there is none."""
        if self.ids is None:
            return None
        return next((index for index, name in enumerate(self.ids) if str(name) == identifier), None)

    def describe(self, index: int) -> str:
        """Return how messages name a sequence: "sequence 7"."""
        return f"sequence {self.identifier(index)}"


def evenly_spaced(total: int, count: int) -> Indices:
    """Return at most `count` indices below `total`, evenly spaced."""
    # Rounded positions may coincide; np.unique removes duplicates and keeps the order.
    return np.unique(np.linspace(0, total - 1, count).round().astype(np.int64))
