"""The arguments of a native operator: one layer, one direction, whole sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scanline.cells import Cell, Weights
from scanline.kernels.abi import PRECISIONS

OPTIONS = 3  # reverse, batch_first, precision


class LayerCall(NamedTuple):
    """Arguments that the forward and the backward pass have in common.

    Attributes:
        x: Inputs, (N, T, F), or (T, N, F) without batch_first.
        states: Initial states in the cell's order, each (N, H) or None for zeros.
        weights: (G*H, F), (G*H, H) and the biases (G*H,) or None.
        lengths: (N,) int64, or None if all are T.
        reverse: Whether each sequence is read from its own last step to its first.
        batch_first: Which axis of x and of the outputs comes first.
        precision: One of PRECISIONS.
    """

    x: Tensor
    states: tuple[Tensor | None, ...]
    weights: Weights
    lengths: Tensor | None
    reverse: bool
    batch_first: bool
    precision: str

    @classmethod
    def of(cls, tensors: tuple[Any, ...], options: tuple[Any, ...]) -> LayerCall:
        """Return the call for flat arguments in the order of the operator's schema.

        Args:
            tensors: x, the states, four weights, lengths.
            options: reverse, batch_first, precision.
        """
        return cls(tensors[0], tensors[1:-5], Weights(*tensors[-5:-1]), tensors[-1], *options)

    def sizes(self) -> tuple[Any, Any, Any, Any]:
        """Return (N, T, F, H): numbers, or symbols where torch traces without data."""
        first, second, F = self.x.shape
        N, T = (first, second) if self.batch_first else (second, first)
        return N, T, F, self.weights.weight_hh.shape[1]

    def strides(self, tensor: Tensor | None) -> tuple[int, int]:
        """Return the strides (sequence, step) of a tensor laid out as x, in elements."""
        if tensor is None:
            return 0, 0
        first, second, _ = tensor.stride()
        return (first, second) if self.batch_first else (second, first)

    def like_x(self, width: Any) -> tuple[Any, Any, Any]:
        """Return the shape of a tensor laid out as x with `width` values a step."""
        return (*self.x.shape[:2], width)

    def turned(self, tensor: Tensor) -> Tensor:
        """Return a tensor laid out as x as (N, T, ...), or the other way round."""
        return tensor if self.batch_first else tensor.transpose(0, 1)

    def dense(self) -> LayerCall:
        """Return the call with tensors as the library reads them: contiguous; of x the last axis only."""
        x, states, weights, lengths, reverse, batch_first, precision = self
        for tensor in (*states, *weights, lengths):
            if tensor is not None and (not tensor.is_contiguous() or tensor.is_neg()):
                states = tuple([plain(state) for state in states])
                weights = Weights(*[plain(weight) for weight in weights])  # type: ignore[arg-type]
                lengths = plain(lengths)
                break
        return LayerCall(contiguous_steps(x), states, weights, lengths, reverse, batch_first, precision)

    def layer(self, cell: int, precision: int) -> tuple[int, ...]:
        """Return the fields of the library's `Layer`.

        Args:
            cell: One of CELLS.
            precision: FLOAT32 or BFLOAT16.

        They hold addresses: keep the tensors referenced until the library has returned.
        """
        x, weights = self.x, self.weights
        h, c = pair(self.states)
        first, second, F = x.shape
        by_first, by_second, _ = x.stride()
        # In the order of `Layer._fields_`; strides are in elements.
        sizes = (first, second) if self.batch_first else (second, first)
        strides = (by_first, by_second) if self.batch_first else (by_second, by_first)
        return (
            *sizes, F, weights.weight_hh.shape[1], address(self.lengths),
            self.reverse, precision, torch.get_num_threads(), cell,
            x.data_ptr(), *strides, h, c, weights.weight_ih.data_ptr(), weights.weight_hh.data_ptr(),
            address(weights.bias_ih), address(weights.bias_hh),
        )  # fmt: skip

    def check(self, cell: Cell) -> None:
        """Check shapes, dtypes and devices.

        Raises:
            RuntimeError: Naming every tensor that does not fit.
        """
        x, G = self.x, len(cell.gates)
        weight_ih, weight_hh = self.weights[:2]
        if x.dim() != 3 or weight_ih.dim() != 2 or weight_hh.dim() != 2:
            raise RuntimeError(
                f"{_label(cell)}: expected x (N, T, F), weight_ih ({G}H, F) and weight_hh ({G}H, H); got "
                f"{tuple(x.shape)}, {tuple(weight_ih.shape)} and {tuple(weight_hh.shape)}"
            )
        if self.precision not in PRECISIONS:
            raise RuntimeError(
                f"{_label(cell)}: precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}"
            )
        N, _, F, H = self.sizes()
        state, rows = (N, H), G * H
        shapes = (state,) * len(self.states) + ((rows, F), (rows, H), (rows,), (rows,))
        dtype, device, faults = x.dtype, x.device, []
        # Runs at every training step: names and messages are made only for what does not fit.
        for index, tensor in enumerate((*self.states, *self.weights)):
            if tensor is None or (
                tensor.shape == shapes[index] and tensor.dtype == dtype and tensor.device == device
            ):
                continue
            name, shape = _argument_names(cell)[index], shapes[index]
            if tensor.shape != shape:
                faults.append(f"{name} must have shape {shape}, got {tuple(tensor.shape)}")
            if tensor.dtype != dtype or tensor.device != device:
                faults.append(
                    f"{name} must be {dtype} on {device} as x is, got {tensor.dtype} on {tensor.device}"
                )
        lengths = self.lengths
        if lengths is not None and (
            lengths.shape != (N,) or lengths.dtype != torch.int64 or lengths.device != device
        ):
            faults.append(
                f"lengths must be int64 of shape {(N,)} on {device}, "
                f"got {lengths.dtype} of shape {tuple(lengths.shape)} on {lengths.device}"
            )
        if faults:
            raise RuntimeError(f"{_label(cell)}: " + "; ".join(faults))


def address(tensor: Tensor | None) -> int:
    """Return the address of a tensor's first element; 0 for None."""
    return 0 if tensor is None else tensor.data_ptr()


def pair(states: Sequence[Tensor | None]) -> tuple[int, int]:
    """Return the addresses of the states as the C interface takes them: h, and c or 0."""
    return address(states[0]), address(states[1]) if len(states) > 1 else 0


def plain(tensor: Tensor | None) -> Tensor | None:
    """Return a contiguous tensor whose memory holds its values."""
    # A negative view (`z.conj().imag`) shares the memory of the values that it negates.
    return None if tensor is None else tensor.resolve_neg().contiguous()


def contiguous_steps(tensor: Tensor) -> Tensor:
    """Return a tensor whose last axis is contiguous and whose memory holds its values."""
    if (tensor.stride(-1) == 1 or tensor.shape[-1] == 1) and not tensor.is_neg():
        return tensor
    return tensor.resolve_neg().contiguous()


def _label(cell: Cell) -> str:
    return f"scanline::{cell.native_operator}"


def _argument_names(cell: Cell) -> tuple[str, ...]:
    """Return the schema's names of the states and weights."""
    return (*(f"{state}0" for state in cell.states), *Weights._fields)
