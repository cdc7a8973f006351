"""The LSTM as a native operator, `torch.ops.scanline.lstm`."""

from __future__ import annotations

from torch import Tensor

from scanline import cells
from scanline.kernels.operator import LayerOperator

OPERATOR = LayerOperator(cells.lstm.CELL)


def lstm(
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
    lengths: Tensor | None = None,
    *,
    reverse: bool = False,
    batch_first: bool = True,
    precision: str = "float32",
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute one LSTM layer in one direction; see `LayerOperator.__call__`.

    Args:
        x: Inputs, (N, T, F) float32 or float64 on the CPU.
        h0: Initial outputs, (N, H); None for zeros.
        c0: Initial cell states, (N, H); None for zeros.
        weight_ih: (4H, F), gates in torch's order i, f, g, o.
        weight_hh: (4H, H).
        bias_ih: (4H,) or None.
        bias_hh: (4H,) or None.
        lengths: (N,) int64, each in 0..T, or None if all are T.
        reverse: Whether each sequence is read from its own last step to its first.
        batch_first: False takes x and returns outputs as (T, N, ...).
        precision: "float32" or "bfloat16".

    Returns:
        Outputs (N, T, H) and the last states h and c, (N, H) each.
    """
    y, hn, cn = OPERATOR(
        x,
        (h0, c0),
        (weight_ih, weight_hh, bias_ih, bias_hh),
        lengths,
        reverse=reverse,
        batch_first=batch_first,
        precision=precision,
    )
    return y, hn, cn
