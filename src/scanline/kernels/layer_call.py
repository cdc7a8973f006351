"""The arguments of a native operator: one layer, one direction, whole sequences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scanline.cells import Cell, Weights
from scanline.kernels.abi import PRECISIONS, Layer

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
    def of(cls, tensors: Sequence[Any], options: Sequence[Any]) -> LayerCall:
        """Return the call for flat arguments in the order of the operator's schema.

        Args:
            tensors: x, the states, four weights, lengths.
            options: reverse, batch_first, precision.
        """
        x, *states, weight_ih, weight_hh, bias_ih, bias_hh, lengths = tensors
        return cls(x, tuple(states), Weights(weight_ih, weight_hh, bias_ih, bias_hh), lengths, *options)

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
        return LayerCall(
            contiguous_steps(x),
            tuple([None if state is None else state.contiguous() for state in states]),
            Weights(*[None if weight is None else weight.contiguous() for weight in weights]),  # type: ignore[arg-type]
            None if lengths is None else lengths.contiguous(),
            reverse,
            batch_first,
            precision,
        )

    def layer(self, precision: int) -> Layer:
        """Return the library's description of the call. It holds addresses: keep the tensors referenced."""
        return Layer(
            # In the order of `Layer._fields_`; strides are in elements, and 0 is the unused field.
            *self.sizes(), address(self.lengths), self.reverse, precision, torch.get_num_threads(), 0,
            address(self.x), *self.strides(self.x), *pair(self.states), *map(address, self.weights),
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
        shapes = (*(state for _ in self.states), (rows, F), (rows, H), (rows,), (rows,))
        dtype, device, faults = x.dtype, x.device, []
        # Runs at every training step: names and messages are made only for what does not fit.
        for index, (tensor, shape) in enumerate(zip((*self.states, *self.weights), shapes, strict=True)):
            if tensor is None:
                continue
            if tensor.shape != shape:
                name = _argument_names(cell)[index]
                faults.append(f"{name} must have shape {shape}, got {tuple(tensor.shape)}")
            if tensor.dtype != dtype or tensor.device != device:
                name = _argument_names(cell)[index]
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


def address(tensor: Tensor | None) -> int | None:
    """Return the address of a tensor's first element; None for None."""
    return None if tensor is None else tensor.data_ptr()


def pair(states: Sequence[Tensor | None]) -> tuple[int | None, int | None]:
    """Return the addresses of the states as the C interface takes them: h, and c or NULL."""
    return address(states[0]), address(states[1]) if len(states) > 1 else None


def contiguous_steps(tensor: Tensor) -> Tensor:
    """Return a tensor whose last axis is contiguous."""
    return tensor if tensor.stride(-1) == 1 or tensor.shape[-1] == 1 else tensor.contiguous()


def _label(cell: Cell) -> str:
    return f"scanline::{cell.native_operator}"


def _argument_names(cell: Cell) -> tuple[str, ...]:
    """Return the schema's names of the states and weights."""
    return (*(f"{state}0" for state in cell.states), *Weights._fields)
