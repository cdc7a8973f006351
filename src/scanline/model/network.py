"""The network: normalisation, embeddings, recurrent layers, pooling, dense layers and the head."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from scanline.limits import limit_of
from scanline.model import pooling
from scanline.model.dense import DenseLayer, DenseLayers
from scanline.model.dropout import Draws
from scanline.model.embeddings import Embedding, Embeddings
from scanline.model.layers import RecurrentLayers
from scanline.recipe import Cell, CountOrOff, DropoutOn, Fraction, Layers, Readout, Size


@dataclass(frozen=True)
class Architecture:
    """Everything that is needed to build the network, except its weights.

    Attributes:
        cell: Name of the recurrent cell.
        input_size: F, the features of a step.
        hidden_size: H, the units of each layer and direction.
        layers: Number of recurrent layers.
        bidirectional: Whether each layer reads in both directions.
        dropout: Fraction of outputs set to 0 in training.
        dropout_on: Which outputs dropout applies to.
        readout: Name of the pooling.
        classes: M, the number of outputs; for a classification K.
        dense: Layers between the pooling and the head. Left out of `repr`, as sessions that were saved
            before there were any have a digest of it.
        embeddings: Tables of the categorical features, in the order of the features; likewise.
        static: Indices of the features that have one value for a sequence; likewise.
    """

    cell: Cell
    input_size: Size
    hidden_size: Size
    layers: Layers
    bidirectional: bool
    dropout: Fraction
    dropout_on: DropoutOn
    readout: Readout
    classes: Size
    dense: Annotated[tuple[DenseLayer, ...], Field(max_length=limit_of("LAYERS"))] = field(
        default=(), repr=False
    )
    embeddings: Annotated[tuple[Embedding, ...], Field(max_length=limit_of("FEATURES"))] = field(
        default=(), repr=False
    )
    static: Annotated[tuple[CountOrOff, ...], Field(max_length=limit_of("FEATURES"))] = field(
        default=(), repr=False
    )

    @property
    def dense_text(self) -> str:
        """The dense layers in a list, such as "dense 64 relu, "; empty if there are none."""
        return "".join(f"dense {layer.units:,} {layer.activation}, " for layer in self.dense)


class Network(nn.Module):
    """Reads sequences step by step and computes the M outputs of the task.

    Shift and scale of the raw values, (F,) each, are buffers of the network, so that the normalisation is
    saved with the weights.

    If the cell only uses the sum of its two biases, `bias_ih` alone is trained and `bias_hh` stays 0, as in
    TensorFlow and Keras: with both, Adam would move their sum twice as fast.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        self.architecture = a
        # Buffers, not parameters: saved with the weights and moved with the network, but never trained.
        self.register_buffer("shift", torch.zeros(a.input_size, dtype=torch.float32, device=None))
        self.register_buffer("scale", torch.ones(a.input_size, dtype=torch.float32, device=None))
        self.embeddings = Embeddings(a.input_size, a.embeddings, a.static)
        width = self.embeddings.output_size
        self.recurrent = RecurrentLayers(
            a.cell, width, a.hidden_size, a.layers, a.bidirectional, a.dropout, a.dropout_on
        )
        self.pooling = pooling.get(a.readout)
        self.dense = DenseLayers(self.recurrent.output_size + self.embeddings.static_size, a.dense)
        self.head = nn.Linear(self.dense.output_size, a.classes, dtype=torch.float32)
        if self.recurrent.cell.additive_biases:
            for layer in range(a.layers):
                for direction in range(self.recurrent.directions):
                    unused = self.recurrent.weights(layer, direction)[3]
                    nn.init.zeros_(unused).requires_grad_(False)

    @property
    def parameter_count(self) -> int:
        """Number of weights."""
        return sum(weight.numel() for weight in self.parameters())

    def forward(
        self,
        values: Tensor,
        lengths: Tensor | None = None,
        draws: Draws | None = None,
        standardized: bool = False,
    ) -> Tensor:
        """Return the outputs (N, M), or (N, T, M) if there are outputs at each step.

        Past a sequence's end, outputs at each step are what the head computes of zeros.

        Args:
            values: (N, T, F) as they were read, any real dtype.
            lengths: (N,) number of steps, or None if all are T.
            draws: Source of dropout's randomness in training.
            standardized: Whether the values are float32 and already shifted and scaled, as the training
                loader gives them.
        """
        values = self.embeddings(values if standardized else self.normalise(values))
        return self.read(values, lengths, draws)

    def read(self, embedded: Tensor, lengths: Tensor | None = None, draws: Draws | None = None) -> Tensor:
        """Return the outputs (N, M) for what `embeddings` returns, (N, T, E + P); otherwise as `forward`."""
        steps, static = self.embeddings.divide(embedded)
        outputs, states = self.recurrent.read(steps, lengths, draws)
        return self.project(self.pooling.apply(outputs, lengths, self.recurrent.directions, states), static)

    def outputs(self, values: Tensor, lengths: Tensor | None = None, draws: Draws | None = None) -> Tensor:
        """Return the last layer's outputs at every step, (N, T, D*H), 0 past each sequence's end."""
        steps, _ = self.embeddings.divide(self.embeddings(self.normalise(values)))
        outputs: Tensor = self.recurrent(steps, lengths, draws)
        return outputs

    def static_of(self, values: Tensor) -> Tensor | None:
        """Return the embedded static features (N, P) of raw sequences (N, T, F); None if there are none."""
        if not self.architecture.static:
            return None
        return self.embeddings.divide(self.embeddings(self.normalise(values[:, :1])))[1]

    def normalise(self, values: Tensor) -> Tensor:
        """Return raw values (N, T, F) shifted and scaled, in the dtype of the weights; ids stay the same."""
        return (values.to(self.scale.dtype) - self.shift) / self.scale

    def project(self, features: Tensor, static: Tensor | None = None) -> Tensor:
        """Return the head's outputs (..., M) for pooled features (..., D*H), through the dense layers.

        Outside training on the CPU, sums are float64: the result then does not depend on the batch.

        Args:
            features: (N, D*H), or (N, T, D*H) if there is a vector for each step.
            static: (N, P) static features, which the head reads after the others; None if there are none.
        """
        if static is not None:
            features = beside(features, static)
        if self.training or features.device.type != "cpu":
            outputs: Tensor = self.head(self.dense(features))
            return outputs
        weight, bias = self.head.weight.double(), self.head.bias.double()
        return F.linear(self.dense(features.double()), weight, bias).to(features.dtype)


def beside(features: Tensor, static: Tensor) -> Tensor:
    """Return pooled features (N, ..., D*H) joined with the static ones (N, P) of their sequences."""
    static = static.to(features.dtype).view(len(static), *(1,) * (features.dim() - 2), -1)
    return torch.cat([features, static.expand(*features.shape[:-1], -1)], -1)
