"""The network as a whole: raw values in, logits out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scanline.model.layers import RecurrentLayers
from scanline.model.pooling import pool
from scanline.recipe import Cell, DropoutOn, Layers, Readout, Share, Size


@dataclass(frozen=True)
class Architecture:
    """All that is needed to build the network; its weights are told apart from it."""

    cell: Cell
    input_size: Size
    hidden_size: Size
    layers: Layers
    bidirectional: bool
    dropout: Share
    dropout_on: DropoutOn
    readout: Readout
    classes: Size


class Network(nn.Module):
    """Reads sequences step by step and answers with a logit for each class.

    The raw values' shift and scale belong to the network, (F,) each, so that whoever has the weights has
    the preprocessing too.

    An LSTM and a plain RNN add two biases that do the same. As in TensorFlow and Keras only one of them
    (`bias_ih`) is trained and the other stays 0: with both, Adam would move their sum twice as fast.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        self.architecture = a
        self.register_buffer("shift", torch.zeros(a.input_size))
        self.register_buffer("scale", torch.ones(a.input_size))
        self.recurrent = RecurrentLayers(
            a.cell, a.input_size, a.hidden_size, a.layers, a.bidirectional, a.dropout, a.dropout_on
        )
        self.head = nn.Linear(self.recurrent.output_size, a.classes)
        if a.cell != "gru":
            for layer in range(a.layers):
                for direction in range(self.recurrent.directions):
                    unused = self.recurrent.weights(layer, direction)[3]
                    nn.init.zeros_(unused).requires_grad_(False)

    def forward(
        self, values: Tensor, lengths: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """Logits (N, K).

        values: (N, T, F) as they were read, any real dtype. lengths: (N,), or None if all are T.
        generator: where dropout draws from, in training.
        """
        outputs, states = self.recurrent.read(self._standard(values), lengths, generator)
        how, directions = self.architecture.readout, self.recurrent.directions
        return self.logits(pool(outputs, lengths, how, directions, states))

    def outputs(
        self, values: Tensor, lengths: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """The last recurrent layer's outputs at every step, (N, T, D*H), 0 past each sequence's end."""
        outputs: Tensor = self.recurrent(self._standard(values), lengths, generator)
        return outputs

    def _standard(self, values: Tensor) -> Tensor:
        return (values.to(self.scale.dtype) - self.shift) / self.scale

    def logits(self, features: Tensor) -> Tensor:
        """Logits (N, K) for what was read out, (N, D*H); answers are added up in float64."""
        if self.training or features.device.type != "cpu":
            logits: Tensor = self.head(features)
            return logits
        weight, bias = self.head.weight.double(), self.head.bias.double()
        return F.linear(features.double(), weight, bias).to(features.dtype)
