"""The gated recurrent unit, with the reset gate after the recurrent product, as torch and cuDNN compute it.

Source: Cho et al. (2014); the position of the reset gate: torch.nn.GRU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from scanline.cells.base import Cell, FormatLayout, Intervention, Weights

if TYPE_CHECKING:
    from torch import Tensor


def step(
    inputs: Tensor, states: tuple[Tensor, ...], weights: Weights, intervention: Intervention
) -> dict[str, Tensor]:
    """Compute one step; see `Cell.step`."""
    # The products stay apart: the reset gate scales that of the state only.
    (h,) = states
    input_r, input_z, input_n = inputs.chunk(3, -1)
    state_r, state_z, state_n = weights.from_state(h).chunk(3, -1)
    r = intervention.gate("r", (input_r + state_r).sigmoid())
    z = intervention.gate("z", (input_z + state_z).sigmoid())
    # state_n includes the candidate's bias_hh, which the reset gate therefore scales, too.
    n = (input_n + r * state_n).tanh()
    h = intervention.output((1 - z) * n + z * h)
    return {"r": r, "z": z, "n": n, "h": h}


CELL = Cell(
    name="gru",
    title="GRU",
    gates=("r", "z", "n"),
    states=("h",),
    traced=("r", "z", "n", "h"),
    step=step,
    titles={"r": "reset gate", "z": "update gate", "n": "candidate", "h": "hidden state"},
    clampable=("r", "z"),
    additive_biases=False,  # the reset gate scales the candidate's bias_hh, not its bias_ih
    torch_function="gru",
    native_operator="gru",
    layouts={
        "torch": FormatLayout(("GRU",), ("r", "z", "n")),
        "keras": FormatLayout(
            ("GRU",), ("z", "r", "n"), {"recurrent_activation": "sigmoid", "reset_after": True}
        ),
        "onnx": FormatLayout(("GRU",), ("z", "r", "n"), {"linear_before_reset": 1}),
        # None for tf1: its GRUCell is `gru_reset_before`.
    },
)
