"""Confidence intervals of proportions and of differences of proportions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scanline.metrics.results import Interval
from scanline.seeding import numpy_generator

RESAMPLES = 2000
_MAX_CELLS = 2**24  # resampled counts in memory at once


def wilson_interval(correct: int, total: int, level: float = 0.95) -> Interval:
    """Return the Wilson score interval of a proportion.

    Args:
        correct: Number of correct predictions, 0 <= correct <= total.
        total: Number of predictions, >= 1.
        level: Confidence level in (0, 1).

    Returns:
        (low, high) as fractions.

    Raises:
        ValueError: If a count is out of range; names the values.

    Source: Wilson (1927); computed by scipy.stats.binomtest.
    """
    if total < 1 or not 0 <= correct <= total:
        raise ValueError(f"expected 0 <= correct <= total and total >= 1, got {correct} and {total}")
    from scipy.stats import binomtest

    interval = binomtest(correct, total).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


class ClassIntervals(NamedTuple):
    """Intervals of the metrics of K classes; None where a metric is undefined."""

    precision: list[Interval | None]
    recall: list[Interval | None]
    f1: list[Interval | None]


def class_intervals(confusion: NDArray[np.int64], level: float = 0.95, seed: int = 0) -> ClassIntervals:
    """Return bootstrap intervals of each class's precision, recall and F1.

    The n sequences are resampled with replacement 2,000 times. Precision, recall and F1 only depend on how
    often each cell of the confusion matrix is drawn, which is multinomial. The interval lies between
    percentiles. A metric that is exactly 0 or 1 has the same value in every resample; its interval is
    Wilson's, of the sequences it is computed from (for F1 the smaller of the two counts that is not 0).

    Args:
        confusion: (K, K) counts, a row for each true class.
        level: Confidence level in (0, 1).
        seed: Seed of the resamples.

    Source: Efron & Tibshirani (1993), chapter 13.
    """
    resampled = _resample(confusion, seed)
    true, predicted, hits = confusion.sum(1), confusion.sum(0), confusion.diagonal()
    smaller = np.minimum(true, predicted)
    either = np.where(smaller > 0, smaller, np.maximum(true, predicted))
    tails = ((1 - level) / 2, (1 + level) / 2)
    intervals = []
    for values, counts in zip(resampled, (predicted, true, either), strict=True):
        bounds = _percentiles(values, tails)
        intervals.append(
            [
                _interval(int(hit), int(count), bounds[index], level)
                for index, (hit, count) in enumerate(zip(hits, counts, strict=True))
            ]
        )
    return ClassIntervals(*intervals)


def _resample(confusion: NDArray[np.int64], seed: int) -> list[NDArray[np.float64]]:
    """Precision, recall and F1 of each class in each resample, (RESAMPLES, K) each; NaN where undefined."""
    K = len(confusion)
    rows, columns = np.nonzero(confusion)
    counts = confusion[rows, columns]
    n = int(counts.sum())
    # A fixed seed: the same predictions always have the same interval.
    generator = numpy_generator(seed, "bootstrap")
    precision, recall, f1 = (np.empty((RESAMPLES, K)) for _ in range(3))
    # With many classes all resamples at once would not fit into memory.
    chunk = max(1, _MAX_CELLS // max(len(counts), K))
    for first in range(0, RESAMPLES, chunk):
        chosen = slice(first, min(first + chunk, RESAMPLES))
        drawn = generator.multinomial(n, counts / n, size=chosen.stop - first)  # (chunk, cells)
        true, predicted, hits = (np.zeros((len(drawn), K)) for _ in range(3))
        for cell, (row, column) in enumerate(zip(rows, columns, strict=True)):
            true[:, row] += drawn[:, cell]
            predicted[:, column] += drawn[:, cell]
            if row == column:
                hits[:, row] += drawn[:, cell]
        with np.errstate(invalid="ignore"):  # 0 of 0 is undefined in this resample, and ignored later
            precision[chosen] = hits / predicted
            recall[chosen] = hits / true
            f1[chosen] = 2 * hits / (true + predicted)
    return [precision, recall, f1]


def _interval(hits: int, count: int, bounds: NDArray[np.float64], level: float) -> Interval | None:
    if np.isnan(bounds).any():
        return None
    low, high = float(bounds[0]), float(bounds[1])
    return wilson_interval(min(hits, count), count, level) if low == high and count else (low, high)


def _percentiles(values: NDArray[np.float64], tails: tuple[float, float]) -> NDArray[np.float64]:
    """(K, 2) percentiles over the resamples in which a value is defined; NaN if it is defined in none."""
    found = np.full((values.shape[1], 2), np.nan)
    defined = ~np.isnan(values).all(0)
    found[defined] = np.nanquantile(values[:, defined], tails, axis=0).T
    return found


@dataclass(frozen=True)
class PairedCounts:
    """Predictions of two models for the same n sequences.

    Attributes:
        both: Sequences that both predict correctly.
        first: Sequences that only the first predicts correctly.
        second: Sequences that only the second predicts correctly.
        neither: Sequences that neither predicts correctly.
    """

    both: int
    first: int
    second: int
    neither: int

    @property
    def total(self) -> int:
        """Number of sequences."""
        return self.both + self.first + self.second + self.neither

    @property
    def difference(self) -> float:
        """Accuracy of the first minus that of the second."""
        return (self.first - self.second) / self.total


def paired_interval(pairs: PairedCounts, level: float = 0.95) -> Interval:
    """Return the confidence interval of the difference of two accuracies on the same sequences.

    Args:
        pairs: Counts of the four cases.
        level: Confidence level in (0, 1).

    Returns:
        (low, high) of `pairs.difference`.

    Source: Newcombe (1998), "Improved confidence intervals for the difference between binomial proportions
    based on paired data", method 10: Wilson's limits of both proportions, with their correlation.
    """
    n = pairs.total
    e, f, g, h = pairs.both, pairs.first, pairs.second, pairs.neither
    # The accuracies of both models, with the letters of the paper for the four cells.
    one, two = (e + f) / n, (e + g) / n
    low_1, high_1 = wilson_interval(e + f, n, level)
    low_2, high_2 = wilson_interval(e + g, n, level)
    # Python's integers are exact; products of four int64 counts would overflow.
    product = (e + f) * (g + h) * (e + g) * (f + h)
    excess = float(e * h - f * g)
    if excess > 0:
        # Newcombe's continuity correction of a positive correlation; a negative one is left as it is.
        excess = max(excess - n / 2, 0.0)
    phi = excess / math.sqrt(product) if product else 0.0
    below, above = one - low_1, high_2 - two
    low = math.sqrt(max(below**2 - 2 * phi * below * above + above**2, 0))
    below, above = two - low_2, high_1 - one
    high = math.sqrt(max(above**2 - 2 * phi * above * below + below**2, 0))
    return pairs.difference - low, pairs.difference + high


def mcnemar(pairs: PairedCounts) -> float:
    """Return the two-sided p-value of the exact McNemar test.

    It is the probability of disagreements at least as uneven between two models that are equally accurate;
    1 if neither is ever correct alone.

    Source: McNemar (1947), with the exact binomial distribution; computed by scipy.stats.binomtest.
    """
    if pairs.first + pairs.second == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(pairs.first, pairs.first + pairs.second).pvalue)
