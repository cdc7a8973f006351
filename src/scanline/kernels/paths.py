"""Which path computes an LSTM layer, and the layer on either: the native library's, or torch's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from scanline.errors import UsageError
from scanline.kernels.library import PRECISIONS, load, why_absent
from scanline.kernels.lstm import lstm
from scanline.kernels.steps import reverse_steps, step_mask

BACKENDS = ("auto", "native", "torch")
SHUT = 100.0  # a gate's sum at which sigmoid is 0 or 1 to float32's last bit


def why_not_native(dtype: torch.dtype, device: torch.device) -> str:
    """Why a layer of such tensors cannot run on the native library; empty if it can."""
    if device.type != "cpu":
        return f"the native library runs on the CPU, not on {device.type}"
    if dtype not in (torch.float32, torch.bfloat16):
        return f"the native library computes float32 and bfloat16, not {str(dtype).removeprefix('torch.')}"
    return _why_absent()


def choose_path(backend: str, dtype: torch.dtype, device: torch.device) -> str:
    """The path, "native" or "torch", for a backend of "auto", "native" or "torch".

    Raises UsageError for another word, and where "native" is asked for and cannot be had.
    """
    if backend not in BACKENDS:
        raise UsageError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    if backend == "torch":
        return "torch"
    reason = why_not_native(dtype, device)
    if backend == "native" and reason:
        raise UsageError(f"backend=native cannot be had: {reason}; backend=auto takes torch's path then")
    return "torch" if reason else "native"


def computed_precision(path: str, precision: str) -> str:
    """What is really computed where `precision` is asked for: float32 where there is no bfloat16 kernel."""
    library = load() if path == "native" else None
    if library is None or library.kernel(PRECISIONS[precision]) is None:
        return "float32"
    return precision


def run_layer(
    path: str,
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    weights: Sequence[Tensor | None],
    lengths: Tensor | None = None,
    *,
    reverse: bool = False,
    batch_first: bool = True,
    precision: str = "float32",
) -> tuple[Tensor, Tensor, Tensor]:
    """One LSTM layer in one direction: outputs (N, T, H), and the states (N, H) after each last step.

    path: as `choose_path` gave it. weights: [weight_ih (4H, F), weight_hh (4H, H), bias_ih, bias_hh], the
    biases (4H,) or None; on torch's path a fifth may follow, the projection of the outputs. The rest is as
    for `scanline.kernels.lstm.lstm`; torch's path knows no precision but that of the tensors.
    """
    if path == "torch":
        if not batch_first:
            x = x.transpose(0, 1)
        y, hn, cn = _torch_layer(x, h0, c0, weights, lengths, reverse)
        return y if batch_first else y.transpose(0, 1), hn, cn
    dtype = x.dtype
    if dtype != torch.float32:
        x, h0, c0 = x.float(), None if h0 is None else h0.float(), None if c0 is None else c0.float()
    weight_ih, weight_hh, bias_ih, bias_hh = (None if w is None else w.float() for w in weights)
    assert weight_ih is not None
    assert weight_hh is not None
    results = lstm(
        x,
        h0,
        c0,
        weight_ih,
        weight_hh,
        bias_ih,
        bias_hh,
        lengths,
        reverse=reverse,
        batch_first=batch_first,
        precision=precision,
    )
    if dtype == torch.float32:
        return results
    y, hn, cn = (result.to(dtype) for result in results)
    return y, hn, cn


def _torch_layer(
    x: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    weights: Sequence[Tensor | None],
    lengths: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    weight_ih, weight_hh, bias_ih, bias_hh, *projection = weights
    assert weight_ih is not None
    assert weight_hh is not None
    N, T = x.shape[:2]
    cells = weight_ih.shape[0] // 4
    if h0 is None:
        h0 = x.new_zeros(N, weight_hh.shape[1])
    if c0 is None:
        c0 = x.new_zeros(N, cells)
    outside = None
    if lengths is not None:
        # One more feature that is 1 in the padding and there opens the forget gate and shuts the others, so
        # that the cells stand still: torch's LSTM knows lengths only in the packed form, which is slower.
        outside = ~step_mask(lengths, T)[:, :, None]  # (N, T, 1)
        # Zeroed before anything is computed: a gradient of 0 times a padded NaN would still be NaN.
        x = torch.cat([x.masked_fill(outside, 0.0), outside.to(x.dtype)], dim=2)  # (N, T, F + 1)
        holds = weight_ih.new_tensor([-SHUT, SHUT, 0.0, -SHUT]).repeat_interleave(cells)  # (4H,)
        weight_ih = torch.cat([weight_ih, holds[:, None]], dim=1)
    if reverse:
        x = reverse_steps(x, lengths)
    biases: list[Any] = [bias_ih, bias_hh] if bias_ih is not None else []
    # The last but three: cuDNN can go backward only through the mode that keeps what training needs.
    settings = (bool(biases), 1, 0.0, torch.is_grad_enabled(), False, True)
    tensors = [weight_ih, weight_hh, *biases, *projection]
    y, hn, cn = torch.lstm(x, (h0[None], c0[None]), tensors, *settings)
    hn, cn = hn[0], cn[0]
    if lengths is not None and outside is not None:
        last = (lengths - 1).clamp(min=0)[:, None, None].expand(-1, 1, y.shape[2])
        hn = torch.where((lengths > 0)[:, None], y.gather(1, last)[:, 0], h0)
        y = y.masked_fill(outside if not reverse else reverse_steps(outside, lengths), 0.0)
    return reverse_steps(y, lengths) if reverse else y, hn, cn


def _why_absent() -> str:
    return why_absent()


# Traced code need not look again, nor could it: what is loaded stays loaded.
torch.compiler.assume_constant_result(_why_absent)
