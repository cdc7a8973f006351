"""Metrics of a number for each step, computed from predicted and true numbers.

Steps of one sequence are not independent: all intervals are percentiles of a bootstrap that resamples whole
sequences. With a single sequence there are none.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from scanline.metrics.regression import r_squared
from scanline.metrics.resampling import percentiles, resample
from scanline.metrics.results import Interval, Metrics, Result

MAX_SEQUENCES = 20
Floats = NDArray[np.float64]


class StepIntervalMetrics(Result):
    """How prediction intervals fit.

    Attributes:
        level: The fraction of targets that the intervals are made to contain.
        half_width: Half of their width, in the unit of the targets.
        covered: Number of targets inside their interval.
        coverage: `covered` as a fraction of all.
        coverage_ci95: Its bootstrap interval; None if there is one sequence.
    """

    level: float
    half_width: float
    covered: int
    coverage: float
    coverage_ci95: Interval | None


class LastStepMetrics(Result):
    """Errors at the last labelled step of each sequence.

    Attributes:
        n: Number of sequences with a labelled step.
        rmse: Root of the mean squared error at these steps.
        rmse_ci95: Its bootstrap interval; that of `mae` likewise.
        mae: Mean absolute error.
    """

    n: int
    rmse: float
    rmse_ci95: Interval | None
    mae: float
    mae_ci95: Interval | None


class SequenceError(Result):
    """Errors of one sequence.

    Attributes:
        index: Index of the sequence in its split.
        sequence: Identifier of the sequence, or its index.
        n: Number of its labelled steps.
        rmse: Root of the mean squared error of these steps.
        mean_error: Mean of predicted minus true.
    """

    index: int
    sequence: int | str
    n: int
    rmse: float
    mean_error: float


class StepNumberMetrics(Metrics):
    """All metrics of a number for each step on one split. Errors are in the unit of the targets.

    Attributes:
        n: Number of labelled steps.
        sequences: Number of sequences.
        unlabelled: Number of steps without a label, which count nowhere.
        loss: Mean squared error of targets in standard deviations of the training targets.
        rmse: Root of the mean squared error of all labelled steps.
        rmse_ci95: Its bootstrap interval over sequences, None if there is one; those of `mae` and `r2`
            likewise.
        mae: Mean absolute error.
        mean_error: Mean of predicted minus true.
        r2: R² over all labelled steps; None if all targets are equal.
        last: Errors at the last labelled step of each sequence.
        interval: How the prediction intervals fit; None if there are none.
        errors: Sequences with the largest errors, the largest first.
    """

    sequences: int
    unlabelled: int
    loss: float
    rmse: float
    rmse_ci95: Interval | None
    mae: float
    mae_ci95: Interval | None
    mean_error: float
    r2: float | None
    r2_ci95: Interval | None
    last: LastStepMetrics
    interval: StepIntervalMetrics | None
    errors: list[SequenceError]


def step_number_metrics(
    predicted: Floats,
    true: Floats,
    lengths: NDArray[np.int64],
    scale: float,
    identifier: Callable[[int], int | str] = int,
    half_width: float | None = None,
    level: float = 0.9,
) -> StepNumberMetrics:
    """Return the metrics of predictions.

    Args:
        predicted: (S,) predicted numbers of the steps of N sequences, one sequence after another.
        true: (S,) targets, NaN for steps without a label; at least one step has one.
        lengths: (N,) number of steps of each sequence.
        scale: Standard deviation of the training targets, in which the loss is measured.
        identifier: Returns the identifier of the sequence at an index.
        half_width: Half the width of the prediction intervals; None if there are none.
        level: Their level.
    """
    labelled = ~np.isnan(true)
    sums = _sums_by_sequence(predicted, true, lengths, half_width)
    whole = _values(sums.sum(0, keepdims=True))
    sampled = _resampled(sums) if len(lengths) > 1 else {}
    errors = (predicted - true)[labelled]
    n, total = int(labelled.sum()), sums.sum(0)
    mse = float((errors**2).mean())
    interval = None
    if half_width is not None:
        covered = int(total[_INSIDE])
        interval = StepIntervalMetrics(
            level=level,
            half_width=half_width,
            covered=covered,
            coverage=covered / n,
            coverage_ci95=_bounds(sampled, "coverage"),
        )
    return StepNumberMetrics(
        n=n,
        sequences=len(lengths),
        unlabelled=len(true) - n,
        loss=mse / scale**2,
        rmse=math.sqrt(mse),
        rmse_ci95=_bounds(sampled, "rmse"),
        mae=float(np.abs(errors).mean()),
        mae_ci95=_bounds(sampled, "mae"),
        mean_error=float(errors.mean()),
        r2=r_squared(predicted[labelled], true[labelled]),
        r2_ci95=_bounds(sampled, "r2"),
        last=LastStepMetrics(
            n=int(total[_ENDS]),
            rmse=float(whole["last_rmse"][0]),
            rmse_ci95=_bounds(sampled, "last_rmse"),
            mae=float(whole["last_mae"][0]),
            mae_ci95=_bounds(sampled, "last_mae"),
        ),
        interval=interval,
        errors=_largest(sums, identifier),
    )


def resampled_errors(predicted: Floats, true: Floats, lengths: NDArray[np.int64]) -> dict[str, Floats]:
    """Return metrics of each resample of the N sequences, the same resamples for all predictions of them.

    Args:
        predicted: (S,) predicted numbers of the steps, one sequence after another.
        true: (S,) targets, NaN for steps without a label.
        lengths: (N,) number of steps of each sequence, N > 1.

    Returns:
        (RESAMPLES,) "rmse", "mae" and "last_rmse"; NaN where undefined.
    """
    found = _resampled(_sums_by_sequence(predicted, true, lengths, None))
    return {name: found[name] for name in ("rmse", "mae", "last_rmse")}


# Columns of the sums of each sequence: labelled steps, and over them the error, its square and its size, the
# difference of the target from the mean of all and its square, and targets inside their interval; then 1 if
# there is a labelled step, and the square and the size of the error at the last of them.
_COUNT, _ERROR, _SQUARE, _SIZE, _TARGET, _TARGET_SQUARE, _INSIDE, _ENDS, _LAST_SQUARE, _LAST_SIZE = range(10)


def _sums_by_sequence(
    predicted: Floats, true: Floats, lengths: NDArray[np.int64], half_width: float | None
) -> Floats:
    """Return the sums of each sequence that all metrics are made of, (N, 10)."""
    labelled = ~np.isnan(true)
    error = np.where(labelled, predicted - true, 0.0)
    # From the mean of all targets, so that large targets lose no digits.
    target = np.where(labelled, true - true[labelled].mean(), 0.0)
    inside = labelled & (np.abs(error) <= (half_width or 0.0))
    columns = (labelled, error, error**2, np.abs(error), target, target**2, inside)
    starts = np.cumsum(lengths) - lengths
    sums = np.stack([np.add.reduceat(column.astype(np.float64), starts) for column in columns], 1)
    places = np.where(labelled, np.arange(len(true)), -1)
    last = np.maximum.reduceat(places, starts)
    ends = last >= starts
    at_end = np.where(ends, error[np.maximum(last, 0)], 0.0)
    return np.column_stack([sums, ends, at_end**2, np.abs(at_end)])


def _values(sums: Floats) -> dict[str, Floats]:
    """Return the metrics for sums over sequences (R, 10), each (R,); NaN where undefined."""
    n, ends = sums[:, _COUNT], sums[:, _ENDS]
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = sums[:, _TARGET_SQUARE] - sums[:, _TARGET] ** 2 / n
        # Equal targets may have a variance that is not 0 by rounding.
        differs = variance > 1e-12 * sums[:, _TARGET_SQUARE]
        return {
            "rmse": np.sqrt(sums[:, _SQUARE] / n),
            "mae": sums[:, _SIZE] / n,
            "r2": np.where(differs, 1 - sums[:, _SQUARE] / variance, np.nan),
            "coverage": sums[:, _INSIDE] / n,
            "last_rmse": np.sqrt(sums[:, _LAST_SQUARE] / ends),
            "last_mae": sums[:, _LAST_SIZE] / ends,
        }


def _resampled(sums: Floats) -> dict[str, Floats]:
    """Return the metrics of each resample of the N sequences, by name, (RESAMPLES,)."""
    return resample(len(sums), 1, lambda drawn: _values(drawn @ sums))


def _bounds(sampled: dict[str, Floats], name: str) -> Interval | None:
    """Return the percentiles of a metric; None if it is undefined in most resamples, or there are none."""
    return percentiles(sampled.get(name, np.zeros(0)))


def _largest(sums: Floats, identifier: Callable[[int], int | str]) -> list[SequenceError]:
    """Return the sequences with the largest root mean squared errors."""
    with np.errstate(invalid="ignore"):
        rmse = np.sqrt(sums[:, _SQUARE] / sums[:, _COUNT])
    order = np.argsort(-np.nan_to_num(rmse, nan=-1.0), kind="stable")[:MAX_SEQUENCES]
    return [
        SequenceError(
            index=index,
            sequence=identifier(index),
            n=int(sums[index, _COUNT]),
            rmse=float(rmse[index]),
            mean_error=float(sums[index, _ERROR] / sums[index, _COUNT]),
        )
        for index in map(int, order)
        if sums[index, _COUNT]
    ]
