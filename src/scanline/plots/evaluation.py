"""Plots of an evaluation: classes, calibration, coverage, lengths, steps read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from scanline.plots.style import BLUE, GREY, ORANGE, add_legend, new_figure, short_label, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Estimates:
    """Proportions with their 95 % confidence intervals, each array (n,); NaN where undefined.

    Attributes:
        values: Estimates, 0 to 1.
        low: Lower ends of the intervals.
        high: Upper ends of the intervals.
    """

    values: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ReliabilityBins:
    """Predictions grouped by their probability, each a sequence of one entry per bin.

    Attributes:
        low: Lower edges.
        high: Upper edges.
        confidence: Mean probability of the predictions in the bin.
        accuracy: Accuracy of the predictions in the bin.
        counts: Number of predictions in the bin.
    """

    low: Sequence[float]
    high: Sequence[float]
    confidence: Sequence[float]
    accuracy: Sequence[float]
    counts: Sequence[int]


@styled
def class_metrics(names: Sequence[str], recall: Estimates, precision: Estimates) -> Figure:
    """Plot recall and precision of each class with their intervals."""
    figure = new_figure(0.8 + 0.27 * len(names))
    (axes,) = figure.axes
    # Shifted up and down, so that the two intervals of a class do not overlap.
    for shift, label, each, colour in (
        (-0.14, "recall", recall, BLUE),
        (0.14, "precision", precision, ORANGE),
    ):
        # Precision is undefined for a class that is never predicted: no point is drawn.
        known = np.flatnonzero(~np.isnan(each.values))
        axes.hlines(known + shift, each.low[known], each.high[known], color=colour, lw=1.4)
        axes.plot(each.values[known], known + shift, "o", ms=4, color=colour, label=label)
    axes.set_yticks(range(len(names)), [short_label(name) for name in names])
    axes.invert_yaxis()
    axes.set_xlabel("recall, precision (95 % interval)")
    # Slightly beyond 1, so that a marker at 1 is not cut.
    axes.set_xlim(right=1.005)
    add_legend(axes, loc="lower right", ncols=2, bbox_to_anchor=(1, 1), borderaxespad=0.2)
    return figure


@styled
def reliability_diagram(bins: ReliabilityBins) -> Figure:
    """Plot accuracy against predicted probability, and the number of predictions in each bin.

    Source: DeGroot & Fienberg 1983.
    """
    figure = new_figure(3.6, 2, 1, sharex=True, height_ratios=[3, 1])
    axes, counts = figure.axes
    axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--", label="perfect calibration")
    widths = [high - low for low, high in zip(bins.low, bins.high, strict=True)]
    axes.bar(bins.low, bins.accuracy, widths, align="edge", color=BLUE, alpha=0.45)
    axes.plot(bins.confidence, bins.accuracy, "o", ms=3.5, color=BLUE, label="this model")
    axes.set_ylabel("accuracy")
    axes.set_ylim(0, 1.02)
    counts.bar(bins.low, bins.counts, widths, align="edge", color=GREY)
    # Most predictions are in the last bin: on a linear scale the other bars would be invisible.
    counts.set_yscale("log")
    counts.yaxis.set_major_formatter(lambda value, place: f"{value:g}")
    counts.set_ylabel("predictions")
    counts.set_xlabel("probability of the prediction")
    counts.set_xlim(0, 1)
    add_legend(axes, loc="upper left")
    return figure


@styled
def coverage_curve(coverage: Sequence[float], accuracy: Sequence[float]) -> Figure:
    """Plot accuracy on the most confident fraction of the predictions.

    Args:
        coverage: Fractions of the predictions, 0 to 1.
        accuracy: Accuracy on each fraction.
    """
    figure = new_figure(2.4)
    (axes,) = figure.axes
    axes.plot(coverage, accuracy, "o-", ms=3, color=BLUE)
    axes.set_xlabel("coverage, most confident first")
    axes.set_ylabel("accuracy")
    axes.set_xlim(0, 1.02)
    return figure


@styled
def accuracy_by_length(labels: Sequence[str], accuracy: Estimates) -> Figure:
    """Plot the accuracy of groups of sequences of similar length.

    Args:
        labels: Lengths of each group, for example "7-12".
        accuracy: Of each group.
    """
    figure = new_figure(2.4)
    (axes,) = figure.axes
    positions = range(len(labels))
    axes.vlines(positions, accuracy.low, accuracy.high, color=BLUE, lw=1.4)
    axes.plot(positions, accuracy.values, "o", ms=4, color=BLUE)
    axes.set_xticks(list(positions), labels)
    axes.set_xlabel("steps")
    axes.set_ylabel("accuracy")
    return figure


@styled
def accuracy_by_step(
    steps: Sequence[int], accuracy: Estimates, sufficient: int, unit: str = "steps"
) -> Figure:
    """Plot accuracy against the number of steps read.

    Args:
        steps: Numbers of steps read.
        accuracy: After each of them.
        sufficient: Steps from which on the accuracy stays within the interval of the final one.
        unit: Name of a step, in the plural.
    """
    figure = new_figure(2.7)
    (axes,) = figure.axes
    axes.fill_between(steps, accuracy.low, accuracy.high, color=BLUE, alpha=0.2, lw=0)
    axes.plot(steps, accuracy.values, color=BLUE, lw=1.6)
    axes.axvline(sufficient, color=ORANGE, lw=1, ls="--")
    # Above the axes, where no curve is, and on the side of the line that has more room.
    right_of_line = sufficient <= len(steps) / 2
    align: Literal["left", "right"] = "left" if right_of_line else "right"
    axes.annotate(
        f"{sufficient} {unit} suffice" if sufficient > 1 else f"1 {unit.removesuffix('s')} suffices",
        (sufficient, 1.02),
        xytext=(0, 3),
        textcoords="offset points",
        ha=align,
        va="bottom",
        fontsize=8.5,
    )
    axes.set_ylim(0, 1.02)
    axes.set_xlim(left=1)
    axes.set_xlabel(f"{unit} read")
    axes.set_ylabel("accuracy")
    return figure


@styled
def predicted_numbers(true: NDArray[Any], predicted: NDArray[Any], half_width: float | None = None) -> Figure:
    """Plot predicted against true numbers, with the band of the prediction intervals.

    Args:
        true: (N,) targets.
        predicted: (N,) predictions.
        half_width: Half the width of the prediction intervals; None draws no band.
    """
    figure = new_figure(3.4)
    (axes,) = figure.axes
    ends = np.array([min(true.min(), predicted.min()), max(true.max(), predicted.max())], np.float64)
    if half_width is not None:
        # The interval of a prediction contains the target where the point is inside this band.
        axes.fill_between(ends, ends - half_width, ends + half_width, color=GREY, alpha=0.2, lw=0)
    axes.plot(ends, ends, color=GREY, lw=1, ls="--")
    axes.plot(true, predicted, "o", ms=3, color=BLUE, alpha=0.6, mew=0)
    axes.set_xlabel("true")
    axes.set_ylabel("predicted")
    return figure


@styled
def residual_histogram(errors: NDArray[Any]) -> Figure:
    """Plot how often errors (N,), predicted minus true, have which size."""
    figure = new_figure(2.4)
    (axes,) = figure.axes
    axes.hist(errors, bins=min(40, max(8, round(len(errors) ** 0.5))), color=BLUE, alpha=0.7)
    axes.axvline(0, color=GREY, lw=1, ls="--")
    axes.set_xlabel("predicted minus true")
    axes.set_ylabel("sequences")
    return figure
