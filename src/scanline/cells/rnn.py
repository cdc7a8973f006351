"""The plain recurrent network, without gates.

Source: Elman (1990), with tanh. `RELU` is the variant that torch.nn.RNN offers besides; recipes do not.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from scanline.cells.base import Cell, FormatLayout, Intervention, Weights

if TYPE_CHECKING:
    from torch import Tensor


def step(
    inputs: Tensor, states: tuple[Tensor, ...], weights: Weights, intervention: Intervention
) -> dict[str, Tensor]:
    """Compute one step with tanh; see `Cell.step`."""
    return {"h": intervention.output((inputs + weights.from_state(states[0])).tanh())}


def relu_step(
    inputs: Tensor, states: tuple[Tensor, ...], weights: Weights, intervention: Intervention
) -> dict[str, Tensor]:
    """Compute one step with max(0, x); see `Cell.step`."""
    return {"h": intervention.output((inputs + weights.from_state(states[0])).relu())}


CELL = Cell(
    name="rnn",
    title="RNN",
    gates=("h",),
    states=("h",),
    traced=("h",),
    step=step,
    titles={"h": "hidden state"},
    torch_function="rnn_tanh",
    native_operator="rnn_tanh",
    layouts={
        "torch": FormatLayout(("RNN",), ("h",)),
        "keras": FormatLayout(("SimpleRNN",), ("h",)),
        "onnx": FormatLayout(("RNN",), ("h",)),
        "tf1": FormatLayout(("basic_rnn_cell",), ("h",)),
    },
)

# Not registered under a name: only `scanline.nn.RNN` uses it.
RELU = dataclasses.replace(
    CELL, step=relu_step, torch_function="rnn_relu", native_operator="rnn_relu", layouts={}
)
