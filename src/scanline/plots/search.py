"""Plots of a search for settings: its history, the settings of its trials, and what they matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from scanline.plots.evaluation import Estimates
from scanline.plots.style import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    PAPER,
    add_legend,
    hide_frame,
    new_figure,
    short_label,
    styled,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAME_LENGTH = 24  # characters of a name beside a bar or an axis
_MARKERS = "os^D"  # of trials that were stopped, by how far they had come
INTERVALS_SHOWN = 60  # trials; intervals of more would cover the points


@dataclass(frozen=True, eq=False)
class TrialScores:
    """The scores of the trials of one kind.

    Attributes:
        numbers: (n,) numbers of the trials.
        scores: Their scores, with intervals that are NaN where unknown.
    """

    numbers: NDArray[np.int64]
    scores: Estimates


@dataclass(frozen=True, eq=False)
class SettingAxis:
    """A setting as an axis that the line of each trial crosses.

    Attributes:
        name: Name of the setting.
        positions: (n,) place of each trial's value on the axis, 0 to 1.
        ticks: Places and labels of some values.
    """

    name: str
    positions: NDArray[np.float64]
    ticks: Sequence[tuple[float, str]]


@styled
def trial_history(
    complete: TrialScores,
    stopped: Mapping[float, TrialScores],
    diverged: Sequence[int],
    score_name: str = "accuracy",
) -> Figure:
    """Plot the validation score of each trial against its number, with the best one so far.

    Args:
        complete: Trials whose training came to its end.
        stopped: Trials that were stopped early, with their last scores, by the fraction of the training that
            was done.
        diverged: Numbers of the trials that diverged.
        score_name: What the score is called.
    """
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(3.2)
    (axes,) = figure.axes
    numbers = [*complete.numbers, *(each for group in stopped.values() for each in group.numbers), *diverged]
    # Intervals and large marks of many trials would cover each other.
    few = len(numbers) <= INTERVALS_SHOWN
    size = 4.5 if few else 2.5
    for place, (fraction, group) in enumerate(sorted(stopped.items(), reverse=True)):
        axes.plot(
            group.numbers,
            group.scores.values,
            _MARKERS[place % len(_MARKERS)],
            ms=size,
            mfc="none",
            mec=GREY,
            label=f"stopped at {100 * fraction:.0f} %",
        )
    if diverged:
        # At the lower edge, as they have no score that could be compared.
        edge = axes.get_xaxis_transform()
        axes.plot(diverged, [0.02] * len(diverged), "x", ms=5, color=GREY, transform=edge, label="diverged")
    if few:
        axes.vlines(
            complete.numbers, complete.scores.low, complete.scores.high, color=BLUE, alpha=0.5, lw=1.2
        )
    if len(complete.numbers):
        best = np.maximum.accumulate(complete.scores.values)
        steps = [*complete.numbers, max(numbers)], [*best, best[-1]]
        axes.step(*steps, where="post", color=ORANGE, lw=1.4, label="best so far")
    axes.plot(complete.numbers, complete.scores.values, "o", ms=size, color=BLUE, label="trained fully")
    axes.set_xlabel("trial")
    axes.set_ylabel(f"validation {score_name}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    add_legend(axes, loc="lower left", ncols=2, bbox_to_anchor=(0, 1), borderaxespad=0.2, handlelength=1.4)
    return figure


@styled
def parallel_coordinates(axes_of_settings: Sequence[SettingAxis], order: Sequence[int]) -> Figure:
    """Plot the settings of all trials: one axis below the other, and a line from axis to axis for each trial.

    Args:
        axes_of_settings: The axes, from top to bottom.
        order: Indices of the trials, the best first. It is drawn on top, and the others paler towards the
            last.
    """
    figure = new_figure(0.56 * len(axes_of_settings))
    (axes,) = figure.axes
    heights = -np.arange(len(axes_of_settings), dtype=float)
    places = np.array([each.positions for each in axes_of_settings])  # (axes, trials)
    # Many lines are paler, so that they do not become an area.
    pale = min(1.0, (25 / max(len(order), 1)) ** 0.5)
    # The worst first: better trials are drawn over them.
    for rank, trial in reversed(list(enumerate(order))):
        # Squared below: only the best fraction of the trials stands out.
        strength = 1 - rank / max(len(order), 2)
        colour, alpha, width = (
            (ORANGE, 1.0, 2.2) if rank == 0 else (BLUE, pale * (0.1 + 0.6 * strength**2), 1.0)
        )
        axes.plot(places[:, trial], heights, "o-", ms=2.5, color=colour, alpha=alpha, lw=width)
    for each, height in zip(axes_of_settings, heights, strict=True):
        _draw_axis(axes, each, float(height))
    # Names are tick labels, so that the layout engine makes room for them.
    axes.set_yticks(heights, [short_label(each.name, _NAME_LENGTH) for each in axes_of_settings])
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    hide_frame(axes)
    axes.set_xlim(-0.04, 1.04)
    axes.set_ylim(heights[-1] - 0.5, 0.15)
    return figure


def _draw_axis(axes: Axes, setting: SettingAxis, height: float) -> None:
    axes.plot([0, 1], [height, height], color=INK, lw=0.8, zorder=1.5)
    for place, label in setting.ticks:
        align: Literal["left", "center", "right"] = "center"
        if place < 0.05:
            align = "left"
        elif place > 0.95:
            align = "right"
        axes.plot([place, place], [height - 0.05, height + 0.05], color=INK, lw=0.8, zorder=1.5)
        axes.annotate(
            short_label(label),
            (place, height),
            (0, -7),
            textcoords="offset points",
            ha=align,
            va="top",
            fontsize=7.5,
            zorder=5,
            # Lines of trials cross the labels.
            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.6, "alpha": 0.75},
        )


@styled
def setting_importance(names: Sequence[str], fractions: Sequence[float]) -> Figure:
    """Plot how much of the differences between trials each setting explains.

    Args:
        names: The settings, the most important first.
        fractions: Of the variance, 0 to 1.
    """
    figure = new_figure(0.7 + 0.27 * len(names))
    (axes,) = figure.axes
    axes.barh(range(len(names)), [100 * each for each in fractions], color=BLUE, height=0.62)
    axes.set_yticks(range(len(names)), [short_label(name, _NAME_LENGTH) for name in names])
    axes.invert_yaxis()
    for place, fraction in enumerate(fractions):
        label = f"{100 * fraction:.0f} %"
        axes.annotate(
            label, (100 * fraction, place), (3, 0), textcoords="offset points", va="center", fontsize=8
        )
    # Room for the label of the longest bar.
    axes.set_xlim(0, max(10.0, 118 * max(fractions, default=0)))
    axes.set_xlabel("% of the variance of ranks")
    axes.grid(visible=False, axis="y")
    return figure


@styled
def compared_scores(names: Sequence[str], scores: Estimates, score_name: str = "accuracy") -> Figure:
    """Plot scores with their intervals below one another; the first is emphasised.

    Args:
        names: What has the scores.
        scores: The scores.
        score_name: What the score is called.
    """
    figure = new_figure(0.8 + 0.3 * len(names))
    (axes,) = figure.axes
    places = np.arange(len(names))
    for chosen, colour in ((places[:1], ORANGE), (places[1:], BLUE)):
        axes.hlines(chosen, scores.low[chosen], scores.high[chosen], color=colour, lw=1.6)
        axes.plot(scores.values[chosen], chosen, "o", ms=5, color=colour)
    axes.axvline(float(scores.values[0]), color=ORANGE, lw=0.9, ls="--", alpha=0.7)
    axes.set_yticks(places, [short_label(name, _NAME_LENGTH) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel(f"test {score_name} (95 % interval)")
    return figure
