"""What stands in for missing values. They are NaN in what was read, and nowhere later."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.data.sequences import Sequences


def training_means(train: Sequences) -> tuple[float, ...]:
    """The mean of each feature over the steps that have it, 0 where none has: F numbers."""
    present = ~np.isnan(train.flat)
    counts = present.sum(0)
    sums = np.where(present, train.flat, 0).sum(0, dtype=np.float64)
    return tuple((sums / np.maximum(counts, 1)).tolist())


def fill(sequences: Sequences, how: str, means: tuple[float, ...]) -> NDArray[Any]:
    """The values (S, F) of `sequences` without a NaN.

    how: "zero"; "mean", of the feature over the training steps; "forward-fill", the sequence's own last
    value, or that mean before there is one: a step never looks ahead. means: F numbers, `training_means`.
    """
    flat = sequences.flat
    holes = np.isnan(flat)
    if not holes.any():
        return flat
    filled = flat.copy()
    if how == "forward-fill":
        rows = np.broadcast_to(np.arange(len(flat))[:, None], flat.shape)
        last = np.maximum.accumulate(np.where(holes, -1, rows), axis=0)  # of any sequence
        own = last >= np.repeat(sequences.starts, sequences.lengths)[:, None]
        carried = np.take_along_axis(flat, np.maximum(last, 0), axis=0)
        filled = np.where(own, carried, flat)
        holes = holes & ~own
    stand_in = np.zeros(flat.shape[1]) if how == "zero" else np.array(means)
    filled[holes] = np.broadcast_to(stand_in, flat.shape)[holes].astype(np.float32)
    return filled
