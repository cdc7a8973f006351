"""Which sequences travel together at which step: decided by the seed and the step's number alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.sequences import Sequences
from scanline.seeding import numpy_generator


@dataclass(frozen=True, eq=False)
class Batch:
    """values: (N, T, F), T the longest length in it; lengths: (N,), or None if all are T; labels: (N,)."""

    values: NDArray[Any]
    lengths: NDArray[np.int64] | None
    labels: NDArray[np.int64]


class BatchOrder:
    """An endless stream of shuffled epochs, cut into batches; a batch may span two epochs.

    The tutorials' `next_batch` did the same: no sequence is dropped at an epoch's end.
    count: how many sequences there are. batch_size: at most how many travel together.
    """

    def __init__(self, count: int, batch_size: int, seed: int) -> None:
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self._epochs: dict[int, NDArray[np.int64]] = {}

    def _epoch(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._epochs:
            self._epochs = {known: order for known, order in self._epochs.items() if known == epoch - 1}
            self._epochs[epoch] = numpy_generator(self.seed, "order", epoch).permutation(self.count)
        return self._epochs[epoch]

    def at(self, step: int) -> NDArray[np.int64]:
        """The indices (batch_size,) of the batch of `step`, counted from 0."""
        position, missing = step * self.batch_size, self.batch_size
        parts = []
        while missing:
            epoch, offset = divmod(position, self.count)
            part = self._epoch(epoch)[offset : offset + missing]
            parts.append(part)
            position, missing = position + len(part), missing - len(part)
        return np.concatenate(parts)


def gather(sequences: Sequences, index: slice | NDArray[np.int64]) -> Batch:
    """The sequences at `index` as one batch, no longer than its longest sequence."""
    lengths = sequences.lengths[index]
    longest = int(lengths.max())
    values = sequences.values[index, :longest]
    return Batch(values, None if int(lengths.min()) == longest else lengths, sequences.labels[index])
