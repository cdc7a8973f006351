"""The learning curve of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scanline.plots.style import BLUE, GREY, add_legend, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """Loss and accuracy against the training step.

    Attributes:
        steps: Steps, counted from 1.
        losses: Mean cross-entropy after each of these steps, in nats.
        accuracies: Accuracy after each of these steps, 0 to 1.
    """

    steps: Sequence[int]
    losses: Sequence[float]
    accuracies: Sequence[float]


@styled
def learning_curve(batches: LearningCurve, validation: LearningCurve) -> Figure:
    """Plot loss and accuracy against the step.

    Args:
        batches: Of the training batches that were logged.
        validation: Of the validation split; may be empty.
    """
    figure = new_figure(3.6, 2, 1, sharex=True)
    loss, accuracy = figure.axes
    loss.plot(batches.steps, batches.losses, color=GREY, lw=0.9, label="training batch")
    if validation.steps:
        loss.plot(validation.steps, validation.losses, "o-", ms=3, color=BLUE, label="validation")
    loss.set_ylabel("cross-entropy")
    # Logarithmic if the losses span more than a factor of 30; a loss of 0 has no logarithm.
    positive = [value for value in (*batches.losses, *validation.losses) if value > 0]
    if positive and max(positive) > 30 * min(positive):
        loss.set_yscale("log")
        loss.yaxis.set_major_formatter(lambda value, place: f"{value:g}")
    accuracy.plot(batches.steps, batches.accuracies, color=GREY, lw=0.9)
    accuracy.plot(validation.steps, validation.accuracies, "o-", ms=3, color=BLUE)
    accuracy.set_ylabel("accuracy")
    accuracy.set_xlabel("step")
    add_legend(loss)
    return figure
