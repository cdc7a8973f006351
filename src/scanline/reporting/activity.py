"""What the gates and units do over many sequences."""

from __future__ import annotations

from typing import Any

import numpy as np

from scanline import plots
from scanline.data.memory import MemorySource
from scanline.explanation.trace import trace
from scanline.model.network import Network

SHUT, OPEN = 0.1, 0.9
IDLE = 0.05
_MOST = 200
_GATES = ("i", "f", "o", "r", "z")


def gate_activity(network: Network, part: MemorySource) -> dict[str, Any]:
    """Over up to 200 sequences, spread over `part`: how saturated the gates are and how busy the units.

    Returns {"n", "gates": for each gate of each layer {"name", "shut" (share below 0.1), "between", "open"
    (above 0.9)}, "states": for each layer {"name", "mean_size" (mean |h| of each unit), "idle" (units below
    0.05)}}.
    """
    part = part.subsample(_MOST)
    gates: dict[str, list[np.ndarray]] = {}
    states: dict[str, list[np.ndarray]] = {}
    for index in range(len(part)):
        traced = trace(network, part.steps_of(index), part.classes)
        for each in traced.directions:
            for name, values in each.parts.items():
                if name in _GATES:
                    title = _title(each.title, plots.PARTS[name], traced)
                    shares = np.array([(values < SHUT).sum(), (values > OPEN).sum(), values.size])
                    gates.setdefault(title, []).append(shares)
                elif name == "h":
                    size = np.array([*np.abs(values).sum(0), len(values)])
                    states.setdefault(_title(each.title, "", traced) or "state", []).append(size)
    told_gates = []
    for name, counts in gates.items():
        shut, opened, total = np.sum(counts, 0)
        told_gates.append(
            {
                "name": name,
                "shut": float(shut / total),
                "between": float((total - shut - opened) / total),
                "open": float(opened / total),
            }
        )
    told_states = []
    for name, sizes in states.items():
        total_sizes = np.sum(sizes, 0)
        mean = total_sizes[:-1] / total_sizes[-1]
        told_states.append({"name": name, "mean_size": mean.tolist(), "idle": int((mean < IDLE).sum())})
    return {"n": len(part), "gates": told_gates, "states": told_states}


def _title(layer: str, gate: str, traced: Any) -> str:
    return gate if len(traced.directions) == 1 else ", ".join(filter(None, (gate, layer)))
