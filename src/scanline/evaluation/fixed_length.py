"""Sequences of any length as one array, for estimators that need sequences of equal length."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scanline.data.source import SequenceSource

_BATCH = 1024  # sequences


def fixed_length(source: SequenceSource, steps: int) -> NDArray[np.float32]:
    """Return every sequence resampled to `steps` steps, by linear interpolation between its own.

    Missing values are interpolated, too; before the first and after the last value of a feature, that value
    is repeated.

    Args:
        source: N sequences of F features.
        steps: T, the common number of steps.

    Returns:
        (N, F, T); NaN where a sequence has no value of a feature at all.
    """
    resampled = np.empty((len(source), source.features, steps), np.float32)
    for first in range(0, len(source), _BATCH):
        chosen = np.arange(first, min(first + _BATCH, len(source)))
        values = source.gather(chosen).values
        lengths = source.lengths[chosen]
        if (lengths == steps).all() and not np.isnan(values).any():
            resampled[chosen] = values.transpose(0, 2, 1)
            continue
        for index, sequence, length in zip(chosen, values, lengths, strict=True):
            resampled[index] = _resampled(sequence[:length].astype(np.float64), steps)
    return resampled


def _resampled(sequence: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    """Return one sequence (T, F) as (F, steps)."""
    places = np.linspace(0, len(sequence) - 1, steps)
    resampled = np.full((sequence.shape[1], steps), np.nan)
    for feature, values in enumerate(sequence.T):
        present = np.flatnonzero(~np.isnan(values))
        if present.size:
            resampled[feature] = np.interp(places, present, values[present])
    return resampled
