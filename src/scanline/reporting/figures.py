"""Figures of a run's numbers: what `scanline.plots` takes, out of evaluations and training histories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scanline import plots

if TYPE_CHECKING:
    from scanline.plots import Figure

Entry = Mapping[str, Any]


def learning_curve(history: Sequence[Entry]) -> Figure:
    """Plot the lines of `metrics.jsonl`: training batches and the validation split."""
    batches = [entry for entry in history if entry["event"] == "logged"]
    validation = [entry for entry in history if entry.get("part") == "validation"]
    return plots.learning_curve(_curve(batches), _curve(validation))


def class_metrics(classes: Sequence[Entry]) -> Figure:
    """Plot recall and precision of each class."""
    names = [str(entry["class"]) for entry in classes]
    return plots.class_metrics(names, _estimates(classes, "recall"), _estimates(classes, "precision"))


def reliability_diagram(calibration: Entry) -> Figure:
    """Plot the reliability diagram of an evaluation's calibration."""
    bins = calibration["bins"]
    return plots.reliability_diagram(
        plots.ReliabilityBins(
            low=[each["low"] for each in bins],
            high=[each["high"] for each in bins],
            confidence=[each["confidence"] for each in bins],
            accuracy=[each["accuracy"] for each in bins],
            counts=[each["n"] for each in bins],
        )
    )


def coverage_curve(coverage: Sequence[Entry]) -> Figure:
    """Plot the accuracy on the most confident predictions."""
    return plots.coverage_curve(
        [each["coverage"] for each in coverage], [each["accuracy"] for each in coverage]
    )


def accuracy_by_length(groups: Sequence[Entry]) -> Figure:
    """Plot the accuracy of groups of sequences of similar length."""
    labels = [span(each["from"], each["to"], "-") for each in groups]
    return plots.accuracy_by_length(labels, _estimates(groups, "accuracy", "ci95"))


def accuracy_by_step(along: Entry, unit: str = "steps") -> Figure:
    """Plot the accuracy against the steps read."""
    steps = along["steps"]
    accuracy = _estimates(steps, "accuracy", "ci95")
    return plots.accuracy_by_step([each["step"] for each in steps], accuracy, along["enough"], unit)


def gate_activity(activity: Entry) -> Figure:
    """Plot how often gates are saturated, and the mean size of each unit's state."""
    gates = [
        plots.GateActivity(each["name"], each["shut"], each["between"], each["open"])
        for each in activity["gates"]
    ]
    return plots.gate_activity(gates, {each["name"]: each["mean_size"] for each in activity["states"]})


def span(first: int, last: int, dash: str = "\N{EN DASH}") -> str:
    """Return a range of whole numbers as text, or the number if it is only one."""
    return str(first) if first == last else f"{first}{dash}{last}"


def _curve(entries: Sequence[Entry]) -> plots.LearningCurve:
    return plots.LearningCurve(
        [entry["step"] for entry in entries],
        [entry["loss"] for entry in entries],
        [entry["accuracy"] for entry in entries],
    )


def _estimates(entries: Sequence[Entry], key: str, interval: str = "") -> plots.Estimates:
    """Return a proportion of each entry with its interval; None becomes NaN."""
    undefined = (None, None)
    ends = [entry[interval or f"{key}_ci95"] or undefined for entry in entries]
    return plots.Estimates(
        np.array([entry[key] for entry in entries], float),
        np.array([low for low, _ in ends], float),
        np.array([high for _, high in ends], float),
    )
