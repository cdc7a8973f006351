"""The charts of a report, as SVG."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from scanline import plots
from scanline.data.source import evenly_spaced
from scanline.data.step_targets import step_numbers
from scanline.metrics.classification import ClassificationMetrics
from scanline.metrics.regression import RegressionMetrics
from scanline.metrics.step_numbers import StepNumberMetrics
from scanline.metrics.steps import StepMetrics
from scanline.reporting import figures
from scanline.reporting.facts import ReportFacts

if TYPE_CHECKING:
    from scanline.plots import Figure

Chart = tuple[Callable[[], "Figure"], str]  # how to draw it, and its title
MAX_CLASSES = 40  # that a chart or the confusion matrix shows
MAX_POINTS = 2_000  # of a scatter plot
MAX_SEQUENCES, MAX_STEPS = 6, 1_000  # whose predictions are shown over time, and how many steps of each


def unit(report: ReportFacts) -> str:
    """Return what steps are called, in the plural: "rows" for pictures that are read by rows."""
    view = report.model.view if report.model else None
    return view if view in ("rows", "columns", "pixels") else "steps"


def charts(report: ReportFacts) -> dict[str, str]:
    """Return the charts as SVG, by name; a chart without data is left out."""
    # Drawn one at a time: a figure takes much more memory than its SVG.
    wanted = _of_training(report) | _of_metrics(report) | _of_steps(report)
    return {name: plots.to_svg(draw(), title) for name, (draw, title) in wanted.items()}


def _of_training(report: ReportFacts) -> dict[str, Chart]:
    if report.files is None or not report.files.history:
        return {}
    history = report.files.history
    title = f"Loss and {history[0].score_name} over {history[-1].step:,} training steps"
    return {"learning": (lambda: figures.learning_curve(history), title)}


def _of_metrics(report: ReportFacts) -> dict[str, Chart]:
    test = report.metrics
    if isinstance(test, RegressionMetrics):
        return _of_numbers(report, test)
    if isinstance(test, StepMetrics | StepNumberMetrics):
        return _over_time(report, test)
    if not isinstance(test, ClassificationMetrics):
        return {}
    wanted: dict[str, Chart] = {}
    if len(test.classes) <= MAX_CLASSES:
        title = "Recall and precision of each class with 95 % intervals"
        wanted["classes"] = (lambda: figures.class_metrics(test.classes), title)
    title = f"Reliability diagram; calibration error {test.calibration.error:.4f}"
    wanted["reliability"] = (lambda: figures.reliability_diagram(test.calibration), title)
    title = f"Accuracy against coverage, down to {test.accuracy:.4f} at full coverage"
    wanted["coverage"] = (lambda: figures.coverage_curve(test.coverage), title)
    if len(test.by_length) > 1:
        wanted["lengths"] = (
            lambda: figures.accuracy_by_length(test.by_length),
            "Accuracy by sequence length",
        )
    return wanted


def _of_numbers(report: ReportFacts, test: RegressionMetrics) -> dict[str, Chart]:
    if report.evaluation is None:
        return {}
    columns = report.evaluation.predictions()
    true, predicted = np.array(columns.true, np.float64), np.array(columns.predicted, np.float64)
    # Points that lie on each other show no more: the page stays small.
    shown = evenly_spaced(len(true), MAX_POINTS)
    half_width = None if test.interval is None else test.interval.half_width
    title = f"Predicted against true numbers; RMSE {test.rmse:.4g}"
    return {
        "predicted": (lambda: plots.predicted_numbers(true[shown], predicted[shown], half_width), title),
        "residuals": (lambda: plots.residual_histogram(predicted - true), "Histogram of the errors"),
    }


def _over_time(report: ReportFacts, test: StepMetrics | StepNumberMetrics) -> dict[str, Chart]:
    """Return the chart of some sequences: those with the largest errors, and others."""
    evaluation = report.evaluation
    if evaluation is None:
        return {}
    source, task = evaluation.source, evaluation.model.task
    assert source.step_targets is not None
    worst = [each.index for each in (test.mistakes if isinstance(test, StepMetrics) else test.errors)]
    others = evenly_spaced(len(source), MAX_SEQUENCES).tolist()
    chosen = list(dict.fromkeys([*worst[: MAX_SEQUENCES // 2], *others]))[:MAX_SEQUENCES]
    if isinstance(test, StepMetrics):
        true, predicted = task.encode(source), evaluation.outputs.argmax(1)
    else:
        true, predicted = step_numbers(source), task.predict(evaluation.outputs)
    ends = np.cumsum(source.lengths)
    lines = []
    for index in chosen:
        first = int(ends[index] - source.lengths[index])
        own = slice(first, min(int(ends[index]), first + MAX_STEPS))
        lines.append(plots.StepLine(str(source.identifier(index)), true[own], predicted[own]))
    names = [str(name) for name in task.output_names]
    title = f"True and predicted {'numbers' if task.predicts_numbers() else 'classes'} over time"
    if task.predicts_numbers():
        return {"time": (lambda: plots.step_numbers(lines), title)}
    return {"time": (lambda: plots.step_classes(lines, names), title)}


def _of_steps(report: ReportFacts) -> dict[str, Chart]:
    by_step, activity, steps = report.by_step, report.activity, unit(report)
    wanted: dict[str, Chart] = {}
    if by_step is not None and len(by_step.steps) > 1:
        title = f"Accuracy against {steps} read; {by_step.enough} suffice"
        wanted["along"] = (lambda: figures.accuracy_by_step(by_step, steps), title)
    if activity is not None:
        title = "Saturation of each gate, and mean size of each unit's state"
        wanted["activity"] = (lambda: figures.gate_activity(activity), title)
    return wanted


def mistake_figures(report: ReportFacts) -> list[dict[str, Any]]:
    """Return the numbers of each of the most confident errors, with its figure as "svg"."""
    # The figures need Matplotlib objects, the JSON file only numbers: `errors` and `explanations` are
    # parallel lists.
    made = []
    pairs = zip(report.errors, report.explanations, strict=True)
    for number, (error, each) in enumerate(pairs, 1):
        true = [str(name) for name in each.trace.classes].index(error.true)
        drawn = plots.mistake(each.plot_data(), true)
        title = f"Error {number}: {error.true} classified as {error.answer}, {error.sequence}"
        made.append(asdict(error) | {"steps": len(each.values), "svg": plots.to_svg(drawn, title)})
    return made
