"""How far a measured share may be off."""

from __future__ import annotations


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
