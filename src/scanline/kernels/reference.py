"""The LSTM in plain torch, step by step: what the native library computes, said once more.

Gates stand in torch's order i, f, g, o. States stand still past a sequence's end, as with TensorFlow's
`sequence_length`; outputs there are 0; a reversed pass starts at each sequence's own last step.
Source: Hochreiter & Schmidhuber 1997, with the forget gate of Gers, Schmidhuber & Cummins 2000.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor


def lstm(
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None = None,
    bias_hh: Tensor | None = None,
    lengths: Tensor | None = None,
    reverse: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs (N, T, H) and the states h, c (N, H) after each sequence's last step.

    x: (N, T, F), of any dtype that the weights share. h0, c0: (N, H), or None for zeros.
    weight_ih: (4H, F). weight_hh: (4H, H). Biases: (4H,) or None. lengths: (N,), each in 0..T, or None.
    """
    steps, h, c = _read(x, h0, c0, weight_ih, weight_hh, bias_ih, bias_hh, lengths, reverse)
    outputs = x.new_zeros(*x.shape[:2], weight_hh.shape[1])
    for step in steps:
        outputs[:, step.time] = torch.where(step.inside, step.h, 0.0)
    return outputs, h, c


def lstm_backward(
    dy: Tensor | None, dhn: Tensor | None, dcn: Tensor | None, *arguments: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients by x, h0, c0, weight_ih, weight_hh and either bias, shaped as these.

    dy: (N, T, H), dhn, dcn: (N, H), the gradients of what `lstm` returned; None for zeros. arguments: those
    of `lstm`, all of them.
    """
    x, _, _, weight_ih, weight_hh = arguments[:5]
    steps, hn, cn = _read(*arguments)
    h = torch.zeros_like(hn) if dhn is None else dhn
    c = torch.zeros_like(cn) if dcn is None else dcn
    dx, dweight_ih, dweight_hh = map(torch.zeros_like, (x, weight_ih, weight_hh))
    dbias = weight_hh.new_zeros(weight_hh.shape[0])
    for step in reversed(steps):
        i, f, g, o = step.gates
        bent = step.c.tanh()
        dh = h if dy is None else h + dy[:, step.time]
        dc = c + dh * o * (1 - bent**2)
        gates = (
            dc * g * i * (1 - i),
            dc * step.c_before * f * (1 - f),
            dc * i * (1 - g**2),
            dh * bent * o * (1 - o),
        )
        # Past its end a sequence hands on what it was given, and nothing flows from its padding.
        dgates = torch.cat(gates, dim=1).masked_fill(~step.inside, 0.0)  # (N, 4H)
        dx[:, step.time] = dgates @ weight_ih
        dweight_ih += dgates.T @ step.x
        dweight_hh += dgates.T @ step.h_before
        dbias += dgates.sum(0)
        h = torch.where(step.inside, dgates @ weight_hh, h)
        c = torch.where(step.inside, dc * f, c)
    return dx, h, c, dweight_ih, dweight_hh, dbias


class _Step(NamedTuple):
    """A step, and the states before and after it; each (N, H) where nothing else is said."""

    time: int
    inside: Tensor  # (N, 1) bool
    x: Tensor  # (N, F), zero past a sequence's end
    h_before: Tensor
    c_before: Tensor
    gates: tuple[Tensor, Tensor, Tensor, Tensor]  # i, f, g, o after their activations
    h: Tensor
    c: Tensor


def _read(
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    lengths: Tensor | None,
    reverse: bool,
) -> tuple[list[_Step], Tensor, Tensor]:
    """The steps in the order of reading, and the states after the last."""
    N, T = x.shape[:2]
    H = weight_hh.shape[1]
    if lengths is None:
        lengths = torch.full((N,), T, device=x.device)
    inside = torch.arange(T, device=x.device) < lengths[:, None]  # (N, T)
    x = x.masked_fill(~inside[:, :, None], 0.0)  # what stands in the padding, even NaN, must not count
    h = x.new_zeros(N, H) if h0 is None else h0
    c = x.new_zeros(N, H) if c0 is None else c0
    steps = []
    for t in reversed(range(T)) if reverse else range(T):
        sums = x[:, t] @ weight_ih.T + h @ weight_hh.T  # (N, 4H)
        for bias in (bias_ih, bias_hh):
            if bias is not None:
                sums = sums + bias
        i, f, g, o = sums.chunk(4, dim=1)  # (N, H) each
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        now = inside[:, t, None]
        new_c = f * c + i * g
        new_h = o * new_c.tanh()
        new_h, new_c = torch.where(now, new_h, h), torch.where(now, new_c, c)
        steps.append(_Step(t, now, x[:, t], h, c, (i, f, g, o), new_h, new_c))
        h, c = new_h, new_c
    return steps, h, c
