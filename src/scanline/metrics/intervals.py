"""How far a measured share, or a difference of shares, may be off."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scanline.seeding import numpy_generator

RESAMPLES = 2000
_CELLS = 2**24  # of resampled counts that are in memory at once


def wilson_interval(correct: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Confidence interval of an accuracy.

    correct, total: counts, 0 <= correct <= total, total >= 1. level: of confidence.
    Returns (low, high) as fractions.
    Raises ValueError naming the offending count.
    Source: Wilson 1927; scipy's binomtest does the arithmetic.
    """
    if total < 1 or not 0 <= correct <= total:
        raise ValueError(f"expected 0 <= correct <= total and total >= 1, got {correct} and {total}")
    from scipy.stats import binomtest

    interval = binomtest(correct, total).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def class_intervals(
    confusion: NDArray[np.int64], level: float = 0.95, seed: int = 0
) -> dict[str, list[tuple[float, float] | None]]:
    """Bootstrap intervals of each class's precision, recall and F1.

    confusion: (K, K) counts, a row for each true class. seed: of the resamples.
    Returns {"precision": K x (low, high), ...}; None where the figure itself is undefined.
    The n sequences are drawn anew with replacement, 2,000 times; all that the figures depend on is how often
    each cell of the confusion matrix is drawn, and that is multinomial. The interval is between percentiles.
    A figure of 0 or 1 is the same in every resample, which says nothing of how far it may be off: there it is
    Wilson's interval, of the sequences that the figure rests on (for F1 the smaller of the two counts that
    is not 0).
    Source: Efron & Tibshirani 1993, chapter 13.
    """
    K = len(confusion)
    rows, columns = np.nonzero(confusion)
    counts = confusion[rows, columns]
    n = int(counts.sum())
    generator = numpy_generator(seed, "bootstrap")
    shares = {name: np.empty((RESAMPLES, K)) for name in ("precision", "recall", "f1")}
    portion = max(1, _CELLS // max(len(counts), K))
    for first in range(0, RESAMPLES, portion):
        chosen = slice(first, min(first + portion, RESAMPLES))
        drawn = generator.multinomial(n, counts / n, size=chosen.stop - first)  # (portion, cells)
        of_class, given, hit = (np.zeros((len(drawn), K)) for _ in range(3))
        for cell, (row, column) in enumerate(zip(rows, columns, strict=True)):
            of_class[:, row] += drawn[:, cell]
            given[:, column] += drawn[:, cell]
            if row == column:
                hit[:, row] += drawn[:, cell]
        with np.errstate(invalid="ignore"):  # 0 of 0 in a resample: undefined there, and left out
            shares["precision"][chosen] = hit / given
            shares["recall"][chosen] = hit / of_class
            shares["f1"][chosen] = 2 * hit / (of_class + given)
    true, answered, right = confusion.sum(1), confusion.sum(0), confusion.diagonal()
    either = np.where(np.minimum(true, answered) > 0, np.minimum(true, answered), np.maximum(true, answered))
    rests_on = {"precision": answered, "recall": true, "f1": either}
    tails = ((1 - level) / 2, (1 + level) / 2)
    found: dict[str, list[tuple[float, float] | None]] = {}
    for name, values in shares.items():
        between = _percentiles(values, tails)
        found[name] = [
            _interval(int(hits), int(count), between[index], level)
            for index, (hits, count) in enumerate(zip(right, rests_on[name], strict=True))
        ]
    return found


def _interval(
    hits: int, count: int, between: NDArray[np.float64], level: float
) -> tuple[float, float] | None:
    if np.isnan(between).any():
        return None
    low, high = float(between[0]), float(between[1])
    return wilson_interval(min(hits, count), count, level) if low == high and count else (low, high)


def _percentiles(values: NDArray[np.float64], tails: tuple[float, float]) -> NDArray[np.float64]:
    """(K, 2) percentiles over the resamples in which a figure is defined; NaN where it is in none."""
    found = np.full((values.shape[1], 2), np.nan)
    defined = ~np.isnan(values).all(0)
    found[defined] = np.nanquantile(values[:, defined], tails, axis=0).T
    return found


@dataclass(frozen=True)
class Paired:
    """How two models answered the same n sequences: both right, one right alone, the other, neither."""

    both: int
    first: int
    second: int
    neither: int

    @property
    def total(self) -> int:
        """n."""
        return self.both + self.first + self.second + self.neither

    @property
    def difference(self) -> float:
        """Accuracy of the first less that of the second."""
        return (self.first - self.second) / self.total


def paired_interval(pairs: Paired, level: float = 0.95) -> tuple[float, float]:
    """Confidence interval of the difference of two accuracies on the same sequences.

    Returns (low, high) of `pairs.difference`. Source: Newcombe 1998, "Improved confidence intervals for the
    difference between binomial proportions based on paired data", method 10: Wilson's limits of both
    shares, with their correlation.
    """
    n = pairs.total
    e, f, g, h = pairs.both, pairs.first, pairs.second, pairs.neither
    one, two = (e + f) / n, (e + g) / n
    low_1, high_1 = wilson_interval(e + f, n, level)
    low_2, high_2 = wilson_interval(e + g, n, level)
    product = (e + f) * (g + h) * (e + g) * (f + h)
    excess = float(e * h - f * g)
    if excess > 0:
        excess = max(excess - n / 2, 0.0)
    phi = excess / math.sqrt(product) if product else 0.0
    below, above = one - low_1, high_2 - two
    low = math.sqrt(max(below**2 - 2 * phi * below * above + above**2, 0))
    below, above = two - low_2, high_1 - one
    high = math.sqrt(max(above**2 - 2 * phi * above * below + below**2, 0))
    return pairs.difference - low, pairs.difference + high


def mcnemar(pairs: Paired) -> float:
    """The exact McNemar test: how likely so uneven a count of disagreements is between equals.

    Returns the two-sided p-value, 1 if they never disagree about right and wrong.
    Source: McNemar 1947, with the binomial distribution itself; scipy's binomtest does the arithmetic.
    """
    if pairs.first + pairs.second == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(pairs.first, pairs.first + pairs.second).pvalue)
