"""Gates and units over many sequences: how often gates are saturated, how large states are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import JsonValue

from scanline import cells
from scanline.data.source import SequenceSource
from scanline.explanation.trace import trace
from scanline.model.network import Network
from scanline.tasks.base import Task

CLOSED, OPEN = 0.1, 0.9  # below and above which a gate counts as closed and open
IDLE = 0.05  # mean |state| below which a unit counts as idle
_MAX_SEQUENCES = 200


@dataclass(frozen=True)
class GateSaturation:
    """How often a gate of a layer is saturated, as fractions of all its values.

    Attributes:
        name: The gate, with its layer if there are several.
        closed: Fraction of values below 0.1.
        between: Fraction of values from 0.1 to 0.9.
        open: Fraction of values above 0.9.
    """

    name: str
    closed: float
    between: float
    open: float


@dataclass(frozen=True)
class LayerStates:
    """How large the states of a layer are.

    Attributes:
        name: The layer, or "state" if there is only one.
        mean_size: Mean |h| of each of the H units.
        idle: Number of units whose mean is below 0.05.
    """

    name: str
    mean_size: list[float]
    idle: int


@dataclass(frozen=True)
class GateActivity:
    """Gates and states over several sequences.

    Attributes:
        n: Number of sequences.
        gates: Every gate of every layer.
        states: Every layer.
    """

    n: int
    gates: list[GateSaturation]
    states: list[LayerStates]

    def to_json(self) -> dict[str, JsonValue]:
        """Return the numbers under the names of report.json."""
        return {
            "n": self.n,
            "gates": [
                {"name": gate.name, "shut": gate.closed, "between": gate.between, "open": gate.open}
                for gate in self.gates
            ],
            "states": [
                {"name": layer.name, "mean_size": [*layer.mean_size], "idle": layer.idle}
                for layer in self.states
            ],
        }


def gate_activity(network: Network, task: Task, source: SequenceSource) -> GateActivity:
    """Measure gates and states over up to 200 sequences that are evenly spaced over a source.

    Args:
        network: The network.
        task: Its task.
        source: The network's steps.
    """
    source = source.subsample(_MAX_SEQUENCES)
    cell = cells.get(network.architecture.cell)
    gates: dict[str, list[np.ndarray]] = {}
    states: dict[str, list[np.ndarray]] = {}
    # One sequence at a time, and only sums are kept: all gates at all steps would take too much memory.
    for index in range(len(source)):
        traced = trace(network, source.steps_of(index), task)
        several = len(traced.directions) > 1
        for direction in traced.directions:
            # values: (T, H), without padding.
            for name, values in direction.values.items():
                if name in cell.clampable:
                    gate = cell.titles.get(name, name)
                    title = f"{gate}, {direction.title}" if several else gate
                    counts = np.array([(values < CLOSED).sum(), (values > OPEN).sum(), values.size])
                    gates.setdefault(title, []).append(counts)
                elif name == "h":
                    # (H + 1,): sums over the steps, and the number of steps as the divisor.
                    sums = np.array([*np.abs(values).sum(0), len(values)])
                    states.setdefault(direction.title if several else "state", []).append(sums)
    return GateActivity(
        len(source),
        [_saturation(name, np.sum(counts, 0)) for name, counts in gates.items()],
        [_states(name, np.sum(sums, 0)) for name, sums in states.items()],
    )


def _saturation(name: str, counts: np.ndarray) -> GateSaturation:
    """Return the fractions of a gate's values. counts: (3,) closed, open, all."""
    closed, opened, total = counts
    between = total - closed - opened
    return GateSaturation(name, float(closed / total), float(between / total), float(opened / total))


def _states(name: str, sums: np.ndarray) -> LayerStates:
    """Return the mean sizes of a layer's units. sums: (H + 1,), of |h| of each unit, and the steps."""
    mean = sums[:-1] / sums[-1]
    return LayerStates(name, mean.tolist(), int((mean < IDLE).sum()))
