"""Recurrent layers that keep their states between calls, for sequences that arrive step by step.

`NativeStack` prepares everything once, packed weights, buffers and the calls themselves, so that one step of
one sequence costs little more than its arithmetic. `TorchStack` runs the other backends, on the CPU in
float64 as for whole sequences. Both read in the forward direction only.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanline.cells import Cell
from scanline.kernels.abi import CELLS, FLOAT32, Forward, Layer
from scanline.kernels.backends import run_layer
from scanline.kernels.library import Library, load

Floats = NDArray[np.float32]


class Stack(Protocol):
    """A stack of layers with the states of N sequences."""

    def read(self, x: Floats, lengths: NDArray[np.int64] | None) -> Floats:
        """Read the next steps and update the states.

        Args:
            x: Next steps, (N, t, F). Values past a sequence's length may be NaN.
            lengths: (N,) in 0..t, the number of next steps of each sequence; None if all have t.

        Returns:
            Outputs of the last layer, (N, t, H).
        """

    def states(self) -> dict[str, NDArray[Any]]:
        """Return copies of the states by name: `h`, and a cell's others, each (layers, N, H)."""

    def restore(self, states: dict[str, NDArray[Any]]) -> None:
        """Continue from what `states` returned."""


def make_stack(
    backend: str, cell: Cell, weights: Sequence[Sequence[Tensor]], sequences: int
) -> NativeStack | TorchStack:
    """Return a stack in its initial state, zeros.

    Args:
        backend: What `choose_backend` returned.
        cell: Cell of all layers.
        weights: For each layer [weight_ih (G*H, F), weight_hh (G*H, H), bias_ih (G*H,), bias_hh (G*H,)].
        sequences: Number of sequences N.
    """
    library = load()
    if backend == "native" and library is not None:
        return NativeStack(library, cell, weights, sequences)
    return TorchStack(backend, cell, weights, sequences)


class NativeStack:
    """A `Stack` on the native library.

    Args:
        library: The library.
        cell: A cell with a native operator.
        weights: As for `make_stack`.
        sequences: Number of sequences N.

    Attributes:
        x: (N, 1, F) buffer into which the caller writes the inputs of `step`.
    """

    def __init__(
        self, library: Library, cell: Cell, weights: Sequence[Sequence[Tensor]], sequences: int
    ) -> None:
        self._library, self._names = library, cell.states
        self._cell = CELLS[str(cell.native_operator)]
        # Kept as attributes: the calls hold addresses of the weights, not references.
        self._weights = [[w.detach().float().contiguous() for w in each] for each in weights]
        self._units = H = self._weights[0][1].shape[1]
        # Two copies of every state, (state, copy, layer, N, H): a call reads one and writes the other, so
        # that the prepared calls need no copying. `_now` is the copy to read next.
        self._states = np.zeros((len(cell.states), 2, len(weights), sequences, H), np.float32)
        self._now = 0
        self.x = np.zeros((sequences, 1, self._weights[0][0].shape[1]), np.float32)
        self._y = np.zeros((len(weights), sequences, 1, H), np.float32)
        # Weights in the order in which the kernel reads them, once instead of at every call.
        self._packed = [library.pack(self._layer(layer)) for layer in range(len(weights))]
        inputs = (self.x, *self._y[:-1])
        # For each value of `_now` the calls of one step of all layers. They hold addresses of the buffers
        # above, which are therefore never replaced, only written to.
        self._single = [
            [
                ctypes.byref(self._call(layer, inputs[layer], self._y[layer], None, now))
                for layer in range(len(weights))
            ]
            for now in (0, 1)
        ]

    def step(self) -> Floats:
        """Read the step in `x`.

        Returns:
            Outputs (N, 1, H) of the last layer; the next call overwrites them.
        """
        forward = self._library.forward
        for call in self._single[self._now]:
            code = forward(call, 1)
            if code:
                self._library.check(code)
        self._now = 1 - self._now
        last: Floats = self._y[-1]
        return last

    def read(self, x: Floats, lengths: NDArray[np.int64] | None) -> Floats:
        """Read the next steps; see `Stack.read`."""
        for layer in range(len(self._weights)):
            x = np.ascontiguousarray(x)
            y = np.empty((*x.shape[:2], self._units), np.float32)
            call = self._call(layer, x, y, lengths, self._now)
            self._library.check(self._library.forward(ctypes.byref(call), 1))
            x = y
        self._now = 1 - self._now
        return x

    def states(self) -> dict[str, NDArray[Any]]:
        """Return copies of the states; see `Stack.states`."""
        return {name: self._states[k, self._now].copy() for k, name in enumerate(self._names)}

    def restore(self, states: dict[str, NDArray[Any]]) -> None:
        """Continue from `states`; see `Stack.restore`."""
        # Assigned into the buffers, as the prepared calls hold their addresses.
        for k, name in enumerate(self._names):
            self._states[k, self._now] = states[name]

    def _layer(self, layer: int) -> Layer:
        weights = self._weights[layer]
        native = Layer(sequences=1, steps=1, features=weights[0].shape[1], units=self._units)
        native.cell, native.precision, native.threads = self._cell, FLOAT32, 1
        native.weight_ih, native.weight_hh, native.bias_ih, native.bias_hh = (w.data_ptr() for w in weights)
        return native

    def _call(self, layer: int, x: Floats, y: Floats, lengths: NDArray[np.int64] | None, now: int) -> Forward:
        call = Forward(layer=self._layer(layer), packed=ctypes.addressof(self._packed[layer]))
        native = call.layer
        native.sequences, native.steps = x.shape[:2]
        # Waking threads takes longer than one step.
        native.threads = torch.get_num_threads() if x.shape[0] * x.shape[1] > 1 else 1
        native.lengths = None if lengths is None else lengths.ctypes.data
        native.x, native.x_sequence, native.x_step = x.ctypes.data, x.shape[1] * x.shape[2], x.shape[2]
        # Strides in elements; x and y are contiguous here.
        call.y, call.y_sequence, call.y_step = y.ctypes.data, y.shape[1] * y.shape[2], y.shape[2]
        for name, copies in zip(self._names, self._states, strict=True):
            setattr(native, f"{name}0", copies[now, layer].ctypes.data)
            setattr(call, f"{name}n", copies[1 - now, layer].ctypes.data)
        return call


class TorchStack:
    """A `Stack` on torch: its fused functions, or the reference.

    Args:
        backend: "torch" or "reference".
        cell: Any cell.
        weights: As for `make_stack`.
        sequences: Number of sequences N.
    """

    def __init__(self, backend: str, cell: Cell, weights: Sequence[Sequence[Tensor]], sequences: int) -> None:
        self._backend, self._cell = backend, cell
        device = weights[0][0].device
        dtype = torch.float64 if device.type == "cpu" else torch.float32
        # Copies: weights that change later do not change a sequence that is being read.
        self._weights = [[w.detach().to(dtype, copy=True) for w in each] for each in weights]
        shape = (len(weights), sequences, weights[0][1].shape[1])
        self._states = {name: torch.zeros(shape, dtype=dtype, device=device) for name in cell.states}

    @torch.inference_mode()
    def read(self, x: Floats, lengths: NDArray[np.int64] | None) -> Floats:
        """Read the next steps; see `Stack.read`."""
        first = self._states["h"]
        values = torch.as_tensor(x, device=first.device).to(first.dtype)
        ends = None if lengths is None else torch.as_tensor(lengths, device=first.device)
        for layer, weights in enumerate(self._weights):
            # Views; `run_layer` returns new states, which are assigned after the layer has read the old
            # ones.
            before = tuple(state[layer] for state in self._states.values())
            values, after = run_layer(self._backend, self._cell, values, before, weights, ends)
            for state, changed in zip(self._states.values(), after or (), strict=True):
                state[layer] = changed
        return values.float().cpu().numpy()

    def states(self) -> dict[str, NDArray[Any]]:
        """Return copies of the states; see `Stack.states`."""
        return {name: state.cpu().numpy().copy() for name, state in self._states.items()}

    def restore(self, states: dict[str, NDArray[Any]]) -> None:
        """Continue from `states`; see `Stack.restore`."""
        for name, state in self._states.items():
            state.copy_(torch.from_numpy(states[name]))
