"""The arguments of a native operator: one layer over whole sequences, in one direction or both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scanline.cells import Cell, Weights
from scanline.kernels.abi import PRECISIONS

FLOAT_BYTES = 4
# The options of an operator for one direction and of one for both.
ONE_DIRECTION = ("bool reverse", "bool batch_first", "str precision")
BOTH_DIRECTIONS = ONE_DIRECTION[1:]


class LayerCall(NamedTuple):
    """Arguments that the forward and the backward pass have in common.

    Attributes:
        x: Inputs, (N, T, F), or (T, N, F) without batch_first.
        states: Initial states in the cell's order, each (N, H), of both directions (2, N, H), or None for
            zeros. With a projection h has P values instead of H, here and in all that follows.
        weights: Of each direction, (G*H, F), (G*H, H), the biases (G*H,) or None, and the projection (P, H)
            if the cell has one.
        lengths: (N,) int64, or None if all are T.
        reverse: Whether the first direction reads each sequence from its own last step to its first. A second
            one always does.
        batch_first: Which axis of x and of the outputs comes first.
        precision: One of PRECISIONS.
    """

    x: Tensor
    states: tuple[Tensor | None, ...]
    weights: tuple[Weights, ...]
    lengths: Tensor | None
    reverse: bool
    batch_first: bool
    precision: str

    @classmethod
    def of(cls, cell: Cell, tensors: tuple[Any, ...], options: tuple[Any, ...]) -> LayerCall:
        """Return the call for flat arguments in the order of the operator's schema.

        Args:
            cell: What is computed.
            tensors: x, the states, the weights of each direction, lengths.
            options: reverse, batch_first, precision; without reverse for both directions.
        """
        second = -1 - len(cell.weights)  # index of the last direction's weights
        if len(options) == len(ONE_DIRECTION):
            return cls(tensors[0], tensors[1:second], (Weights(*tensors[second:-1]),), tensors[-1], *options)
        first = second - len(cell.weights)
        both = (Weights(*tensors[first:second]), Weights(*tensors[second:-1]))
        return cls(tensors[0], tensors[1:first], both, tensors[-1], False, *options)

    def sizes(self) -> tuple[Any, Any, Any, Any, Any]:
        """Return (N, T, F, H, P): numbers, or symbols where torch traces without data.

        P is the width of h and of one direction's outputs: H without a projection.
        """
        first, second, F = self.x.shape
        N, T = (first, second) if self.batch_first else (second, first)
        _, weight_hh, _, _, weight_hr = self.weights[0]
        P = weight_hh.shape[1]
        return N, T, F, P if weight_hr is None else weight_hr.shape[1], P

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
        for tensor in (*self.states_and_weights(), lengths):
            if tensor is not None and (not tensor.is_contiguous() or tensor.is_neg()):
                states = tuple([plain(state) for state in states])
                weights = tuple([Weights(*map(plain, each)) for each in weights])  # type: ignore[arg-type]
                lengths = plain(lengths)
                break
        else:
            if contiguous_steps(x) is x:
                return self
        return LayerCall(contiguous_steps(x), states, weights, lengths, reverse, batch_first, precision)

    def states_and_weights(self) -> tuple[Tensor | None, ...]:
        """Return the states and, of each direction, all fields of `Weights`."""
        first = self.weights[0]
        return (*self.states, *first) if len(self.weights) == 1 else (*self.states, *first, *self.weights[1])

    def state_shapes(self, N: Any, H: Any, P: Any) -> tuple[tuple[Any, ...], ...]:
        """Return the shapes of the states, given sizes: (N, P) and (N, H), of both directions (2, N, ...)."""
        if len(self.weights) == 1:
            return ((N, P), (N, H))[: len(self.states)]
        return ((2, N, P), (2, N, H))[: len(self.states)]

    def layer(self, cell: int, precision: int, direction: int) -> tuple[int, ...]:
        """Return the fields of the library's `Layer`.

        Args:
            cell: One of CELLS.
            precision: FLOAT32 or BFLOAT16.
            direction: Index of the direction, 0 or 1.

        They hold addresses: keep the tensors referenced until the library has returned.
        """
        x, weights = self.x, self.weights[direction]
        _, weight_hh, _, _, weight_hr = weights
        H, P = (weight_hh.shape[1], 0) if weight_hr is None else (weight_hr.shape[1], weight_hr.shape[0])
        first, second, F = x.shape
        by_first, by_second, _ = x.stride()
        # In the order of `Layer._fields_`; strides are in elements.
        sizes = (first, second) if self.batch_first else (second, first)
        strides = (by_first, by_second) if self.batch_first else (by_second, by_first)
        h, c = pair(self.states, direction)
        return (
            *sizes, F, H, P, address(self.lengths),
            self.reverse or direction, precision, torch.get_num_threads(), cell,
            x.data_ptr(), *strides, h, c, weights.weight_ih.data_ptr(), weights.weight_hh.data_ptr(),
            address(weights.bias_ih), address(weights.bias_hh), address(weight_hr),
        )  # fmt: skip

    def check(self, cell: Cell) -> None:
        """Check shapes, dtypes and devices.

        Raises:
            RuntimeError: Naming every tensor that does not fit.
        """
        x, G = self.x, len(cell.gates)
        weight_ih, weight_hh, _, _, weight_hr = self.weights[0]
        if x.dim() != 3 or weight_ih.dim() != 2 or weight_hh.dim() != 2:
            raise RuntimeError(
                f"{_label(cell)}: expected x (N, T, F), weight_ih ({G}H, F) and weight_hh ({G}H, H); got "
                f"{tuple(x.shape)}, {tuple(weight_ih.shape)} and {tuple(weight_hh.shape)}"
            )
        if weight_hr is not None and weight_hr.dim() != 2:
            raise RuntimeError(f"{_label(cell)}: expected weight_hr (P, H), got {tuple(weight_hr.shape)}")
        if self.precision not in PRECISIONS:
            raise RuntimeError(
                f"{_label(cell)}: precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}"
            )
        N, _, F, H, P = self.sizes()
        rows, D = G * H, len(self.weights)
        shapes = self.state_shapes(N, H, P) + ((rows, F), (rows, P), (rows,), (rows,), (P, H)) * D
        dtype, device, faults = x.dtype, x.device, []
        # Runs at every training step: names and messages are made only for what does not fit.
        for index, tensor in enumerate(self.states_and_weights()):
            if tensor is None or (
                tensor.shape == shapes[index] and tensor.dtype == dtype and tensor.device == device
            ):
                continue
            name, shape = _names(cell, D, Weights._fields)[index], shapes[index]
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


def _label(cell: Cell) -> str:
    return f"scanline::{cell.native_operator}"


def address(tensor: Tensor | None) -> int:
    """Return the address of a tensor's first element; 0 for None."""
    return 0 if tensor is None else tensor.data_ptr()


def pair(states: Sequence[Tensor | None], direction: int = 0) -> tuple[int, int]:
    """Return the addresses of the states as the C interface takes them: h, and c or 0.

    Args:
        states: In the cell's order, contiguous; None for NULL.
        direction: Which of the two in (2, N, H), or 0.
    """
    h, c = states[0], states[1] if len(states) > 1 else None
    if direction == 0:
        return 0 if h is None else h.data_ptr(), 0 if c is None else c.data_ptr()
    half = FLOAT_BYTES // 2  # the second direction's states are the second half
    return (
        0 if h is None else h.data_ptr() + half * h.numel(),
        0 if c is None else c.data_ptr() + half * c.numel(),
    )


def plain(tensor: Tensor | None) -> Tensor | None:
    """Return a contiguous tensor whose memory holds its values."""
    # A negative view (`z.conj().imag`) shares the memory of the values that it negates.
    return None if tensor is None else tensor.resolve_neg().contiguous()


def contiguous_steps(tensor: Tensor) -> Tensor:
    """Return a tensor whose last axis is contiguous and whose memory holds its values."""
    if (tensor.stride(-1) == 1 or tensor.shape[-1] == 1) and not tensor.is_neg():
        return tensor
    return tensor.resolve_neg().contiguous()


def argument_names(cell: Cell, directions: int) -> tuple[str, ...]:
    """Return the schema's names of the tensors of a call.

    Args:
        cell: What is computed.
        directions: 1 or 2.
    """
    return ("x", *_names(cell, directions, cell.weights), "lengths")


def _names(cell: Cell, directions: int, weights: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the initial states, then those of the weights of each direction."""
    suffixes = ("", "_reverse")[:directions]
    return (
        *(f"{state}0" for state in cell.states),
        *(f"{name}{suffix}" for suffix in suffixes for name in weights),
    )
