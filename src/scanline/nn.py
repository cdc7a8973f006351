"""Scanline's layers for other people's programs: `scanline.nn.LSTM` in place of `torch.nn.LSTM`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from scanline.kernels.library import PRECISIONS
from scanline.kernels.paths import choose_path, run_layer

States = tuple[Tensor, Tensor]


class LSTM(nn.LSTM):
    """`torch.nn.LSTM`, computed by Scanline's native library on the CPU.

    Constructor, parameters, `state_dict`, arguments and results are torch's; an LSTM of torch is an LSTM of
    Scanline with `ours.load_state_dict(theirs.state_dict())`, and back. Beyond torch's:

    precision: "float32" or "bfloat16" (bfloat16 operands; sums, states and outputs stay float32), or None:
    bfloat16 under torch.autocast("cpu", torch.bfloat16) and for bfloat16 weights, else float32.
    backend: "native", "torch", or "auto": native where it can be had. Torch's own path computes for other
    devices and dtypes, for `proj_size`, and where there is no library; `path()` says which will.

    Under autocast the outputs stay float32, where torch gives bfloat16. Second derivatives are torch's alone.
    """

    weight_hh_l0: Tensor

    def __init__(
        self, *args: Any, precision: str | None = None, backend: str = "auto", **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        if precision is not None and precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)} or None, got {precision!r}")
        self.precision, self.backend = precision, backend
        self.path()

    def path(self, device: torch.device | None = None) -> str:
        """What computes, "native" or "torch", for the weights as they are, and inputs beside them.

        Raises UsageError if backend is "native" and that cannot be had.
        """
        weight, backend = self.weight_hh_l0, self.backend
        if self.proj_size and backend == "auto":
            backend = "torch"
        return choose_path(backend, weight.dtype, device or weight.device)

    def forward(  # type: ignore[override]
        self,
        input: Tensor | PackedSequence,
        hx: States | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor | PackedSequence, States]:
        """As `torch.nn.LSTM`, and with `lengths` for padded sequences of different lengths.

        input: (T, N, F), with batch_first (N, T, F), or (T, F) for a single sequence, or packed.
        hx: (h0, c0), each (D * layers, N, H), or None for zeros.
        lengths: (N,) whole numbers in 0..T. What stands past a sequence's end is never read; outputs there
        are 0, the states returned are those after each sequence's last step, and the backward direction
        starts there.
        Returns outputs (..., D * H) and (hn, cn), each (D * layers, N, H).
        """
        if isinstance(input, PackedSequence):
            if lengths is not None:
                raise ValueError("packed sequences have lengths of their own: leave out `lengths`")
            return self._forward_packed(input, hx)
        path = self.path(input.device)
        if path == "torch" and lengths is None:
            return super().forward(input, hx)
        if input.dim() == 2:
            if hx is not None:
                if hx[0].dim() != 2 or hx[1].dim() != 2:
                    raise RuntimeError(
                        "For unbatched 2-D input, hx and cx should also be 2-D but got "
                        f"({hx[0].dim()}-D, {hx[1].dim()}-D) tensors"
                    )
                hx = (hx[0].unsqueeze(1), hx[1].unsqueeze(1))
            if lengths is not None:
                raise ValueError("`lengths` goes with a batch of sequences; a single one has just its steps")
            where = 0 if self.batch_first else 1
            outputs, (hn, cn) = self._run(path, input.unsqueeze(where), hx, None)
            return outputs.squeeze(where), (hn.squeeze(1), cn.squeeze(1))
        if input.dim() != 3:
            raise ValueError(f"LSTM: Expected input to be 2D or 3D, got {input.dim()}D instead")
        return self._run(path, input, hx, lengths)

    def _run(
        self, path: str, input: Tensor, hx: States | None, lengths: Tensor | None
    ) -> tuple[Tensor, States]:
        precision = self.precision
        if torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16:
            precision = precision or "bfloat16"
            if path == "native":
                input = input.to(self.weight_hh_l0.dtype)
                hx = None if hx is None else (hx[0].to(input.dtype), hx[1].to(input.dtype))
        if precision is None:
            precision = "bfloat16" if self.weight_hh_l0.dtype == torch.bfloat16 else "float32"
        self.check_input(input, None)
        if hx is not None:
            self.check_forward_args(input, hx, None)
        if lengths is not None:
            lengths = torch.as_tensor(lengths).to(device=input.device, dtype=torch.int64)
        values = input
        last_h: list[Tensor] = []
        last_c: list[Tensor] = []
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(2 if self.bidirectional else 1):
                place = len(last_h)
                h0, c0 = (None, None) if hx is None else (hx[0][place], hx[1][place])
                y, hn, cn = run_layer(
                    path,
                    values,
                    h0,
                    c0,
                    self._weights_of(layer, direction),
                    lengths,
                    reverse=direction == 1,
                    batch_first=self.batch_first,
                    precision=precision,
                )
                outputs.append(y)
                last_h.append(hn)
                last_c.append(cn)
            values = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)  # (N, T, D * H)
            if self.dropout and layer < self.num_layers - 1:
                values = nn.functional.dropout(values, self.dropout, self.training)
        if len(last_h) == 1:
            return values, (last_h[0].unsqueeze(0), last_c[0].unsqueeze(0))
        return values, (torch.stack(last_h), torch.stack(last_c))

    def _weights_of(self, layer: int, direction: int) -> list[Tensor | None]:
        names = self._all_weights[layer * (2 if self.bidirectional else 1) + direction]
        kept = self._parameters  # a parametrisation takes its weight out of there
        weights = [kept[name] if name in kept else getattr(self, name) for name in names]
        return weights if self.bias else [*weights[:2], None, None, *weights[2:]]

    def _forward_packed(
        self, packed: PackedSequence, hx: States | None
    ) -> tuple[Tensor | PackedSequence, States]:
        path = self.path(packed.data.device)
        if path == "torch":
            return super().forward(packed, hx)
        values, lengths = pad_packed_sequence(packed, batch_first=self.batch_first)
        outputs, states = self._run(path, values, hx, lengths)
        order = packed.sorted_indices
        if order is not None:
            outputs = outputs.index_select(0 if self.batch_first else 1, order)
            lengths = lengths[order.cpu()]
        data, _ = torch._VF._pack_padded_sequence(outputs, lengths, self.batch_first)
        again = PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
        return again, states

    def extra_repr(self) -> str:
        """torch's line, and what was asked for beyond it."""
        line = super().extra_repr()
        if self.precision is not None:
            line += f", precision={self.precision}"
        return line if self.backend == "auto" else line + f", backend={self.backend}"
