"""The gated recurrent unit, with the reset gate before the recurrent product, as first published.

It is the GRU of Keras with `reset_after=False`, of ONNX with `linear_before_reset=0` and of TensorFlow 1. No
weights make it equal to the GRU of torch; see `scanline.cells.gru`.

Source: Cho et al. (2014), arXiv:1406.1078v1; TensorFlow 1.15, tf.nn.rnn_cell.GRUCell.
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
    (h,) = states
    input_r, input_z, input_n = inputs.chunk(3, -1)
    # Two products, as the candidate reads the state after the reset gate has scaled it.
    gates, candidate = _split(weights)
    state_r, state_z = gates.from_state(h).chunk(2, -1)
    r = intervention.gate("r", (input_r + state_r).sigmoid())
    z = intervention.gate("z", (input_z + state_z).sigmoid())
    n = (input_n + candidate.from_state(r * h)).tanh()
    h = intervention.output((1 - z) * n + z * h)
    return {"r": r, "z": z, "n": n, "h": h}


def _split(weights: Weights) -> tuple[Weights, Weights]:
    """Return the recurrent weights of both gates, 2 H rows, and those of the candidate, H rows."""
    rows = 2 * weights.weight_hh.shape[1]
    bias = weights.bias_hh
    return tuple(  # type: ignore[return-value]
        Weights(weights.weight_ih[part], weights.weight_hh[part], None, None if bias is None else bias[part])
        for part in (slice(rows), slice(rows, None))
    )


CELL = Cell(
    name="gru-reset-before",
    title="GRU (reset before)",
    gates=("r", "z", "n"),
    states=("h",),
    traced=("r", "z", "n", "h"),
    step=step,
    titles={"r": "reset gate", "z": "update gate", "n": "candidate", "h": "hidden state"},
    clampable=("r", "z"),
    layouts={
        "keras": FormatLayout(
            ("GRU",), ("z", "r", "n"), {"recurrent_activation": "sigmoid", "reset_after": False}
        ),
        "onnx": FormatLayout(("GRU",), ("z", "r", "n"), {"linear_before_reset": 0}),
        # Two kernels, of the gates and of the candidate, side by side.
        "tf1": FormatLayout(("gru_cell", "gru_block_cell"), ("r", "z", "n")),
        # None for torch: its GRU applies the reset gate after the recurrent product.
    },
)
