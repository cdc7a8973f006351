"""Plots of a prediction at each step: true and predicted classes or numbers over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scanline.plots.style import BLUE, GREY, INK, WIDTH, new_figure, short_label, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class StepLine:
    """True and predicted values of the T steps of one sequence.

    Attributes:
        name: Name of the sequence.
        true: (T,) class indices, -1 for none; or numbers, NaN for none.
        predicted: (T,) predicted class indices, or numbers.
    """

    name: str
    true: NDArray[Any]
    predicted: NDArray[Any]


@styled
def step_classes(lines: Sequence[StepLine], classes: Sequence[str]) -> Figure:
    """Plot true classes (upper bar) and predicted ones (lower bar) of each step of some sequences."""
    from matplotlib import colormaps
    from matplotlib.patches import Patch

    colours = colormaps["tab10" if len(classes) <= 10 else "tab20"]
    figure = new_figure(0.9 + 0.45 * len(lines) + 0.2 * -(-len(classes) // 3))
    (axes,) = figure.axes
    for row, line in enumerate(lines):
        for height, values in ((row + 0.12, line.predicted), (row + 0.5, line.true)):
            for start, end, k in _runs(values):
                axes.broken_barh(
                    [(start + 0.5, end - start)], (height, 0.32), color=colours(k % colours.N), lw=0
                )
    axes.set_yticks(np.arange(len(lines)) + 0.47, [short_label(line.name) for line in lines])
    axes.set_ylim(0, len(lines))
    axes.set_xlabel("step")
    axes.grid(visible=False)
    patches = [Patch(color=colours(k % colours.N), label=short_label(name)) for k, name in enumerate(classes)]
    figure.legend(handles=patches, loc="outside lower center", ncols=3, labelcolor=INK)
    return figure


@styled
def step_numbers(lines: Sequence[StepLine]) -> Figure:
    """Plot true (grey) and predicted numbers (blue) of each step of some sequences."""
    figure = new_figure(1.1 * len(lines) + 0.4, rows=len(lines), width=WIDTH)
    for axes, line in zip(figure.axes, lines, strict=True):
        steps = np.arange(1, len(line.true) + 1)
        mark = "." if np.isnan(line.true).any() or len(steps) == 1 else ""
        axes.plot(steps, line.true, color=GREY, lw=1.2, marker=mark, ms=3)
        axes.plot(steps, line.predicted, color=BLUE, lw=1, marker="." if len(steps) == 1 else "")
        axes.set_ylabel(short_label(line.name))
    figure.axes[-1].set_xlabel("step")
    return figure


def _runs(values: NDArray[Any]) -> list[tuple[int, int, int]]:
    """Return first step, step after the last, and class of each run of equal classes of 0 and above."""
    starts = np.append(0, np.flatnonzero(np.diff(values)) + 1)
    ends = np.append(starts[1:], len(values))
    return [
        (start, end, int(values[start]))
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
        if values[start] >= 0
    ]
