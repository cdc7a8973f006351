"""What stands in for missing values. They are NaN in what was read, and nowhere later."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scanline.data.memory import MemorySource


def training_means(train: MemorySource) -> tuple[float, ...]:
    """The mean of each feature over the steps that have it, 0 where none has: F numbers."""
    present = ~np.isnan(train.concatenated)
    counts = present.sum(0)
    sums = np.where(present, train.concatenated, 0).sum(0, dtype=np.float64)
    return tuple((sums / np.maximum(counts, 1)).tolist())


def carried(sequences: MemorySource) -> MemorySource:
    """`sequences` with each missing value replaced by the last one of its feature in the same sequence.

    What has none before it stays NaN: a step never looks ahead, nor into another sequence.
    """
    flat = sequences.concatenated
    holes = np.isnan(flat)
    if not holes.any():
        return sequences
    filled = flat.copy()
    rows = np.arange(len(flat))
    own = np.repeat(sequences.starts, sequences.lengths)  # (S,) where the sequence of a step begins
    for feature in np.flatnonzero(holes.any(0)):  # one at a time: indices take more room than values
        last = np.maximum.accumulate(np.where(holes[:, feature], -1, rows))  # of any sequence
        late = np.flatnonzero(holes[:, feature] & (last >= own))
        filled[late, feature] = flat[last[late], feature]
    return replace(sequences, concatenated=filled)


def fill(sequences: MemorySource, stand_in: tuple[float, ...]) -> MemorySource:
    """`sequences` with `stand_in`, (F,), where a value is missing."""
    holes = np.isnan(sequences.concatenated)
    if not holes.any():
        return sequences
    means = np.array(stand_in, np.float32)
    return replace(sequences, concatenated=np.where(holes, means, sequences.concatenated))
