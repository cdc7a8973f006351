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
    """Loss and score against the training step.

    Attributes:
        steps: Steps, counted from 1.
        losses: Mean loss after each of these steps; for a classification the cross-entropy in nats.
        scores: Score after each of these steps, 0 to 1; for a classification the accuracy.
    """

    steps: Sequence[int]
    losses: Sequence[float]
    scores: Sequence[float]


@styled
def learning_curve(
    batches: LearningCurve,
    validation: LearningCurve,
    loss_name: str = "cross-entropy",
    score_name: str = "accuracy",
) -> Figure:
    """Plot loss and score against the step.

    Args:
        batches: Of the training batches that were logged.
        validation: Of the validation split; may be empty.
        loss_name: What the loss is called.
        score_name: What the score is called.
    """
    figure = new_figure(3.6, 2, 1, sharex=True)
    loss, score = figure.axes
    loss.plot(batches.steps, batches.losses, color=GREY, lw=0.9, label="training batch")
    if validation.steps:
        loss.plot(validation.steps, validation.losses, "o-", ms=3, color=BLUE, label="validation")
    loss.set_ylabel(loss_name)
    # Logarithmic if the losses span more than a factor of 30; a loss of 0 has no logarithm.
    positive = [value for value in (*batches.losses, *validation.losses) if value > 0]
    if positive and max(positive) > 30 * min(positive):
        loss.set_yscale("log")
        loss.yaxis.set_major_formatter(lambda value, place: f"{value:g}")
    score.plot(batches.steps, batches.scores, color=GREY, lw=0.9)
    score.plot(validation.steps, validation.scores, "o-", ms=3, color=BLUE)
    score.set_ylabel(score_name)
    score.set_xlabel("step")
    add_legend(loss)
    return figure
