"""Shift and scale of the values that the network reads, learnt from the training steps alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scanline.data.splits import Dataset

_ROWS = 2**18


def shift_and_scale(data: Dataset, how: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(F,) each: a value is read as (value - shift) / scale.

    data: as the network's steps. how: "standard" gives each feature mean 0 and standard deviation 1 over the
    training steps, each counted as often as its sequence weighs; "levels" divides by the largest value that
    the data can have; "none" leaves them.
    """
    F = data.train.features
    if how != "standard":
        return np.zeros(F, np.float32), np.full(F, data.scale if how == "levels" else 1.0, np.float32)
    from sklearn.preprocessing import StandardScaler

    scaler, flat = StandardScaler(), data.train.concatenated
    weights = None if data.train.weights is None else np.repeat(data.train.weights, data.train.lengths)
    for first in range(0, len(flat), _ROWS):
        chosen = slice(first, first + _ROWS)
        own = None if weights is None else weights[chosen]
        if own is None or own.any():
            scaler.partial_fit(flat[chosen].astype(np.float64), sample_weight=own)
    shift, scale = scaler.mean_.astype(np.float32), scaler.scale_.astype(np.float32)
    scale[scale < np.finfo(np.float32).tiny] = 1  # what varies by less than float32 can tell is constant
    return shift, scale
