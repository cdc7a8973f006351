"""One sequence: its values, the probabilities after each step, attributions, gates and states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scanline.plots.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    add_legend,
    hide_frame,
    marker_for,
    new_figure,
    short_label,
    styled,
)
from scanline.plots.tokens import draw_tokens

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FULL_WIDTH = 8.8  # inches, of the whole explanation, which is too wide for a phone
_FEATURES_SHOWN = 12
_ALL_CLASSES_LABELLED = 20
_SCALES_APART = 20  # features whose ranges differ more than this do not share an axis
_UNREAD = "#8a8f9830"  # behind the steps of a heat map that have not been read
_SMALL = 8.0  # points, of the titles of a small figure


@dataclass(frozen=True, eq=False)
class Panel:
    """One gate or state of one layer in one direction.

    Attributes:
        title: For example "forget gate f, layer 2".
        values: (T, H).
        signed: Whether values range around 0 rather than from 0 to 1.
    """

    title: str
    values: NDArray[Any]
    signed: bool


@dataclass(frozen=True, eq=False)
class AttributionImage:
    """Attributions to one class.

    Attributes:
        values: (height, width) in the picture's place, or (F, T).
        class_name: The class.
        in_picture: Which of the two.
    """

    values: NDArray[Any]
    class_name: str
    in_picture: bool


@dataclass(frozen=True, eq=False)
class SequenceData:
    """What is plotted of one sequence of T steps.

    Attributes:
        class_names: K names.
        probabilities: (T, K), after each step.
        predicted: Index of the predicted class.
        settled: Step, counted from 1, from which on the prediction does not change.
        values: (T, F), plotted as lines where there is no picture.
        picture: (height, width) or (height, width, 3), 0 to 255, NaN where not yet read; or None.
        attribution: Attributions, or None.
        panels: Gates and states.
        tokens: Token of each step of a text, which are drawn in place of values; empty for others.
    """

    class_names: tuple[str, ...]
    probabilities: NDArray[np.float64]
    predicted: int
    settled: int
    values: NDArray[Any]
    picture: NDArray[Any] | None = None
    attribution: AttributionImage | None = None
    panels: tuple[Panel, ...] = ()
    tokens: tuple[str, ...] = ()


@styled
def mistake(data: SequenceData, true: int) -> Figure:
    """Plot a misclassified sequence in little space: input, attribution, and two probabilities by step.

    Args:
        data: The sequence; needs an attribution.
        true: Index of the true class.
    """
    figure = new_figure(1.35, 1, 3, width_ratios=[1, 1, 1.9])
    values, attribution, probabilities = figure.axes
    _draw_input(values, data, None)
    _draw_attribution(attribution, data.attribution)
    values.set_title("input", fontsize=_SMALL)
    attribution.set_title("attribution", fontsize=_SMALL)
    # Too small for ticks and labels.
    for axes in (values, attribution):
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel("")
        axes.set_ylabel("")
    steps = np.arange(1, len(data.probabilities) + 1)
    for index, colour, style in ((data.predicted, BLUE, "-"), (true, ORANGE, "--")):
        label = short_label(data.class_names[index], 10)
        style += marker_for(steps)
        probabilities.plot(
            steps, data.probabilities[:, index], style, ms=4, color=colour, lw=1.5, label=label
        )
    probabilities.set_ylim(-0.03, 1.03)
    probabilities.set_yticks([0, 1])
    # At least 2: Matplotlib warns if both limits are equal, as for a sequence of one step.
    probabilities.set_xlim(1, max(len(steps), 2))
    probabilities.set_title("probability by step", fontsize=_SMALL)
    probabilities.tick_params(labelsize=7.5)
    add_legend(probabilities, loc="upper left", fontsize=7.5, borderpad=0, handlelength=1.4)
    return figure


@styled
def explanation(data: SequenceData, upto: int | None = None) -> Figure:
    """Plot one sequence as the network reads it: input, probabilities by step, every gate and state.

    Args:
        data: The sequence.
        upto: Number of steps read so far, of which only these are plotted; None plots all.
    """
    # Input and probabilities take two rows, the panels follow in pairs; the division rounds up.
    rows = 2 + -(-len(data.panels) // 2)
    heights = [1.9, 1.6, *[1.25] * (rows - 2)]
    total = sum(heights) + 0.62 * rows  # inches, with room for titles and ticks
    # Fixed positions, not a layout engine: equal in all frames of an animation, and four times as fast.
    figure = new_figure(total, rows, 2, width=_FULL_WIDTH, layout=None, height_ratios=heights)
    figure.subplots_adjust(
        left=0.07,
        right=0.935,
        top=1 - 0.3 / total,
        bottom=0.42 / total,
        wspace=0.3,
        hspace=0.62 * rows / sum(heights),
    )
    axes = np.array(figure.axes).reshape(rows, 2)
    shown = len(data.probabilities) if upto is None else upto
    _draw_input(axes[0, 0], data, upto)
    if data.attribution is None:
        # Without an attribution, as in the frames of an animation, the input has the whole row.
        axes[0, 0].set_subplotspec(axes[0, 0].get_gridspec()[0, :])
    _draw_attribution(axes[0, 1], data.attribution)
    _draw_probabilities(axes[1, 0], data, shown)
    _draw_all_probabilities(axes[1, 1], data, shown)
    places = axes[2:].reshape(-1)
    for place, panel in zip(places, data.panels, strict=False):
        _draw_panel(place, panel, shown)
    # An odd number of panels leaves one place empty.
    for place in places[len(data.panels) :]:
        place.set_axis_off()
    for place in axes[-1]:
        place.set_xlabel("step")
    return figure


def _draw_panel(axes: Axes, panel: Panel, shown: int) -> None:
    """Draw a heat map of all units, sorted by their mean, over the first `shown` steps."""
    # Colours and the order of units come from all T steps, so that they stay the same in every frame.
    T, H = panel.values.shape
    limit = max(1.0, float(np.abs(panel.values).max())) if panel.signed else 1.0
    # (H, T), one row for each unit; steps that have not been read are NaN and stay blank.
    image = np.full((H, T), np.nan)
    image[:, :shown] = panel.values[:shown].T[np.argsort(-panel.values.mean(0), kind="stable")]
    drawn = axes.imshow(
        image,
        aspect="auto",
        cmap="PuOr" if panel.signed else "viridis",
        vmin=-limit if panel.signed else 0,
        vmax=limit,
        interpolation="nearest",
        extent=(0.5, T + 0.5, H + 0.5, 0.5),
    )
    axes.set_facecolor(_UNREAD)
    axes.set_title(panel.title)
    axes.set_ylabel("units, sorted")
    axes.set_yticks([])
    axes.grid(False)
    # In inset axes: a colour bar would otherwise take its space from the panel, which then no longer lines
    # up with the others.
    bar = axes.figure.colorbar(drawn, cax=axes.inset_axes((1.015, 0, 0.022, 1)))
    if panel.signed:
        bar.set_ticks([-limit, 0, limit], labels=[f"{-limit:.3g}", "0", f"{limit:.3g}"])
    else:
        bar.set_ticks([0, 1], labels=["0", "1"])
    outline: Any = bar.outline
    outline.set_visible(False)
    hide_frame(axes)


def _draw_input(axes: Axes, data: SequenceData, upto: int | None) -> None:
    axes.grid(False)
    if data.tokens:
        shares = None if data.attribution is None else np.asarray(data.attribution.values, float).sum(0)
        draw_tokens(axes, data.tokens, shares, upto)
        return
    picture, values = data.picture, data.values
    if picture is not None:
        # Masked pixels have not been read yet and stay transparent.
        shown = picture if picture.ndim == 3 else np.ma.masked_invalid(picture.astype(float))
        axes.imshow(shown, cmap="gray", interpolation="nearest", vmin=0, vmax=255)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title("input")
        hide_frame(axes)
        return
    T, F = values.shape
    steps = np.arange(1, T + 1)[:upto]
    lines, own_ranges = _on_one_axis(values[:, :_FEATURES_SHOWN])
    for line in lines.T:
        axes.plot(steps, line[:upto], marker_for(steps), ms=3, lw=1, alpha=0.8)
    axes.set_xlim(0.5, T + 0.5)
    axes.locator_params(axis="x", integer=True)
    title = "input" if F <= _FEATURES_SHOWN else f"input, {_FEATURES_SHOWN} of {F} features"
    if own_ranges:
        axes.set_yticks([0, 1], ["lowest", "highest"])
        title += ", each over its own range"
    # From all steps, so that the axis stays the same in every frame.
    if np.isfinite(lines).any():
        low, high = float(np.nanmin(lines)), float(np.nanmax(lines))
        margin = 0.05 * ((high - low) or 1.0)
        axes.set_ylim(low - margin, high + margin)
    axes.set_title(title)


def _on_one_axis(values: NDArray[Any]) -> tuple[NDArray[np.float64], bool]:
    """Return what to plot of features that share an axis, and whether each is scaled to its own range.

    Args:
        values: (T, F), NaN where missing.

    Returns:
        (T, F): the values, or, if the range of one feature would be a flat line beside the others, each
        feature from 0 to 1.
    """
    lines = np.asarray(values, np.float64)
    known = np.isfinite(lines)
    low = np.where(known, lines, np.inf).min(0)
    high = np.where(known, lines, -np.inf).max(0)
    seen = known.any(0)
    if not seen.any():
        return lines, False
    spans = np.where(seen, high - low, 0.0)
    whole = float(high[seen].max() - low[seen].min())
    if not ((spans > 0) & (spans * _SCALES_APART < whole)).any():
        return lines, False
    # A constant feature is a line in the middle.
    scaled = (lines - np.where(seen, low, 0.0)) / np.where(spans > 0, spans, 1.0)
    return scaled + np.where(spans > 0, 0.0, 0.5), True


def _draw_attribution(axes: Axes, attribution: AttributionImage | None) -> None:
    axes.grid(False)
    if attribution is None:
        axes.set_axis_off()
        return
    # Symmetric, so that zero is white. `or 1.0`: all attributions may be zero.
    limit = float(np.abs(attribution.values).max()) or 1.0
    axes.imshow(
        attribution.values,
        cmap="RdBu",
        vmin=-limit,
        vmax=limit,
        interpolation="nearest",
        aspect="equal" if attribution.in_picture else "auto",
    )
    axes.set_title(f"attribution: for {short_label(attribution.class_name)} (blue), against (red)")
    axes.set_xticks([])
    axes.set_yticks([])
    hide_frame(axes)
    if not attribution.in_picture:
        axes.set_xlabel("step")
        axes.set_ylabel("features")


def _draw_probabilities(axes: Axes, data: SequenceData, shown: int) -> None:
    """Draw the probabilities of the predicted class and of its up to three strongest rivals."""
    probabilities, predicted = data.probabilities, data.predicted
    T = len(probabilities)
    steps = np.arange(1, T + 1)[:shown]
    # Ranked by the highest probability at any step, so that a class that led for a while is shown.
    top = np.argsort(-probabilities.max(0), kind="stable")[:4]
    # The predicted class is always shown; it replaces the fourth if necessary.
    top = top if predicted in top else np.append(top[:3], predicted)
    colours = {predicted: BLUE}
    rivals = [int(index) for index in top if index != predicted]
    colours |= dict(zip(rivals, (ORANGE, GREY, GREEN), strict=False))
    for index, colour in colours.items():
        label, marker = short_label(data.class_names[index]), marker_for(steps)
        axes.plot(steps, probabilities[:shown, index], marker, ms=4, lw=1.6, color=colour, label=label)
    if shown == T:
        axes.axvline(data.settled, color=INK, lw=0.8, ls=":")
        axes.annotate(
            "settled",
            (data.settled, 1.02),
            xytext=(0, 3),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=8,
        )
    axes.set_xlim(0.5, T + 0.5)
    axes.locator_params(axis="x", integer=True)
    axes.set_ylim(-0.02, 1.02)
    axes.set_ylabel("probability after step")
    # The legend stands on the side where "settled" does not.
    side, x = ("left", 0) if data.settled > T / 2 else ("right", 1)
    add_legend(
        axes,
        ncols=4,
        borderaxespad=0.2,
        handlelength=1.2,
        columnspacing=1.2,
        loc=f"lower {side}",
        bbox_to_anchor=(x, 1),
    )


def _draw_all_probabilities(axes: Axes, data: SequenceData, shown: int) -> None:
    """Draw a heat map of the probabilities of all classes."""
    T, K = data.probabilities.shape
    image = np.full((K, T), np.nan)
    image[:, :shown] = data.probabilities[:shown].T
    axes.imshow(
        image,
        aspect="auto",
        cmap="viridis",
        vmin=0,
        vmax=1,
        interpolation="nearest",
        extent=(0.5, T + 0.5, K - 0.5, -0.5),
    )
    axes.set_facecolor(_UNREAD)
    if K <= _ALL_CLASSES_LABELLED:
        axes.set_yticks(range(K), [short_label(name) for name in data.class_names])
    hide_frame(axes)
    axes.set_title("probability of each class")
    axes.grid(False)
