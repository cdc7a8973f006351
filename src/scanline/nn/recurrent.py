"""Recurrent modules for other PyTorch programs: drop-in replacements of torch.nn's with lengths.

`scanline.nn.LSTM`, `GRU` and `RNN` subclass torch.nn's modules of the same names. Constructor, parameters,
`state_dict`, arguments and results are torch's: `ours.load_state_dict(theirs.state_dict())` works in both
directions. They add `lengths`, so that padded sequences of different lengths need no packing, and the choice
of the backend.

Where the native library cannot take part, another backend computes without being asked: under `torch.func`
transforms and forward-mode differentiation the reference; in `torch.jit.trace` and in an export to ONNX
torch, so that the file needs nothing of Scanline. What torch's module refuses is refused with torch's error.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from scanline import cells
from scanline.cells import Cell
from scanline.kernels.abi import PRECISIONS
from scanline.kernels.backends import Backend, choose_backend, run_both, run_layer
from scanline.nn.torch_tools import TorchTools

# By torch.nn.RNNBase.mode.
_CELLS = {
    "LSTM": cells.lstm.CELL,
    "GRU": cells.gru.CELL,
    "RNN_TANH": cells.rnn.CELL,
    "RNN_RELU": cells.rnn.RELU,
}
State = Tensor | tuple[Tensor, Tensor]  # h, or (h, c) of an LSTM


class _Recurrent(TorchTools, nn.RNNBase):
    """What the modules have in common. Comes before torch's class among the bases.

    Attributes:
        precision: As given.
        backend: As given.
    """

    weight_hh_l0: Tensor

    def __init__(
        self, *args: Any, precision: str | None = None, backend: str = "auto", **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        if precision is not None and precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(PRECISIONS)} or None, got {precision!r}")
        self.precision, self.backend = precision, backend
        # Modules are made on the meta device to be moved to another before they compute.
        self.path(torch.device("cpu") if self.weight_hh_l0.is_meta else None)

    @property
    def cell(self) -> Cell:
        """What a step computes."""
        return cells.lstm.PROJECTED if self.proj_size else _CELLS[self.mode]

    def path(self, device: torch.device | None = None) -> Backend:
        """Return the backend that computes inputs of the weights' dtype, "native" or "torch".

        Args:
            device: Device of the inputs; None for that of the weights.

        Raises:
            UsageError: If `backend` is "native" and that is not possible.
        """
        weight = self.weight_hh_l0
        return self._path(weight, device or weight.device)

    def _path(self, weight: Tensor, device: torch.device) -> Backend:
        cell = cells.lstm.PROJECTED if self.proj_size else _CELLS[self.mode]  # faster than the property
        return choose_backend(self.backend, cell, weight.dtype, device)

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: State | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor | PackedSequence, State]:
        """Read sequences; as torch's module does, and with `lengths`.

        Args:
            input: (T, N, F), with batch_first (N, T, F); (T, F) of a single sequence; or packed sequences.
            hx: Initial states, (D*layers, N, H): h0, or (h0, c0) of an LSTM; None for zeros. With proj_size
                P, h and the outputs have P values instead of H.
            lengths: (N,) whole numbers in 0..T; None if all are T. Values past a sequence's end are never
                read, outputs there are 0, the states returned are those after each sequence's last step, and
                the backward direction starts there.

        Returns:
            Outputs (..., D*H), packed if the input was, and the last states, (D*layers, N, H): hn, or
            (hn, cn) of an LSTM.

        Raises:
            ValueError: If `lengths` come with packed sequences or a single sequence, or the input has neither
                2 nor 3 axes.
            RuntimeError: If sizes do not fit together.
        """
        if type(input) is not Tensor:
            if isinstance(input, torch.fx.Proxy):
                return self.as_node(input, hx, lengths)
            if isinstance(input, PackedSequence):
                if lengths is not None:
                    raise ValueError("lengths must be left out with packed sequences, which have their own")
                return self._forward_packed(input, hx)
            if not isinstance(input, Tensor):
                return super().forward(input, hx)  # refuses it
        weight, device = self.weight_hh_l0, input.device  # each access takes 0.5 us
        backend = self._backend_now(weight, device)
        fits = self._fits(input, hx)
        if lengths is None and (backend == "torch" or not fits or device != weight.device):
            # Torch's own call computes all layers at once, which on a GPU is much faster than one by one, and
            # refuses what does not fit.
            return super().forward(input, hx)  # type: ignore[no-any-return]
        if input.dim() == 2:
            return self._forward_single(backend, input, hx, lengths)
        if input.dim() != 3:
            raise ValueError(f"{self.mode}: Expected input to be 2D or 3D, got {input.dim()}D instead")
        if not fits:
            raise RuntimeError(f"{self.mode}: expected hx to be {self._expected_states()}")
        outputs, states = self._forward_batch(backend, input, self._split(hx), lengths)
        return outputs, self._join(states)

    def _backend_now(self, weight: Tensor, device: torch.device) -> Backend:
        """Return what computes a call on `device`: `path`, unless torch is tracing or transforming it."""
        backend = self._path(weight, device)
        if torch.compiler.is_compiling():
            return "torch" if torch.onnx.is_in_onnx_export() else backend
        if torch._C._get_tracing_state() is not None:
            return "torch"
        # A `torch.func` transform is on functorch's stack, forward-mode differentiation has a level. The
        # native operator and torch's fused ones lack tangents or batching rules; the reference's have them.
        transformed = torch._C._functorch.peek_interpreter_stack() is not None
        if (transformed or forward_ad._current_level >= 0) and self.backend != "torch":
            return "reference"
        return backend

    def _fits(self, input: Tensor, hx: Any) -> bool:
        """Return whether `hx` is None, or the cell's states with axes, dtype and device of the input."""
        if hx is None:
            return True
        count = len(self.cell.states)
        states = (hx,) if count == 1 else hx
        # Autocast converts the states with the input.
        return (
            isinstance(states, tuple | list)
            and len(states) == count
            and all(isinstance(state, Tensor) and state.dim() == input.dim() for state in states)
            and all(state.device == input.device for state in states)
            and (all(state.dtype == input.dtype for state in states) or _autocasts())
        )

    def _expected_states(self) -> str:
        if self.proj_size:
            shapes = f"h0 (D*layers, N, {self.proj_size}) and c0 (D*layers, N, {self.hidden_size})"
        else:
            names = " and ".join(f"{state}0" for state in self.cell.states)
            shapes = f"{names}, each (D*layers, N, {self.hidden_size})"
        return f"{shapes} of the input's dtype and device, or None"

    def _forward_single(
        self, backend: Backend, input: Tensor, hx: State | None, lengths: Tensor | None
    ) -> tuple[Tensor, State]:
        """Read one sequence (T, F)."""
        states = self._split(hx)
        if lengths is not None:
            raise ValueError("lengths must be left out with a single sequence (T, F)")
        # A batch of one: states (D*layers, H) become (D*layers, 1, H).
        axis = 0 if self.batch_first else 1
        states = None if states is None else tuple(state.unsqueeze(1) for state in states)
        outputs, last = self._forward_batch(backend, input.unsqueeze(axis), states, None)
        return outputs.squeeze(axis), self._join(tuple(state.squeeze(1) for state in last))

    def _forward_packed(
        self, packed: PackedSequence, hx: State | None
    ) -> tuple[Tensor | PackedSequence, State]:
        """Read packed sequences: torch's path packed, the others padded."""
        # torch's LSTM checks neither of packed sequences, and reads and writes beyond their memory.
        self.check_input(packed.data, packed.batch_sizes)
        if self.mode == "LSTM" and hx is not None and len(hx) == 2:  # torch refuses other numbers itself
            self.check_forward_args(packed.data, hx, packed.batch_sizes)  # type: ignore[arg-type]
        backend = self._backend_now(self.weight_hh_l0, packed.data.device)
        if backend == "torch" or not self._fits_packed(packed, hx):
            return super().forward(packed, hx)  # type: ignore[no-any-return]
        # The native library reads padded batches only.
        values, lengths = pad_packed_sequence(packed, batch_first=self.batch_first)
        outputs, states = self._forward_batch(backend, values, self._split(hx), lengths, packed)
        # Packed data are sorted by length; `pad_packed_sequence` restored the caller's order.
        order = packed.sorted_indices
        if order is not None:
            # The inverse of the padding: sort again and pack with the same batch sizes.
            outputs = outputs.index_select(0 if self.batch_first else 1, order)
            lengths = lengths[order.cpu()]
        data, _ = torch._VF._pack_padded_sequence(outputs, lengths, self.batch_first)
        again = PackedSequence(data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
        return again, self._join(states)

    def _fits_packed(self, packed: PackedSequence, hx: Any) -> bool:
        """Return whether the states are as many and of as many axes as padded sequences need."""
        return packed.data.dim() == 2 and self._fits(packed.data.unsqueeze(0), hx)

    def _forward_batch(
        self,
        backend: Backend,
        input: Tensor,
        states: tuple[Tensor, ...] | None,
        lengths: Tensor | None,
        packed: PackedSequence | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Run all layers over a padded batch.

        Args:
            backend: What computes.
            input: (T, N, F), with batch_first (N, T, F).
            states: In the cell's order, each (D*layers, N, H); None for zeros.
            lengths: (N,), or None.
            packed: What the input was padded from; None if it was not packed.

        Returns:
            Outputs laid out as the input, and the last states, each (D*layers, N, H).
        """
        autocasts = _autocasts()
        precision = self._chosen_precision(autocasts)
        # Inputs may come in bfloat16 from other modules, as autocast does not know these operators.
        if autocasts and backend == "native":
            dtype = self.weight_hh_l0.dtype
            input = input.to(dtype)
            states = None if states is None else tuple(state.to(dtype) for state in states)
        self.check_input(input, None)
        if states is not None:
            self.check_forward_args(input, self._join(states), None)  # type: ignore[arg-type]
        if lengths is not None:
            lengths = torch.as_tensor(lengths, dtype=torch.int64, device=input.device)
        cell, batch_first, values = self.cell, self.batch_first, input
        last: list[tuple[Tensor, ...]] = []  # of each layer (N, H), or (2, N, H) of both directions
        for layer in range(self.num_layers):
            weights = self._weights_of(layer, 0)
            if self.bidirectional:
                # In the stacked states a layer's directions are neighbours.
                initial = None if states is None else [state[2 * layer : 2 * layer + 2] for state in states]
                both = (weights, self._weights_of(layer, 1))
                values, final = run_both(
                    backend, cell, values, initial, both, lengths,
                    batch_first=batch_first, precision=precision,
                )  # fmt: skip
            else:
                initial = None if states is None else [state[layer] for state in states]
                values, final = run_layer(
                    backend, cell, values, initial, weights, lengths,
                    batch_first=batch_first, precision=precision,
                )  # fmt: skip
            last.append(final or ())
            if self.dropout and self.training and layer < self.num_layers - 1:
                values = values * self._noise(values, packed)
        # No views: callers detach or change states in place, which a view forbids. The native operator
        # returns new tensors; the reference may return the initial states themselves.
        if self.bidirectional:
            return values, last[0] if len(last) == 1 else tuple(map(torch.cat, zip(*last, strict=True)))
        if len(last) == 1 and backend == "native":
            return values, tuple(state.unsqueeze_(0) for state in last[0])
        return values, tuple(torch.stack(each) for each in zip(*last, strict=True))

    def _noise(self, values: Tensor, packed: PackedSequence | None) -> Tensor:
        """Return what dropout multiplies a layer's outputs by, of their shape."""
        # Torch draws it time first or packed: in the same order, the same seed gives the same values.
        if packed is not None:
            ones = values.new_ones(packed.data.shape[0], values.shape[-1])
            noises = packed._replace(data=nn.functional.dropout(ones, self.dropout))
            return pad_packed_sequence(noises, self.batch_first)[0]
        ones = torch.ones_like(values.transpose(0, 1) if self.batch_first else values)
        noise = nn.functional.dropout(ones.contiguous(), self.dropout)
        return noise.transpose(0, 1) if self.batch_first else noise

    def _chosen_precision(self, autocasts: bool) -> str:
        """Return `precision`, or what autocast and the weights' dtype ask for."""
        if self.precision is not None:
            return self.precision
        return "bfloat16" if autocasts or self.weight_hh_l0.dtype == torch.bfloat16 else "float32"

    def _weights_of(self, layer: int, direction: int) -> list[Tensor | None]:
        """Return [weight_ih, weight_hh, bias_ih, bias_hh] and, with proj_size, weight_hr."""
        names = self._all_weights[layer * (2 if self.bidirectional else 1) + direction]
        # Reading _parameters is faster than getattr, but a parametrised weight is not among them.
        parameters = self._parameters
        weights = [parameters[name] if name in parameters else getattr(self, name) for name in names]
        return weights if self.bias else [*weights[:2], None, None, *weights[2:]]

    def _split(self, hx: State | None) -> tuple[Tensor, ...] | None:
        """Return hx as a tuple of the cell's states."""
        return (hx,) if isinstance(hx, Tensor) else hx

    def _join(self, states: tuple[Tensor, ...]) -> State:
        """Return states as torch's module does: a tensor if there is one, else a tuple."""
        return states[0] if len(states) == 1 else states  # type: ignore[return-value]

    def extra_repr(self) -> str:
        """Return torch's description, then `precision` and `backend` if given."""
        line = super().extra_repr()
        if self.precision is not None:
            line += f", precision={self.precision}"
        return line if self.backend == "auto" else line + f", backend={self.backend}"


class LSTM(_Recurrent, nn.LSTM):  # type: ignore[misc]  # `forward` has one more argument
    """`torch.nn.LSTM` with lengths, computed by Scanline's native library on the CPU.

    Args:
        *args: As for `torch.nn.LSTM`.
        precision: "float32" or "bfloat16" (bfloat16 operands; sums, states and outputs stay float32), or
            None: bfloat16 under torch.autocast("cpu", torch.bfloat16) and for bfloat16 weights, else float32.
        backend: "native", "torch", or "auto": native where possible. Torch computes on other devices, for
            other dtypes, and without the library; `path()` returns which.
        **kwargs: As for `torch.nn.LSTM`.

    Under autocast outputs stay float32, where torch's are bfloat16. Second derivatives are computed by the
    reference, slowly.
    """


class GRU(_Recurrent, nn.GRU):  # type: ignore[misc]
    """`torch.nn.GRU` with lengths, computed by Scanline's native library on the CPU.

    Args:
        *args: As for `torch.nn.GRU`.
        precision: As for `LSTM`.
        backend: As for `LSTM`.
        **kwargs: As for `torch.nn.GRU`.
    """


class RNN(_Recurrent, nn.RNN):  # type: ignore[misc]
    """`torch.nn.RNN` (tanh or relu) with lengths, computed by Scanline's native library on the CPU.

    Args:
        *args: As for `torch.nn.RNN`.
        precision: As for `LSTM`.
        backend: As for `LSTM`.
        **kwargs: As for `torch.nn.RNN`.
    """


def _autocasts() -> bool:
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
