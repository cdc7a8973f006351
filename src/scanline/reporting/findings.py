"""The main findings of an evaluation, as sentences."""

from __future__ import annotations

from scanline.evaluation.early import StepAccuracies
from scanline.metrics.classification import ClassificationMetrics
from scanline.reporting.charts import unit
from scanline.reporting.confusion import frequent_errors
from scanline.reporting.facts import ReportFacts


def findings(report: ReportFacts) -> list[str]:
    """Return the main findings of a report in a few sentences; none if nothing was evaluated."""
    test, by_step = report.metrics, report.by_step
    if not isinstance(test, ClassificationMetrics):
        return []
    # Fraction of the most frequent class: without it, an accuracy on unbalanced data means little.
    largest = max(each.n for each in test.classes) / test.n
    half = next(each for each in test.coverage if each.coverage == 0.5)
    sentences = [
        f"Baseline: always predicting the most frequent class has an accuracy of {100 * largest:.1f} %.",
        _errors(test),
        f"Accuracy on the more confident half of the predictions: {100 * half.accuracy:.2f} %.",
        _calibration(test),
    ]
    if by_step and by_step.steps[-1].step > 1:
        sentences.append(_steps(by_step, unit(report)))
    return sentences


def _errors(test: ClassificationMetrics) -> str:
    worst = frequent_errors(test.confusion)
    if not worst:
        return "There are no errors on these sequences."
    count, row, column = worst[0]
    classes = test.classes
    confused = f"{classes[row].name} classified as {classes[column].name}"
    errors = test.n - test.correct
    if errors == 1:
        return f"The only error: {confused}."
    times = {1: "once", 2: "twice"}.get(count, f"{count:,} times")
    return f"Most frequent of {errors:,} errors: {confused} ({times})."


def _calibration(test: ClassificationMetrics) -> str:
    # Mean probability of all predictions, recovered from the bins' means weighted by their counts.
    mean = sum(each.n * each.confidence for each in test.calibration.bins) / test.n
    # Signed, unlike the calibration error: bins that err in opposite directions cancel out.
    gap = 100 * (mean - test.accuracy)
    return (
        f"Calibration: probabilities differ from accuracies by {100 * test.calibration.error:.2f} percentage "
        f"points on average; overall the model is {'over' if gap > 0 else 'under'}confident by "
        f"{abs(gap):.2f} points."
    )


def _steps(by_step: StepAccuracies, unit_name: str) -> str:
    enough, last = by_step.enough, by_step.steps[-1].step
    if enough == last:
        return f"All {last} {unit_name} are needed: before, the accuracy is below the final one's interval."
    return (
        f"{enough} of {last} {unit_name} suffice: "
        "from there on the accuracy stays within the final one's interval."
    )
