"""A cell of torch.nn, called once for each step of a stream."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scanline_bench.implementations import expected_class
from scanline_bench.workloads import CLASSES, Workload

CLASS_NAMES = {"lstm": "LSTMCell", "gru": "GRUCell", "rnn": "RNNCell"}


class TorchStream:
    """A cell, its state and a head with softmax."""

    def __init__(self, workload: Workload, precision: str) -> None:
        if workload.layers > 1 or workload.bidirectional or precision != "float32":
            raise ValueError("streams are measured with one layer in one direction, in float32")
        self.x = workload.make_data()[0][0]  # (T, F)
        self.cell = getattr(nn, CLASS_NAMES[workload.cell])(workload.F, workload.H)
        self.head = nn.Linear(workload.H, CLASSES)
        weights = workload.make_weights()
        with torch.no_grad():
            for name, value in weights.layers[0][0]._asdict().items():
                parameter = getattr(self.cell, name)
                parameter.zero_() if value is None else parameter.copy_(torch.from_numpy(value))
            self.head.weight.copy_(torch.from_numpy(weights.head))
            self.head.bias.copy_(torch.from_numpy(weights.head_bias))
        zeros = torch.zeros(1, workload.H)
        self.state: Tensor | tuple[Tensor, ...] = (zeros, zeros) if workload.cell == "lstm" else zeros
        self.read = 0

    @torch.inference_mode()
    def step(self) -> None:
        """See `Implementation`."""
        self.state = self.cell(torch.from_numpy(self.x[self.read])[None], self.state)
        h = self.state[0] if isinstance(self.state, tuple) else self.state
        self.probabilities = self.head(h).softmax(1).numpy()
        self.read = (self.read + 1) % len(self.x)

    def result(self) -> float:
        """See `Implementation`."""
        return expected_class(self.probabilities)

    def use_batch(self, size: int) -> None:
        """See `Implementation`."""


def make(workload: Workload, precision: str, variant: str) -> TorchStream:
    """Return the implementation for `workload`."""
    return TorchStream(workload, precision)
