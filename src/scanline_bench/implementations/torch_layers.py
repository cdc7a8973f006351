"""The layers of torch.nn and scanline.nn in otherwise equal programs."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import scanline.nn
from scanline_bench.workloads import CLASSES, CLIP_NORM, LEARNING_RATE, TRAINING_BATCH, Workload

CLASS_NAMES = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}


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
        module = getattr(scanline.nn if is_scanline else nn, CLASS_NAMES[workload.cell])
        options: dict[str, Any] = {"precision": precision} if is_scanline else {}
        self.layers = module(
            workload.F,
            workload.H,
            workload.layers,
            batch_first=True,
            bidirectional=workload.bidirectional,
            **options,
        )
        self.head = nn.Linear(workload.directions * workload.H, CLASSES)
        self.restart()
        values, labels = workload.make_data()
        self.x, self.y = torch.from_numpy(values), torch.from_numpy(labels)
        self.lengths = torch.from_numpy(workload.make_lengths()) if workload.lengths else None
        self.batch = workload.N
        self.loss, self.logits = torch.zeros(()), list[Tensor]()

    @torch.no_grad()
    def restart(self) -> None:
        """Set the initial weights and an optimizer without history."""
        weights = self.workload.make_weights()
        for layer, directions in enumerate(weights.layers):
            for suffix, given in zip(("", "_reverse"), directions, strict=False):
                for name, value in given._asdict().items():
                    parameter = getattr(self.layers, f"{name}_l{layer}{suffix}")
                    if value is None:
                        # One bias per gate, as in the other frameworks: with two, Adam moves their sum twice
                        # as fast.
                        parameter.zero_().requires_grad_(False)
                    else:
                        parameter.copy_(torch.from_numpy(value))
        self.head.weight.copy_(torch.from_numpy(weights.head))
        self.head.bias.copy_(torch.from_numpy(weights.head_bias))
        self.weights = [p for p in (*self.layers.parameters(), *self.head.parameters()) if p.requires_grad]
        self.optimizer = torch.optim.Adam(self.weights, lr=LEARNING_RATE, fused=True)

    def _read(self, x: Tensor) -> Tensor:
        """Return the last state of each sequence, both directions of the last layer beside each other."""
        if self.lengths is None:
            states = self.layers(x)[1]
        elif self.variant == "scanline":
            states = self.layers(x, None, self.lengths)[1]
        elif self.variant == "torch packed":
            packed = nn.utils.rnn.pack_padded_sequence(
                x, self.lengths, batch_first=True, enforce_sorted=False
            )
            states = self.layers(packed)[1]
        else:
            outputs: Tensor = self.layers(x)[0]
            return outputs[torch.arange(len(x)), self.lengths - 1]
        h = states[0] if self.workload.cell == "lstm" else states
        last: Tensor = torch.cat((h[-2], h[-1]), 1) if self.workload.bidirectional else h[-1]
        return last

    def step(self) -> None:
        """See `Implementation`."""
        if self.workload.kind == "train":
            self._train(self.x, self.y)
        elif self.workload.kind == "training":
            self._train_wholly()
        else:
            self._predict()

    def _train(self, x: Tensor, y: Tensor) -> None:
        self.optimizer.zero_grad()
        with self._autocast():
            self.loss = F.cross_entropy(self.head(self._read(x)).float(), y)
        self.loss.backward()
        nn.utils.clip_grad_norm_(self.weights, CLIP_NORM)
        self.optimizer.step()

    def _train_wholly(self) -> None:
        # Scanline's order of the sequences, so that losses can be compared.
        from scanline.data.order import BatchOrder

        order = BatchOrder(self.workload.N, TRAINING_BATCH, seed=0)
        self.restart()
        for step in range(self.workload.training_steps):
            indices = torch.from_numpy(order.at(step))
            self._train(self.x[indices], self.y[indices])

    @torch.inference_mode()
    def _predict(self) -> None:
        with self._autocast():
            parts = self.x.split(self.batch)
            self.logits = [self.head(self._read(part)) for part in parts]

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        return torch.autocast("cpu", torch.bfloat16) if self.autocast else contextlib.nullcontext()

    def result(self) -> float:
        """See `Implementation`."""
        if self.workload.trains:
            return self.loss.item()
        return sum(part.float().sum().item() for part in self.logits)

    def use_batch(self, size: int) -> None:
        """See `Implementation`."""
        self.batch = size


def make(workload: Workload, precision: str, variant: str) -> TorchLayers:
    """Return the implementation for `workload`."""
    return TorchLayers(workload, precision, variant)
