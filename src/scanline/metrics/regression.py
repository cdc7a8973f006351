"""Metrics of a regression, computed from predicted and true numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanline.metrics.intervals import RESAMPLES, wilson_interval
from scanline.metrics.results import Interval, Metrics, Result
from scanline.seeding import numpy_generator

MAX_ERRORS = 20
_LEVEL = 0.95
_MAX_CELLS = 2**22  # resampled numbers in memory at once
_MAX_DRAWN = 2**27  # resampled numbers altogether; beyond, there are fewer resamples
_MIN_RESAMPLES = 200


class IntervalMetrics(Result):
    """How prediction intervals fit.

    Attributes:
        level: The fraction of targets that the intervals are made to contain.
        half_width: Half of their width, in the unit of the targets.
        covered: Number of targets inside their interval.
        coverage: `covered` as a fraction of all.
        coverage_ci95: Its Wilson interval.
    """

    level: float
    half_width: float
    covered: int
    coverage: float
    coverage_ci95: Interval


class LargestError(Result):
    """One of the predictions that are farthest off.

    Attributes:
        index: Index of the sequence in its split.
        sequence: Identifier of the sequence, or its index.
        true: Its target.
        predicted: The predicted number.
        error: Predicted minus true.
    """

    index: int
    sequence: int | str
    true: float
    predicted: float
    error: float


class RegressionMetrics(Metrics):
    """All metrics of a regression on one split. Errors are in the unit of the targets.

    Attributes:
        n: Number of sequences.
        loss: Mean squared error of targets in standard deviations of the training targets.
        rmse: Root of the mean squared error.
        rmse_ci95: Its bootstrap interval; those of `mae` and `r2` likewise.
        mae: Mean absolute error.
        median_absolute_error: Median of the absolute errors.
        median_absolute_error_ci95: Its exact interval, between order statistics; None for fewer than 6
            sequences.
        mean_error: Mean of predicted minus true.
        r2: 1 - (sum of squared errors) / (sum of squared differences from the mean of these targets); None
            if all targets are equal.
        interval: How the prediction intervals fit; None if there are none.
        errors: The predictions that are farthest off, largest absolute error first.
    """

    loss: float
    rmse: float
    rmse_ci95: Interval
    mae: float
    mae_ci95: Interval
    median_absolute_error: float
    median_absolute_error_ci95: Interval | None
    mean_error: float
    r2: float | None
    r2_ci95: Interval | None
    interval: IntervalMetrics | None
    errors: list[LargestError]


class NamedMetrics(Result):
    """Metrics of one of several numbers.

    Attributes:
        name: Its name.
        metrics: Its metrics.
    """

    name: str
    metrics: RegressionMetrics


class SeveralNumbersMetrics(Metrics):
    """All metrics of several numbers for each sequence on one split.

    Attributes:
        n: Number of sequences.
        loss: Mean over the numbers of their losses.
        outputs: Metrics of each number.
    """

    loss: float
    outputs: list[NamedMetrics]


def regression_metrics(
    predicted: NDArray[np.float64],
    true: NDArray[np.float64],
    scale: float,
    identifiers: list[int | str],
    half_width: float | None = None,
    level: float = 0.9,
) -> RegressionMetrics:
    """Return the metrics of predictions.

    Args:
        predicted: (N,) predicted numbers, N >= 1.
        true: (N,) targets.
        scale: Standard deviation of the training targets, in which the loss is measured.
        identifiers: Identifier of each sequence.
        half_width: Half the width of the prediction intervals; None if there are none.
        level: Their level.
    """
    errors = predicted - true
    sizes, squares = np.abs(errors), errors**2
    resampled = _resample(errors, true)
    bounds = {name: _bounds(values) for name, values in resampled.items()}
    return RegressionMetrics(
        n=len(true),
        loss=float(squares.mean()) / scale**2,
        rmse=math.sqrt(float(squares.mean())),
        rmse_ci95=bounds["rmse"] or (0.0, 0.0),
        mae=float(sizes.mean()),
        mae_ci95=bounds["mae"] or (0.0, 0.0),
        median_absolute_error=float(np.median(sizes)),
        median_absolute_error_ci95=_median_interval(sizes),
        mean_error=float(errors.mean()),
        r2=r_squared(predicted, true),
        r2_ci95=bounds["r2"],
        interval=None if half_width is None else _coverage(sizes, half_width, level),
        errors=[
            LargestError(
                index=index,
                sequence=identifiers[index],
                true=float(true[index]),
                predicted=float(predicted[index]),
                error=float(errors[index]),
            )
            for index in np.argsort(-sizes, kind="stable")[:MAX_ERRORS].tolist()
        ],
    )


def r_squared(predicted: NDArray[np.float64], true: NDArray[np.float64]) -> float | None:
    """Return the coefficient of determination of predictions (N,); None if all targets are equal."""
    total = float(((true - true.mean()) ** 2).sum())
    return 1 - float(((predicted - true) ** 2).sum()) / total if total > 0 else None


def conformal_half_width(sizes: NDArray[np.float64], level: float) -> float | None:
    """Return half the width of prediction intervals, by split conformal calibration.

    An interval of this half width around the prediction contains the target of a further sequence with at
    least the probability `level`, if that sequence and the n given ones are exchangeable and none of them was
    used in training.

    Args:
        sizes: (n,) absolute errors of sequences that the model was not trained on.
        level: Level of the intervals in (0, 1).

    Returns:
        The ceil((n + 1) * level)-th smallest of them; None if n is smaller than that: no finite interval has
        the level then.

    Source: Lei et al. (2018), "Distribution-free predictive inference for regression", algorithm 2.
    """
    rank = conformal_rank(len(sizes), level)
    return float(np.partition(sizes, rank - 1)[rank - 1]) if rank <= len(sizes) else None


def conformal_rank(n: int, level: float) -> int:
    """Return which of n absolute errors, in ascending order from 1, is the half width; above n: none is."""
    # Rounded first: 0.9 * 10 in binary is a little more than 9.
    return math.ceil(round((n + 1) * level, 9))


def _coverage(sizes: NDArray[np.float64], half_width: float, level: float) -> IntervalMetrics:
    covered = int((sizes <= half_width).sum())
    return IntervalMetrics(
        level=level,
        half_width=half_width,
        covered=covered,
        coverage=covered / len(sizes),
        coverage_ci95=wilson_interval(covered, len(sizes)),
    )


def _median_interval(sizes: NDArray[np.float64]) -> Interval | None:
    """Return the exact interval of the median, which assumes no distribution; None if n is too small."""
    from scipy.stats import quantile_test

    interval: Any = quantile_test(sizes, q=0, p=0.5).confidence_interval(_LEVEL)
    low, high = float(interval.low), float(interval.high)
    return None if math.isnan(low) or math.isnan(high) else (low, high)


def _resample(errors: NDArray[np.float64], true: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return RMSE, MAE and R² of each resample; R² is NaN if all targets of the resample are equal.

    Source: Efron & Tibshirani (1993), chapter 13; pairs of prediction and target are drawn together.
    """
    n = len(errors)
    count = max(_MIN_RESAMPLES, min(RESAMPLES, _MAX_DRAWN // n))
    # A fixed seed: the same predictions always have the same interval.
    generator = numpy_generator(0, "bootstrap")
    found = {name: np.empty(count) for name in ("rmse", "mae", "r2")}
    chunk = max(1, _MAX_CELLS // n)
    for first in range(0, count, chunk):
        chosen = slice(first, min(first + chunk, count))
        drawn = generator.integers(0, n, (chosen.stop - first, n))
        sampled, targets = errors[drawn], true[drawn]
        squares = (sampled**2).mean(1)
        variances = targets.var(1)
        found["rmse"][chosen] = np.sqrt(squares)
        found["mae"][chosen] = np.abs(sampled).mean(1)
        with np.errstate(divide="ignore", invalid="ignore"):
            # Equal targets may have a variance that is not 0 by rounding.
            differs = targets.max(1) > targets.min(1)
            found["r2"][chosen] = np.where(differs, 1 - squares / variances, np.nan)
    return found


def _bounds(values: NDArray[np.float64]) -> Interval | None:
    """Return the percentiles of resampled values; None if a value is undefined in most resamples."""
    defined = values[np.isfinite(values)]
    if len(defined) < len(values) / 2:
        return None
    low, high = np.quantile(defined, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)


def paired_difference(
    first: NDArray[np.float64], second: NDArray[np.float64], level: float = _LEVEL
) -> dict[str, tuple[float, Interval]]:
    """Return how the errors of two models on the same sequences differ, with paired bootstrap intervals.

    Args:
        first: (N,) errors of the first model.
        second: (N,) errors of the second model for the same sequences.
        level: Confidence level in (0, 1).

    Returns:
        For "rmse" and "mae": that of the first minus that of the second, and its interval.

    Source: Efron & Tibshirani (1993), chapter 13; both errors of a sequence are drawn together.
    """
    n = len(first)
    count = max(_MIN_RESAMPLES, min(RESAMPLES, _MAX_DRAWN // n))
    generator = numpy_generator(0, "bootstrap")
    drawn_rmse, drawn_mae = np.empty(count), np.empty(count)
    chunk = max(1, _MAX_CELLS // n)
    for start in range(0, count, chunk):
        chosen = slice(start, min(start + chunk, count))
        drawn = generator.integers(0, n, (chosen.stop - start, n))
        one, other = first[drawn], second[drawn]
        drawn_rmse[chosen] = np.sqrt((one**2).mean(1)) - np.sqrt((other**2).mean(1))
        drawn_mae[chosen] = (np.abs(one) - np.abs(other)).mean(1)
    tails = [(1 - level) / 2, (1 + level) / 2]
    rmse = math.sqrt(float((first**2).mean())) - math.sqrt(float((second**2).mean()))
    mae = float((np.abs(first) - np.abs(second)).mean())
    ends = {"rmse": np.quantile(drawn_rmse, tails), "mae": np.quantile(drawn_mae, tails)}
    return {
        name: (value, (float(ends[name][0]), float(ends[name][1])))
        for name, value in (("rmse", rmse), ("mae", mae))
    }
