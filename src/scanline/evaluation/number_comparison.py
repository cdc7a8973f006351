"""Comparison of regressions on the same test sequences."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from scanline.evaluation.evaluate import Evaluation
from scanline.metrics.regression import RegressionMetrics, paired_difference
from scanline.metrics.results import Interval, Result


class ComparedNumbers(Result):
    """Results of one regression; None where unknown.

    Attributes:
        run: Path of the run as it was given.
        network: Layers, cell and units, in words.
        rmse: Root of the mean squared error on the common test sequences.
        rmse_ci95: Its bootstrap interval.
        mae: Mean absolute error.
        mae_ci95: Its bootstrap interval.
        r2: R²; None if all targets are equal.
        coverage: Fraction of targets inside their prediction interval; None if there are no intervals.
        half_width: Half the width of the intervals, likewise.
        parameters: Number of weights.
        sequences_per_s: Sequences predicted a second; None if not measured.
    """

    run: str
    network: str
    rmse: float
    rmse_ci95: Interval
    mae: float
    mae_ci95: Interval
    r2: float | None
    coverage: float | None
    half_width: float | None
    parameters: int
    sequences_per_s: float | None


class NumbersPair(Result):
    """Comparison of two regressions.

    Attributes:
        first: Path of the first run.
        second: Path of the second run.
        rmse: RMSE of the first minus that of the second.
        rmse_ci95: Its paired bootstrap interval.
        mae: Mean absolute error of the first minus that of the second.
        mae_ci95: Its paired bootstrap interval.
        first_closer: Number of sequences for which only the first is closer to the target.
        second_closer: Number of sequences for which only the second is.
    """

    first: str
    second: str
    rmse: float
    rmse_ci95: Interval
    mae: float
    mae_ci95: Interval
    first_closer: int
    second_closer: int


class NumberComparison(Result):
    """Two or more regressions on the same test sequences.

    Attributes:
        data: Name or path of the dataset.
        n: Number of test sequences.
        runs: Results of each run, in the order given.
        pairs: Every pair of runs.
    """

    data: str
    n: int
    runs: list[ComparedNumbers]
    pairs: list[NumbersPair]


def compare_numbers(
    evaluated: Sequence[tuple[str, Evaluation, RegressionMetrics]], speeds: Sequence[float | None]
) -> NumberComparison:
    """Compare regressions that were evaluated on the same sequences.

    Args:
        evaluated: Path, evaluation and metrics of each run.
        speeds: Sequences that each predicts a second; None if not measured.
    """
    first = evaluated[0][1]
    return NumberComparison(
        data=first.data,
        n=len(first.source),
        runs=[_row(*each, speed) for each, speed in zip(evaluated, speeds, strict=True)],
        pairs=[_pair(one[:2], other[:2]) for one, other in combinations(evaluated, 2)],
    )


def _row(
    path: str, evaluation: Evaluation, metrics: RegressionMetrics, speed: float | None
) -> ComparedNumbers:
    interval = metrics.interval
    return ComparedNumbers(
        run=path,
        network=evaluation.model.short_name,
        rmse=metrics.rmse,
        rmse_ci95=metrics.rmse_ci95,
        mae=metrics.mae,
        mae_ci95=metrics.mae_ci95,
        r2=metrics.r2,
        coverage=None if interval is None else interval.coverage,
        half_width=None if interval is None else interval.half_width,
        parameters=evaluation.model.parameter_count,
        sequences_per_s=speed,
    )


def _pair(one: tuple[str, Evaluation], other: tuple[str, Evaluation]) -> NumbersPair:
    errors, also = one[1].errors(), other[1].errors()
    differences = paired_difference(errors, also)
    return NumbersPair(
        first=one[0],
        second=other[0],
        rmse=differences["rmse"][0],
        rmse_ci95=differences["rmse"][1],
        mae=differences["mae"][0],
        mae_ci95=differences["mae"][1],
        first_closer=int((abs(errors) < abs(also)).sum()),
        second_closer=int((abs(also) < abs(errors)).sum()),
    )
