"""Bootstrap over sequences: metrics of resamples that draw whole sequences, and their percentiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from scanline.metrics.intervals import RESAMPLES
from scanline.metrics.results import Interval
from scanline.seeding import numpy_generator

TAILS = (0.025, 0.975)
Floats = NDArray[np.float64]


def resample(
    N: int,
    width: int,
    metrics: Callable[[NDArray[np.int64]], Mapping[str, Floats]],
    at_once: int = 2**22,
) -> dict[str, Floats]:
    """Return metrics of each resample of N sequences, by name, (RESAMPLES,) or (RESAMPLES, K).

    All predictions of the same sequences have the same resamples.

    Args:
        N: Number of sequences.
        width: The largest number of values of a resample that `metrics` computes with.
        metrics: Returns metrics, (R,) or (R, K), for how often each sequence is drawn, (R, N).
        at_once: Number of values in memory at once.

    Source: Efron & Tibshirani (1993), chapter 13.
    """
    # A fixed seed: the same predictions always have the same interval.
    generator = numpy_generator(0, "bootstrap")
    found: dict[str, list[Floats]] = {}
    chunk = max(1, at_once // max(N, width))
    for first in range(0, RESAMPLES, chunk):
        drawn = generator.multinomial(N, np.full(N, 1 / N), size=min(chunk, RESAMPLES - first))
        for name, values in metrics(drawn).items():
            found.setdefault(name, []).append(values)
    return {name: np.concatenate(values) for name, values in found.items()}


def percentiles(values: Floats) -> Interval | None:
    """Return the 95 % interval of resampled values; None if they are undefined in most resamples, or none."""
    defined = values[np.isfinite(values)]
    if not defined.size or len(defined) < len(values) / 2:
        return None
    low, high = np.quantile(defined, TAILS)
    return float(low), float(high)
