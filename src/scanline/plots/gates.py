"""Gates and units over many sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scanline.plots.style import BLUE, GREEN, GREY, ORANGE, add_legend, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class GateActivity:
    """How often a gate is saturated, as fractions of all its values.

    Attributes:
        name: The gate, for example "forget gate".
        closed: Fraction of values near 0.
        between: Fraction of values that are neither.
        open: Fraction of values near 1.
    """

    name: str
    closed: float
    between: float
    open: float


@styled
def gate_activity(gates: Sequence[GateActivity], states: Mapping[str, Sequence[float]]) -> Figure:
    """Plot the saturation of each gate, and the mean size of each unit's state.

    Args:
        gates: All gates of all layers; may be empty.
        states: By layer, mean |state| of each unit; in any order.
    """
    figure = new_figure(1.6 + 0.25 * max(len(gates), 1) + 1.6, 2, 1, height_ratios=[max(len(gates), 1), 4])
    # Stacked bars: `left` accumulates the fractions drawn so far.
    bars, units = figure.axes
    left = np.zeros(len(gates))
    for label, values, colour, alpha in (
        ("closed", [gate.closed for gate in gates], GREY, 0.9),
        ("between", [gate.between for gate in gates], BLUE, 0.35),
        ("open", [gate.open for gate in gates], BLUE, 1.0),
    ):
        bars.barh(range(len(gates)), values, left=left, color=colour, alpha=alpha, label=label)
        left = left + np.array(values)
    bars.set_yticks(range(len(gates)), [gate.name for gate in gates])
    bars.invert_yaxis()
    bars.set_xlim(0, 1)
    bars.set_xlabel("fraction of all steps and units")
    bars.legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)
    # Four colours: further layers are not drawn, as more lines could not be distinguished.
    for (name, sizes), colour in zip(states.items(), (BLUE, ORANGE, GREY, GREEN), strict=False):
        units.plot(sorted(sizes, reverse=True), lw=1.3, color=colour, label=name)
    units.set_xlabel("units, sorted")
    units.set_ylabel("mean |state|")
    units.set_ylim(bottom=0)
    add_legend(units)
    return figure
