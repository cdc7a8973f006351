"""Sequences that arrive step by step, with the states that are kept between calls.

`NativeStream` computes whole networks on the native library, so that one step of one sequence costs little
more than its arithmetic. `TorchStack` computes the layers on the other backends, on the CPU in float64 as for
whole sequences. Both read in the forward direction only.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanline.cells import Cell
from scanline.kernels.backends import run_layer
from scanline.kernels.predictor import NativePredictor, address

Floats = NDArray[np.float32]
_STREAM = struct.Struct("2qPP2i5P")  # scanline_stream of csrc/scanline.h


class NativeStream:
    """N sequences on the native library: from their steps, as they were read, to the outputs of the network.

    Args:
        predictor: Of a network of one direction.
        sequences: Number of sequences N.
        pooled: The state of the pooling, (N, H), by its name; empty if it has none. Updated in place.
        counts: (N,) number of steps of each sequence; updated in place.

    Attributes:
        row: (F,) buffer into which the caller writes the step that `step` reads.
    """

    def __init__(
        self,
        predictor: NativePredictor,
        sequences: int,
        pooled: dict[str, NDArray[Any]],
        counts: NDArray[np.int64],
    ) -> None:
        form, library = predictor.form, predictor.library
        # Keeps the weights: a session goes on with those that it started with.
        self._predictor, self._library, self._pooled, self._counts = predictor, library, pooled, counts
        shape = (form.layers, sequences, form.units)
        self._states = {name: np.zeros(shape, np.float32) for name in form.cell.states}
        self._size = sequences
        x, self._outputs = (
            np.zeros((1, 1, form.features), np.float32),
            np.zeros((1, 1, form.outputs), np.float32),
        )
        self.row: NDArray[np.float32] = x[0, 0]
        self._output: NDArray[np.float32] = self._outputs[0, 0]
        # The buffers above are never replaced, only written to, so that one call serves all single steps.
        self._single = self._call(x, None, self._outputs) if sequences == 1 else b""

    def step(self) -> NDArray[np.float32]:
        """Read the step in `row` of the only sequence and return the outputs after it, (M,)."""
        code = self._library.predict_stream(self._predictor.handle, self._single)
        if code:
            self._library.check(code)
        return self._output.copy()

    def read(self, x: Floats, lengths: NDArray[np.int64] | None) -> Floats:
        """Read the next steps and update all states.

        Args:
            x: Next steps, (N, t, F). Values past a sequence's length are not read.
            lengths: (N,) in 0..t, the number of next steps of each sequence; None if all have t.

        Returns:
            Outputs after each step, (N, t, M), 0 past a sequence's length.
        """
        x = np.ascontiguousarray(x, np.float32)
        outputs = np.zeros((*x.shape[:2], self._predictor.form.outputs), np.float32)
        call = self._call(x, lengths, outputs)
        self._library.check(self._library.predict_stream(self._predictor.handle, call))
        return outputs

    def states(self) -> dict[str, NDArray[Any]]:
        """Return copies of the states by name: the cell's, each (layers, N, H), and the pooling's."""
        return {name: state.copy() for name, state in (self._states | self._pooled).items()}

    def restore(self, states: dict[str, NDArray[Any]]) -> None:
        """Continue from what `states` returned."""
        for name, state in (self._states | self._pooled).items():
            state[:] = states[name]

    def _call(self, x: Floats, lengths: NDArray[np.int64] | None, outputs: Floats) -> bytes:
        """Return a `scanline_stream`. It holds addresses: the caller keeps the arrays."""
        states = [address(state) for state in self._states.values()]
        return _STREAM.pack(
            *x.shape[:2],
            0 if lengths is None else address(lengths),
            address(x),
            torch.get_num_threads(),
            0,
            *(states if len(states) == 2 else (*states, 0)),
            *([address(each) for each in self._pooled.values()] or [0]),
            address(self._counts),
            address(outputs),
        )


class TorchStack:
    """A stack of layers with the states of N sequences, computed by `run_layer`.

    Args:
        backend: "torch" or "reference"; "native" where `NativePredictor` does not know the network.
        cell: Any cell.
        weights: For each layer [weight_ih (G*H, F), weight_hh (G*H, H), bias_ih (G*H,), bias_hh (G*H,)].
        sequences: Number of sequences N.
    """

    def __init__(self, backend: str, cell: Cell, weights: Sequence[Sequence[Tensor]], sequences: int) -> None:
        self._backend, self._cell = backend, cell
        device = weights[0][0].device
        dtype = torch.float64 if device.type == "cpu" and backend != "native" else torch.float32
        # Copies: weights that change later do not change a sequence that is being read.
        self._weights = [[w.detach().to(dtype, copy=True) for w in each] for each in weights]
        shape = (len(weights), sequences, weights[0][1].shape[1])
        self._states = {name: torch.zeros(shape, dtype=dtype, device=device) for name in cell.states}

    @torch.inference_mode()
    def read(self, x: Floats, lengths: NDArray[np.int64] | None) -> Floats:
        """Read the next steps and update the states.

        Args:
            x: Next steps, (N, t, F). Values past a sequence's length may be NaN.
            lengths: (N,) in 0..t, the number of next steps of each sequence; None if all have t.

        Returns:
            Outputs of the last layer, (N, t, H).
        """
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
        """Return copies of the states by name, each (layers, N, H)."""
        return {name: state.cpu().numpy().copy() for name, state in self._states.items()}

    def restore(self, states: dict[str, NDArray[Any]]) -> None:
        """Continue from what `states` returned."""
        for name, state in self._states.items():
            state.copy_(torch.from_numpy(states[name]))
