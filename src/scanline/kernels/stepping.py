"""Recurrent layers that are fed as steps come, with their states kept between calls.

The native way has everything ready, packed weights, buffers, the call itself, so that one step of one
sequence costs little more than its arithmetic. Where the library cannot compute (GRU, plain RNN, no library,
CUDA) torch does, on the CPU in float64, as it does for whole sequences.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanline.kernels.library import FLOAT32, Forward, Layer, Library

Floats = NDArray[np.float32]


class Stack(Protocol):
    """A stack of layers with the states of N sequences."""

    def read(self, x: Floats, lengths: NDArray[np.int64] | None) -> Floats:
        """Outputs (N, t, H) of the last layer for the next steps (N, t, F); `lengths`, (N,) in 0..t, says how
        many of them each sequence has."""

    def states(self) -> dict[str, NDArray[Any]]:
        """What has to be kept to go on, by name: `h`, (layers, N, H), and for an LSTM `c`."""

    def restore(self, states: dict[str, NDArray[Any]]) -> None:
        """Go on from what `states` gave."""


class NativeStack:
    """LSTM layers on the native library.

    weights: for each layer [weight_ih (4H, F), weight_hh (4H, H), bias_ih (4H,), bias_hh (4H,)].
    sequences: N.
    """

    def __init__(self, library: Library, weights: Sequence[Sequence[Tensor]], sequences: int) -> None:
        self._library = library
        self._held = [[w.detach().float().contiguous() for w in each] for each in weights]
        H = self._held[0][1].shape[1]
        self._units = H
        # Two of each state: a call reads one and writes the other.
        self._h = np.zeros((2, len(weights), sequences, H), np.float32)
        self._c = np.zeros_like(self._h)
        self._now = 0
        self.x = np.zeros((sequences, 1, self._held[0][0].shape[1]), np.float32)  # of a single step
        self.y = np.zeros((len(weights), sequences, 1, H), np.float32)
        self._packed = [library.pack(self._layer(layer)) for layer in range(len(weights))]
        inputs = (self.x, *self.y[:-1])
        self._single = [
            [
                ctypes.byref(self._call(layer, inputs[layer], self.y[layer], None, now))
                for layer in range(len(weights))
            ]
            for now in (0, 1)
        ]

    def step(self) -> Floats:
        """Outputs (N, 1, H) for the step in `x`; they hold until the next call."""
        forward = self._library.forward
        for call in self._single[self._now]:
            code = forward(call)
            if code:
                self._library.check(code)
        self._now = 1 - self._now
        last: Floats = self.y[-1]
        return last

    def read(self, x: Floats, lengths: NDArray[np.int64] | None) -> Floats:
        """As `Stack.read`."""
        for layer in range(len(self._held)):
            x = np.ascontiguousarray(x)
            y = np.empty((*x.shape[:2], self._units), np.float32)
            self._library.check(
                self._library.forward(ctypes.byref(self._call(layer, x, y, lengths, self._now)))
            )
            x = y
        self._now = 1 - self._now
        return x

    def states(self) -> dict[str, NDArray[Any]]:
        """As `Stack.states`."""
        return {"h": self._h[self._now].copy(), "c": self._c[self._now].copy()}

    def restore(self, states: dict[str, NDArray[Any]]) -> None:
        """As `Stack.restore`."""
        self._h[self._now], self._c[self._now] = states["h"], states["c"]

    def _layer(self, layer: int) -> Layer:
        weight_ih, weight_hh, bias_ih, bias_hh = (w.data_ptr() for w in self._held[layer])
        native = Layer(sequences=1, steps=1, features=self._held[layer][0].shape[1], units=self._units)
        native.precision, native.threads = FLOAT32, 1
        native.weight_ih, native.weight_hh, native.bias_ih, native.bias_hh = (
            weight_ih,
            weight_hh,
            bias_ih,
            bias_hh,
        )
        return native

    def _call(self, layer: int, x: Floats, y: Floats, lengths: NDArray[np.int64] | None, now: int) -> Forward:
        call = Forward(layer=self._layer(layer), packed=ctypes.addressof(self._packed[layer]))
        native = call.layer
        native.sequences, native.steps = x.shape[:2]
        native.threads = torch.get_num_threads() if x.shape[0] * x.shape[1] > 1 else 1
        native.lengths = None if lengths is None else lengths.ctypes.data
        native.x, native.x_sequence, native.x_step = x.ctypes.data, x.shape[1] * x.shape[2], x.shape[2]
        native.h0, native.c0 = self._h[now, layer].ctypes.data, self._c[now, layer].ctypes.data
        call.y, call.y_sequence, call.y_step = y.ctypes.data, y.shape[1] * y.shape[2], y.shape[2]
        call.hn, call.cn = self._h[1 - now, layer].ctypes.data, self._c[1 - now, layer].ctypes.data
        return call


class TorchStack:
    """Layers of any cell on torch: float64 on the CPU.

    cell: "lstm", "gru" or "rnn". weights, sequences: as for `NativeStack`.
    """

    def __init__(self, cell: str, weights: Sequence[Sequence[Tensor]], sequences: int) -> None:
        self._cell = cell
        device = weights[0][0].device
        dtype = torch.float64 if device.type == "cpu" else torch.float32
        self._weights = [[w.detach().to(dtype) for w in each] for each in weights]
        H = weights[0][1].shape[1]
        kinds = ("h", "c") if cell == "lstm" else ("h",)
        self._states = {
            kind: torch.zeros(len(weights), sequences, H, dtype=dtype, device=device) for kind in kinds
        }

    @torch.inference_mode()
    def read(self, x: Floats, lengths: NDArray[np.int64] | None) -> Floats:
        """As `Stack.read`."""
        first = self._states["h"]
        values = torch.as_tensor(x, device=first.device).to(first.dtype)
        if lengths is None:
            return self._run(values).float().cpu().numpy()
        outputs = values.new_zeros(*values.shape[:2], first.shape[2])
        ends = torch.as_tensor(lengths, device=first.device)
        for step in range(values.shape[1]):
            before = {name: state.clone() for name, state in self._states.items()}
            goes_on = (ends > step)[:, None]
            y = self._run(values[:, step : step + 1].nan_to_num())
            outputs[:, step] = torch.where(goes_on, y[:, 0], 0)
            for name, state in before.items():
                self._states[name] = torch.where(goes_on, self._states[name], state)
        return outputs.float().cpu().numpy()

    def _run(self, values: Tensor) -> Tensor:
        settings = (True, 1, 0.0, False, False, True)
        for layer, weights in enumerate(self._weights):
            states = [state[layer : layer + 1].contiguous() for state in self._states.values()]
            if self._cell == "lstm":
                values, *new = torch.lstm(values, states, weights, *settings)
            else:
                run = torch.gru if self._cell == "gru" else torch.rnn_tanh
                values, *new = run(values, states[0], weights, *settings)
            for state, changed in zip(self._states.values(), new, strict=True):
                state[layer] = changed[0]
        return values

    def states(self) -> dict[str, NDArray[Any]]:
        """As `Stack.states`."""
        return {name: state.cpu().numpy().copy() for name, state in self._states.items()}

    def restore(self, states: dict[str, NDArray[Any]]) -> None:
        """As `Stack.restore`."""
        for name, state in self._states.items():
            state.copy_(torch.as_tensor(states[name]))
