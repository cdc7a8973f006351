"""Which sequences travel together at which step: decided by the seed and the step's number alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scanline.seeding import numpy_generator


class BatchOrder:
    """An endless stream of shuffled epochs, cut into batches; a batch may span two epochs.

    The tutorials' `next_batch` did the same: no sequence is dropped at an epoch's end.
    count: how many sequences there are. batch_size: at most how many travel together.
    bucket: with lengths (count,), so many batches of an epoch at a time are drawn together, sorted by length,
    cut, and taken in a new order: alike lengths travel together, and every sequence is still seen once an
    epoch.
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
        self.bucket, self.lengths = bucket if bucket > 1 else 0, lengths
        self._epochs: dict[int, NDArray[np.int64]] = {}

    def at(self, step: int) -> NDArray[np.int64]:
        """The indices (batch_size,) of the batch of `step`, counted from 0."""
        position, wanted = step * self.batch_size, self.batch_size
        parts = []
        while wanted:
            epoch, offset = divmod(position, self.count)
            part = self._epoch(epoch)[offset : offset + wanted]
            parts.append(part)
            position, wanted = position + len(part), wanted - len(part)
        return np.concatenate(parts)

    def _epoch(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._epochs:
            self._epochs = {known: order for known, order in self._epochs.items() if known == epoch - 1}
            order = numpy_generator(self.seed, "order", epoch).permutation(self.count)
            if self.bucket and self.lengths is not None:
                order = self._by_length(order, self.lengths, epoch)
            self._epochs[epoch] = order
        return self._epochs[epoch]

    def _by_length(
        self, order: NDArray[np.int64], lengths: NDArray[np.int64], epoch: int
    ) -> NDArray[np.int64]:
        """`order` with alike lengths between any two borders of batches."""
        draw = numpy_generator(self.seed, "bucket", epoch)
        first = -epoch * self.count % self.batch_size  # so many end the batch that the last epoch began
        borders = np.unique([0, *range(first, self.count, self.batch_size), self.count])
        mixed = np.empty_like(order)
        for begin in range(0, len(borders) - 1, self.bucket):
            own = borders[begin : begin + self.bucket + 1]
            drawn = order[own[0] : own[-1]]
            drawn = drawn[np.argsort(lengths[drawn], kind="stable")]
            turn = draw.permutation(len(own) - 1)  # which piece gets the shortest, which the next
            ends = np.cumsum(np.diff(own)[turn])
            for piece, run in zip(turn, np.split(drawn, ends[:-1]), strict=True):
                mixed[own[piece] : own[piece + 1]] = run
        return mixed
