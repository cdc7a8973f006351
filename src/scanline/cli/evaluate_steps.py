"""The text of `scanline evaluate` for a model that predicts a class or a number at each step."""

from __future__ import annotations

from typing import Any

from scanline.cli.confusion import confusion_lines
from scanline.cli.output import NAME_WIDTH, shown_name

_SHOWN_SEQUENCES = 5


def step_lines(test: dict[str, Any], data: str) -> list[str]:
    """Return the lines about the metrics of steps.

    Args:
        test: The metrics as JSON, see `metrics.steps.StepMetrics`.
        data: Name of the data.
    """
    unlabelled = f" ({test['unlabelled']:,} steps have no label)" if test["unlabelled"] else ""
    segments = test["segments"]
    lines = [
        f"test split of {shown_name(data)}: {test['correct']:,} of {test['n']:,} steps correct in "
        f"{test['sequences']:,} sequences{unlabelled}",
        f"accuracy {_estimate(test, 'accuracy', 'ci95')}, macro F1 {_estimate(test, 'macro_f1')}",
        f"mean cross-entropy {test['loss']:.4f}, calibration error {test['calibration']['error']:.4f}",
        f"segments: F1 {_estimate(segments, 'f1')} at an overlap of {segments['overlap']:g} "
        f"({segments['correct']:,} correct, {segments['predicted']:,} predicted, {segments['n']:,} true), "
        f"edit score {_estimate(segments, 'edit')}",
    ]
    if test["ci95"] is not None:
        lines.append("(95 % intervals in parentheses: bootstrap over sequences)")
    return [*lines, "", *_classes(test), "", *confusion_lines(test), *_most_errors(test)]


def _estimate(test: dict[str, Any], key: str, interval: str = "") -> str:
    value, bounds = test[key], test[interval or f"{key}_ci95"]
    if value is None:
        return "-"
    return f"{value:.4f}" + ("" if bounds is None else f" ({bounds[0]:.4f}-{bounds[1]:.4f})")


def _classes(test: dict[str, Any]) -> list[str]:
    names = [shown_name(entry["class"], NAME_WIDTH) for entry in test["classes"]]
    width = max(len("class"), *(len(name) for name in names))
    kinds = ("recall", "precision", "f1")
    lines = [f"{'class':<{width}}    steps  correct" + "".join(f"  {kind:<22}" for kind in kinds).rstrip()]
    for name, entry in zip(names, test["classes"], strict=True):
        cells = "".join(f"  {_estimate(entry, kind):<22}" for kind in kinds).rstrip()
        lines.append(f"{name:<{width}}  {entry['n']:>7}  {entry['correct']:>7}{cells}")
    return lines


def _most_errors(test: dict[str, Any]) -> list[str]:
    shown = test["mistakes"][:_SHOWN_SEQUENCES]
    if not shown:
        return []
    lines = ["", "sequences with the most errors"]
    for each in shown:
        name, wrong = shown_name(each["sequence"], NAME_WIDTH), each["n"] - each["correct"]
        lines.append(f"sequence {name}: {wrong:,} of {each['n']:,} steps wrong")
    return lines


def number_lines(test: dict[str, Any], data: str) -> list[str]:
    """Return the lines about the metrics of a number for each step.

    Args:
        test: The metrics as JSON, see `metrics.step_numbers.StepNumberMetrics`.
        data: Name of the data.
    """
    unlabelled = f" ({test['unlabelled']:,} steps have no label)" if test["unlabelled"] else ""
    last, interval = test["last"], test["interval"]
    lines = [
        f"test split of {shown_name(data)}: {test['n']:,} labelled steps in {test['sequences']:,} "
        f"sequences{unlabelled}",
        f"RMSE {_number(test, 'rmse')}, mean absolute error {_number(test, 'mae')}, R² {_number(test, 'r2')}",
        f"mean error {test['mean_error']:.6g}",
        f"at the last labelled step of {last['n']:,} sequences: RMSE {_number(last, 'rmse')}, "
        f"mean absolute error {_number(last, 'mae')}",
    ]
    if interval is not None:
        lines.append(
            f"{100 * interval['level']:g} % intervals: ± {interval['half_width']:.6g}, "
            f"{_number(interval, 'coverage')} of the targets inside"
        )
    if test["rmse_ci95"] is not None:
        lines.append("(95 % intervals in parentheses: bootstrap over sequences)")
    lines += ["", "sequences with the largest errors"]
    for each in test["errors"][:_SHOWN_SEQUENCES]:
        name = shown_name(each["sequence"], NAME_WIDTH)
        lines.append(
            f"sequence {name}: RMSE {each['rmse']:.6g}, mean error {each['mean_error']:+.4g} "
            f"({each['n']:,} steps)"
        )
    return lines


def _number(test: dict[str, Any], key: str) -> str:
    value, bounds = test[key], test[f"{key}_ci95"]
    if value is None:
        return "-"
    return f"{value:.6g}" + ("" if bounds is None else f" ({bounds[0]:.4g} to {bounds[1]:.4g})")
