"""Comparison of models with a prediction at each step, on the same test sequences.

Steps of a sequence depend on each other: differences have paired bootstrap intervals that resample sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from scanline.data.step_targets import step_numbers
from scanline.evaluation.evaluate import Evaluation
from scanline.metrics.resampling import TAILS
from scanline.metrics.results import Interval, Result
from scanline.metrics.step_numbers import StepNumberMetrics, resampled_errors
from scanline.metrics.steps import StepMetrics, resampled_scores

Evaluated = tuple[str, Evaluation, StepMetrics | StepNumberMetrics]


class StepScore(Result):
    """A metric of one run, or its difference between two.

    Attributes:
        name: "accuracy", "macro_f1" or "segments" (their F1); "rmse", "mae" or "last_rmse" (that of the last
            labelled step of each sequence).
        value: Its value, the difference as first minus second; None if it is undefined.
        ci95: Its bootstrap interval over sequences; None if there is one sequence, or it is undefined.
    """

    name: str
    value: float | None
    ci95: Interval | None


class ComparedSteps(Result):
    """Results of one run; None where unknown.

    Attributes:
        run: Path of the run as it was given.
        network: Layers, cell and units, in words.
        scores: Its metrics; runs are ranked by the first.
        parameters: Number of weights.
        sequences_per_s: Sequences predicted a second; None if not measured.
    """

    run: str
    network: str
    scores: list[StepScore]
    parameters: int
    sequences_per_s: float | None


class StepsPair(Result):
    """Comparison of two runs.

    Attributes:
        first: Path of the first run.
        second: Path of the second run.
        differences: Each metric of the first minus that of the second, with paired bootstrap intervals.
    """

    first: str
    second: str
    differences: list[StepScore]


class StepComparison(Result):
    """Two or more runs with a prediction at each step, on the same test sequences.

    Attributes:
        data: Name or path of the dataset.
        n: Number of test sequences.
        steps: Number of labelled steps.
        numbers: Whether predictions are numbers, so that lower scores are better.
        runs: Results of each run, in the order given.
        pairs: Every pair of runs.
    """

    data: str
    n: int
    steps: int
    numbers: bool
    runs: list[ComparedSteps]
    pairs: list[StepsPair]


def compare_steps(evaluated: Sequence[Evaluated], speeds: Sequence[float | None]) -> StepComparison:
    """Compare runs that were evaluated on the same sequences.

    Args:
        evaluated: Path, evaluation and metrics of each run, all of classes or all of numbers.
        speeds: Sequences that each predicts a second; None if not measured.
    """
    _, first, metrics = evaluated[0]
    sampled = [_resampled(each) for _, each, _ in evaluated]
    return StepComparison(
        data=first.data,
        n=len(first.source),
        steps=metrics.n,
        numbers=isinstance(metrics, StepNumberMetrics),
        runs=[
            ComparedSteps(
                run=path,
                network=each.model.short_name,
                scores=_scores(found),
                parameters=each.model.parameter_count,
                sequences_per_s=speed,
            )
            for (path, each, found), speed in zip(evaluated, speeds, strict=True)
        ],
        pairs=[
            _pair(one, other, samples, others)
            for (one, samples), (other, others) in combinations(zip(evaluated, sampled, strict=True), 2)
        ],
    )


def _scores(metrics: StepMetrics | StepNumberMetrics) -> list[StepScore]:
    if isinstance(metrics, StepMetrics):
        segments = metrics.segments
        return [
            StepScore(name="accuracy", value=metrics.accuracy, ci95=metrics.ci95),
            StepScore(name="macro_f1", value=metrics.macro_f1, ci95=metrics.macro_f1_ci95),
            StepScore(name="segments", value=segments.f1, ci95=segments.f1_ci95),
        ]
    return [
        StepScore(name="rmse", value=metrics.rmse, ci95=metrics.rmse_ci95),
        StepScore(name="mae", value=metrics.mae, ci95=metrics.mae_ci95),
        StepScore(name="last_rmse", value=metrics.last.rmse, ci95=metrics.last.rmse_ci95),
    ]


def _resampled(evaluation: Evaluation) -> dict[str, NDArray[np.float64]]:
    """Return the metrics of each resample; none if there is one sequence."""
    source, task = evaluation.source, evaluation.model.task
    if len(source) < 2:
        return {}
    if task.predicts_numbers():
        return resampled_errors(task.predict(evaluation.outputs), step_numbers(source), source.lengths)
    predicted = evaluation.outputs.argmax(1)
    return resampled_scores(predicted, task.encode(source), source.lengths, task.output_size)


def _pair(
    one: Evaluated,
    other: Evaluated,
    samples: dict[str, NDArray[np.float64]],
    others: dict[str, NDArray[np.float64]],
) -> StepsPair:
    differences = []
    for first, second in zip(_scores(one[2]), _scores(other[2]), strict=True):
        value = None if first.value is None or second.value is None else first.value - second.value
        interval = None
        if value is not None and samples:
            # All runs have the same resamples of the sequences.
            moved = samples[first.name] - others[first.name]
            moved = moved[np.isfinite(moved)]
            if moved.size:
                low, high = np.quantile(moved, TAILS)
                interval = (float(low), float(high))
        differences.append(StepScore(name=first.name, value=value, ci95=interval))
    return StepsPair(first=one[0], second=other[0], differences=differences)
