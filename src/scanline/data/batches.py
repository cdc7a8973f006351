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
    """values: (N, T, F), T the longest length in it; lengths: (N,), or None if all are T; labels: (N,);
    weights: (N,) how much each counts in the loss, or None if all count 1."""

    values: NDArray[Any]
    lengths: NDArray[np.int64] | None
    labels: NDArray[np.int64]
    weights: NDArray[np.float32] | None = None


class BatchOrder:
    """An endless stream of shuffled epochs, cut into batches; a batch may span two epochs.

    The tutorials' `next_batch` did the same: no sequence is dropped at an epoch's end.
    count: how many sequences there are. batch_size: at most how many travel together.
    bucket: with lengths (count,), so many batches at a time are drawn together, sorted by length, cut, and
    taken in a new order: alike lengths travel together, and every sequence is still seen once an epoch.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        seed: int,
        bucket: int = 0,
        lengths: NDArray[np.int64] | None = None,
    ) -> None:
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.bucket, self.lengths = bucket if bucket > 1 and lengths is not None else 0, lengths
        self._epochs: dict[int, NDArray[np.int64]] = {}
        self._bucket: tuple[int, NDArray[np.int64]] | None = None

    def _epoch(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._epochs:
            self._epochs = {known: order for known, order in self._epochs.items() if known == epoch - 1}
            self._epochs[epoch] = numpy_generator(self.seed, "order", epoch).permutation(self.count)
        return self._epochs[epoch]

    def _stretch(self, position: int, length: int) -> NDArray[np.int64]:
        """`length` indices of the stream, from `position` on."""
        parts = []
        while length:
            epoch, offset = divmod(position, self.count)
            part = self._epoch(epoch)[offset : offset + length]
            parts.append(part)
            position, length = position + len(part), length - len(part)
        return np.concatenate(parts)

    def at(self, step: int) -> NDArray[np.int64]:
        """The indices (batch_size,) of the batch of `step`, counted from 0."""
        if not self.bucket:
            return self._stretch(step * self.batch_size, self.batch_size)
        number, place = divmod(step, self.bucket)
        if self._bucket is None or self._bucket[0] != number:
            assert self.lengths is not None
            size = self.bucket * self.batch_size
            drawn = self._stretch(number * size, size)
            drawn = drawn[np.argsort(self.lengths[drawn], kind="stable")].reshape(self.bucket, -1)
            order = numpy_generator(self.seed, "bucket", number).permutation(self.bucket)
            self._bucket = number, drawn[order]
        batch: NDArray[np.int64] = self._bucket[1][place]
        return batch


def gather(
    sequences: Sequences, index: NDArray[np.int64], weights: NDArray[np.float32] | None = None
) -> Batch:
    """The sequences at `index` as one batch, no longer than its longest sequence.

    weights: (N,) of all sequences.
    """
    lengths = sequences.lengths[index]
    return Batch(
        sequences.padded(index),
        None if (lengths == lengths[0]).all() else lengths,
        sequences.labels[index],
        None if weights is None else weights[index],
    )
