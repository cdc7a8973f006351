"""The order in which training visits the sequences: a function of the seed and the step alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scanline.seeding import numpy_generator


class BatchOrder:
    """An endless stream of shuffled epochs, cut into batches. A batch may span two epochs.

    No sequence is dropped at the end of an epoch. With bucketing, the sequences of several batches are sorted
    by length, cut into batches, and the batches are shuffled: a batch then has sequences of similar length,
    and an epoch still visits every sequence once.

    Args:
        count: Number of sequences.
        batch_size: Number of sequences of a batch.
        seed: Seed of the order.
        bucket: Number of batches that are sorted by length together; 0 or 1: no bucketing.
        lengths: (count,) length of each sequence, needed for bucketing.
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
        """Return the indices (batch_size,) of the batch of `step`, counted from 0."""
        position, missing = step * self.batch_size, self.batch_size
        epoch, offset = divmod(position, self.count)
        if offset + missing <= self.count:
            return self._epoch(epoch)[offset : offset + missing]
        pieces = []
        while missing:
            epoch, offset = divmod(position, self.count)
            piece = self._epoch(epoch)[offset : offset + missing]
            pieces.append(piece)
            position, missing = position + len(piece), missing - len(piece)
        return np.concatenate(pieces)

    def _epoch(self, epoch: int) -> NDArray[np.int64]:
        if epoch not in self._epochs:
            # Consecutive batches need this epoch's order and perhaps the previous one; older ones go.
            self._epochs = {known: order for known, order in self._epochs.items() if known == epoch - 1}
            order = numpy_generator(self.seed, "order", epoch).permutation(self.count)
            if self.bucket and self.lengths is not None:
                draw = numpy_generator(self.seed, "bucket", epoch)
                # The first sequences of the epoch complete the batch that the previous epoch began.
                first = -epoch * self.count % self.batch_size
                order = by_length(order, self.lengths, first, self.batch_size, self.bucket, draw)
            self._epochs[epoch] = order
        return self._epochs[epoch]


def by_length(
    order: NDArray[np.int64],
    lengths: NDArray[np.int64],
    first: int,
    batch_size: int,
    bucket: int,
    draw: np.random.Generator,
) -> NDArray[np.int64]:
    """Return `order` rearranged so that each batch has sequences of similar length.

    Args:
        order: (n,) indices of sequences.
        lengths: Length of each sequence, by its index.
        first: Number of sequences at the beginning of `order` that complete an earlier batch.
        batch_size: Number of sequences of a batch.
        bucket: Number of batches that are sorted by length together.
        draw: Source of random numbers.
    """
    borders = np.unique([0, *range(first, len(order), batch_size), len(order)])
    mixed = np.empty_like(order)
    # Sorting stays within a bucket of consecutive batches, so the order as a whole stays shuffled.
    for begin in range(0, len(borders) - 1, bucket):
        own = borders[begin : begin + bucket + 1]
        drawn = order[own[0] : own[-1]]
        # A stable sort keeps the order of equal lengths independent of the sorting algorithm.
        drawn = drawn[np.argsort(lengths[drawn], kind="stable")]
        turns = draw.permutation(len(own) - 1)  # turns[0] gets the shortest, turns[1] the next, ...
        ends = np.cumsum(np.diff(own)[turns])
        for piece, run in zip(turns, np.split(drawn, ends[:-1]), strict=True):
            mixed[own[piece] : own[piece + 1]] = run
    return mixed
