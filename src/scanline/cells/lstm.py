"""The long short-term memory with a forget gate.

Source: Hochreiter & Schmidhuber (1997); forget gate: Gers, Schmidhuber & Cummins (2000); projection of the
outputs: Sak, Senior & Beaufays (2014).
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from scanline.cells.base import Cell, FormatLayout, Intervention, Weights

if TYPE_CHECKING:
    from torch import Tensor

# Beyond this a gate is 0 or 1 in float32 and float64 alike, exactly: exp(-1000) is 0.
_SATURATED = 1000.0


def step(
    inputs: Tensor, states: tuple[Tensor, ...], weights: Weights, intervention: Intervention
) -> dict[str, Tensor]:
    """Compute one step; see `Cell.step`."""
    # c is the only path through time without a squashing function: gradients survive many steps on it.
    h, c = states
    # (..., 4H), one block of H for each gate in torch's order.
    i, f, g, o = (inputs + weights.from_state(h)).chunk(4, -1)
    i = intervention.gate("i", i.sigmoid())
    f = intervention.gate("f", f.sigmoid())
    g = g.tanh()
    o = intervention.gate("o", o.sigmoid())
    c = f * c + i * g
    h = intervention.output(weights.projected(o * c.tanh()))
    return {"i": i, "f": f, "g": g, "o": o, "c": c, "h": h}


CELL = Cell(
    name="lstm",
    title="LSTM",
    gates=("i", "f", "g", "o"),
    states=("h", "c"),
    traced=("i", "f", "g", "o", "c", "h"),
    step=step,
    titles={
        "i": "input gate",
        "f": "forget gate",
        "g": "candidate",
        "o": "output gate",
        "c": "cell state",
        "h": "hidden state",
    },
    clampable=("i", "f", "o"),
    forget_gate="f",
    hold_sums={"i": -_SATURATED, "f": _SATURATED, "o": -_SATURATED},
    torch_function="lstm",
    native_operator="lstm",
    layouts={
        "torch": FormatLayout(("LSTM",), ("i", "f", "g", "o")),
        "keras": FormatLayout(("LSTM",), ("i", "f", "g", "o"), {"recurrent_activation": "sigmoid"}),
        "onnx": FormatLayout(("LSTM",), ("i", "o", "f", "g")),
        # Its cells add their forget_bias when they run; it is not part of the stored bias.
        "tf1": FormatLayout(("basic_lstm_cell", "lstm_cell"), ("i", "g", "f", "o")),
    },
)

# Not registered under a name: only `scanline.nn.LSTM` uses it, for proj_size.
PROJECTED = dataclasses.replace(CELL, native_operator="lstm_projected", weights=Weights._fields, layouts={})
