"""torch.nn.LSTM and scanline.nn.LSTM in otherwise equal programs."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import scanline.nn
from scanline_bench.workloads import CLASSES, Workload


class TorchLayers:
    """A network, its optimizer and one batch.

    Args:
        workload: The workload.
        precision: "float32" or "bfloat16" (autocast for torch).
        variant: "scanline", "torch", "torch packed" or "torch padded".
    """

    def __init__(self, workload: Workload, precision: str, variant: str) -> None:
        self.workload, self.variant = workload, variant
        is_scanline = variant == "scanline"
        self.autocast = precision == "bfloat16" and not is_scanline
        self.lstm: nn.LSTM = (
            scanline.nn.LSTM(workload.F, workload.H, workload.layers, batch_first=True, precision=precision)
            if is_scanline
            else nn.LSTM(workload.F, workload.H, workload.layers, batch_first=True)
        )
        self.head = nn.Linear(workload.H, CLASSES)
        self._load()
        values, labels = workload.make_data()
        self.x, self.y = torch.from_numpy(values), torch.from_numpy(labels)
        self.lengths = torch.from_numpy(workload.make_lengths()) if workload.lengths else None
        self.weights = [p for p in (*self.lstm.parameters(), *self.head.parameters()) if p.requires_grad]
        self.optimizer = torch.optim.Adam(self.weights, lr=1e-3, fused=True)
        self.batch = workload.N
        self.loss, self.logits = torch.zeros(()), list[Tensor]()

    def _load(self) -> None:
        weights = iter(map(torch.from_numpy, self.workload.make_weights()))
        with torch.no_grad():
            for layer in range(self.workload.layers):
                for name in ("weight_ih", "weight_hh", "bias_ih"):
                    getattr(self.lstm, f"{name}_l{layer}").copy_(next(weights))
                # One bias per gate, as in the other frameworks: with two, Adam moves their sum twice as fast.
                getattr(self.lstm, f"bias_hh_l{layer}").zero_().requires_grad_(False)
            self.head.weight.copy_(next(weights))
            self.head.bias.copy_(next(weights))

    def _read(self, x: Tensor) -> Tensor:
        """Return the last state of each sequence, (N, H)."""
        if self.lengths is None:
            states = self.lstm(x)[1]
        elif self.variant == "scanline":
            states = self.lstm(x, None, self.lengths)[1]
        elif self.variant == "torch packed":
            packed = nn.utils.rnn.pack_padded_sequence(
                x, self.lengths, batch_first=True, enforce_sorted=False
            )
            states = self.lstm(packed)[1]
        else:
            outputs: Tensor = self.lstm(x)[0]
            return outputs[torch.arange(len(x)), self.lengths - 1]
        last: Tensor = states[0][-1]
        return last

    def step(self) -> None:
        """See `Implementation`."""
        if self.workload.kind != "train":
            self._predict()
            return
        self.optimizer.zero_grad()
        with self._autocast():
            self.loss = F.cross_entropy(self.head(self._read(self.x)).float(), self.y)
        self.loss.backward()
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()

    @torch.inference_mode()
    def _predict(self) -> None:
        with self._autocast():
            parts = self.x.split(self.batch)
            self.logits = [self.head(self._read(part)) for part in parts]

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        return torch.autocast("cpu", torch.bfloat16) if self.autocast else contextlib.nullcontext()

    def result(self) -> float:
        """See `Implementation`."""
        if self.workload.kind == "train":
            return self.loss.item()
        return sum(part.float().sum().item() for part in self.logits)

    def use_batch(self, size: int) -> None:
        """See `Implementation`."""
        self.batch = size


def make(workload: Workload, precision: str, variant: str) -> TorchLayers:
    """Return the implementation for `workload`."""
    return TorchLayers(workload, precision, variant)
