"""Figures of a run's results: converts metrics and training histories to the input of `scanline.plots`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from scanline import plots
from scanline.training.run_files import EvaluatedLine, LoggedLine, MetricsLine

if TYPE_CHECKING:
    from scanline.evaluation.early import StepAccuracies
    from scanline.metrics.calibration import Reliability
    from scanline.metrics.classification import ClassMetrics, CoveragePoint, LengthGroup
    from scanline.metrics.results import Interval
    from scanline.plots import Figure
    from scanline.reporting.activity import GateActivity


def learning_curve(history: Sequence[MetricsLine]) -> Figure:
    """Plot the lines of `metrics.jsonl`: training batches and the validation split."""
    batches = [line for line in history if isinstance(line, LoggedLine)]
    validation = [line for line in history if isinstance(line, EvaluatedLine) and line.part == "validation"]
    score = history[0].score_name if history else "accuracy"
    return plots.learning_curve(_curve(batches), _curve(validation), loss_name(score), score)


def loss_name(score_name: str) -> str:
    """Return what the loss is called that belongs to a score."""
    return "cross-entropy" if score_name == "accuracy" else "loss"


def class_metrics(classes: Sequence[ClassMetrics]) -> Figure:
    """Plot recall and precision of each class."""
    return plots.class_metrics(
        [str(each.name) for each in classes],
        _estimates([each.recall for each in classes], [each.recall_ci95 for each in classes]),
        _estimates([each.precision for each in classes], [each.precision_ci95 for each in classes]),
    )


def reliability_diagram(calibration: Reliability) -> Figure:
    """Plot the reliability diagram of an evaluation."""
    bins = calibration.bins
    return plots.reliability_diagram(
        plots.ReliabilityBins(
            low=[each.low for each in bins],
            high=[each.high for each in bins],
            confidence=[each.confidence for each in bins],
            accuracy=[each.accuracy for each in bins],
            counts=[each.n for each in bins],
        )
    )


def coverage_curve(coverage: Sequence[CoveragePoint]) -> Figure:
    """Plot the accuracy on the most confident predictions."""
    return plots.coverage_curve([each.coverage for each in coverage], [each.accuracy for each in coverage])


def accuracy_by_length(groups: Sequence[LengthGroup]) -> Figure:
    """Plot the accuracy of groups of sequences of similar length."""
    labels = [span(each.shortest, each.longest, "-") for each in groups]
    accuracy = _estimates([each.accuracy for each in groups], [each.ci95 for each in groups])
    return plots.accuracy_by_length(labels, accuracy)


def accuracy_by_step(by_step: StepAccuracies, unit: str = "steps") -> Figure:
    """Plot the accuracy against the steps read.

    Args:
        by_step: The accuracies.
        unit: Name of a step, in the plural.
    """
    steps = by_step.steps
    accuracy = _estimates([each.accuracy for each in steps], [each.ci95 for each in steps])
    return plots.accuracy_by_step([each.step for each in steps], accuracy, by_step.enough, unit)


def gate_activity(activity: GateActivity) -> Figure:
    """Plot how often gates are saturated, and the mean size of each unit's state."""
    gates = [plots.GateActivity(each.name, each.closed, each.between, each.open) for each in activity.gates]
    return plots.gate_activity(gates, {each.name: each.mean_size for each in activity.states})


def span(first: int, last: int, dash: str = "\N{EN DASH}") -> str:
    """Return a range of whole numbers as text, or the number if it is only one."""
    return str(first) if first == last else f"{first}{dash}{last}"


def _curve(lines: Sequence[LoggedLine] | Sequence[EvaluatedLine]) -> plots.LearningCurve:
    return plots.LearningCurve(
        [line.step for line in lines], [line.loss for line in lines], [line.value for line in lines]
    )


def _estimates(values: Sequence[float | None], intervals: Sequence[Interval | None]) -> plots.Estimates:
    """Return proportions with their intervals; None becomes NaN."""
    ends = [(None, None) if interval is None else interval for interval in intervals]
    return plots.Estimates(
        # A float array is NaN where the list has None; the plots leave these out.
        np.array(values, float),
        np.array([low for low, _ in ends], float),
        np.array([high for _, high in ends], float),
    )
