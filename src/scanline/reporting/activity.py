"""Gates and units over many sequences: how often gates are saturated, how large states are."""

from __future__ import annotations

from typing import Any

import numpy as np

from scanline.data.memory import MemorySource
from scanline.explanation.plot_data import GATES, title_of
from scanline.explanation.trace import trace
from scanline.model.network import Network
from scanline.tasks.classification import Classification

CLOSED, OPEN = 0.1, 0.9  # below and above which a gate counts as closed and open
IDLE = 0.05  # mean |state| below which a unit counts as idle
_MAX_SEQUENCES = 200


def gate_activity(network: Network, source: MemorySource) -> dict[str, Any]:
    """Measure gates and states over up to 200 sequences that are evenly spaced over a source.

    Args:
        network: The network.
        source: The network's steps.

    Returns:
        "n", the number of sequences; "gates", for each gate of each layer its "name" and the fractions of
        values that are "shut" (below 0.1), "between" and "open" (above 0.9); "states", for each layer its
        "name", "mean_size" (mean |h| of each unit) and "idle" (number of units below 0.05).
    """
    source, task = source.subsample(_MAX_SEQUENCES), Classification(source.classes)
    gates: dict[str, list[np.ndarray]] = {}
    states: dict[str, list[np.ndarray]] = {}
    for index in range(len(source)):
        traced = trace(network, source.steps_of(index), task)
        several = len(traced.directions) > 1
        for direction in traced.directions:
            for name, values in direction.values.items():
                if name in GATES:
                    title = f"{title_of(name)}, {direction.title}" if several else title_of(name)
                    counts = np.array([(values < CLOSED).sum(), (values > OPEN).sum(), values.size])
                    gates.setdefault(title, []).append(counts)
                elif name == "h":
                    sums = np.array([*np.abs(values).sum(0), len(values)])
                    states.setdefault(direction.title if several else "state", []).append(sums)
    return {
        "n": len(source),
        "gates": [_gate(name, np.sum(counts, 0)) for name, counts in gates.items()],
        "states": [_state(name, np.sum(sums, 0)) for name, sums in states.items()],
    }


def _gate(name: str, counts: np.ndarray) -> dict[str, Any]:
    """Return the fractions of a gate's values. counts: (3,) closed, open, all."""
    closed, opened, total = counts
    return {
        "name": name,
        "shut": float(closed / total),
        "between": float((total - closed - opened) / total),
        "open": float(opened / total),
    }


def _state(name: str, sums: np.ndarray) -> dict[str, Any]:
    """Return the mean sizes of a layer's units. sums: (H + 1,), of |h| of each unit, and the steps."""
    mean = sums[:-1] / sums[-1]
    return {"name": name, "mean_size": mean.tolist(), "idle": int((mean < IDLE).sum())}
